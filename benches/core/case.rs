//! What is sent: requests whose timestamps are patched in place, so that a case can go on for ever.

use crate::rig::{KEY, Rig, SECOND};

/// How many different reads a case has: 14,400 metrics in batches, 2,048 one by one.
const BATCHES: usize = 32;
const SINGLES: usize = 2048;
/// Single points share frames.
const SINGLES_PER_FRAME: u64 = 16;
pub const BATCH: usize = 450;
pub const PIPELINED: usize = 16;
/// About what a busy shard's turn finds ready.
pub const CONNECTIONS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Batch,
    Single,
    /// Single requests that arrive in one read.
    Pipelined,
    /// Single requests, each on a connection of its own, that share one write of the journal.
    Connections,
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Points {
    /// New points of metrics that are known.
    Unique,
    /// Points that were sent before.
    Duplicate,
    /// Of metrics that were never seen.
    NewMetric,
}

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As Python's `json.dumps` does.
    Spaced,
    /// As Go and JavaScript do.
    Compact,
    /// With numbers as texts, as Skyline's own clients do.
    Texts,
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub shape: Shape,
    pub name_bytes: usize,
    /// 17 significant digits, or a few.
    pub long_values: bool,
    pub points: Points,
    pub style: Style,
}

const fn case(name: &'static str, shape: Shape, name_bytes: usize, long_values: bool) -> Case {
    Case {
        name,
        shape,
        name_bytes,
        long_values,
        points: Points::Unique,
        style: Style::Spaced,
    }
}

const fn with(case: Case, name: &'static str, points: Points, style: Style) -> Case {
    Case {
        name,
        points,
        style,
        ..case
    }
}

const BATCH_30: Case = case("batch, 30, short", Shape::Batch, 30, false);
const SINGLE_30: Case = case("single, 30, short", Shape::Single, 30, false);

use {Points::*, Style::*};
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    BATCH_30,
    case("batch, 30, 17 digits", Shape::Batch, 30, true),
    case("batch, 50, short", Shape::Batch, 50, false),
    case("batch, 50, 17 digits", Shape::Batch, 50, true),
    with(BATCH_30, "batch, 30, short, without blanks", Unique, Compact),
    with(BATCH_30, "batch, 30, short, numbers as texts", Unique, Texts),
    with(BATCH_30, "batch, 30, short, duplicates", Duplicate, Spaced),
    with(BATCH_30, "batch, 30, short, new metrics", NewMetric, Spaced),
    SINGLE_30,
    case("single, 30, 17 digits", Shape::Single, 30, true),
    case("single, 50, short", Shape::Single, 50, false),
    case("single, 50, 17 digits", Shape::Single, 50, true),
    with(SINGLE_30, "single, 30, short, duplicate", Duplicate, Spaced),
    with(SINGLE_30, "single, 30, short, new metric", NewMetric, Spaced),
    case("single, 30, short, 32 connections a turn", Shape::Connections, 30, false),
    case("16 pipelined, 30, short", Shape::Pipelined, 30, false),
    case("single GET, 30, short", Shape::Get, 30, false),
];

impl Case {
    pub fn points_per_turn(&self) -> usize {
        match self.shape {
            Shape::Batch => BATCH,
            Shape::Single | Shape::Get => 1,
            Shape::Pipelined => PIPELINED,
            Shape::Connections => CONNECTIONS,
        }
    }

    pub fn requests_per_turn(&self) -> usize {
        match self.shape {
            Shape::Batch | Shape::Single | Shape::Get => 1,
            Shape::Pipelined => PIPELINED,
            Shape::Connections => CONNECTIONS,
        }
    }

    fn value(&self, point: usize) -> String {
        match self.long_values {
            true => format!(
                "{}.{:014}",
                100 + point % 900,
                10_000_000_000_001 + 7 * point
            ),
            false => format!("{}.5", point % 100),
        }
    }

    fn metric(&self, point: usize) -> String {
        let name = "stats.eu-west.frontend.host-07.http.requests.counted.by.path.";
        format!("{}{point:07}", &name[..self.name_bytes - 7])
    }

    fn point(&self, point: usize, key: &str) -> String {
        let (name, value) = (self.metric(point), self.value(point));
        match self.style {
            Style::Spaced => {
                format!(r#"{{"metric": "{name}", "value": {value}, "timestamp": {SECOND}{key}}}"#)
            }
            Style::Compact => {
                format!(r#"{{"metric":"{name}","value":{value},"timestamp":{SECOND}{key}}}"#)
            }
            Style::Texts => format!(
                r#"{{"metric": "{name}", "value": "{value}", "timestamp": "{SECOND}"{key}}}"#
            ),
        }
    }

    fn request(&self, first: usize) -> String {
        let head =
            "Host: flux.example.org:8000\r\nUser-Agent: python-requests/2.32.3\r\nAccept: */*\r\n";
        let body = match self.shape {
            Shape::Get => {
                let (name, value) = (self.metric(first), self.value(first));
                return format!(
                    "GET /metric_data?metric={name}&value={value}&timestamp={SECOND}&key={KEY} HTTP/1.1\r\n{head}\r\n"
                );
            }
            Shape::Batch => {
                let points: Vec<String> =
                    (first..first + BATCH).map(|i| self.point(i, "")).collect();
                let (blank, comma) = match self.style {
                    Style::Compact => ("", ","),
                    Style::Spaced | Style::Texts => (" ", ", "),
                };
                let points = points.join(comma);
                format!(r#"{{"key":{blank}"{KEY}"{comma}"metrics":{blank}[{points}]}}"#)
            }
            Shape::Single | Shape::Pipelined | Shape::Connections => {
                self.point(first, &format!(r#", "key": "{KEY}""#))
            }
        };
        let length = body.len();
        format!(
            "POST /metric_data_post HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    /// What one turn reads: from one connection, or from each a part of it.
    fn reads(&self, first: usize) -> Vec<Bytes> {
        let step = self.points_per_turn() / self.requests_per_turn();
        let requests = (0..self.requests_per_turn()).map(|i| self.request(first + i * step));
        match self.shape {
            Shape::Connections => requests.map(Bytes::of).collect(),
            Shape::Batch | Shape::Single | Shape::Pipelined | Shape::Get => {
                vec![Bytes::of(requests.collect())]
            }
        }
    }
}

/// One read, and where its timestamps stand.
pub struct Bytes {
    pub text: Vec<u8>,
    stamps: Vec<usize>,
}

impl Bytes {
    fn of(text: String) -> Bytes {
        let pattern = SECOND.to_string();
        let stamps = text.match_indices(&pattern).map(|(at, _)| at).collect();
        Bytes {
            text: text.into_bytes(),
            stamps,
        }
    }

    fn patch(&mut self, timestamp: u32) {
        let text = timestamp.to_string();
        for &at in &self.stamps {
            self.text[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
    }
}

/// A case under way.
pub struct Run {
    case: Case,
    rig: Rig,
    /// Of each turn.
    reads: Vec<Vec<Bytes>>,
    next: usize,
    turns: u64,
}

impl Run {
    /// With every metric known and every buffer as large as it gets.
    pub fn new(case: Case) -> Run {
        let mut run = Run {
            case,
            rig: Rig::new(),
            reads: Vec::new(),
            next: 0,
            turns: 0,
        };
        let reads = match case.shape {
            Shape::Batch => BATCHES,
            Shape::Single | Shape::Get => SINGLES,
            Shape::Pipelined => SINGLES / PIPELINED,
            Shape::Connections => SINGLES / CONNECTIONS,
        };
        let per_turn = case.points_per_turn();
        run.reads = (0..reads).map(|i| case.reads(i * per_turn)).collect();
        // Twice: a table or a buffer may grow in the first round.
        for _ in 0..2 * reads {
            run.turn(Rig::read_to_answers);
            run.deliver(Rig::frames_to_marks);
        }
        run
    }

    /// One turn; `measured` is given the rig and what is read.
    pub fn turn(&mut self, measured: impl FnOnce(&mut Rig, &mut [Bytes])) {
        let first_round = self.turns < self.reads.len() as u64;
        if self.case.points == Points::NewMetric && !first_round {
            let first = self.turns as usize * self.case.points_per_turn();
            self.reads[self.next] = self.case.reads(first);
        }
        let reads = &mut self.reads[self.next];
        if self.case.points != Points::Duplicate || first_round {
            let timestamp = self.rig.timestamp();
            reads.iter_mut().for_each(|read| read.patch(timestamp));
        }
        self.rig.out.clear();
        measured(&mut self.rig, reads);
        let answers = self.rig.out.windows(12).filter(|at| *at == b"HTTP/1.1 204");
        assert_eq!(answers.count(), self.case.requests_per_turn());
        self.next = (self.next + 1) % self.reads.len();
        self.turns += 1;
    }

    /// What carbon and the last store are given, when it is time for it.
    pub fn deliver(&mut self, measured: impl FnOnce(&mut Rig)) {
        let every = match self.case.shape {
            Shape::Batch | Shape::Pipelined | Shape::Connections => 1,
            Shape::Single | Shape::Get => SINGLES_PER_FRAME,
        };
        if self.turns.is_multiple_of(every) {
            measured(&mut self.rig);
            self.rig.pass();
        }
    }

    /// All points were what the case says.
    pub fn finish(self) {
        let points = self.rig.snapshot().counters.points;
        let sent = self.turns * self.case.points_per_turn() as u64;
        let known = (self.reads.len() * self.case.points_per_turn()) as u64;
        let accepted = match self.case.points {
            Points::Duplicate => known,
            Points::Unique | Points::NewMetric => sent,
        };
        assert_eq!((points.received, points.accepted), (sent, accepted));
        let duplicates = points.duplicate_same + points.duplicate_older;
        assert_eq!(duplicates, sent - accepted);
    }
}
