//! A real Apache from Debian's package, with a configuration of the test's own; no service is started.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::process::Daemon;
use super::wait_until;

const MODULES: &str = "/usr/lib/apache2/modules";

pub struct Apache {
    _daemon: Daemon,
    _dir: TempDir,
    pub port: u16,
}

impl Apache {
    /// `site` listens on `port`.
    pub fn start(site: &str, port: u16) -> Apache {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().display();
        let modules = [
            ("mpm_event", "mod_mpm_event"),
            ("authz_core", "mod_authz_core"),
            ("headers", "mod_headers"),
            ("proxy", "mod_proxy"),
            ("proxy_http", "mod_proxy_http"),
        ];
        let modules: String = modules
            .iter()
            .map(|(name, file)| format!("LoadModule {name}_module {MODULES}/{file}.so\n"))
            .collect();
        let config = format!(
            "ServerRoot {path}\nDefaultRuntimeDir {path}\nPidFile {path}/pid\nErrorLog /dev/stderr\n\
             ServerName flux\nUser www-data\nGroup www-data\n{modules}Listen 127.0.0.1:{port}\n{site}\n"
        );
        let file = dir.path().join("apache.conf");
        fs::write(&file, config).expect("a file of our own");
        let mut command = Command::new("/usr/sbin/apache2");
        // One process in the foreground: ended with this value, and nothing is left.
        command.arg("-X").arg("-f").arg(&file);
        let mut daemon = Daemon::spawn("apache2", &mut command);
        wait_until("apache listens", || {
            assert!(daemon.exited().is_none(), "{}", daemon.said());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Apache {
            _daemon: daemon,
            _dir: dir,
            port,
        }
    }
}
