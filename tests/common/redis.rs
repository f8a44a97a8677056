//! A real redis-server on a TCP port and a unix socket, and twenty lines of its protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::Daemon;
use super::{PATIENCE, free_port, wait_until};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(Option<String>),
    Array(Vec<Reply>),
}

pub struct Redis {
    daemon: Daemon,
    dir: TempDir,
    password: Option<String>,
    pub port: u16,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::launch(free_port(), None)
    }

    /// For a test that wants it absent first.
    pub fn start_on(port: u16) -> Redis {
        Redis::launch(port, None)
    }

    pub fn with_password(password: &str) -> Redis {
        Redis::launch(free_port(), Some(password.to_owned()))
    }

    fn launch(port: u16, password: Option<String>) -> Redis {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let daemon = Redis::spawn(&dir, port, password.as_deref());
        let mut redis = Redis {
            daemon,
            dir,
            password,
            port,
        };
        redis.wait_ready();
        redis
    }

    fn spawn(dir: &TempDir, port: u16, password: Option<&str>) -> Daemon {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .args(["--unixsocket", "redis.sock", "--dir"])
            .arg(dir.path())
            .current_dir(dir.path());
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        Daemon::spawn("redis-server", &mut command)
    }

    fn wait_ready(&mut self) {
        wait_until("redis-server answers", || {
            assert!(self.daemon.exited().is_none(), "{}", self.daemon.said());
            self.try_command(&["PING"])
                .is_ok_and(|reply| reply == Reply::Status("PONG".into()))
        });
    }

    /// As `last.store` wants it.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/0", self.port),
            None => format!("redis://127.0.0.1:{}/0", self.port),
        }
    }

    pub fn unix_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Keeps the port and its connections, answers nothing.
    pub fn pause(&self) {
        self.daemon.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.daemon.signal(libc::SIGCONT);
    }

    pub fn kill(&mut self) {
        self.daemon.kill9();
    }

    /// The same port and password, no data: it keeps none on disk.
    pub fn restart(&mut self) {
        self.daemon.kill9();
        self.daemon = Redis::spawn(&self.dir, self.port, self.password.as_deref());
        self.wait_ready();
    }

    /// A replica of nobody: reads answer, writes are `-READONLY`.
    pub fn make_read_only(&self) {
        let dead = free_port().to_string();
        self.command(&["REPLICAOF", "127.0.0.1", &dead]);
    }

    pub fn make_writable(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Every connection to it ends, ours included.
    pub fn drop_connections(&self) {
        // It ends the one that asks as well, when it asks so.
        let _ = self.try_command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    /// All keys that hold text, with it.
    pub fn snapshot(&self) -> Vec<(String, String)> {
        let Reply::Array(keys) = self.command(&["KEYS", "*"]) else {
            panic!("KEYS answers with an array");
        };
        let bulk = |reply| match reply {
            Reply::Bulk(Some(text)) => Some(text),
            _ => None,
        };
        let with_text = |key: String| Some((key.clone(), self.get(&key)?));
        keys.into_iter()
            .filter_map(bulk)
            .filter_map(with_text)
            .collect()
    }

    /// Holds this and nothing else.
    pub fn restore(&self, snapshot: &[(String, String)]) {
        self.command(&["FLUSHALL"]);
        for part in snapshot.chunks(500) {
            let pairs = part.iter().flat_map(|(key, text)| [key.as_str(), text]);
            let words: Vec<&str> = ["MSET"].into_iter().chain(pairs).collect();
            self.command(&words);
        }
    }

    /// `None` for what is not there, and for what is not a string.
    pub fn get(&self, key: &str) -> Option<String> {
        match self.command(&["GET", key]) {
            Reply::Bulk(text) => text,
            Reply::Error(why) if why.starts_with("WRONGTYPE") => None,
            other => panic!("GET {key}: {other:?}"),
        }
    }

    /// Waits for a metric's mark, in exactly the text that Python's Flux writes.
    pub fn wait_mark(&self, metric: &str, text: &str) {
        let key = format!("flux.last.{metric}");
        wait_until(&format!("{key} is {text}"), || {
            self.get(&key).as_deref() == Some(text)
        });
    }

    pub fn set(&self, key: &str, value: &str) {
        assert_eq!(
            self.command(&["SET", key, value]),
            Reply::Status("OK".into())
        );
    }

    pub fn command(&self, words: &[&str]) -> Reply {
        self.try_command(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub fn try_command(&self, words: &[&str]) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut commands = Vec::new();
        if let Some(password) = &self.password {
            commands.push(vec!["AUTH", password]);
        }
        commands.push(words.to_vec());
        for command in &commands {
            let mut bytes = format!("*{}\r\n", command.len());
            for word in command {
                bytes += &format!("${}\r\n{word}\r\n", word.len());
            }
            stream.write_all(bytes.as_bytes())?;
        }
        let mut reader = BufReader::new(stream);
        for _ in 1..commands.len() {
            read_reply(&mut reader)?;
        }
        read_reply(&mut reader)
    }
}

fn read_reply(reader: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (kind, rest) = line
        .trim_end()
        .split_at_checked(1)
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let number = || rest.parse::<i64>().expect("RESP counts are numbers");
    Ok(match kind {
        "+" => Reply::Status(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(number()),
        "$" if number() < 0 => Reply::Bulk(None),
        "$" => {
            let mut bytes = vec![0; number() as usize + 2];
            reader.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bulk(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let count = number().max(0);
            let replies: Result<_, _> = (0..count).map(|_| read_reply(reader)).collect();
            Reply::Array(replies?)
        }
        other => panic!("not RESP: {other:?}"),
    })
}
