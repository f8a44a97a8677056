//! What is queued for, in flight to, and delivered to carbon over one connection. Pure.
//!
//! Carbon never acknowledges. A frame is *delivered* when the peer's kernel has acknowledged its last
//! byte and the redo window has passed with the connection healthy. The last `redo_bytes` acknowledged
//! are kept even then (that kernel may hold them unread), and everything kept is sent again, from a
//! frame boundary, when the connection is lost: Graphite overwrites equal timestamps, so repeating is harmless and losing is not. What will never
//! be sent again is *gone*: only then may the journal forget it.

use super::frame::Encoded;
pub use super::lane::{Accepted, Frame, Lane, Limits, Marking};
use super::lane::{Queue, Sent};
use crate::config::Protocol;
use crate::point::{Header, NameHash, Point, Run};
use std::collections::VecDeque;
use std::rc::Rc;

/// How often a peer may close or reset after a frame was written. One that does so again and again would
/// otherwise see the oldest frames for ever and the newest never; past this the frame counts as delivered and
/// its points as unconfirmed. With back-off between them these are a minute and a half: longer than a carbon
/// that is restarted, or that a supervisor restarts again and again, takes to stand.
const REFUSALS_MAX: u32 = 64;

/// What became of a frame the first time it counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Confirmed,
    /// Repeated as often as is allowed without ever staying acknowledged for the redo window.
    Unconfirmed,
}

/// A number of points for each lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    pub live: u64,
    pub recovered: u64,
    pub own: u64,
}

impl Points {
    fn of(&mut self, lane: Lane) -> &mut u64 {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Recovered => &mut self.recovered,
            Lane::Own => &mut self.own,
        }
    }

    fn add(&mut self, frame: &Frame) {
        *self.of(frame.lane) += u64::from(frame.points);
    }

    fn take(&mut self, frame: &Frame) {
        *self.of(frame.lane) -= u64::from(frame.points);
    }
}

#[derive(Debug)]
pub struct Outbound {
    limits: Limits,
    queues: [Queue; Lane::ALL.len()],
    /// The lane of the last frame taken.
    last: Lane,
    /// Written on this connection, in order: the delivered ones kept for redo, then those in flight.
    written: VecDeque<Sent>,
    /// How many at the front of `written` are acknowledged, and how many of those are delivered.
    acknowledged: usize,
    acknowledged_bytes: usize,
    delivered: usize,
    /// Length of the current connection's stream.
    position: u64,
    queued: Points,
    gone: Points,
    /// The connection is about to be lost without the peer's doing.
    silent: bool,
    pub frames_sent: u64,
    pub frames_repeated: u64,
    pub bytes_sent: u64,
}

impl Outbound {
    pub fn new(limits: Limits) -> Self {
        Outbound {
            limits,
            queues: Lane::ALL.map(Queue::new),
            last: Lane::Live,
            written: VecDeque::new(),
            acknowledged: 0,
            acknowledged_bytes: 0,
            delivered: 0,
            position: 0,
            queued: Points::default(),
            gone: Points::default(),
            silent: false,
            frames_sent: 0,
            frames_repeated: 0,
            bytes_sent: 0,
        }
    }

    /// Takes a point for a lane's open frame.
    pub fn push(
        &mut self,
        lane: Lane,
        (hash, point): (NameHash, Point<'_>),
        accepted: Accepted,
        now_ms: u64,
    ) {
        let header = Header::of(hash, point);
        let run = Run::one(&header, point.name);
        self.push_run(lane, run, None, accepted, now_ms);
    }

    /// The same for points that were accepted alike; `tuples` is their encoding, where they have one already.
    // As [`crate::journal::Journal::push_run`].
    #[inline(always)]
    pub fn push_run(
        &mut self,
        lane: Lane,
        run: Run<'_>,
        tuples: Option<Encoded<'_>>,
        accepted: Accepted,
        now_ms: u64,
    ) {
        *self.queued.of(lane) += run.points() as u64;
        self.queues[lane as usize].push(&self.limits, run, tuples, accepted, now_ms);
    }

    /// The next frame to write, if one is due; the lanes take turns where both have one. A frame that is
    /// not full waits for the flush interval, so that single points share frames; while the link is
    /// stalled it goes on filling.
    pub fn next_due(&mut self, now_ms: u64) -> Option<Rc<Frame>> {
        let due =
            |lane: &Lane| self.queues[*lane as usize].is_due(now_ms, self.limits.flush_interval_ms);
        let lane = self.last.turns().find(due)?;
        self.last = lane;
        let queue = &mut self.queues[lane as usize];
        if queue.waiting.is_empty() {
            queue.seal(self.limits.protocol);
        }
        let mut sent = queue.waiting.pop_front()?;
        self.position += sent.frame.bytes.len() as u64;
        sent.end = self.position;
        sent.writes += 1;
        self.frames_sent += 1;
        self.frames_repeated += u64::from(sent.writes > 1);
        self.bytes_sent += sent.frame.bytes.len() as u64;
        let frame = sent.frame.clone();
        self.written.push_back(sent);
        Some(frame)
    }

    /// Something should leave by now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let interval = self.limits.flush_interval_ms;
        self.queues
            .iter()
            .any(|queue| queue.is_due(now_ms, interval))
    }

    /// Everything may leave now, full or not: the service is draining.
    pub fn flush(&mut self) {
        for queue in &mut self.queues {
            queue.seal(self.limits.protocol);
        }
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
            self.acknowledged_bytes += sent.frame.bytes.len();
        }
    }

    /// Counts as delivered the next frame that has been acknowledged for the whole redo window. True: so has another.
    pub fn tick(&mut self, now_ms: u64, on_delivered: impl FnMut(&Frame, Delivery)) -> bool {
        let until_ms = now_ms.saturating_sub(self.limits.redo_window_ms);
        self.deliver(until_ms, 1, on_delivered);
        // What is delivered is kept as long as it belongs to the last `redo_bytes` that the peer's kernel took.
        self.forget(self.limits.redo_bytes);
        self.is_safe(until_ms)
    }

    /// The sink itself has said that everything written is safe (a file took it, or the peer closed
    /// in answer to our end of stream): none of it will have to be sent again.
    pub fn confirmed(&mut self, on_delivered: impl FnMut(&Frame, Delivery)) {
        self.acknowledged(self.position, 0);
        self.deliver(u64::MAX, usize::MAX, on_delivered);
        self.forget(0);
    }

    /// There is a frame that is not delivered and was acknowledged by then.
    fn is_safe(&self, until_ms: u64) -> bool {
        let acknowledged = self.written.range(self.delivered..self.acknowledged);
        let next = acknowledged.map(|sent| sent.acknowledged_ms).next();
        next.flatten().is_some_and(|at| at <= until_ms)
    }

    fn deliver(
        &mut self,
        until_ms: u64,
        frames_max: usize,
        mut on_delivered: impl FnMut(&Frame, Delivery),
    ) {
        let mut frames = 0;
        while frames < frames_max && self.is_safe(until_ms) {
            let sent = &mut self.written[self.delivered];
            self.delivered += 1;
            if !std::mem::replace(&mut sent.delivered, true) {
                self.queued.take(&sent.frame);
                on_delivered(&sent.frame, Delivery::Confirmed);
                frames += 1;
            }
        }
    }

    /// Lets go of delivered frames, the oldest first, that the last `redo_bytes` acknowledged do not need. What
    /// waits in our own kernel pushes nothing out of the peer's.
    fn forget(&mut self, redo_bytes: usize) {
        while self.delivered > 0 {
            let oldest = self.written[0].frame.bytes.len();
            if self.acknowledged_bytes - oldest < redo_bytes {
                break;
            }
            self.acknowledged_bytes -= oldest;
            self.delivered -= 1;
            self.acknowledged -= 1;
            if let Some(sent) = self.written.pop_front() {
                self.gone.add(&sent.frame);
                self.queues[sent.frame.lane as usize].recycle(sent.frame);
            }
        }
    }

    /// The connection that is about to be lost ended because the peer did not answer in time. That says nothing
    /// against its frames, and newer ones would fare no better: they are repeated for as long as it takes.
    pub fn silent(&mut self) {
        self.silent = true;
    }

    /// The connection is gone: everything kept goes to the front of its queue again.
    pub fn lost(&mut self, on_delivered: impl FnMut(&Frame, Delivery)) {
        self.take_back(REFUSALS_MAX, on_delivered);
    }

    fn take_back(&mut self, refusals_max: u32, mut on_delivered: impl FnMut(&Frame, Delivery)) {
        self.acknowledged = 0;
        self.acknowledged_bytes = 0;
        self.delivered = 0;
        self.position = 0;
        let refused = u32::from(!std::mem::take(&mut self.silent));
        while let Some(mut sent) = self.written.pop_back() {
            sent.acknowledged_ms = None;
            sent.refusals += refused;
            if sent.refusals < refusals_max {
                self.queues[sent.frame.lane as usize]
                    .waiting
                    .push_front(sent);
                continue;
            }
            self.gone.add(&sent.frame);
            if !sent.delivered {
                self.queued.take(&sent.frame);
                on_delivered(&sent.frame, Delivery::Unconfirmed);
            }
        }
    }

    /// Everything is delivered, and of earlier runs something is only kept for a redo: while nothing new pushes it
    /// out, it holds their segments, and a journal full of them takes nothing new. The stream should end in
    /// order once, so that carbon confirms what it has read.
    pub fn wants_confirmation(&self) -> bool {
        let recovered = |sent: &Sent| sent.frame.lane == Lane::Recovered;
        self.points_queued() == 0 && self.written.iter().any(recovered)
    }

    /// Takes out the oldest live frame that may still have to be sent: an orderly stop writes it to the
    /// journal. Those of earlier runs are there already. Says how many of its points were not delivered yet.
    pub fn take_backlog(&mut self) -> Option<(Rc<Frame>, u32)> {
        if self.written.is_empty() {
            self.flush();
        } else {
            // However often they were written: the journal asks carbon nothing.
            self.take_back(u32::MAX, |_, _| {});
        }
        let sent = self.queues[Lane::Live as usize].waiting.pop_front()?;
        if sent.delivered {
            return Some((sent.frame, 0));
        }
        self.queued.take(&sent.frame);
        let points = sent.frame.points;
        Some((sent.frame, points))
    }

    pub fn protocol(&self) -> Protocol {
        self.limits.protocol
    }

    /// Points that became gone since the last call.
    pub fn take_gone(&mut self) -> Points {
        std::mem::take(&mut self.gone)
    }

    /// Length of the stream handed to this connection so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Points not delivered yet.
    pub fn queued(&self) -> Points {
        self.queued
    }

    /// Points accepted and not delivered yet.
    pub fn points_queued(&self) -> u64 {
        self.queued.live + self.queued.recovered
    }

    /// When the oldest point that is not delivered was accepted.
    pub fn oldest_ms(&self) -> Option<u64> {
        // A repeat of what is delivered is not waited for.
        let written = self.written.iter().skip(self.delivered);
        let written = written.filter(|sent| !sent.delivered);
        let queued = self.queues.iter().filter_map(Queue::oldest_ms);
        queued
            .chain(written.map(|sent| sent.frame.opened_ms).take(1))
            .min()
    }

    /// A frame waits that need not grow any more.
    pub fn has_full_frame(&self) -> bool {
        self.queues.iter().any(|queue| !queue.waiting.is_empty())
    }

    /// Nothing is here that may have to be sent, or sent again.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.all_written()
    }

    /// Everything ever accepted here has been written to the current connection.
    pub fn all_written(&self) -> bool {
        self.queues.iter().all(Queue::is_empty)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const LIMITS: Limits = Limits {
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
        outbound.push(Lane::Live, (1, point), Accepted::Live, now_ms);
    }

    fn text(frame: Option<Rc<Frame>>) -> String {
        frame.map_or(String::new(), |frame| {
            String::from_utf8(frame.bytes.clone()).unwrap()
        })
    }

    /// What was delivered, as the names in it.
    fn names(delivered: &mut Vec<(String, Delivery)>) -> impl FnMut(&Frame, Delivery) + '_ {
        |frame, delivery| {
            let names = &mut Vec::new();
            for (marking, name) in frame.named(frame.markings().iter(), names, LIMITS.protocol) {
                let mark = marking.mark();
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
        while outbound.tick(5000, names(&mut delivered)) {}
        outbound.acknowledged(length, 5000);
        while outbound.tick(5999, names(&mut delivered)) {}
        assert!(delivered.is_empty(), "{delivered:?}");
        assert!(!outbound.tick(6000, names(&mut delivered)));
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
        while outbound.tick(1000, names(&mut delivered)) {}
        assert_eq!(delivered.len(), 3, "a, b and c");
        push(&mut outbound, "e", 1000);
        outbound.flush();
        outbound.lost(names(&mut delivered));
        outbound.connected();
        assert_eq!(outbound.oldest_ms(), Some(0), "d");
        let repeated: String = (0..9).map(|_| text(outbound.next_due(2000))).collect();
        // Lines of 8 bytes: of the last 30 bytes written, d was in flight and a, b, c are kept.
        assert_eq!(repeated, "a 1.0 5\nb 1.0 5\nc 1.0 5\nd 1.0 5\ne 1.0 5\n");
        outbound.acknowledged(40, 2000);
        while outbound.tick(3000, names(&mut delivered)) {}
        let order: String = delivered.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(order, "abcde", "each is delivered once");
        assert_eq!(outbound.oldest_ms(), None);
        assert_eq!(outbound.frames_repeated, 4);
        push(&mut outbound, "f", 3500);
        outbound.lost(names(&mut delivered));
        outbound.connected();
        while outbound.next_due(4000).is_some() {}
        assert_eq!(outbound.oldest_ms(), Some(3500), "not that of a repeat");
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
        while outbound.tick(1100, |_, _| {}) {}
        let kept = |outbound: &Outbound| outbound.written.len() * 8;
        assert_eq!(kept(&outbound), 32, "four lines cover 30 bytes");
        for at in 0..100 {
            push(&mut outbound, "a", at);
            outbound.flush();
            outbound.next_due(at);
        }
        while outbound.tick(2000, |_, _| {}) {}
        assert_eq!(
            kept(&outbound),
            832,
            "what is not acknowledged pushes nothing out"
        );
    }

    #[test]
    fn a_peer_that_resets_for_ever_does_not_stop_newer_frames() {
        let mut outbound = Outbound::new(LIMITS);
        let mut delivered = Vec::new();
        push(&mut outbound, "old", 0);
        outbound.flush();
        for round in 0..REFUSALS_MAX {
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

    #[test]
    fn a_peer_that_hangs_is_waited_for_however_long() {
        let mut outbound = Outbound::new(LIMITS);
        push(&mut outbound, "old", 0);
        outbound.flush();
        for round in 0..10 * REFUSALS_MAX {
            outbound.connected();
            assert!(outbound.next_due(0).is_some(), "round {round}");
            outbound.silent();
            outbound.lost(|_, _| panic!("nothing is delivered"));
        }
        assert_eq!(outbound.points_queued(), 1);
    }

    fn push_to(outbound: &mut Outbound, lane: Lane, name: &str) {
        let point = Point {
            name,
            timestamp: 5,
            value: 1.0,
            fill: false,
        };
        outbound.push(lane, (1, point), Accepted::Live, 0);
    }

    #[test]
    fn the_lanes_take_turns_and_each_keeps_its_order_over_a_lost_connection() {
        let mut outbound = Outbound::new(LIMITS);
        for i in 0..3 {
            push_to(&mut outbound, Lane::Recovered, &format!("r{i}"));
            push_to(&mut outbound, Lane::Live, &format!("l{i}"));
            outbound.flush();
        }
        let sent = |outbound: &mut Outbound| -> String {
            (0..3)
                .map(|_| text(outbound.next_due(0)).replace(" 1.0 5\n", " "))
                .collect()
        };
        assert_eq!(sent(&mut outbound), "r0 l0 r1 ");
        outbound.lost(|_, _| {});
        outbound.connected();
        assert_eq!(sent(&mut outbound), "l0 r0 l1 ");
        assert_eq!(sent(&mut outbound), "r1 l2 r2 ");
        assert_eq!(outbound.take_gone(), Points::default());
        assert!(!outbound.wants_confirmation(), "not delivered yet");
        outbound.acknowledged(u64::MAX, 0);
        while outbound.tick(1000, |_, _| {}) {}
        assert_eq!(
            outbound.take_gone(),
            Points {
                live: 1,
                recovered: 1,
                own: 0
            }
        );
        assert!(outbound.wants_confirmation());
        outbound.confirmed(|_, _| {});
        assert!(!outbound.wants_confirmation());
        let rest = Points {
            live: 2,
            recovered: 2,
            own: 0,
        };
        assert_eq!(outbound.take_gone(), rest);
    }

    #[test]
    fn delivered_is_not_gone_while_it_may_have_to_be_sent_again() {
        let mut outbound = Outbound::new(LIMITS);
        for name in ["a", "b", "c", "d", "e"] {
            push(&mut outbound, name, 0);
            outbound.flush();
            outbound.next_due(0);
        }
        outbound.acknowledged(u64::MAX, 0);
        while outbound.tick(1000, |_, _| {}) {}
        assert_eq!(outbound.points_queued(), 0);
        // Lines of 8 bytes: four cover the last 30.
        assert_eq!(outbound.take_gone().live, 1);
        let backlog: Vec<String> =
            std::iter::from_fn(|| outbound.take_backlog().map(|(frame, _)| text(Some(frame))))
                .collect();
        assert_eq!(backlog.len(), 4, "{backlog:?}");
        assert_eq!(backlog[0], "b 1.0 5\n");
        assert_eq!(outbound.take_gone(), Points::default());
    }

    #[test]
    fn a_backlog_has_also_what_was_written_as_often_as_is_allowed() {
        let mut outbound = Outbound::new(LIMITS);
        push(&mut outbound, "a", 0);
        outbound.flush();
        for _ in 1..REFUSALS_MAX {
            outbound.next_due(0);
            outbound.lost(|_, _| {});
        }
        outbound.next_due(0);
        let (frame, points) = outbound.take_backlog().unwrap();
        assert_eq!((text(Some(frame)).as_str(), points), ("a 1.0 5\n", 1));
        // Else the journal would let go of as many points of something else.
        assert_eq!(outbound.take_gone(), Points::default());
    }
}
