//! A network of its own: the calling thread, and every thread and process it starts from then on, see
//! only a loopback that nobody else has. It ends with the last of them, however they end, so nothing is
//! left behind and nothing needs a unique name.
//!
//! In it nftables can make a black hole: packets that vanish, with no answer and no reset, as when a
//! cable is pulled.

use std::process::Command;

pub struct OwnNetwork(());

impl OwnNetwork {
    /// `Err`: why this machine cannot do it.
    pub fn enter() -> Result<OwnNetwork, String> {
        // SAFETY: a plain system call; it moves this thread only.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(format!(
                "no network namespace: {}",
                std::io::Error::last_os_error()
            ));
        }
        run("ip", &["link", "set", "lo", "up"])?;
        run("nft", &["add table ip rig"])?;
        run(
            "nft",
            &["add chain ip rig in { type filter hook input priority 0; }"],
        )?;
        Ok(OwnNetwork(()))
    }

    /// Packets to and from this port vanish.
    pub fn swallow(&self, port: u16) {
        for end in ["dport", "sport"] {
            run(
                "nft",
                &[&format!("add rule ip rig in tcp {end} {port} drop")],
            )
            .expect("a rule");
        }
    }

    /// Nothing vanishes any more.
    pub fn heal(&self) {
        run("nft", &["flush chain ip rig in"]).expect("a chain of our own");
    }
}

pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", arguments.join(" "), why.trim()));
    }
    Ok(())
}
