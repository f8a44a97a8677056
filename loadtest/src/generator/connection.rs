//! One connection: a request goes out, its answer comes back, then it is free for the next.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::body::Bodies;

const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// In place of a body: none is under way here.
const IDLE: usize = usize::MAX;

pub struct Connection {
    pub stream: TcpStream,
    body: usize,
    sent: usize,
    due: Duration,
    answer: Vec<u8>,
}

pub enum Progress {
    Waiting,
    Answered {
        status: u16,
        body: usize,
        due: Duration,
    },
}

impl Connection {
    pub fn open(port: u16) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            body: IDLE,
            sent: 0,
            due: Duration::ZERO,
            answer: Vec::with_capacity(1024),
        })
    }

    /// Told once, when it becomes ready: reading and writing go on until they would block.
    pub fn interest(&self) -> EventFlags {
        EventFlags::IN | EventFlags::OUT | EventFlags::ET
    }

    pub fn begin(&mut self, body: usize, due: Duration) {
        (self.body, self.sent, self.due) = (body, 0, due);
        self.answer.clear();
    }

    /// Writes as much as the socket takes.
    pub fn push(&mut self, bodies: &Bodies) -> std::io::Result<()> {
        let bytes = bodies.bytes(self.body);
        while self.sent < bytes.len() {
            match self.stream.write(&bytes[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn proceed(&mut self, bodies: &Bodies) -> std::io::Result<Progress> {
        if self.body != IDLE {
            self.push(bodies)?;
        }
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.answer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if self.answer.len() > ANSWER_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        let Some(status) = whole(&self.answer)? else {
            return Ok(Progress::Waiting);
        };
        self.answer.clear();
        if self.body == IDLE {
            return Err(ErrorKind::InvalidData.into());
        }
        let body = std::mem::replace(&mut self.body, IDLE);
        Ok(Progress::Answered {
            status,
            body,
            due: self.due,
        })
    }
}

/// The status of an answer that is there with its body.
fn whole(answer: &[u8]) -> std::io::Result<Option<u16>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let bad = || std::io::Error::from(ErrorKind::InvalidData);
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| bad())?;
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| field.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())
        .map_err(|_| bad())?;
    match answer.len() - (end + 4) >= length {
        true => status.ok_or_else(bad).map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let whole = |text: &str| whole(text.as_bytes()).expect("an answer");
        assert_eq!(whole("HTTP/1.1 204 No Content\r\n"), None);
        assert_eq!(whole("HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(whole("HTTP/1.1 429 x\r\ncontent-length: 3\r\n\r\nab"), None);
        assert_eq!(
            whole("HTTP/1.1 429 x\r\ncontent-length: 3\r\n\r\nabc"),
            Some(429)
        );
    }
}
