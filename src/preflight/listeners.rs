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

/// Binds every address for a moment, but those that somebody holds for us. Returns the socket files that nobody
/// answers on any more.
pub fn probe(config: &Config, activated: &Activated) -> Result<Vec<PathBuf>, Refusal> {
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
            Listen::Unix(path) => stale.extend(stale_socket(path)?),
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

/// The path, when a socket file is there and nobody answers on it.
fn stale_socket(path: &Path) -> Result<Option<PathBuf>, Refusal> {
    let listen = |why| Refusal::Listen {
        key: "http.listen",
        address: format!("unix:{}", path.display()),
        why,
    };
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            // The file will be made; its directory must be there for that.
            let parent = path.parent().unwrap_or(Path::new("/"));
            return std::fs::metadata(parent).map(|_| None).map_err(listen);
        }
        Err(why) => return Err(listen(why)),
    };
    if !meta.file_type().is_socket() {
        return Err(Refusal::NotASocket(path.to_owned()));
    }
    let answers = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A listener whose queue is full would block us; it then answers "again", and is alive.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match answers() {
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Ok(Some(path.to_owned())),
        Ok(()) => Err(Refusal::SocketTaken(path.to_owned())),
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
            Err(Refusal::SocketTaken(path.to_owned()))
        }
        Err(why) => Err(listen(why)),
    }
}

/// Removes what [`probe`] found stale: the last step, so that a refused start removes nothing.
pub fn remove(stale: &[PathBuf]) -> Result<(), Refusal> {
    for path in stale {
        match std::fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                return Err(Refusal::Listen {
                    key: "http.listen",
                    address: format!("unix:{}", path.display()),
                    why,
                });
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
        assert!(matches!(stale_socket(&path), Ok(None)));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(stale_socket(&path), Err(Refusal::SocketTaken(_))));
        drop(listener);
        assert!(matches!(stale_socket(&path), Ok(Some(_))));
        remove(std::slice::from_ref(&path)).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        assert!(matches!(stale_socket(&path), Err(Refusal::NotASocket(_))));
        let deeper = directory.path().join("none/s");
        assert!(matches!(stale_socket(&deeper), Err(Refusal::Listen { .. })));
    }
}
