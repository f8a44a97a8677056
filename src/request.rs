//! Requests under way: the answers of one read in wire order, and which owners still have to reply.

use crate::http::response::{Answer, ReplyTo};
use crate::telemetry::counters::Endpoint;

/// Names a read under way; stale once the read is over, so a late reply finds nothing. The default names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadId {
    index: u32,
    generation: u32,
}

impl ReadId {
    /// Never under way: what waits for no answer.
    pub const NOBODY: ReadId = ReadId {
        index: u32::MAX,
        generation: 0,
    };
}

/// What a request is answered; nothing is the 204 of one whose points are all accepted, as nearly all are.
pub type Due = Option<Box<Answer>>;

/// One request's place in the order of answers.
#[derive(Debug)]
struct Slot {
    /// What is sent when every owner has decided.
    answer: Due,
    owners_left: u16,
    /// `None` when it was refused before it had one.
    endpoint: Option<Endpoint>,
    to: ReplyTo,
}

/// An answer whose turn has come.
#[derive(Debug, PartialEq)]
pub struct Ready {
    pub answer: Due,
    pub endpoint: Option<Endpoint>,
    pub to: ReplyTo,
}

/// The requests of one read. The connection reads on when all of them are answered.
#[derive(Debug, Default)]
struct Read {
    generation: u32,
    open: bool,
    connection: usize,
    /// By the requests' numbers.
    slots: Vec<Slot>,
    /// Of the first request that is not answered yet.
    answered: u32,
    groups_left: u16,
    deadline_ms: u64,
    began_us: u64,
}

/// All reads under way on one shard.
#[derive(Debug, Default)]
pub struct Reads {
    reads: Vec<Read>,
    free: Vec<u32>,
}

impl Reads {
    #[inline]
    pub fn open(&mut self, connection: usize, deadline_ms: u64, began_us: u64) -> ReadId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.reads.push(Read {
                // 0 is what a connection that has read nothing yet holds.
                generation: 1,
                ..Read::default()
            });
            (self.reads.len() - 1) as u32
        });
        let read = &mut self.reads[index as usize];
        read.open = true;
        read.connection = connection;
        read.answered = 0;
        read.groups_left = 0;
        read.deadline_ms = deadline_ms;
        read.began_us = began_us;
        ReadId {
            index,
            generation: read.generation,
        }
    }

    #[inline]
    fn get(&mut self, id: ReadId) -> Option<&mut Read> {
        self.reads
            .get_mut(id.index as usize)
            // One that is not open has a name that nobody was told yet.
            .filter(|read| read.generation == id.generation)
    }

    /// The next request of the read. `owners_left` owners must decide before `answer` may be sent.
    #[inline]
    pub fn push(
        &mut self,
        id: ReadId,
        endpoint: Option<Endpoint>,
        answer: Due,
        owners_left: u16,
        to: ReplyTo,
    ) {
        let read = self.get(id).expect("the read is open while it is decoded");
        read.slots.push(Slot {
            answer,
            owners_left,
            endpoint,
            to,
        });
    }

    /// How many requests the read has so far.
    #[inline]
    pub fn len(&mut self, id: ReadId) -> u32 {
        self.get(id).map_or(0, |read| read.slots.len() as u32)
    }

    /// A group of the read was handed to an owner.
    #[inline]
    pub fn handed_over(&mut self, id: ReadId) {
        self.get(id)
            .expect("open while it is handed over")
            .groups_left += 1;
    }

    /// An owner has decided its parts, or failed to. Returns the connection to wake when nothing of
    /// the read is missing any more.
    #[inline]
    pub fn decided(
        &mut self,
        id: ReadId,
        requests: impl Iterator<Item = u32>,
        failed: Option<&Answer>,
    ) -> Option<usize> {
        let read = self.get(id).filter(|read| read.groups_left > 0)?;
        for request in requests {
            let missing = request >= read.answered;
            if let Some(slot) = read.slots.get_mut(request as usize).filter(|_| missing) {
                slot.owners_left -= 1;
                if let Some(answer) = failed {
                    slot.answer = Some(Box::new(answer.clone()));
                }
            }
        }
        read.groups_left -= 1;
        (read.groups_left == 0).then_some(read.connection)
    }

    /// Hands out the answers whose turn has come, in wire order. True when nothing of the read is missing any more.
    #[inline]
    pub fn answer(&mut self, id: ReadId, mut answer: impl FnMut(Ready)) -> bool {
        let Some(read) = self.get(id) else {
            return true;
        };
        let ready = &mut read.slots[read.answered as usize..];
        for slot in ready.iter_mut().take_while(|slot| slot.owners_left == 0) {
            read.answered += 1;
            answer(Ready {
                answer: slot.answer.take(),
                endpoint: slot.endpoint,
                to: slot.to,
            });
        }
        read.groups_left == 0
    }

    /// Somebody waits for an answer.
    pub fn any_open(&self) -> bool {
        self.free.len() < self.reads.len()
    }

    /// When the read began, if it is still under way.
    pub fn began_us(&mut self, id: ReadId) -> Option<u64> {
        self.get(id).map(|read| read.began_us)
    }

    /// The read is over: late replies are for nobody. Says when it began.
    #[inline]
    pub fn close(&mut self, id: ReadId) -> Option<u64> {
        let read = self.get(id)?;
        read.open = false;
        // 0 is nobody's.
        read.generation = read.generation.wrapping_add(1).max(1);
        read.slots.clear();
        let began_us = read.began_us;
        self.free.push(id.index);
        Some(began_us)
    }

    /// Gives up on reads whose deadline has passed: what is not decided is answered `unknown`.
    /// Calls `wake` with each connection concerned.
    pub fn expire(&mut self, now_ms: u64, unknown: &Answer, mut wake: impl FnMut(usize)) {
        for read in &mut self.reads {
            if !read.open || read.groups_left == 0 || now_ms < read.deadline_ms {
                continue;
            }
            for slot in &mut read.slots {
                if slot.owners_left > 0 {
                    slot.owners_left = 0;
                    slot.answer = Some(Box::new(unknown.clone()));
                }
            }
            // Replies that come later find nothing missing and change nothing.
            read.groups_left = 0;
            wake(read.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: ReplyTo = ReplyTo {
        keep_alive: true,
        http_1_0: false,
        head_only: false,
    };

    fn answer(status: u16) -> Due {
        (status != 204).then(|| Box::new(Answer::empty(status)))
    }

    fn statuses(reads: &mut Reads, id: ReadId) -> Vec<u16> {
        let mut statuses = Vec::new();
        reads.answer(id, |ready| {
            statuses.push(ready.answer.map_or(204, |answer| answer.status));
        });
        statuses
    }

    #[test]
    fn answers_keep_their_order_however_the_owners_reply() {
        let mut reads = Reads::default();
        let id = reads.open(9, 1000, 0);
        reads.push(id, None, answer(200), 0, TO);
        reads.push(id, None, answer(204), 2, TO);
        reads.push(id, None, answer(400), 0, TO);
        reads.handed_over(id);
        reads.handed_over(id);
        assert_eq!(statuses(&mut reads, id), [200]);
        assert_eq!(reads.decided(id, [1].into_iter(), None), None);
        assert_eq!(statuses(&mut reads, id), [] as [u16; 0]);
        assert_eq!(reads.decided(id, [1].into_iter(), None), Some(9));
        assert_eq!(statuses(&mut reads, id), [204, 400]);
        assert!(reads.answer(id, |_| unreachable!()));
    }

    #[test]
    fn one_failed_owner_decides_the_answer_even_if_another_succeeds_later() {
        let mut reads = Reads::default();
        let id = reads.open(0, 1000, 0);
        reads.push(id, None, answer(204), 2, TO);
        reads.handed_over(id);
        reads.handed_over(id);
        reads.decided(id, [0].into_iter(), answer(504).as_deref());
        reads.decided(id, [0].into_iter(), None);
        assert_eq!(statuses(&mut reads, id), [504]);
    }

    #[test]
    fn a_connection_that_never_read_closes_nobodys_read() {
        let mut reads = Reads::default();
        let id = reads.open(7, 1000, 0);
        reads.push(id, None, answer(204), 1, TO);
        reads.handed_over(id);
        assert_eq!(reads.close(ReadId::default()), None);
        assert_eq!(reads.decided(id, [0].into_iter(), None), Some(7));
    }

    #[test]
    fn an_expired_read_answers_unknown_once_and_a_late_reply_changes_nothing() {
        let mut reads = Reads::default();
        let id = reads.open(3, 1000, 0);
        reads.push(id, None, answer(204), 1, TO);
        reads.handed_over(id);
        let mut woken = Vec::new();
        reads.expire(999, &Answer::empty(504), |c| woken.push(c));
        assert!(woken.is_empty());
        reads.expire(1000, &Answer::empty(504), |c| woken.push(c));
        reads.expire(2000, &Answer::empty(504), |c| woken.push(c));
        assert_eq!(woken, [3]);
        assert_eq!(reads.decided(id, [0].into_iter(), None), None);
        assert_eq!(statuses(&mut reads, id), [504]);
        reads.close(id);
        let next = reads.open(4, 1000, 0);
        reads.push(next, None, answer(204), 1, TO);
        reads.handed_over(next);
        assert_eq!(reads.decided(id, [0].into_iter(), None), None, "stale name");
        assert!(!reads.answer(next, |_| unreachable!()));
    }
}
