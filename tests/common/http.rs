//! A small HTTP/1.1 client that sends exactly the bytes it is given and shows exactly what came back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, wait_until};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The `message` member of an error body.
    pub fn message(&self) -> String {
        let body: Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("an error's body is JSON, not {:?}", self.body));
        body["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).unwrap_or_else(|error| panic!("connect to port {port}: {error}"))
    }

    pub fn try_connect(port: u16) -> std::io::Result<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            unread: Vec::new(),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the peer takes the request");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// To send from another thread.
    pub fn clone_sender(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor is free")
    }

    pub fn finish_sending(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("an open connection can be half closed");
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send(&request("GET", target, &[], b""));
        self.answer()
    }

    pub fn post(&mut self, body: &str) -> Answer {
        self.send(&post(body));
        self.answer()
    }

    /// The next answer; fails the test when the connection ends or stays silent instead.
    pub fn answer(&mut self) -> Answer {
        self.try_answer()
            .expect("an answer in time, not a reset")
            .expect("an answer, not the end of the connection")
    }

    /// `Ok(None)`: the connection ended between two answers. `Err`: reset, silence, or cut off.
    pub fn try_answer(&mut self) -> std::io::Result<Option<Answer>> {
        let head_end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill()? {
                return match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let head: String = String::from_utf8_lossy(&self.unread[..head_end]).into_owned();
        self.unread.drain(..head_end);
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {head:?}"));
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        answer.body = self.body(&answer)?;
        Ok(Some(answer))
    }

    fn body(&mut self, answer: &Answer) -> std::io::Result<String> {
        if answer.status < 200 || answer.status == 204 {
            assert_eq!(
                answer.header("content-length"),
                None,
                "{} has no body, so no length",
                answer.status
            );
            return Ok(String::new());
        }
        let length: Option<usize> = answer
            .header("content-length")
            .map(|text| text.parse().expect("a length is a number"));
        while length.is_none_or(|length| self.unread.len() < length) {
            if !self.fill()? {
                match length {
                    Some(_) => return Err(ErrorKind::UnexpectedEof.into()),
                    None => break,
                }
            }
        }
        let length = length.unwrap_or(self.unread.len());
        Ok(String::from_utf8_lossy(&self.unread.drain(..length).collect::<Vec<_>>()).into_owned())
    }

    /// Whether the peer ended the connection with nothing more to say.
    pub fn ends(&mut self) -> bool {
        self.unread.is_empty() && matches!(self.fill(), Ok(false))
    }

    /// Like [`Client::ends`], and a reset is an end too.
    pub fn ends_or_resets(&mut self) -> bool {
        match self.fill() {
            Ok(more) => !more && self.unread.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Sends this until one is told to close: each shard takes notice of a drain on its next sweep.
    pub fn post_until_told_to_close(&mut self, body: &str) {
        wait_until("it is told to close", || {
            let answer = self.post(body);
            assert_eq!(answer.status, 204, "{answer:?}");
            answer.closes()
        });
    }

    /// Whether the peer has ended a kept connection: every client looks before it sends on one.
    pub fn has_ended(&self) -> bool {
        let blocking = |blocking: bool| self.stream.set_nonblocking(!blocking);
        blocking(false).expect("an open socket");
        let ended = matches!(self.stream.peek(&mut [0]), Ok(0));
        blocking(true).expect("an open socket");
        ended
    }

    /// Whether nothing arrives for this long.
    pub fn silent_for(&mut self, time: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(time))
            .expect("a time above zero");
        let silent = self.unread.is_empty()
            && self
                .fill()
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time above zero");
        silent
    }

    /// `false` at the end of the stream.
    fn fill(&mut self) -> std::io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let n = self.stream.read(&mut chunk)?;
        self.unread.extend_from_slice(&chunk[..n]);
        Ok(n > 0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: flux\r\n").into_bytes();
    for (name, value) in fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if method == "POST" {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A POST of points, as bytes.
pub fn post(body: &str) -> Vec<u8> {
    request("POST", "/metric_data_post", &[], body.as_bytes())
}

/// A body of one point.
pub fn single(key: &str, metric: &str, timestamp: u32, value: f64) -> String {
    json!({"metric": metric, "timestamp": timestamp, "value": value, "key": key}).to_string()
}

/// A body of several points.
pub fn batch<'a>(key: &str, points: impl IntoIterator<Item = (&'a str, u32, f64)>) -> String {
    let metrics: Vec<Value> = points
        .into_iter()
        .map(|(metric, timestamp, value)| {
            json!({"metric": metric, "timestamp": timestamp, "value": value})
        })
        .collect();
    json!({"key": key, "metrics": metrics}).to_string()
}
