//! The last store: commands on a connection are carried out in order, and answered later or never.

use super::ledger::Ledger;
use skyline_flux::last::Mark;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Up,
    Down,
    /// Takes commands and does nothing about them.
    Stalled,
    /// Refuses writes.
    ReadOnly,
    /// Refuses everything.
    Refuses,
}

#[derive(Debug)]
pub enum Asked {
    Lookup(u64, Vec<String>),
    Check(u64, Vec<String>),
    Write(u64, Vec<(String, Mark)>),
}

#[derive(Debug)]
pub enum Reply {
    Found(Vec<Option<Mark>>),
    Stored,
    Refused,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Wire {
    pub asked: VecDeque<Asked>,
    pub answered: VecDeque<(Asked, Reply)>,
}

impl Wire {
    pub fn unanswered(&self) -> usize {
        self.asked.len() + self.answered.len()
    }
}

pub struct Store {
    pub mode: Mode,
    marks: BTreeMap<String, Mark>,
    snapshot: BTreeMap<String, Mark>,
    /// Marks were lost since a run began.
    pub forgot: bool,
}

impl Store {
    pub fn new() -> Store {
        Store {
            mode: Mode::Up,
            marks: BTreeMap::new(),
            snapshot: BTreeMap::new(),
            forgot: false,
        }
    }

    /// Carries out the next command of a connection.
    pub fn step(&mut self, wire: &mut Wire, ledger: &Ledger, now_ms: u64) {
        if matches!(self.mode, Mode::Down | Mode::Stalled) {
            return;
        }
        let Some(asked) = wire.asked.pop_front() else {
            return;
        };
        let reply = match &asked {
            _ if self.mode == Mode::Refuses => Reply::Refused,
            Asked::Write(..) if self.mode == Mode::ReadOnly => Reply::Refused,
            Asked::Lookup(_, names) | Asked::Check(_, names) => Reply::Found(
                names
                    .iter()
                    .map(|name| self.marks.get(name).copied())
                    .collect(),
            ),
            Asked::Write(_, marks) => {
                for (name, mark) in marks {
                    ledger.marked(name, mark.timestamp, mark.value, now_ms);
                    let before = self.marks.insert(name.clone(), *mark);
                    let before = before.map(|before| before.timestamp);
                    assert!(
                        before <= Some(mark.timestamp),
                        "the mark of {name} moved back"
                    );
                }
                Reply::Stored
            }
        };
        wire.answered.push_back((asked, reply));
    }

    pub fn save(&mut self) {
        self.snapshot = self.marks.clone();
    }

    /// Replaced by what it was at an earlier time.
    pub fn restore(&mut self) {
        self.marks = self.snapshot.clone();
        self.forgot = true;
    }

    pub fn flush(&mut self) {
        self.marks.clear();
        self.forgot = true;
    }
}
