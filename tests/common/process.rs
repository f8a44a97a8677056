//! A child process whose output is kept and which does not outlive its value.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wait_for;

type Text = Arc<Mutex<Vec<u8>>>;

pub struct Daemon {
    name: &'static str,
    child: Child,
    stdout: Text,
    stderr: Text,
}

impl Daemon {
    pub fn spawn(name: &'static str, command: &mut Command) -> Daemon {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name} does not start ({error}): run tests/install.sh")
            });
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Daemon {
            name,
            child,
            stdout,
            stderr,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: a plain system call; the child is ours and not yet reaped (`wait` takes `&mut self`).
        let sent = unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        assert_eq!(sent, 0, "{} takes signal {signal}", self.name);
    }

    /// `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("our own child can be waited for")
    }

    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name;
        wait_for(&format!("{name} exits"), limit, || self.exited())
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill9(&mut self) {
        if self.exited().is_none() {
            self.child.kill().expect("a running child can be killed");
            self.child.wait().expect("our own child can be waited for");
        }
    }

    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Both streams, for a failure's message.
    pub fn said(&self) -> String {
        format!("{} said: {}{}", self.name, self.stdout(), self.stderr())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- {}", self.said());
        }
    }
}

fn text(bytes: &Text) -> String {
    String::from_utf8_lossy(&bytes.lock().expect("the collector does not panic")).into_owned()
}

fn collect(mut pipe: impl Read + Send + 'static) -> Text {
    let kept = Text::default();
    let kept_too = kept.clone();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut chunk) {
            let mut kept = kept_too.lock().expect("readers do not panic");
            kept.extend_from_slice(&chunk[..n]);
        }
    });
    kept
}
