//! Frames of one lane, before they are written: the open one that takes points, and the sealed ones that
//! wait, in order.

use super::frame::Encoded;
use super::{frame, line};
use crate::budget;
use crate::config::Protocol;
use crate::last::Mark;
use crate::point::{Header, NameHash, Point, Run};
use std::collections::VecDeque;
use std::rc::Rc;

/// Frames whose memory is kept for the next ones, in each lane: what is let go at once as others are sealed.
const SPARE_FRAMES_MAX: usize = 32;
/// A frame that grew above this is freed: they are as long as the names in them.
const SPARE_FRAME_BYTES_MAX: usize = 128 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub protocol: Protocol,
    pub points_per_frame: usize,
    pub frame_bytes_max: usize,
    pub flush_interval_ms: u64,
    pub redo_window_ms: u64,
    pub redo_bytes: usize,
}

/// Where the points of a frame come from. Each lane keeps its order; they take turns on the connection,
/// so a backlog does not hold up what comes in now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    #[default]
    Live,
    /// From the journal of an earlier run.
    Recovered,
    /// The program's own series: nobody's points, in no count of points, and gone with the process.
    Own,
}

impl Lane {
    pub const ALL: [Lane; 3] = [Lane::Live, Lane::Recovered, Lane::Own];

    /// All of them, this one last.
    pub fn turns(self) -> impl Iterator<Item = Lane> {
        let count = Lane::ALL.len();
        (1..=count).map(move |step| Lane::ALL[(self as usize + step) % count])
    }
}

/// How the owner accepted a point: what its delivery means for the last store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Its delivery moves the mark.
    Live,
    /// As `Live`, but accepted while the store did not answer: looked up before its first write.
    Unchecked,
    /// A back-fill, or de-duplication is off: no mark.
    Unmarked,
}

/// The mark that a point's delivery writes, and where its name stands in the frame. Half a line of memory: each is written, and
/// read a redo window later, when it has left every cache.
#[derive(Debug)]
pub struct Marking {
    /// Two halves instead of one `u128`, whose alignment would cost half as much again.
    hash: [u64; 2],
    value: f64,
    timestamp: u32,
    /// And [`UNCHECKED`].
    name_at: u32,
}

const _: () = assert!(size_of::<Marking>() == 32);

/// Frames are bounded by `frame_bytes_max`, far below 2 GiB.
const UNCHECKED: u32 = 1 << 31;

impl Marking {
    #[inline]
    fn new(header: &Header, name_at: usize, accepted: Accepted) -> Marking {
        let unchecked = match accepted {
            Accepted::Unchecked => UNCHECKED,
            Accepted::Live | Accepted::Unmarked => 0,
        };
        Marking {
            hash: [header.hash as u64, (header.hash >> 64) as u64],
            value: header.value,
            timestamp: header.timestamp,
            name_at: name_at as u32 | unchecked,
        }
    }

    #[inline]
    pub fn hash(&self) -> NameHash {
        let [low, high] = self.hash;
        NameHash::from(low) | NameHash::from(high) << 64
    }

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            timestamp: self.timestamp,
            value: Some(self.value),
        }
    }

    #[inline]
    pub fn unchecked(&self) -> bool {
        self.name_at & UNCHECKED != 0
    }

    fn name_at(&self) -> usize {
        (self.name_at & !UNCHECKED) as usize
    }
}

/// A message for carbon.
#[derive(Debug, Default)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub points: u32,
    pub lane: Lane,
    /// What its points hold of the bytes that admission counts, until it is delivered.
    pub cost: usize,
    /// When its first point was accepted.
    pub opened_ms: u64,
    markings: Vec<Marking>,
}

impl Frame {
    /// As many points of a run as surely leave the frame within its bounds, or only the last one over them; and the others.
    #[inline]
    fn fit<'r>(&self, limits: &Limits, run: Run<'r>) -> (Run<'r>, Run<'r>) {
        let beside_name = match limits.protocol {
            Protocol::Pickle => frame::TUPLE_OVERHEAD_BYTES_MAX,
            Protocol::Line => line::LINE_OVERHEAD_BYTES_MAX,
        };
        let points = limits.points_per_frame.saturating_sub(self.points as usize);
        let bytes = limits.frame_bytes_max.saturating_sub(self.bytes.len());
        run.fit(points, beside_name, bytes)
    }

    /// Takes points, copied from `tuples` where they are encoded already: these move on past them.
    #[inline]
    fn push(
        &mut self,
        protocol: Protocol,
        run: Run<'_>,
        tuples: &mut Option<Encoded<'_>>,
        accepted: Accepted,
    ) {
        self.points += run.points() as u32;
        self.cost += budget::cost(run.len_bytes(), run.points() as u32);
        let start = self.bytes.len();
        match (protocol, tuples) {
            (Protocol::Pickle, Some(tuples)) => {
                for header in run.headers() {
                    let len = frame::tuple_bytes(header.name_bytes.into(), header.timestamp);
                    let (tuple, rest) = tuples.bytes.split_at(tuples.gap + len);
                    self.bytes.extend_from_slice(&tuple[tuples.gap..]);
                    tuples.bytes = rest;
                }
                self.mark_tuples(run, accepted, start);
            }
            (Protocol::Pickle, None) => {
                for (_, point) in run.iter() {
                    let (timestamp, value) = (point.timestamp, point.value);
                    frame::push_tuple(&mut self.bytes, point.name, timestamp, value);
                }
                self.mark_tuples(run, accepted, start);
            }
            (Protocol::Line, _) => {
                for (header, (_, point)) in run.headers().iter().zip(run.iter()) {
                    let at = self.bytes.len();
                    line::push_line(&mut self.bytes, point.name, point.timestamp, point.value);
                    if accepted != Accepted::Unmarked {
                        self.markings.push(Marking::new(header, at, accepted));
                    }
                }
            }
        }
    }

    /// The marks of points whose tuples begin there.
    fn mark_tuples(&mut self, run: Run<'_>, accepted: Accepted, mut at: usize) {
        if accepted == Accepted::Unmarked {
            return;
        }
        if let [header] = run.headers() {
            let marking = Marking::new(header, at + frame::NAME_OFFSET, accepted);
            return self.markings.push(marking);
        }
        self.markings.extend(run.headers().iter().map(|header| {
            let marking = Marking::new(header, at + frame::NAME_OFFSET, accepted);
            at += frame::tuple_bytes(header.name_bytes.into(), header.timestamp);
            marking
        }));
    }

    /// An empty one with room for as much: grown point by point it would be copied ten times on its way.
    fn another(&self) -> Frame {
        Frame {
            bytes: Vec::with_capacity(self.bytes.len() + self.bytes.len() / 8),
            markings: Vec::with_capacity(self.markings.len()),
            ..Frame::default()
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.markings.clear();
        (self.points, self.cost, self.opened_ms) = (0, 0, 0);
    }

    /// The marks that its delivery allows, in order.
    pub fn markings(&self) -> &[Marking] {
        &self.markings
    }

    /// Some of its markings with their names. These are brought together in `names`, which is kept for its memory only.
    pub fn named<'f>(
        &'f self,
        markings: impl Iterator<Item = &'f Marking> + Clone,
        names: &'f mut Vec<u8>,
        protocol: Protocol,
    ) -> impl Iterator<Item = (&'f Marking, &'f str)> {
        let name = move |marking: &Marking| match protocol {
            Protocol::Pickle => frame::name_at(&self.bytes, marking.name_at()),
            Protocol::Line => line::name_at(&self.bytes, marking.name_at()),
        };
        names.clear();
        markings
            .clone()
            .for_each(|marking| names.extend_from_slice(name(marking)));
        // One long text is checked faster than many short ones.
        let text = simdutf8::basic::from_utf8(names);
        let mut rest = text.expect("a name was a str when it was pushed");
        markings.map(move |marking| {
            let (name, after) = rest.split_at(name(marking).len());
            rest = after;
            (marking, name)
        })
    }

    /// Its points again, in order; one without a mark comes back as a fill.
    pub fn points(&self, protocol: Protocol, mut each: impl FnMut(Point<'_>)) {
        let mut rest = match protocol {
            Protocol::Pickle => frame::tuples(&self.bytes),
            Protocol::Line => &self.bytes[..],
        };
        let mut markings = self.markings.iter().peekable();
        for _ in 0..self.points {
            let read = match protocol {
                Protocol::Pickle => frame::read_tuple(rest),
                Protocol::Line => line::read_line(rest),
            };
            let (name, timestamp, value, len) = read.expect("it was written here");
            let at = name.as_ptr() as usize - self.bytes.as_ptr() as usize;
            let marked = markings.next_if(|marking| marking.name_at() == at);
            each(Point {
                name,
                timestamp,
                value,
                fill: marked.is_none(),
            });
            rest = &rest[len..];
        }
    }
}

/// A frame with its history.
#[derive(Debug)]
pub struct Sent {
    pub frame: Rc<Frame>,
    pub writes: u32,
    /// How many of these ended with the peer closing or resetting the connection.
    pub refusals: u32,
    pub delivered: bool,
    /// Where it ends in the stream of the current connection.
    pub end: u64,
    pub acknowledged_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Queue {
    lane: Lane,
    /// Nobody else's until it is sealed.
    open: Rc<Frame>,
    spare: Vec<Rc<Frame>>,
    /// To be written, in order; repeats stand first.
    pub waiting: VecDeque<Sent>,
}

impl Queue {
    pub fn new(lane: Lane) -> Queue {
        Queue {
            lane,
            ..Queue::default()
        }
    }

    /// Adds points to the open frame, and to the next ones where they do not fit.
    #[inline]
    pub fn push(
        &mut self,
        limits: &Limits,
        run: Run<'_>,
        mut tuples: Option<Encoded<'_>>,
        accepted: Accepted,
        now_ms: u64,
    ) {
        let mut rest = run;
        while !rest.is_empty() {
            let open = Rc::get_mut(&mut self.open).expect("an open frame is nobody else's");
            if open.points == 0 {
                open.opened_ms = now_ms;
                open.lane = self.lane;
                if limits.protocol == Protocol::Pickle {
                    // A frame stands alone in its buffer.
                    let _ = frame::open(&mut open.bytes);
                }
            }
            let (first, others) = open.fit(limits, rest);
            open.push(limits.protocol, first, &mut tuples, accepted);
            rest = others;
            // The longest point still fits: frame_bytes_max is well under carbon's 1 MiB.
            if open.points as usize >= limits.points_per_frame
                || open.bytes.len() >= limits.frame_bytes_max
            {
                self.seal(limits.protocol);
            }
        }
    }

    pub fn seal(&mut self, protocol: Protocol) {
        if self.open.points == 0 {
            return;
        }
        let next = self.spare.pop();
        let next = next.unwrap_or_else(|| Rc::new(self.open.another()));
        let mut sealed = std::mem::replace(&mut self.open, next);
        if protocol == Protocol::Pickle
            && let Some(sealed) = Rc::get_mut(&mut sealed)
        {
            frame::close(&mut sealed.bytes, 0);
        }
        self.waiting.push_back(Sent {
            frame: sealed,
            writes: 0,
            refusals: 0,
            delivered: false,
            end: 0,
            acknowledged_ms: None,
        });
    }

    /// A frame that will never be sent again: its memory serves the next one.
    pub fn recycle(&mut self, mut frame: Rc<Frame>) {
        if self.spare.len() < SPARE_FRAMES_MAX
            && frame.bytes.capacity() <= SPARE_FRAME_BYTES_MAX
            && let Some(alone) = Rc::get_mut(&mut frame)
        {
            alone.clear();
            self.spare.push(frame);
        }
    }

    /// Something should leave by now: a full frame, or one that has waited for the flush interval.
    pub fn is_due(&self, now_ms: u64, flush_interval_ms: u64) -> bool {
        let ripe = now_ms >= self.open.opened_ms + flush_interval_ms;
        !self.waiting.is_empty() || (self.open.points > 0 && ripe)
    }

    /// When the first point was accepted that waits here for its first delivery.
    pub fn oldest_ms(&self) -> Option<u64> {
        let waiting = self.waiting.iter().find(|sent| !sent.delivered);
        let open = (self.open.points > 0).then_some(self.open.opened_ms);
        waiting.map(|sent| sent.frame.opened_ms).or(open)
    }

    /// Everything has been written to the current connection.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.open.points == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbound::tests::LIMITS;
    use super::*;
    use crate::point::Block;
    use proptest::prelude::*;

    #[test]
    fn a_frame_gives_its_points_back_whatever_the_protocol_and_knows_which_were_marked() {
        for protocol in [Protocol::Pickle, Protocol::Line] {
            let limits = Limits {
                protocol,
                points_per_frame: 4,
                ..LIMITS
            };
            let points = [
                ("a.b", 5, 0.1, Accepted::Live),
                ("fill.c", u32::MAX, -1e300, Accepted::Unmarked),
                ("métrique.é", 7, 1e16, Accepted::Unchecked),
                ("fill.e", 8, -0.0, Accepted::Unmarked),
            ];
            let mut queue = Queue::new(Lane::Live);
            for (name, timestamp, value, accepted) in points {
                let point = Point {
                    name,
                    timestamp,
                    value,
                    fill: false,
                };
                let header = Header::of(1, point);
                queue.push(&limits, Run::one(&header, name), None, accepted, 0);
            }
            let frame = queue.waiting.pop_front().unwrap().frame;
            let mut read = Vec::new();
            frame.points(protocol, |p| {
                read.push((p.name.to_owned(), p.timestamp, p.value.to_bits(), p.fill));
            });
            let expected: Vec<_> = points
                .iter()
                .map(|&(name, timestamp, value, accepted)| {
                    let unmarked = accepted == Accepted::Unmarked;
                    (name.to_owned(), timestamp, f64::to_bits(value), unmarked)
                })
                .collect();
            assert_eq!(read, expected, "{protocol:?}");
            let mut names = b"of another frame".to_vec();
            let marks: Vec<_> = frame
                .named(frame.markings().iter(), &mut names, protocol)
                .map(|(m, name)| (m.hash(), name, m.mark(), m.unchecked()))
                .collect();
            let mark = |timestamp, value| Mark {
                timestamp,
                value: Some(value),
            };
            let live = (1, "a.b", mark(5, 0.1), false);
            let unchecked = (1, "métrique.é", mark(7, 1e16), true);
            assert_eq!(marks, [live, unchecked], "{protocol:?}");
        }
    }
    /// Everything there is of a queue's frames.
    fn contents(mut queue: Queue, protocol: Protocol) -> String {
        queue.seal(protocol);
        let frames = queue.waiting.iter().map(|sent| &sent.frame);
        frames.map(|frame| format!("{frame:?}\n")).collect()
    }

    proptest! {
        #[test]
        fn runs_become_the_frames_that_their_points_become_one_by_one(
            runs in proptest::collection::vec((proptest::collection::vec(
                ("\\PC{0,20}", any::<u32>(), any::<f64>()), 1..40), 0..3usize, any::<bool>()), 1..12),
            points_per_frame in 1..30usize, frame_bytes_max in 50..900usize, pickle in any::<bool>(),
        ) {
            let protocol = if pickle { Protocol::Pickle } else { Protocol::Line };
            let limits = Limits { protocol, points_per_frame, frame_bytes_max, ..LIMITS };
            let mut queues = [Queue::new(Lane::Live), Queue::new(Lane::Live)];
            for (now_ms, (points, accepted, encoded)) in runs.iter().enumerate() {
                let accepted = [Accepted::Live, Accepted::Unchecked, Accepted::Unmarked][*accepted];
                let (mut block, mut bytes) = (Block::default(), Vec::new());
                for (name, timestamp, value) in points {
                    let point = Point { name, timestamp: *timestamp, value: *value, fill: false };
                    block.push(*timestamp as NameHash, point);
                    frame::push_tuple_behind(&mut bytes, 0xff, name.as_bytes(), *timestamp, *value);
                    let header = Header::of(*timestamp as NameHash, point);
                    queues[0].push(&limits, Run::one(&header, name), None, accepted, now_ms as u64);
                }
                let tuples = encoded.then_some(Encoded { bytes: &bytes, gap: 1 });
                queues[1].push(&limits, block.all(), tuples, accepted, now_ms as u64);
            }
            let [one_by_one, in_runs] = queues.map(|queue| contents(queue, protocol));
            prop_assert_eq!(one_by_one, in_runs);
        }
    }
}
