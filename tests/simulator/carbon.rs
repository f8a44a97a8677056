//! Carbon and the kernels between: what is acknowledged is not read yet, and dies with its process.
//!
//! It holds no more unread bytes of a connection than are kept for a redo: for more nothing is promised.

use super::dice::Dice;
use super::ledger::{Ledger, Number};
use skyline_flux::config::Protocol;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Up,
    /// Reads a few bytes at a time.
    Slow,
    /// Reads nothing; its kernel goes on acknowledging until it is full.
    Stalled,
    /// Nothing arrives, and nothing says so.
    BlackHole,
    /// Every connection is reset after so many bytes.
    Resets(u64),
    /// Nobody listens.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// Carbon has closed it in order.
    Ended,
    Reset,
}

struct Pipe {
    protocol: Protocol,
    /// With the program's kernel.
    in_flight: VecDeque<u8>,
    /// With carbon's kernel.
    unread: VecDeque<u8>,
    /// With carbon, not a whole frame yet.
    begun: Vec<u8>,
    handed: u64,
    acknowledged: u64,
    read: u64,
    reset_after: Option<u64>,
    state: State,
    /// The program has ended its side in order.
    finished: bool,
    /// The program has let go of it, in order or not.
    dropped: bool,
    /// Frames on it, with where they end.
    frames: VecDeque<(u64, Vec<Number>)>,
    held: usize,
}

pub struct Carbon {
    pub mode: Mode,
    pub unread_max: usize,
    pub send_max: usize,
    pipes: BTreeMap<u64, Pipe>,
    next: u64,
}

impl Carbon {
    pub fn new() -> Carbon {
        Carbon {
            mode: Mode::Up,
            unread_max: 0,
            send_max: 0,
            pipes: BTreeMap::new(),
            next: 0,
        }
    }

    pub fn dial(&mut self, protocol: Protocol) -> Option<u64> {
        let reset_after = match self.mode {
            Mode::Down | Mode::BlackHole => return None,
            Mode::Resets(bytes) => Some(bytes),
            Mode::Up | Mode::Slow | Mode::Stalled => None,
        };
        self.next += 1;
        let pipe = Pipe {
            protocol,
            in_flight: VecDeque::new(),
            unread: VecDeque::new(),
            begun: Vec::new(),
            handed: 0,
            acknowledged: 0,
            read: 0,
            reset_after,
            state: State::Open,
            finished: false,
            dropped: false,
            frames: VecDeque::new(),
            held: 0,
        };
        self.pipes.insert(self.next, pipe);
        Some(self.next)
    }

    fn pipe(&mut self, pipe: u64) -> &mut Pipe {
        self.pipes.get_mut(&pipe).expect("it was dialled")
    }

    /// A frame of these points will be written from here on.
    pub fn begin(&mut self, pipe: u64, bytes: usize, points: Vec<Number>) {
        let pipe = self.pipe(pipe);
        let last = pipe.frames.back().map_or(0, |(end, _)| *end);
        pipe.frames.push_back((last + bytes as u64, points));
    }

    /// Takes as much as the send buffer has room for.
    pub fn write(&mut self, pipe: u64, bytes: &[u8]) -> usize {
        let send_max = self.send_max;
        let pipe = self.pipe(pipe);
        let taken = bytes.len().min(send_max - pipe.in_flight.len());
        pipe.in_flight.extend(&bytes[..taken]);
        pipe.handed += taken as u64;
        taken
    }

    pub fn acknowledged(&self, pipe: u64) -> u64 {
        self.pipes[&pipe].acknowledged
    }

    pub fn all_acknowledged(&self, pipe: u64) -> bool {
        self.pipes[&pipe].in_flight.is_empty()
    }

    pub fn state(&self, pipe: u64) -> State {
        self.pipes[&pipe].state
    }

    pub fn finish(&mut self, pipe: u64) {
        self.pipe(pipe).finished = true;
    }

    /// The program closes it or dies; what its kernel has is still sent.
    pub fn close(&mut self, pipe: u64, ledger: &mut Ledger, now_ms: u64) {
        let pipe = self.pipe(pipe);
        pipe.dropped = true;
        for (_, points) in pipe.frames.iter().take(pipe.held) {
            points
                .iter()
                .for_each(|point| ledger.let_go(*point, now_ms));
        }
    }

    /// Carbon has read and closed: everything on it is delivered.
    pub fn confirm(&self, pipe: u64, ledger: &mut Ledger) {
        for (_, points) in &self.pipes[&pipe].frames {
            points.iter().for_each(|point| ledger.confirmed(*point));
        }
    }

    /// The program's host is gone, and with it what was not acknowledged.
    pub fn host_lost(&mut self) {
        for pipe in self.pipes.values_mut() {
            pipe.in_flight.clear();
        }
    }

    /// Carbon is killed with whatever is unread.
    pub fn die(&mut self) {
        self.pipes.values_mut().for_each(Pipe::reset);
    }

    /// Carbon closes every connection, as it does before a restart.
    pub fn hang_up(&mut self) {
        for pipe in self.pipes.values_mut() {
            match pipe.unread.is_empty() {
                // Bytes that nobody has read turn an end into a reset.
                false => pipe.reset(),
                true if pipe.state == State::Open => pipe.state = State::Ended,
                true => {}
            }
        }
    }

    pub fn step(&mut self, ledger: &mut Ledger, dice: &mut Dice, now_ms: u64) {
        let (mode, unread_max) = (self.mode, self.unread_max);
        for pipe in self.pipes.values_mut() {
            if mode != Mode::BlackHole {
                pipe.transport(unread_max, ledger, dice, now_ms);
            }
            let most = match mode {
                Mode::Up | Mode::Resets(_) => usize::MAX,
                Mode::Slow => 64,
                Mode::Stalled | Mode::BlackHole | Mode::Down => 0,
            };
            if most > 0 {
                pipe.read(most, ledger, dice);
            }
        }
        self.pipes
            .retain(|_, pipe| !pipe.dropped || pipe.state == State::Open);
    }

    pub fn is_quiet(&self) -> bool {
        let empty = |pipe: &Pipe| pipe.in_flight.is_empty() && pipe.unread.is_empty();
        self.pipes.values().all(empty)
    }
}

impl Pipe {
    fn reset(&mut self) {
        self.in_flight.clear();
        self.unread.clear();
        self.begun.clear();
        self.state = State::Reset;
    }

    fn transport(&mut self, unread_max: usize, ledger: &mut Ledger, dice: &mut Dice, now_ms: u64) {
        if self.state != State::Open {
            // What is sent to an end that is closed is answered with a reset.
            if !self.in_flight.is_empty() {
                self.reset();
            }
            return;
        }
        let room = unread_max.saturating_sub(self.unread.len());
        let whole = self.in_flight.len().min(room);
        let moved = if dice.one_in(2) {
            whole
        } else {
            dice.part(whole)
        };
        self.unread.extend(self.in_flight.drain(..moved));
        self.acknowledged += moved as u64;
        while let Some((_, points)) = self
            .frames
            .get(self.held)
            .filter(|f| f.0 <= self.acknowledged)
        {
            if !self.dropped {
                points.iter().for_each(|point| ledger.held(*point, now_ms));
            }
            self.held += 1;
        }
    }

    fn read(&mut self, most: usize, ledger: &mut Ledger, dice: &mut Dice) {
        if self.state != State::Open {
            return;
        }
        let whole = self.unread.len().min(most);
        let mut taken = if dice.one_in(2) {
            whole
        } else {
            dice.part(whole)
        };
        if let Some(reset_after) = self.reset_after {
            taken = taken.min((reset_after - self.read) as usize);
        }
        self.begun.extend(self.unread.drain(..taken));
        self.read += taken as u64;
        let frames = match self.protocol {
            Protocol::Pickle => pickles(&mut self.begun, ledger),
            Protocol::Line => lines(&mut self.begun, ledger),
        };
        let _ = frames;
        if self.reset_after == Some(self.read) {
            return self.reset();
        }
        let no_more = self.finished || self.dropped;
        if no_more && self.in_flight.is_empty() && self.unread.is_empty() {
            let in_order = self.begun.is_empty() || self.dropped;
            assert!(in_order, "the stream ends inside a frame");
            self.state = State::Ended;
        }
    }
}

/// Whole frames, with the codec of somebody else. Invariant 10: one follows the other.
fn pickles(bytes: &mut Vec<u8>, ledger: &mut Ledger) -> u32 {
    let mut frames = 0;
    while let Some(head) = bytes.first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        assert!(length < 1 << 16, "half a frame and then another: {length}");
        if bytes.len() < 4 + length {
            break;
        }
        let frame = &bytes[4..4 + length];
        assert_eq!(frame[..3], [0x80, 2, b']']);
        let rows: Vec<(String, (u32, f64))> =
            serde_pickle::from_slice(frame, serde_pickle::DeOptions::new()).expect("a frame");
        for (name, (timestamp, value)) in rows {
            ledger.delivered(&name, timestamp, value);
        }
        bytes.drain(..4 + length);
        frames += 1;
    }
    frames
}

fn lines(bytes: &mut Vec<u8>, ledger: &mut Ledger) -> u32 {
    let mut frames = 0;
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&bytes[..end]).expect("a line is text");
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, value, timestamp] = fields[..] else {
            panic!("half a line and then another: {line}");
        };
        let timestamp = timestamp.parse().expect("a timestamp");
        ledger.delivered(name, timestamp, value.parse().expect("a value"));
        bytes.drain(..=end);
        frames += 1;
    }
    frames
}
