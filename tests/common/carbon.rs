//! A real carbon-cache (Debian's graphite-carbon) with its own folders, and what it wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Daemon;
use super::{free_port, wait_until};

pub struct CarbonCache {
    daemon: Daemon,
    dir: TempDir,
    pub line_port: u16,
    pub pickle_port: u16,
    pub query_port: u16,
}

impl CarbonCache {
    /// Two hours of seconds: longer than the hour that a point may be old.
    pub fn start() -> CarbonCache {
        CarbonCache::keeping("1s:2h")
    }

    /// With these `retentions` for every metric.
    pub fn keeping(retentions: &str) -> CarbonCache {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (line_port, pickle_port, query_port) = (free_port(), free_port(), free_port());
        let path = dir.path();
        for folder in ["conf", "whisper", "log"] {
            fs::create_dir(path.join(folder)).expect("a folder of our own");
        }
        // Every update and create at once, no series of its own, and one-second steps, so that each
        // point can be read back with its own timestamp.
        let config = format!(
            "[cache]\nSTORAGE_DIR = {0}\nLOCAL_DATA_DIR = {0}/whisper\nCONF_DIR = {0}/conf\n\
             LOG_DIR = {0}/log\nPID_DIR = {0}\nUSER =\nENABLE_LOGROTATION = False\n\
             MAX_CACHE_SIZE = inf\nMAX_UPDATES_PER_SECOND = 100000\nMAX_CREATES_PER_MINUTE = inf\n\
             LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {line_port}\n\
             PICKLE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = {pickle_port}\n\
             CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {query_port}\n\
             CACHE_WRITE_STRATEGY = naive\nCARBON_METRIC_INTERVAL = 0\nENABLE_TAGS = False\n",
            path.display()
        );
        fs::write(path.join("conf/carbon.conf"), config).expect("a file of our own");
        let schemas = format!("[all]\npattern = .*\nretentions = {retentions}\n");
        fs::write(path.join("conf/storage-schemas.conf"), schemas).expect("a file of our own");
        let daemon = CarbonCache::spawn(path);
        let mut carbon = CarbonCache {
            daemon,
            dir,
            line_port,
            pickle_port,
            query_port,
        };
        carbon.wait_ready();
        carbon
    }

    fn spawn(path: &Path) -> Daemon {
        let mut command = Command::new("/usr/bin/carbon-cache");
        command
            .arg(format!("--config={}/conf/carbon.conf", path.display()))
            .arg(format!("--pidfile={}/carbon.pid", path.display()))
            .args(["--nodaemon", "start"]);
        Daemon::spawn("carbon-cache", &mut command)
    }

    fn wait_ready(&mut self) {
        let ports = [self.line_port, self.pickle_port];
        wait_until("carbon-cache listens", || {
            assert!(self.daemon.exited().is_none(), "{}", self.daemon.said());
            ports
                .iter()
                .all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    pub fn kill(&mut self) {
        self.daemon.kill9();
    }

    /// The same ports and files after [`CarbonCache::kill`].
    pub fn restart(&mut self) {
        self.daemon.kill9();
        let _ = fs::remove_file(self.dir.path().join("carbon.pid"));
        self.daemon = CarbonCache::spawn(self.dir.path());
        self.wait_ready();
    }

    pub fn whisper_dir(&self) -> PathBuf {
        self.dir.path().join("whisper")
    }

    fn file(&self, metric: &str) -> PathBuf {
        let relative = format!("{}.wsp", metric.replace('.', "/"));
        self.whisper_dir().join(relative)
    }

    /// Every point that whisper holds for a metric; empty when there is no file.
    pub fn points(&self, metric: &str) -> BTreeMap<u32, f64> {
        let file = self.file(metric);
        if !file.exists() {
            return BTreeMap::new();
        }
        // The archive's slots as they are on disk: `whisper.fetch` would hide timestamps ahead of now.
        // Values travel as the bits of the double, so that equality is exact.
        let script = "import struct, sys, whisper\n\
            path = sys.argv[1]\n\
            archive = whisper.info(path)['archives'][0]\n\
            data = open(path, 'rb').read()[archive['offset']:archive['offset'] + archive['size']]\n\
            for at, value in struct.iter_unpack('!Ld', data):\n\
            \x20   if at: print(at, struct.pack('!d', value).hex())\n";
        let output = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .arg(&file)
            .output()
            .expect("/usr/bin/python3 runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| {
                let (at, bits) = line.split_once(' ').expect("two columns");
                let bits = u64::from_str_radix(bits, 16).expect("hexadecimal");
                (at.parse().expect("a number"), f64::from_bits(bits))
            })
            .collect()
    }

    pub fn wait_point(&self, metric: &str, timestamp: u32, value: f64) {
        wait_until(
            &format!("whisper holds {metric} {value} {timestamp}"),
            || {
                self.points(metric)
                    .get(&timestamp)
                    .is_some_and(|held| held.to_bits() == value.to_bits())
            },
        );
    }
}
