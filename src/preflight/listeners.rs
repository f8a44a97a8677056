//! Whether the addresses are free. The shards bind with `SO_REUSEPORT`, which succeeds silently
//! beside another process that does the same, so a plain bind asks first.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Activated, Refusal};
use crate::config::{Config, Listen};

/// A socket file that nobody answers on any more, and the key that wants its place.
#[derive(Debug)]
pub struct Stale {
    key: &'static str,
    path: PathBuf,
}

/// Binds every address for a moment, but those that somebody holds for us. Returns what is in the way and may go.
pub fn probe(config: &Config, activated: &Activated) -> Result<Vec<Stale>, Refusal> {
    // All are held until all were tried.
    let mut held = vec![bound("admin.listen", config.admin.listen)?];
    let mut stale = Vec::new();
    let http = config.http.listen.iter().map(|l| ("http.listen", l));
    let line = config.line.listen.iter().map(|l| ("line.listen", l));
    let http = http.filter(|_| activated.http.is_empty());
    let line = line.filter(|_| activated.line.is_empty());
    for (key, listen) in http.chain(line) {
        match listen {
            Listen::Tcp(address) => held.push(bound(key, *address)?),
            Listen::Unix(path) => stale.extend(stale_socket(key, path)?),
        }
    }
    Ok(stale)
}

/// The kernel takes an io_uring down after its process has gone, and the listeners that were in it stay
/// until then: a port is taken only when it still is after this long.
const LINGERING: Duration = Duration::from_millis(1500);

fn bound(key: &'static str, address: SocketAddr) -> Result<Socket, Refusal> {
    let until = Instant::now() + LINGERING;
    loop {
        match try_bind(key, address) {
            Err(Refusal::PortTaken { .. }) if Instant::now() < until => {
                std::thread::sleep(LINGERING / 100);
            }
            result => return result,
        }
    }
}

fn try_bind(key: &'static str, address: SocketAddr) -> Result<Socket, Refusal> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of a previous run that linger in TIME_WAIT must not refuse a start; a
        // listener does, whatever options it has.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bind().map_err(|why: io::Error| {
        let address = address.to_string();
        match why.raw_os_error() {
            Some(libc::EADDRINUSE) => Refusal::PortTaken { key, address },
            Some(libc::EADDRNOTAVAIL) => Refusal::NotOurAddress { key, address },
            Some(libc::EACCES) => Refusal::PortPrivileged { key, address },
            _ => Refusal::Listen { key, address, why },
        }
    })
}

/// The file, when it is a socket and nobody answers on it.
fn stale_socket(key: &'static str, path: &Path) -> Result<Option<Stale>, Refusal> {
    let listen = |why| cannot_listen(key, path, why);
    let path = path.to_owned();
    let meta = match std::fs::symlink_metadata(&path) {
        Ok(meta) => meta,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            // The file will be made; its directory must be there for that.
            let parent = path.parent().unwrap_or(Path::new("/"));
            return std::fs::metadata(parent).map(|_| None).map_err(listen);
        }
        Err(why) => return Err(listen(why)),
    };
    if !meta.file_type().is_socket() {
        return Err(Refusal::NotASocket { key, path });
    }
    let answers = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A listener whose queue is full would block us; it then answers "again", and is alive.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(&path)?)
    };
    match answers() {
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Ok(Some(Stale { key, path })),
        Ok(()) => Err(Refusal::SocketTaken { key, path }),
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
            Err(Refusal::SocketTaken { key, path })
        }
        Err(why) => Err(listen(why)),
    }
}

fn cannot_listen(key: &'static str, path: &Path, why: io::Error) -> Refusal {
    let address = format!("unix:{}", path.display());
    Refusal::Listen { key, address, why }
}

/// Removes what [`probe`] found stale: the last step, so that a refused start removes nothing.
pub fn remove(stale: &[Stale]) -> Result<(), Refusal> {
    for Stale { key, path } in stale {
        match std::fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                return Err(cannot_listen(key, path, why));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_port_is_taken_even_when_its_holder_would_share_it() {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        holder.set_reuse_address(true).unwrap();
        holder.set_reuse_port(true).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        holder.bind(&any.into()).unwrap();
        holder.listen(1).unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        assert!(matches!(
            bound("http.listen", address),
            Err(Refusal::PortTaken { .. })
        ));
        drop(holder);
        assert!(bound("http.listen", address).is_ok());
    }

    #[test]
    fn connections_in_time_wait_do_not_refuse_a_start() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        // The side that closes first keeps the pair in TIME_WAIT.
        drop(listener.accept().unwrap());
        drop(listener);
        drop(client);
        assert!(bound("http.listen", address).is_ok());
    }

    #[test]
    fn an_address_of_somebody_else_is_told_apart() {
        let elsewhere = "192.0.2.1:8000".parse().unwrap();
        assert!(matches!(
            bound("admin.listen", elsewhere),
            Err(Refusal::NotOurAddress { .. })
        ));
    }

    #[test]
    fn a_socket_file_is_stale_only_when_nobody_answers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let look = |path: &Path| stale_socket("line.listen", path);
        assert!(matches!(look(&path), Ok(None)));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(look(&path), Err(Refusal::SocketTaken { .. })));
        drop(listener);
        let stale = look(&path).unwrap();
        assert!(stale.is_some());
        remove(stale.as_slice()).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        assert!(matches!(look(&path), Err(Refusal::NotASocket { .. })));
        let deeper = directory.path().join("none/s");
        assert!(matches!(look(&deeper), Err(Refusal::Listen { .. })));
    }

    /// Whatever is wrong with a socket file, the key that has to change is the one that names it.
    #[test]
    fn a_refusal_names_the_key_of_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let said = |refusal: Refusal| {
            let said = refusal.to_string();
            assert!(said.starts_with("line.listen: "), "{said}");
        };
        let look = |path: &Path| stale_socket("line.listen", path).unwrap_err();
        let _listener = UnixListener::bind(&path).unwrap();
        said(look(&path));
        said(look(&directory.path().join("none/s")));
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        said(look(&file));
        // A folder cannot be removed as a file is.
        let folder = Stale {
            key: "line.listen",
            path: directory.path().to_owned(),
        };
        said(remove(&[folder]).unwrap_err());
    }
}
