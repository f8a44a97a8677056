//! Fresh, duplicate or unknown: the owner's decision about each point, in wire order.
//!
//! Every metric has one owner shard, and only there is it known what was accepted last; so a decision
//! is exact without a lock. A metric the table does not know is looked up in the last store first; its
//! points queue behind the look-up, those of other metrics go on.

mod hand;
pub mod lookup;
mod segment;
mod sieve;
pub mod table;
pub mod watch;

use crate::budget;
use crate::carbon::outbound::Accepted;
use crate::point::{BLOCK_HEADER_BYTES, Block, Header, NameHash, Place, Run, TOUCHED_AHEAD};
use crate::router::Group;
use lookup::Lookups;
use std::collections::HashMap;
use table::{Evicted, Table};
use watch::Watch;

/// Names under it are de-duplicated even with `last.check = false`: Vista repeats itself by design.
const ALWAYS_CHECKED: &str = "vista.";

/// Decisions, for the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    pub accepted: u64,
    /// Of those: without knowing what the last store holds.
    pub unchecked: u64,
    pub same: u64,
    pub older: u64,
}

impl Decided {
    #[inline]
    fn accept(&mut self, accepted: Accepted) {
        self.accepted += 1;
        self.unchecked += u64::from(accepted == Accepted::Unchecked);
    }

    /// Returns the budget bytes that the point held.
    #[inline]
    fn duplicate(&mut self, header: &Header, same: bool) -> usize {
        self.same += u64::from(same);
        self.older += u64::from(!same);
        budget::cost(BLOCK_HEADER_BYTES + usize::from(header.name_bytes), 1)
    }
}

/// Where accepted points go (the owner's outbound).
pub trait Accept {
    /// Points that stand next to each other and were accepted alike. What comes later in wire order is accepted later.
    fn accept(&mut self, run: Run<'_>, accepted: Accepted);
}

/// A group some of whose points wait for a look-up.
#[derive(Debug)]
struct Open {
    group: Group,
    waiting: u32,
}

/// A point under look-up: where it stands in which group.
#[derive(Clone, Copy, Debug)]
struct Parked {
    open: usize,
    place: Place,
    namespace: Option<u16>,
}

pub struct Owner {
    table: Table,
    check: bool,
    /// While the store counts as down nothing waits for it.
    store_up: bool,
    open: Vec<Option<Open>>,
    free: Vec<usize>,
    parked: HashMap<NameHash, Vec<Parked>>,
    pub lookups: Lookups,
    pub watch: Watch,
    /// Points without a namespace, then by namespace index; grows to the highest one seen.
    decided: Vec<Decided>,
    /// Budget bytes of points that turned out to be duplicates, since the last look.
    released: usize,
    /// Metrics that were new to the table and to the store.
    added: u64,
    /// Most of the last group's were: so will be most of the next one's.
    flooded: bool,
    pub evicted: u64,
    /// The one place where the bound beats exactness (interface section 4).
    pub evicted_unsaved: u64,
}

enum Fate {
    Accept(Accepted),
    Duplicate { same: bool },
    Unknown,
}

/// Accepted points that stand next to each other in a block, as many as have come so far.
struct Growing<'b> {
    block: &'b Block,
    from: Place,
    accepted: Accepted,
}

impl Growing<'_> {
    /// The run ends there.
    #[inline]
    fn end(&mut self, at: Place, accept: &mut impl Accept) {
        if self.from != at {
            accept.accept(self.block.run(self.from, at), self.accepted);
            self.from = at;
        }
    }
}

impl Owner {
    /// The table knows what earlier runs have accepted and not delivered.
    pub fn new(table: Table, check: bool, namespaces: usize, lookups: Lookups) -> Self {
        Owner {
            table,
            check,
            store_up: true,
            open: Vec::new(),
            free: Vec::new(),
            parked: HashMap::new(),
            lookups,
            watch: Watch::default(),
            decided: vec![Decided::default(); namespaces + 1],
            released: 0,
            added: 0,
            flooded: false,
            evicted: 0,
            evicted_unsaved: 0,
        }
    }

    /// Decides a group's points in order. Gives the group back when every point is decided, and keeps
    /// it while one waits for the store.
    #[inline]
    pub fn decide(&mut self, group: Group, accept: &mut impl Accept, now_ms: u64) -> Option<Group> {
        match self.decide_one(&group, accept) {
            true => Some(group),
            false => self.decide_all(group, accept, now_ms),
        }
    }

    /// A group of one point that waits for nothing. False: it is another, and nothing was decided.
    #[inline]
    fn decide_one(&mut self, group: &Group, accept: &mut impl Accept) -> bool {
        let run = group.block.all();
        let ([part], [header]) = (group.parts.as_slice(), run.headers()) else {
            return false;
        };
        let mut counts = Decided::default();
        match self.fate(header, || run.name()) {
            Fate::Accept(accepted) => {
                counts.accept(accepted);
                accept.accept(run, accepted);
            }
            Fate::Duplicate { same } => self.released += counts.duplicate(header, same),
            // Asked again it is unknown again.
            Fate::Unknown => return false,
        }
        self.count(part.namespace, counts);
        true
    }

    /// Brings what the next points will need into the CPU's cache.
    fn touch(&self, block: &Block, from: Place) {
        let hashes = || block.hashes(from, TOUCHED_AHEAD);
        self.table.touch(hashes());
        if self.flooded {
            self.table.touch_for_new(hashes());
            self.lookups.known.touch(hashes());
        }
    }

    #[inline(never)]
    fn decide_all(&mut self, group: Group, accept: &mut impl Accept, now_ms: u64) -> Option<Group> {
        // Where it is kept if a point of it waits: nearly always none does.
        let open = self.free.last().copied().unwrap_or(self.open.len());
        let added = self.added;
        let mut waiting = 0;
        let mut place = Place::default();
        let mut run = Growing {
            block: &group.block,
            from: place,
            accepted: Accepted::Live,
        };
        // A single point has nothing to overlap with.
        let mut ahead = usize::from(group.block.points() == 1);
        for part in &group.parts {
            let mut counts = Decided::default();
            for _ in 0..part.points {
                if ahead == 0 {
                    ahead = TOUCHED_AHEAD;
                    // While its names are in the cache.
                    run.end(place, accept);
                    self.touch(&group.block, place);
                }
                ahead -= 1;
                let (header, next) = group.block.header(place);
                let name = || group.block.run(place, next).name();
                match self.fate(header, name) {
                    Fate::Accept(accepted) => {
                        if accepted != run.accepted {
                            run.end(place, accept);
                            run.accepted = accepted;
                        }
                        counts.accept(accepted);
                    }
                    Fate::Duplicate { same } => {
                        run.end(place, accept);
                        run.from = next;
                        self.released += counts.duplicate(header, same);
                    }
                    Fate::Unknown => {
                        run.end(place, accept);
                        run.from = next;
                        self.park(header.hash, name(), now_ms).push(Parked {
                            open,
                            place,
                            namespace: part.namespace,
                        });
                        waiting += 1;
                    }
                }
                place = next;
            }
            self.count(part.namespace, counts);
        }
        run.end(place, accept);
        self.flooded = (self.added - added) * 2 > group.block.points() as u64;
        if waiting == 0 {
            return Some(group);
        }
        let kept = Some(Open { group, waiting });
        match self.free.pop() {
            Some(open) => self.open[open] = kept,
            None => self.open.push(kept),
        }
        None
    }

    /// What becomes of a point. The table knows of one that is accepted from here on.
    #[inline(always)]
    fn fate<'n>(&mut self, header: &Header, name: impl Fn() -> &'n str) -> Fate {
        if header.fill || !(self.check || name().starts_with(ALWAYS_CHECKED)) {
            return Fate::Accept(Accepted::Unmarked);
        }
        let Header {
            hash, timestamp, ..
        } = *header;
        if !self.parked.is_empty() && self.parked.contains_key(&hash) {
            return Fate::Unknown;
        }
        let Some(known) = self.table.locate(hash) else {
            // Whoever asks for the stored mark is to be told of that one, not of ours.
            if self.lookups.known.surely_absent(hash) && !self.watch.is_asked(hash) {
                return self.accept_first(header, Accepted::Live);
            }
            if self.store_up {
                return Fate::Unknown;
            }
            return self.accept_first(header, Accepted::Unchecked);
        };
        let entry = known.entry();
        if timestamp <= entry.timestamp {
            return Fate::Duplicate {
                same: timestamp == entry.timestamp,
            };
        }
        // The store may hold a newer one: of an earlier run that delivered it before what is recovered now, or of
        // before a silence.
        if entry.unchecked && self.store_up {
            return Fate::Unknown;
        }
        known.renew(timestamp);
        let accepted = match entry.unchecked {
            true => Accepted::Unchecked,
            false => Accepted::Live,
        };
        self.accepted(header, accepted)
    }

    /// A point of a metric that the table does not have.
    fn accept_first(&mut self, header: &Header, accepted: Accepted) -> Fate {
        let unchecked = accepted == Accepted::Unchecked;
        let evicted = self.table.add(header.hash, header.timestamp, unchecked);
        self.note(evicted);
        self.added += 1;
        self.accepted(header, accepted)
    }

    /// A point of a metric that the table does not have, or of which it does not know what the store holds.
    fn accept_new(&mut self, header: &Header, accepted: Accepted) -> Fate {
        let unchecked = accepted == Accepted::Unchecked;
        let evicted = self
            .table
            .set(header.hash, header.timestamp, true, unchecked);
        self.note(evicted);
        self.accepted(header, accepted)
    }

    #[inline]
    fn accepted(&mut self, header: &Header, accepted: Accepted) -> Fate {
        if !self.watch.is_empty() {
            self.watch.accepted(header.hash, header.timestamp);
        }
        Fate::Accept(accepted)
    }

    /// Where a point waits for its metric to be looked up, which is asked for once.
    fn park(&mut self, hash: NameHash, name: &str, now_ms: u64) -> &mut Vec<Parked> {
        let parked = self.parked.entry(hash).or_default();
        if parked.is_empty() && !self.watch.is_asked(hash) {
            self.lookups.want(hash, name, now_ms);
        }
        parked
    }

    #[inline]
    fn count(&mut self, namespace: Option<u16>, counts: Decided) {
        let index = namespace.map_or(0, |index| usize::from(index) + 1);
        if index >= self.decided.len() {
            self.count_from_now(index);
        }
        let sum = &mut self.decided[index];
        sum.accepted += counts.accepted;
        sum.unchecked += counts.unchecked;
        sum.same += counts.same;
        sum.older += counts.older;
    }

    /// The shard that read it has switched to keys that this one does not know yet.
    #[cold]
    fn count_from_now(&mut self, index: usize) {
        self.decided.resize(index + 1, Decided::default());
    }

    fn note(&mut self, evicted: Evicted) {
        match evicted {
            Evicted::None => {}
            Evicted::Saved => self.evicted += 1,
            Evicted::Unsaved => {
                self.evicted += 1;
                self.evicted_unsaved += 1;
            }
        }
    }

    /// The store has answered a batch: `marks` are the timestamps found, in the order of its names.
    /// Groups that became whole are handed to `done`.
    pub fn found(
        &mut self,
        id: u64,
        marks: impl Iterator<Item = Option<u32>>,
        accept: &mut impl Accept,
        mut done: impl FnMut(Group),
    ) {
        for (hash, mark) in self.lookups.answered(id).into_iter().flatten().zip(marks) {
            match mark {
                Some(timestamp) => self.raise(hash, timestamp),
                None => self.table.checked(hash),
            }
            let known = self.table.get(hash).map(|entry| entry.timestamp);
            self.watch.found(hash, known.max(mark));
            self.resolve(hash, Accepted::Live, accept, &mut done);
        }
    }

    /// The store did not answer in time: what waits is decided without it, and nothing waits again
    /// until [`Owner::store_answers`].
    pub fn store_silent(&mut self, accept: &mut impl Accept, mut done: impl FnMut(Group)) {
        self.store_up = false;
        self.lookups.give_up();
        for hash in self.watch.all_asked() {
            let known = self.table.get(hash).map(|entry| entry.timestamp);
            self.watch.found(hash, known);
        }
        // In an order of their own: the map's would differ from run to run.
        let mut hashes: Vec<NameHash> = self.parked.keys().copied().collect();
        hashes.sort_unstable();
        for hash in hashes {
            self.resolve(hash, Accepted::Unchecked, accept, &mut done);
        }
    }

    /// A job begins for this metric: from now on its first live timestamp is remembered, and the newest one
    /// known so far is the answer ([`Watch::take_starts`]), at once or after a look-up.
    pub fn watch(&mut self, hash: NameHash, metric: &str, token: u64, now_ms: u64) {
        self.watch.begin(hash, metric);
        match self.table.get(hash) {
            Some(entry) if !entry.unchecked => self.watch.answer(token, Some(entry.timestamp)),
            Some(entry) if !self.store_up => self.watch.answer(token, Some(entry.timestamp)),
            None if !self.store_up => self.watch.answer(token, None),
            _ => {
                if !self.parked.contains_key(&hash) && !self.watch.is_asked(hash) {
                    self.lookups.want(hash, metric, now_ms);
                }
                self.watch.asks(hash, token);
            }
        }
    }

    pub fn store_answers(&mut self) {
        self.store_up = true;
    }

    pub fn store_is_up(&self) -> bool {
        self.store_up
    }

    /// Decides what was parked behind a look-up, in order. `first` is how a metric without a mark is accepted.
    fn resolve(
        &mut self,
        hash: NameHash,
        first: Accepted,
        accept: &mut impl Accept,
        done: &mut impl FnMut(Group),
    ) {
        for parked in self.parked.remove(&hash).unwrap_or_default() {
            let mut open = self.open[parked.open]
                .take()
                .expect("a group with parked points is open");
            let block = &open.group.block;
            let (header, next) = block.header(parked.place);
            let run = block.run(parked.place, next);
            let fate = match self.fate(header, || run.name()) {
                Fate::Unknown => self.accept_new(header, first),
                fate => fate,
            };
            let mut counts = Decided::default();
            match fate {
                Fate::Accept(accepted) => {
                    counts.accept(accepted);
                    accept.accept(run, accepted);
                }
                Fate::Duplicate { same } => self.released += counts.duplicate(header, same),
                Fate::Unknown => unreachable!("it was accepted above"),
            }
            self.count(parked.namespace, counts);
            open.waiting -= 1;
            if open.waiting == 0 {
                self.free.push(parked.open);
                done(open.group);
            } else {
                self.open[parked.open] = Some(open);
            }
        }
    }

    /// Marks were stored: the table's entries may be evicted like any others.
    pub fn saved(&mut self, marks: &[(NameHash, u32)]) {
        for some in marks.chunks(TOUCHED_AHEAD) {
            self.table.touch(some.iter().map(|&(hash, _)| hash));
            for &(hash, timestamp) in some {
                self.table.saved(hash, timestamp);
            }
        }
    }

    /// The store turned out to hold a newer mark than was accepted without asking.
    pub fn raise(&mut self, hash: NameHash, timestamp: u32) {
        let evicted = self.table.raise(hash, timestamp);
        self.note(evicted);
    }

    /// Budget bytes of duplicates since the last call.
    pub fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    /// Of points without a namespace first, then of each namespace.
    pub fn decided(&self) -> &[Decided] {
        &self.decided
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Metrics whose points wait for the store.
    pub fn parked_metrics(&self) -> usize {
        self.parked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::last::filter::{Filter, Known};
    use crate::point::{Point, PointSink};
    use crate::request::ReadId;
    use crate::router::{Gathered, NameHasher, Part};
    use proptest::prelude::*;

    #[derive(Default)]
    struct Sent(Vec<(String, u32, Accepted)>);

    impl Accept for Sent {
        fn accept(&mut self, run: Run<'_>, accepted: Accepted) {
            let point = |(_, point): (_, Point<'_>)| (point.name.to_owned(), point.timestamp);
            let points = run.iter().map(point);
            self.0.extend(points.map(|(name, at)| (name, at, accepted)));
        }
    }

    fn owner(check: bool) -> Owner {
        Owner::new(Table::new(1000), check, 0, Lookups::new(50))
    }

    fn group(points: &[(&str, u32, bool)]) -> Group {
        let mut gathered = Gathered::new(NameHasher::new([3; 16]), 0, 1);
        gathered.begin();
        for &(name, timestamp, fill) in points {
            gathered.push(Point {
                name,
                timestamp,
                value: 1.0,
                fill,
            });
        }
        gathered.commit(0, None);
        gathered.take(0, ReadId::default()).unwrap()
    }

    /// Answers every look-up with these marks.
    fn answer(owner: &mut Owner, sent: &mut Sent, mark: impl Fn(&str) -> Option<u32>) -> usize {
        let mut done = 0;
        while let Some((id, names)) = owner.lookups.take() {
            let marks: Vec<_> = names.iter().map(|name| mark(name)).collect();
            owner.found(id, marks.into_iter(), sent, |_| done += 1);
        }
        done
    }

    fn stamps(sent: &Sent) -> Vec<(&str, u32)> {
        sent.0.iter().map(|(n, t, _)| (n.as_str(), *t)).collect()
    }

    #[test]
    fn a_point_at_or_below_the_last_accepted_one_is_a_duplicate() {
        let (mut owner, mut sent) = (owner(true), Sent::default());
        assert!(
            owner
                .decide(group(&[("a", 5, false)]), &mut sent, 0)
                .is_none()
        );
        assert_eq!(answer(&mut owner, &mut sent, |_| None), 1);
        let more = [
            ("a", 5, false),
            ("a", 4, false),
            ("a", 6, false),
            ("a", 6, false),
        ];
        assert!(owner.decide(group(&more), &mut sent, 0).is_some());
        assert_eq!(stamps(&sent), [("a", 5), ("a", 6)]);
        let counts = owner.decided()[0];
        assert_eq!((counts.accepted, counts.same, counts.older), (2, 2, 1));
        assert_eq!(
            owner.take_released(),
            3 * budget::cost(BLOCK_HEADER_BYTES + 1, 1)
        );
    }

    proptest! {
        /// A part without points sends a group the long way.
        #[test]
        fn a_point_alone_is_decided_as_among_others(
            steps in proptest::collection::vec((0..3usize, 0..8u32, 0..5u8, 0..9u8), 1..60),
        ) {
            let (mut short, mut long) = (owner(true), owner(true));
            let (mut sent_short, mut sent_long) = (Sent::default(), Sent::default());
            for (name, timestamp, fill, event) in steps {
                let point = [(["a", "b", "c"][name], timestamp, fill == 0)];
                let mut longer = group(&point);
                longer.parts.push(Part {
                    request: 1,
                    points: 0,
                    namespace: None,
                });
                let decided = short.decide(group(&point), &mut sent_short, 0).is_some();
                prop_assert_eq!(decided, long.decide(longer, &mut sent_long, 0).is_some());
                match event {
                    0 | 1 => {
                        let mark = |_: &str| (event == 0).then_some(3);
                        let done = answer(&mut short, &mut sent_short, mark);
                        prop_assert_eq!(done, answer(&mut long, &mut sent_long, mark));
                    }
                    2 => {
                        short.store_silent(&mut sent_short, |_| {});
                        long.store_silent(&mut sent_long, |_| {});
                    }
                    3 => {
                        short.store_answers();
                        long.store_answers();
                    }
                    _ => {}
                }
                prop_assert_eq!(&sent_short.0, &sent_long.0);
                prop_assert_eq!(short.decided(), long.decided());
                prop_assert_eq!(short.take_released(), long.take_released());
            }
        }
    }

    #[test]
    fn points_of_a_metric_under_look_up_queue_behind_it_and_others_go_on() {
        let (mut owner, mut sent) = (owner(true), Sent::default());
        owner.decide(group(&[("known", 1, false)]), &mut sent, 0);
        answer(&mut owner, &mut sent, |_| None);
        assert!(
            owner
                .decide(
                    group(&[("new", 10, false), ("known", 2, false)]),
                    &mut sent,
                    0
                )
                .is_none()
        );
        assert!(
            owner
                .decide(
                    group(&[("new", 12, false), ("new", 11, false)]),
                    &mut sent,
                    0
                )
                .is_none()
        );
        assert_eq!(stamps(&sent), [("known", 1), ("known", 2)]);
        assert_eq!(owner.parked_metrics(), 1, "asked once");
        assert_eq!(answer(&mut owner, &mut sent, |_| Some(10)), 2);
        assert_eq!(stamps(&sent)[2..], [("new", 12)]);
        assert_eq!(owner.decided()[0].same, 1);
        assert_eq!(owner.decided()[0].older, 1);
        assert_eq!(sent.0[2].2, Accepted::Live);
    }

    #[test]
    fn what_the_store_surely_has_not_waits_for_nobody() {
        let (mut owner, mut sent) = (owner(true), Sent::default());
        let hash = NameHasher::new([3; 16]);
        let mut filter = Filter::new(1, usize::MAX).expect("room");
        filter.add(hash.hash("stored"));
        let mut known = Known::new(Vec::new());
        known.replace(&[], 1, Some(filter));
        owner.lookups.known = known.clone();
        let points = [("new", 5, false), ("stored", 5, false), ("new", 5, false)];
        assert!(owner.decide(group(&points), &mut sent, 0).is_none());
        assert_eq!(stamps(&sent), [("new", 5)]);
        assert_eq!(sent.0[0].2, Accepted::Live);
        assert_eq!(answer(&mut owner, &mut sent, |_| Some(5)), 1);
        assert_eq!((owner.decided()[0].same, owner.lookups.lookups), (2, 1));
        // Somebody has written since: what he wrote may be it.
        known.replace(&[], 2, None);
        let other = group(&[("other", 5, false)]);
        assert!(owner.decide(other, &mut sent, 0).is_none());
        assert_eq!(owner.lookups.lookups, 2);
    }

    #[test]
    fn a_silent_store_is_waited_for_once_and_what_it_did_not_say_is_looked_up_later() {
        let (mut owner, mut sent) = (owner(true), Sent::default());
        owner.decide(group(&[("a", 1, false)]), &mut sent, 0);
        let mut done = 0;
        owner.store_silent(&mut sent, |_| done += 1);
        assert_eq!(done, 1);
        assert!(
            owner
                .decide(group(&[("b", 1, false), ("a", 2, false)]), &mut sent, 0)
                .is_some()
        );
        assert!(sent.0.iter().all(|sent| sent.2 == Accepted::Unchecked));
        owner.store_answers();
        assert!(
            owner
                .decide(group(&[("c", 1, false)]), &mut sent, 0)
                .is_none()
        );
    }

    #[test]
    fn what_was_accepted_without_the_store_is_looked_up_before_anything_newer_is_accepted() {
        let mut table = Table::new(1000);
        let hash = |name: &str| NameHasher::new([3; 16]).hash(name);
        table.recovered(hash("a"), 10);
        table.recovered(hash("b"), 10);
        let mut owner = Owner::new(table, true, 0, Lookups::new(50));
        let mut sent = Sent::default();
        let points = [
            ("a", 10, false),
            ("a", 15, false),
            ("a", 25, false),
            ("b", 15, false),
            ("b", 16, false),
        ];
        assert!(owner.decide(group(&points), &mut sent, 0).is_none());
        assert_eq!(
            stamps(&sent),
            [],
            "a is under way, and the store may know more"
        );
        let mark = |name: &str| (name == "a").then_some(20);
        assert_eq!(answer(&mut owner, &mut sent, mark), 1);
        assert_eq!(stamps(&sent), [("a", 25), ("b", 15), ("b", 16)]);
        assert!(sent.0.iter().all(|sent| sent.2 == Accepted::Live));
        let again = group(&[("b", 17, false)]);
        assert!(owner.decide(again, &mut sent, 0).is_some(), "asked once");
    }

    #[test]
    fn fill_and_check_off_bypass_the_table_but_vista_is_always_checked() {
        let (mut owner, mut sent) = (owner(false), Sent::default());
        let points = [
            ("a", 5, false),
            ("a", 5, false),
            ("vista.x", 9, true),
            ("vista.x", 3, true),
        ];
        assert!(owner.decide(group(&points), &mut sent, 0).is_some());
        assert!(sent.0.iter().all(|sent| sent.2 == Accepted::Unmarked));
        assert_eq!(sent.0.len(), 4);
        assert!(
            owner
                .decide(group(&[("vista.x", 5, false)]), &mut sent, 0)
                .is_none()
        );
    }
}
