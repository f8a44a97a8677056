//! A Debian that runs its own systemd, in the network of the thread that starts it (systemd-nspawn).

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::process::Daemon;
use super::wait_for;

/// A boot takes a few seconds; a busy machine some more.
const BOOT: Duration = Duration::from_secs(90);

pub struct Container {
    daemon: Daemon,
    /// Its process 1, as we see it.
    init: String,
}

impl Container {
    pub fn boot(root: &Path) -> Container {
        let mut command = Command::new("systemd-nspawn");
        command
            .args(["--quiet", "--boot", "--register=no", "--keep-unit"])
            .args(["--console=pipe", "--directory"])
            .arg(root);
        let mut daemon = Daemon::spawn("systemd-nspawn", &mut command);
        let pid = daemon.pid();
        let init = wait_for("the container has a process 1", BOOT, || {
            assert!(daemon.exited().is_none(), "{}", daemon.said());
            let children = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(children).ok()?;
            let child = children.split_whitespace().next()?.to_owned();
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "systemd").then_some(child)
        });
        let container = Container { daemon, init };
        wait_for("the container has booted", BOOT, || {
            let state = container.output(&["systemctl", "is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"]
                .contains(&state.as_str())
                .then_some(())
        });
        container
    }

    pub fn output(&self, words: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.init, "-m", "-p", "-u", "-i", "-C", "--"])
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .expect("nsenter runs")
    }

    /// What it printed; fails the test when it fails.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}{errors}");
        said
    }

    pub fn fails(&self, words: &[&str]) -> bool {
        !self.output(words).status.success()
    }

    pub fn power_off(mut self) {
        // SIGRTMIN+4 to process 1 is "power off", whatever of systemd answers.
        self.run(&["systemctl", "poweroff", "--no-block"]);
        self.daemon.wait_exit(BOOT);
    }
}
