//! Sockets that were open before us and stay open after us: systemd's socket activation (`LISTEN_FDS`). While one
//! process ends and the next one starts, connections wait in them.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use socket2::{Socket, Type};

use super::Refusal;
use crate::config::{Config, Listen};

/// `FileDescriptorName=` of sockets that take carbon's lines.
const LINE: &str = "line";
/// Of those that take HTTP; also what a socket without a name has: its unit's, or this word of systemd's.
const HTTP: [&str; 2] = ["http", "unknown"];
const UNIT_SUFFIX: &str = ".socket";

/// What was handed over; empty where we are to bind ourselves.
#[derive(Debug, Default)]
pub struct Activated {
    pub http: Vec<Inherited>,
    pub line: Vec<Inherited>,
}

#[derive(Debug)]
pub struct Inherited {
    pub listen: Listen,
    pub socket: Socket,
}

impl Activated {
    /// To be called once: the descriptors are ours from then on.
    pub fn take() -> Result<Activated, Refusal> {
        let handed = sd_notify::listen_fds_with_names().map_err(Refusal::Activation)?;
        let mut activated = Activated::default();
        for (descriptor, name) in handed {
            // SAFETY: systemd's protocol says that it is open and nobody else's.
            let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
            let strange = |why: io::Error| Refusal::ActivatedSocket {
                descriptor,
                name: name.clone(),
                why,
            };
            let listen = address(&socket).map_err(strange)?;
            if matches!(listen, Listen::Tcp(_)) {
                // Connections inherit it; a socket unit may not say so.
                socket.set_tcp_nodelay(true).map_err(strange)?;
            }
            let inherited = Inherited { listen, socket };
            match name.as_str() {
                LINE => activated.line.push(inherited),
                name if HTTP.contains(&name) || name.ends_with(UNIT_SUFFIX) => {
                    activated.http.push(inherited);
                }
                _ => return Err(Refusal::ActivatedName { descriptor, name }),
            }
        }
        Ok(activated)
    }

    /// The addresses are what the sockets say, whatever was configured.
    pub fn tell(&self, config: &mut Config) {
        for (inherited, listen) in [
            (&self.http, &mut config.http.listen),
            (&self.line, &mut config.line.listen),
        ] {
            if !inherited.is_empty() {
                *listen = addresses(inherited);
            }
        }
    }

    pub fn count(&self) -> usize {
        self.http.len() + self.line.len()
    }
}

fn addresses(inherited: &[Inherited]) -> Vec<Listen> {
    let mut addresses: Vec<Listen> = Vec::new();
    for Inherited { listen, .. } in inherited {
        if !addresses.contains(listen) {
            addresses.push(listen.clone());
        }
    }
    addresses
}

/// The sockets that a shard accepts on: of each address its own, or one it shares when there are fewer of them
/// than shards. None is left without a shard.
pub fn of_shard(inherited: &[Inherited], shard: usize, shards: usize) -> Vec<&Inherited> {
    let mut chosen = Vec::new();
    for address in addresses(inherited) {
        let same: Vec<&Inherited> = inherited.iter().filter(|i| i.listen == address).collect();
        let indices = share(same.len(), shard, shards);
        chosen.extend(indices.map(|index| same[index]));
    }
    chosen
}

/// Which of `sockets` of one address are `shard`'s.
fn share(sockets: usize, shard: usize, shards: usize) -> impl Iterator<Item = usize> {
    let more = (shard..sockets).step_by(shards);
    let shared = (sockets > 0 && shard >= sockets).then(|| shard % sockets);
    more.chain(shared)
}

/// Where a listening stream socket listens.
fn address(socket: &Socket) -> io::Result<Listen> {
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::other("it is not a listening stream socket"));
    }
    let local = socket.local_addr()?;
    if let Some(address) = local.as_socket() {
        return Ok(Listen::Tcp(address));
    }
    let path = local.as_pathname().map(PathBuf::from);
    path.map(Listen::Unix)
        .ok_or_else(|| io::Error::other("it has neither an IP address nor a path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::Domain;
    use std::net::TcpListener;

    fn shares(sockets: usize, shards: usize) -> Vec<Vec<usize>> {
        (0..shards)
            .map(|shard| share(sockets, shard, shards).collect())
            .collect()
    }

    #[test]
    fn a_shard_accepts_on_the_socket_of_its_number_and_no_socket_is_forgotten() {
        assert_eq!(shares(1, 3), [[0], [0], [0]]);
        assert_eq!(shares(2, 5), [[0], [1], [0], [1], [0]]);
        assert_eq!(shares(3, 3), [[0], [1], [2]]);
        assert_eq!(shares(5, 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(shares(0, 1), [[0; 0]]);
    }

    #[test]
    fn addresses_are_what_the_sockets_say_each_once() {
        let inherited = |listener: &TcpListener| {
            let socket = Socket::from(listener.try_clone().unwrap());
            Inherited {
                listen: address(&socket).unwrap(),
                socket,
            }
        };
        let [a, b] = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let activated = Activated {
            http: vec![inherited(&a), inherited(&a), inherited(&b)],
            line: vec![],
        };
        let mut config = Config::default();
        activated.tell(&mut config);
        let tcp = |listener: &TcpListener| Listen::Tcp(listener.local_addr().unwrap());
        assert_eq!(config.http.listen, [tcp(&a), tcp(&b)]);
        assert_eq!(config.line, Config::default().line);
        // Of three shards the third has the one socket of the second address with the others.
        for (shard, sockets) in [(0, 2), (1, 2), (2, 2)] {
            assert_eq!(of_shard(&activated.http, shard, 3).len(), sockets);
        }
        assert_eq!(of_shard(&activated.http, 0, 1).len(), 3);
    }

    #[test]
    fn what_does_not_listen_is_no_listener() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(address(&socket).is_err());
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        assert!(address(&socket).is_err());
    }
}
