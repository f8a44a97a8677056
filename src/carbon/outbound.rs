//! What is queued for, in flight to, and delivered to carbon over one connection. Pure.
//!
//! Carbon never acknowledges. A frame is *delivered* when the peer's kernel has acknowledged its last
//! byte and the redo window has passed with the connection healthy. The last `redo_bytes` written are
//! kept even then, and everything kept is sent again, from a frame boundary, when the connection is
//! lost: Graphite overwrites equal timestamps, so repeating is harmless and losing is not.

use super::{frame, line};
use crate::budget;
use crate::config::Protocol;
use crate::last::Mark;
use crate::point::{BLOCK_HEADER_BYTES, NameHash, Point};
use std::collections::VecDeque;
use std::rc::Rc;

/// How often a frame is written at the most. A peer that resets again and again would otherwise see
/// the oldest frames for ever and the newest never; past this the frame counts as delivered and its
/// points as unconfirmed. Sixteen writes with back-off between them are minutes.
const WRITES_MAX: u32 = 16;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub protocol: Protocol,
    pub points_per_frame: usize,
    pub frame_bytes_max: usize,
    pub flush_interval_ms: u64,
    pub redo_window_ms: u64,
    pub redo_bytes: usize,
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

/// A point's place in a frame, and the mark its delivery writes.
#[derive(Debug)]
struct Marking {
    hash: NameHash,
    mark: Mark,
    name_at: u32,
    name_len: u16,
    unchecked: bool,
}

/// A sealed message for carbon.
#[derive(Debug, Default)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub points: u32,
    /// What its points hold of their owner's budget until it is delivered.
    pub cost: usize,
    /// When its first point was accepted.
    pub opened_ms: u64,
    markings: Vec<Marking>,
}

impl Frame {
    /// The marks that its delivery allows: hash, name, mark, and whether it was accepted unchecked.
    pub fn marks(&self) -> impl Iterator<Item = (NameHash, &str, Mark, bool)> {
        self.markings.iter().map(|m| {
            let name = &self.bytes[m.name_at as usize..][..m.name_len as usize];
            let name = std::str::from_utf8(name).expect("a name was a str when it was pushed");
            (m.hash, name, m.mark, m.unchecked)
        })
    }
}

/// A frame with its history.
#[derive(Debug)]
struct Sent {
    frame: Rc<Frame>,
    writes: u32,
    delivered: bool,
    /// Where it ends in the stream of the current connection.
    end: u64,
    acknowledged_ms: Option<u64>,
}

/// What became of a frame the first time it counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Confirmed,
    /// Repeated as often as is allowed without ever staying acknowledged for the redo window.
    Unconfirmed,
}

#[derive(Debug)]
pub struct Outbound {
    limits: Limits,
    open: Frame,
    /// To be written, in order; repeats stand first.
    waiting: VecDeque<Sent>,
    /// Written on this connection, in order: the delivered ones kept for redo, then those in flight.
    written: VecDeque<Sent>,
    written_bytes: usize,
    /// How many at the front of `written` are acknowledged, and how many of those are delivered.
    acknowledged: usize,
    delivered: usize,
    /// Length of the current connection's stream.
    position: u64,
    points_queued: u64,
    pub frames_sent: u64,
    pub frames_repeated: u64,
    pub bytes_sent: u64,
}

impl Outbound {
    pub fn new(limits: Limits) -> Self {
        Outbound {
            limits,
            open: Frame::default(),
            waiting: VecDeque::new(),
            written: VecDeque::new(),
            written_bytes: 0,
            acknowledged: 0,
            delivered: 0,
            position: 0,
            points_queued: 0,
            frames_sent: 0,
            frames_repeated: 0,
            bytes_sent: 0,
        }
    }

    pub fn push(&mut self, hash: NameHash, point: Point<'_>, accepted: Accepted, now_ms: u64) {
        let open = &mut self.open;
        if open.points == 0 {
            open.opened_ms = now_ms;
            if self.limits.protocol == Protocol::Pickle {
                // A frame stands alone in its buffer.
                let _ = frame::open(&mut open.bytes);
            }
        }
        let start = open.bytes.len();
        let name_at = match self.limits.protocol {
            Protocol::Pickle => {
                frame::push_tuple(&mut open.bytes, point.name, point.timestamp, point.value);
                start + frame::NAME_OFFSET
            }
            Protocol::Line => {
                line::push_line(&mut open.bytes, point.name, point.timestamp, point.value);
                start
            }
        };
        open.points += 1;
        open.cost += budget::cost(BLOCK_HEADER_BYTES + point.name.len(), 1);
        if accepted != Accepted::Unmarked {
            open.markings.push(Marking {
                hash,
                mark: Mark {
                    timestamp: point.timestamp,
                    value: Some(point.value),
                },
                name_at: name_at as u32,
                name_len: point.name.len() as u16,
                unchecked: accepted == Accepted::Unchecked,
            });
        }
        self.points_queued += 1;
        // The longest point still fits: frame_bytes_max is well under carbon's 1 MiB.
        if open.points as usize >= self.limits.points_per_frame
            || open.bytes.len() >= self.limits.frame_bytes_max
        {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if self.open.points == 0 {
            return;
        }
        let mut sealed = std::mem::take(&mut self.open);
        if self.limits.protocol == Protocol::Pickle {
            frame::close(&mut sealed.bytes, 0);
        }
        self.waiting.push_back(Sent {
            frame: Rc::new(sealed),
            writes: 0,
            delivered: false,
            end: 0,
            acknowledged_ms: None,
        });
    }

    /// The next frame to write, if one is due. A frame that is not full waits for the flush interval,
    /// so that single points share frames; while the link is stalled it goes on filling.
    pub fn next_due(&mut self, now_ms: u64) -> Option<Rc<Frame>> {
        if self.waiting.is_empty() && self.is_due(now_ms) {
            self.seal();
        }
        let mut sent = self.waiting.pop_front()?;
        self.position += sent.frame.bytes.len() as u64;
        sent.end = self.position;
        sent.writes += 1;
        self.frames_sent += 1;
        self.frames_repeated += u64::from(sent.writes > 1);
        self.bytes_sent += sent.frame.bytes.len() as u64;
        self.written_bytes += sent.frame.bytes.len();
        let frame = sent.frame.clone();
        self.written.push_back(sent);
        Some(frame)
    }

    /// Something should leave by now: a full frame, or one that has waited for the flush interval.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let ripe = now_ms >= self.open.opened_ms + self.limits.flush_interval_ms;
        self.has_full_frame() || (self.open.points > 0 && ripe)
    }

    /// Everything may leave now, full or not: the service is draining.
    pub fn flush(&mut self) {
        self.seal();
    }

    /// A new connection: its stream starts at a frame boundary.
    pub fn connected(&mut self) {
        debug_assert!(self.written.is_empty(), "the last connection was given up");
        self.position = 0;
    }

    /// The peer's kernel has acknowledged the first `bytes` of the stream.
    pub fn acknowledged(&mut self, bytes: u64, now_ms: u64) {
        while let Some(sent) = self.written.get_mut(self.acknowledged) {
            if sent.end > bytes {
                break;
            }
            sent.acknowledged_ms = Some(now_ms);
            self.acknowledged += 1;
        }
    }

    /// Counts as delivered what has been acknowledged for the whole redo window.
    pub fn tick(&mut self, now_ms: u64, on_delivered: impl FnMut(&Frame, Delivery)) {
        self.deliver(
            now_ms.saturating_sub(self.limits.redo_window_ms),
            on_delivered,
        );
    }

    /// The sink itself has said that everything written is safe (a file took it, or the peer closed
    /// in answer to our end of stream).
    pub fn confirmed(&mut self, on_delivered: impl FnMut(&Frame, Delivery)) {
        self.acknowledged(self.position, 0);
        self.deliver(u64::MAX, on_delivered);
    }

    fn deliver(&mut self, until_ms: u64, mut on_delivered: impl FnMut(&Frame, Delivery)) {
        while self.delivered < self.acknowledged {
            let sent = &mut self.written[self.delivered];
            if sent.acknowledged_ms.is_none_or(|at| at > until_ms) {
                break;
            }
            self.delivered += 1;
            if !std::mem::replace(&mut sent.delivered, true) {
                self.points_queued -= u64::from(sent.frame.points);
                on_delivered(&sent.frame, Delivery::Confirmed);
            }
        }
        // What is delivered is kept as long as it belongs to the last `redo_bytes` of the stream.
        while self.delivered > 0 {
            let oldest = self.written[0].frame.bytes.len();
            if self.written_bytes - oldest < self.limits.redo_bytes {
                break;
            }
            self.written_bytes -= oldest;
            self.written.pop_front();
            self.delivered -= 1;
            self.acknowledged -= 1;
        }
    }

    /// The connection is gone: everything kept goes to the front of the queue again.
    pub fn lost(&mut self, mut on_delivered: impl FnMut(&Frame, Delivery)) {
        self.acknowledged = 0;
        self.delivered = 0;
        self.written_bytes = 0;
        self.position = 0;
        while let Some(mut sent) = self.written.pop_back() {
            sent.acknowledged_ms = None;
            if sent.writes < WRITES_MAX {
                self.waiting.push_front(sent);
            } else if !sent.delivered {
                self.points_queued -= u64::from(sent.frame.points);
                on_delivered(&sent.frame, Delivery::Unconfirmed);
            }
        }
    }

    /// Length of the stream handed to this connection so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Points accepted and not delivered yet.
    pub fn points_queued(&self) -> u64 {
        self.points_queued
    }

    /// A frame waits that need not grow any more.
    pub fn has_full_frame(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Everything ever accepted here has been written to the current connection.
    pub fn all_written(&self) -> bool {
        self.waiting.is_empty() && self.open.points == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        protocol: Protocol::Line,
        points_per_frame: 2,
        frame_bytes_max: 1000,
        flush_interval_ms: 10,
        redo_window_ms: 1000,
        redo_bytes: 30,
    };

    fn push(outbound: &mut Outbound, name: &str, now_ms: u64) {
        let point = Point {
            name,
            timestamp: 5,
            value: 1.0,
            fill: false,
        };
        outbound.push(1, point, Accepted::Live, now_ms);
    }

    fn text(frame: Option<Rc<Frame>>) -> String {
        frame.map_or(String::new(), |frame| {
            String::from_utf8(frame.bytes.clone()).unwrap()
        })
    }

    /// What was delivered, as the names in it.
    fn names(delivered: &mut Vec<(String, Delivery)>) -> impl FnMut(&Frame, Delivery) + '_ {
        |frame, delivery| {
            for (_, name, mark, _) in frame.marks() {
                assert_eq!((mark.timestamp, mark.value), (5, Some(1.0)));
                delivered.push((name.to_owned(), delivery));
            }
        }
    }

    #[test]
    fn a_frame_leaves_when_it_is_full_or_has_waited_for_the_flush_interval() {
        let mut outbound = Outbound::new(LIMITS);
        push(&mut outbound, "a", 100);
        assert!(outbound.next_due(109).is_none());
        push(&mut outbound, "b", 105);
        assert_eq!(text(outbound.next_due(105)), "a 1.0 5\nb 1.0 5\n");
        push(&mut outbound, "c", 106);
        assert_eq!(text(outbound.next_due(116)), "c 1.0 5\n");
        assert!(outbound.next_due(u64::MAX).is_none());
        assert_eq!(outbound.points_queued(), 3);
    }

    #[test]
    fn delivered_means_acknowledged_for_the_whole_redo_window() {
        let mut outbound = Outbound::new(LIMITS);
        push(&mut outbound, "a", 0);
        outbound.flush();
        let length = outbound.next_due(0).unwrap().bytes.len() as u64;
        let mut delivered = Vec::new();
        outbound.acknowledged(length - 1, 10);
        outbound.tick(5000, names(&mut delivered));
        outbound.acknowledged(length, 5000);
        outbound.tick(5999, names(&mut delivered));
        assert!(delivered.is_empty(), "{delivered:?}");
        outbound.tick(6000, names(&mut delivered));
        assert_eq!(delivered, [("a".to_owned(), Delivery::Confirmed)]);
        assert_eq!(outbound.points_queued(), 0);
    }

    #[test]
    fn a_lost_connection_repeats_what_was_kept_in_order_before_anything_newer() {
        let mut outbound = Outbound::new(LIMITS);
        let mut delivered = Vec::new();
        for name in ["a", "b", "c", "d"] {
            push(&mut outbound, name, 0);
            outbound.flush();
            outbound.next_due(0);
        }
        outbound.acknowledged(24, 0);
        outbound.tick(1000, names(&mut delivered));
        assert_eq!(delivered.len(), 3, "a, b and c");
        push(&mut outbound, "e", 1000);
        outbound.flush();
        outbound.lost(names(&mut delivered));
        outbound.connected();
        let repeated: String = (0..9).map(|_| text(outbound.next_due(2000))).collect();
        // Lines of 8 bytes: of the last 30 bytes written, d was in flight and a, b, c are kept.
        assert_eq!(repeated, "a 1.0 5\nb 1.0 5\nc 1.0 5\nd 1.0 5\ne 1.0 5\n");
        outbound.acknowledged(40, 2000);
        outbound.tick(3000, names(&mut delivered));
        let order: String = delivered.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(order, "abcde", "each is delivered once");
        assert_eq!(outbound.frames_repeated, 4);
    }

    #[test]
    fn what_is_kept_for_redo_is_bounded_by_the_last_bytes_written() {
        let mut outbound = Outbound::new(LIMITS);
        for at in 0..100 {
            push(&mut outbound, "a", at);
            outbound.flush();
            outbound.next_due(at);
        }
        outbound.acknowledged(u64::MAX, 100);
        outbound.tick(1100, |_, _| {});
        assert_eq!(outbound.written_bytes, 32, "four lines cover 30 bytes");
    }

    #[test]
    fn a_peer_that_resets_for_ever_does_not_stop_newer_frames() {
        let mut outbound = Outbound::new(LIMITS);
        let mut delivered = Vec::new();
        push(&mut outbound, "old", 0);
        outbound.flush();
        for round in 0..WRITES_MAX {
            outbound.connected();
            assert!(outbound.next_due(0).is_some(), "round {round}");
            assert!(delivered.is_empty());
            outbound.lost(names(&mut delivered));
        }
        assert_eq!(delivered, [("old".to_owned(), Delivery::Unconfirmed)]);
        push(&mut outbound, "new", 1);
        outbound.flush();
        assert_eq!(text(outbound.next_due(1)), "new 1.0 5\n");
        assert_eq!(outbound.points_queued(), 1);
    }
}
