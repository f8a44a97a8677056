//! Clients: real HTTP bytes out, answers in. What they send is chosen to be awkward; what they were told
//! is in the ledger.
//!
//! A metric's next point is sent only when the outcome of the one before is settled, so a 204 for it means
//! that it must arrive. Beside that they send what proves duplicates: the same again, another value at the
//! same timestamp, older ones.

use super::KEY;
use super::ledger::{Ledger, Number};
use super::world::World;
use skyline_flux::journal::Durability;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// Its metric's current point: owed when it is acknowledged.
    Current(Number),
    /// A back-fill: as much.
    Fill(Number),
    /// Only to be recognised.
    Extra(Number),
}

impl Item {
    fn number(self) -> Number {
        match self {
            Item::Current(number) | Item::Fill(number) | Item::Extra(number) => number,
        }
    }
}

#[derive(Debug)]
pub struct Request {
    items: Vec<Item>,
    /// Statuses it may end with, beside 429 and 504.
    expected: &'static [u16],
}

/// One connection, as its client sees it.
#[derive(Debug)]
pub struct Client {
    /// Sent and not read by the server yet.
    pub out: VecDeque<u8>,
    unanswered: VecDeque<Request>,
    input: Vec<u8>,
    /// It has hung up, or will send nothing more.
    pub gone: bool,
}

impl Client {
    pub fn new() -> Client {
        Client {
            out: VecDeque::new(),
            unanswered: VecDeque::new(),
            input: Vec::new(),
            gone: false,
        }
    }

    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// The connection is over: what was not answered may have been carried out.
    pub fn cut_off(self, ledger: &mut Ledger) {
        for request in self.unanswered {
            request
                .items
                .iter()
                .for_each(|i| ledger.unknown(i.number()));
        }
    }

    /// Bytes from the server.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        ledger: &mut Ledger,
        durability: Durability,
    ) -> Vec<u16> {
        self.input.extend_from_slice(bytes);
        let mut statuses = Vec::new();
        while let Some((status, length)) = answer(&self.input) {
            self.input.drain(..length);
            let request = self.unanswered.pop_front().expect("an answer to a request");
            request.settle(status, ledger, durability);
            statuses.push(status);
        }
        statuses
    }

    /// Whether somebody else still waits for an answer about this point.
    fn waits_for(&self, number: Number) -> bool {
        let mut items = self.unanswered.iter().flat_map(|request| &request.items);
        items.any(|item| item.number() == number)
    }
}

impl Request {
    fn settle(&self, status: u16, ledger: &mut Ledger, durability: Durability) {
        let known = matches!(status, 429 | 504) || self.expected.contains(&status);
        assert!(known, "{status} for {self:?}");
        for item in &self.items {
            let number = item.number();
            match status {
                204 => {
                    let owed = match item {
                        // Once something newer was sent, it may have been a duplicate.
                        Item::Current(_) => ledger.is_newest(number),
                        Item::Fill(_) => true,
                        Item::Extra(_) => false,
                    };
                    ledger.acknowledged(number, owed, durability);
                    ledger.settled(number);
                }
                // However often it is sent: no empty budget holds it.
                413 => ledger.settled(number),
                504 => ledger.unknown(number),
                _ => {}
            }
        }
    }
}

/// The first answer in these bytes: its status and its length.
fn answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is text");
    let status = text.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse();
    let status = status.expect("a status");
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines
            .next()
            .map(|value| value.parse::<usize>().expect("a number"))
    };
    let retry_after = field("Retry-After: ");
    assert_eq!(retry_after.is_some(), status == 429, "{text}");
    let length = head + field("Content-Length: ").unwrap_or(0);
    (bytes.len() >= length).then_some((status, length))
}

impl World {
    /// A request on this connection.
    pub fn send(&mut self, client: usize) {
        let (items, body, expected): (Vec<Item>, Vec<String>, &[u16]) = match self.dice.below(20) {
            0 => {
                // A number that no double holds is dropped, and costs its batch nothing.
                let metric = self.dice.index(self.ledger.metrics.len());
                let name = self.ledger.metrics[metric].name.clone();
                let now = self.unix_seconds();
                let body = format!(r#"{{"metric":"{name}","timestamp":{now},"value":1e999}}"#);
                (Vec::new(), vec![body], &[204, 400])
            }
            1 | 2 => {
                let (items, mut body) = self.batch(false);
                let at = self.dice.part(body.len());
                body.insert(at, r#"{"metric":"bad","value":"x"}"#.to_owned());
                (items, body, &[400, 413])
            }
            _ => {
                let (items, body) = self.batch(true);
                (items, body, &[204, 400, 413])
            }
        };
        let wrong_key = self.dice.one_in(40);
        let expected = if wrong_key { &[401] } else { expected };
        for item in &items {
            self.ledger.attempted(item.number());
        }
        let key = if wrong_key { &KEY[1..] } else { KEY };
        let bytes = self.request(key, &body);
        if std::env::var("SIMD").is_ok() {
            eprintln!("REQ {client} {items:?} {body:?}");
        }
        self.note("request", [client as u64, items.len() as u64]);
        let client = self.clients[client].as_mut().expect("it is connected");
        client.out.extend(bytes);
        client.unanswered.push_back(Request { items, expected });
    }

    fn request(&mut self, key: &str, items: &[String]) -> Vec<u8> {
        let body = match items {
            [one] if self.dice.one_in(2) => {
                format!(r#"{},"key":"{key}"}}"#, one.trim_end_matches('}'))
            }
            _ => format!(r#"{{"key":"{key}","metrics":[{}]}}"#, items.join(",")),
        };
        let head = "POST /metric_data_post HTTP/1.1\r\nHost: h\r\n";
        let text = match self.dice.below(4) {
            0 => {
                let (a, b) = body.split_at(self.dice.part(body.len() - 2) + 1);
                let (first, second) = (a.len(), b.len());
                format!(
                    "{head}Transfer-Encoding: chunked\r\n\r\n{first:x}\r\n{a}\r\n{second:X}\r\n{b}\r\n0\r\n\r\n"
                )
            }
            _ => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
        };
        text.into_bytes()
    }

    /// `good`: nothing else in the request will have it refused.
    fn batch(&mut self, good: bool) -> (Vec<Item>, Vec<String>) {
        let size = match self.dice.below(3) {
            0 => 1,
            _ => 1 + self.dice.index(self.plan.batch_max),
        };
        let mut items = Vec::new();
        let mut body = Vec::new();
        for _ in 0..size {
            let metric = self.dice.index(self.ledger.metrics.len());
            let item = match self.dice.below(16) {
                _ if !good => Item::Extra(self.another(metric)),
                0 => Item::Fill(self.fill(metric)),
                1 => Item::Extra(self.another(metric)),
                2 => match self.again() {
                    Some(number) => Item::Extra(number),
                    None => continue,
                },
                _ => match self.current(metric) {
                    Some(number) => Item::Current(number),
                    None => continue,
                },
            };
            // Twice in one request, the second would be a duplicate of the first: that is `again`'s part.
            if items
                .iter()
                .any(|other: &Item| other.number() == item.number())
            {
                continue;
            }
            body.push(self.item(item.number()));
            items.push(item);
        }
        if items.is_empty() {
            let number = self.another(0);
            body.push(self.item(number));
            items.push(Item::Extra(number));
        }
        (items, body)
    }

    fn item(&self, number: Number) -> String {
        let point = &self.ledger.points[number];
        let name = &self.ledger.metrics[point.metric].name;
        let sent_as_fill = point.fill && self.is_checked(name);
        let fill = if sent_as_fill { r#","fill":true"# } else { "" };
        let (timestamp, value) = (point.timestamp, number + 1);
        format!(r#"{{"metric":"{name}","timestamp":{timestamp},"value":{value}{fill}}}"#)
    }

    /// A metric's point whose outcome is open, or the next one.
    fn current(&mut self, metric: usize) -> Option<Number> {
        if let Some(number) = self.ledger.metrics[metric].current {
            let asked = self.clients.iter().flatten().any(|c| c.waits_for(number));
            if self.is_in_window(self.ledger.points[number].timestamp) {
                // Again on another connection, while the first is unanswered too: but not for ever.
                return (!asked || self.dice.one_in(3)).then_some(number);
            }
            if asked {
                return None;
            }
            // Given up. A late copy is older than what follows, and nobody is told about it.
        }
        let now = self.unix_seconds();
        let step = 1 + self.dice.below(3) as u32;
        let metric_state = &mut self.ledger.metrics[metric];
        metric_state.last = (metric_state.last + step).max(now - 1800);
        let timestamp = metric_state.last;
        let fill = !self.is_checked(&self.ledger.metrics[metric].name);
        let number = self.ledger.point(metric, timestamp, fill);
        self.ledger.metrics[metric].current = Some(number);
        Some(number)
    }

    fn fill(&mut self, metric: usize) -> Number {
        let timestamp = self.dice.between(1, 1 << 32) as u32;
        self.ledger.point(metric, timestamp, true)
    }

    /// A new value at a timestamp that is taken, or before it.
    fn another(&mut self, metric: usize) -> Number {
        let back = self.dice.below(4).saturating_sub(1) as u32;
        let began = self.unix_seconds() - 1800;
        let last = &mut self.ledger.metrics[metric].last;
        if *last == 0 {
            *last = began;
        }
        let timestamp = *last - back;
        let fill = !self.is_checked(&self.ledger.metrics[metric].name);
        self.ledger.point(metric, timestamp, fill)
    }

    /// The very same as one that was acknowledged.
    fn again(&mut self) -> Option<Number> {
        let number = self.dice.part(self.ledger.points.len()).checked_sub(1)?;
        let point = &self.ledger.points[number];
        let settled = self.ledger.metrics[point.metric].current != Some(number);
        let known = self.ledger.is_acknowledged(number) && settled;
        (known && !point.fill).then_some(number)
    }
}
