//! What must be true before a start. An edge: it asks the kernel, the network and the disk. What it
//! requires of the host are the items of [`tune`]'s list that have a need.
//!
//! Each refusal is one line that names the cause and the cure. A refused start leaves nothing
//! behind: what only looks comes first, and what is made after that is removed again.

mod activated;
mod data_dir;
mod limits;
mod listeners;
mod placement;

use std::io;
use std::path::PathBuf;

use crate::config::Config;
use crate::config::key::{self, KeyError, OwnKey};
use crate::tune::needs::Fault;
use crate::tune::{self, Wishes, files};

pub use activated::{Activated, Inherited, of_shard};
pub use data_dir::DataLock;
pub use placement::{Placement, ours, plan};

/// What the checks found, and hold: the start goes on with this.
pub struct Ready {
    pub placement: Placement,
    /// The data directory is ours for as long as this lives.
    pub lock: DataLock,
    /// The key of `DATA/key`; `None` when one is configured.
    pub own_key: Option<OwnKey>,
    /// The kernel's release, for the start paragraph.
    pub kernel: String,
    /// Listeners that a service manager has handed to us.
    pub activated: Activated,
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Host(#[from] Fault),
    #[error(
        "cpu: cpu.populate_core = {cpu} is not one of this process's CPUs ({ours}); name one of them, or \"auto\""
    )]
    Cpu { cpu: u32, ours: String },
    #[error("cpu: the CPUs of this process cannot be listed ({0}); allow sched_getaffinity")]
    Affinity(io::Error),
    #[error(
        "{key}: {address} is taken; stop what listens there (ss -ltnp shows it), or write another address"
    )]
    PortTaken { key: &'static str, address: String },
    #[error(
        "{key}: {address} is not an address of this host; write one of its own (ip address shows them)"
    )]
    NotOurAddress { key: &'static str, address: String },
    #[error(
        "{key}: {address} needs a privilege; write a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
    )]
    PortPrivileged { key: &'static str, address: String },
    #[error("{key}: {address} cannot be listened on ({why}); write another address")]
    Listen {
        key: &'static str,
        address: String,
        why: io::Error,
    },
    #[error("{key}: another process answers on {path}; stop it, or write another path")]
    SocketTaken { key: &'static str, path: PathBuf },
    #[error("{key}: {path} is there and is not a socket; remove it, or write another path")]
    NotASocket { key: &'static str, path: PathBuf },
    #[error(
        "activation: the descriptors of LISTEN_FDS cannot be taken ({0}); start flux through its socket unit, or unset LISTEN_PID"
    )]
    Activation(io::Error),
    #[error(
        "activation: descriptor {descriptor} ({name}) cannot be accepted on ({why}); write ListenStream= and Accept=no in its socket unit"
    )]
    ActivatedSocket {
        descriptor: i32,
        name: String,
        why: io::Error,
    },
    #[error(
        "activation: descriptor {descriptor} is named {name:?}; write FileDescriptorName=http or line in its socket unit"
    )]
    ActivatedName { descriptor: i32, name: String },
    #[error(
        "data_dir: {path} cannot be used ({why}); make it writable for this user, or name another with --data-dir"
    )]
    DataDir { path: PathBuf, why: io::Error },
    #[error(
        "data_dir: another instance{holder} uses {path}; stop it, or name another directory with --data-dir"
    )]
    AnotherInstance { path: PathBuf, holder: String },
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// `config` has been told of the activated sockets.
pub fn check(config: &Config, activated: Activated) -> Result<Ready, Refusal> {
    let ours = placement::ours()?;
    let placement = placement::plan_checked(&config.cpu, &ours)?;
    let wishes = Wishes::of(config, placement.executors());
    let host = files::required(&wishes);
    limits::raise(&host, &wishes);
    tune::refusal(&host, &wishes)?;
    let stale = listeners::probe(config, &activated)?;

    let mut made = data_dir::Made::default();
    let lock = data_dir::lock(&config.data_dir, &mut made)?;
    // Declared after the lock, so that what was made is removed while it is still held.
    let mut made = made;
    let own_key = match &config.keys.self_key {
        Some(_) => None,
        None => {
            let own = key::read_or_make(&config.data_dir)?;
            if own.made {
                made.file(config.data_dir.join("key"));
            }
            Some(own)
        }
    };
    listeners::remove(&stale)?;
    made.keep();
    Ok(Ready {
        placement,
        lock,
        own_key,
        kernel: host.release().0,
        activated,
    })
}
