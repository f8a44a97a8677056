//! The mesh: one bounded channel for each direction and pair of executors.
//!
//! What glommio's channels forbid (docs/decisions/0002): a receiver polled together with something
//! else leaves a waker behind at each poll and overflows its task's reference count; `send` panics with
//! two waiters; connecting can sleep for ever unless a timer runs. So: one task per receiver that only
//! receives, `try_send` only, and a sweep timer on every executor before anything is connected.

use super::reload::Live;
use crate::pipeline::{Posted, Recovered, Report, ToCore, ToOwner, Verdict};
use crate::request::ReadId;
use crate::router::{Group, Reply};
use crate::telemetry::Snapshot;
use glommio::channels::shared_channel::{
    self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender,
};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Slots of one channel. What does not fit waits on the sender's side, bounded by the budgets: every
/// group has reserved its bytes and every reply belongs to a group.
const CHANNEL_SLOTS: usize = 1024;

/// What crosses between executors.
#[derive(Debug)]
pub enum Parcel {
    Group(Group),
    Reply(Reply),
    /// Points of earlier runs, for their owner.
    Recovered(Recovered),
    /// What became of them.
    Report {
        from: usize,
        report: Report,
        /// The shard stops and will say no more.
        last: bool,
    },
    /// A job that was posted, and what becomes of it.
    Job {
        from: usize,
        posted: Posted,
    },
    JobAnswered {
        read: ReadId,
        request: u32,
        verdict: Verdict,
    },
    /// Between the populate core and the owner of a metric.
    ToOwner(ToOwner),
    ToCore(ToCore),
    /// From the populate core, while the service stops: no job leaves a mark behind any more.
    LastLeave,
    /// Means nothing; that it comes is enough (see [`super::nudge`]).
    Nudge,
    /// The configuration was read again; a shard says when it has switched.
    Switch(Arc<Live>),
    Switched,
    /// Asks a shard for its counters.
    Observe {
        to: usize,
    },
    Observed {
        from: usize,
        snapshot: Box<Snapshot>,
    },
}

/// One executor's ends, before it runs.
pub struct Ends {
    senders: Vec<Option<SharedSender<Parcel>>>,
    receivers: Vec<Option<SharedReceiver<Parcel>>>,
    mail: Mail,
}

/// Makes the ends of a full mesh of `members` executors.
pub fn ends(members: usize) -> Vec<Ends> {
    let flags: Arc<[AtomicBool]> = (0..members).map(|_| AtomicBool::new(false)).collect();
    let none = |member| Ends {
        senders: (0..members).map(|_| None).collect(),
        receivers: (0..members).map(|_| None).collect(),
        mail: Mail {
            flags: flags.clone(),
            member,
        },
    };
    let mut all: Vec<Ends> = (0..members).map(none).collect();
    for from in 0..members {
        for to in (0..members).filter(|&to| to != from) {
            let (sender, receiver) = shared_channel::new_bounded(CHANNEL_SLOTS);
            all[from].senders[to] = Some(sender);
            all[to].receivers[from] = Some(receiver);
        }
    }
    all
}

impl Ends {
    /// Connects to every other member. All ends are connected side by side: each waits for its peer, and
    /// in sequence two members would wait for each other.
    pub async fn connect(self) -> (Mesh, Vec<ConnectedReceiver<Parcel>>) {
        let senders: Vec<_> = self
            .senders
            .into_iter()
            .map(|sender| sender.map(|sender| glommio::spawn_local(sender.connect())))
            .collect();
        let receivers: Vec<_> = self
            .receivers
            .into_iter()
            .flatten()
            .map(|receiver| glommio::spawn_local(receiver.connect()))
            .collect();
        let mut to = Vec::new();
        for sender in senders {
            to.push(match sender {
                Some(task) => Some(Lane::new(task.await)),
                None => None,
            });
        }
        let mut from = Vec::new();
        for receiver in receivers {
            from.push(receiver.await);
        }
        let mail = self.mail;
        (Mesh { to, mail }, from)
    }
}

/// Who has been sent something and has not looked yet, by member. glommio tells its tasks only in a turn of its own;
/// this is seen without one.
struct Mail {
    flags: Arc<[AtomicBool]>,
    member: usize,
}

struct Lane {
    sender: ConnectedSender<Parcel>,
    /// What found the channel full, in order.
    overflow: RefCell<VecDeque<Parcel>>,
}

impl Lane {
    fn new(sender: ConnectedSender<Parcel>) -> Self {
        Lane {
            sender,
            overflow: RefCell::default(),
        }
    }

    fn flush(&self) {
        let mut overflow = self.overflow.borrow_mut();
        while let Some(parcel) = overflow.pop_front() {
            if let Err(refused) = self.sender.try_send(parcel) {
                overflow.push_front(take_back(refused));
                return;
            }
        }
    }
}

fn take_back(refused: glommio::GlommioError<Parcel>) -> Parcel {
    use glommio::{GlommioError, ResourceType};
    match refused {
        GlommioError::WouldBlock(ResourceType::Channel(parcel))
        | GlommioError::Closed(ResourceType::Channel(parcel)) => parcel,
        other => unreachable!("try_send refuses with WouldBlock or Closed: {other:?}"),
    }
}

/// The sending side of one executor.
pub struct Mesh {
    to: Vec<Option<Lane>>,
    mail: Mail,
}

impl Mesh {
    pub fn send(&self, member: usize, parcel: Parcel) {
        let lane = self.to[member]
            .as_ref()
            .expect("no executor sends to itself");
        let mut overflow = lane.overflow.borrow_mut();
        overflow.push_back(parcel);
        drop(overflow);
        lane.flush();
        self.mail.flags[member].store(true, Ordering::Release);
    }

    /// Whether something has come since this was asked last.
    pub fn has_mail(&self) -> bool {
        let flag = &self.mail.flags[self.mail.member];
        flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Acquire)
    }

    pub fn members(&self) -> usize {
        self.to.len()
    }

    /// Wakes a member. Where the channel is full it has enough to wake up for.
    pub fn nudge(&self, member: usize) {
        if let Some(lane) = &self.to[member] {
            let _ = lane.sender.try_send(Parcel::Nudge);
        }
    }

    /// Sends what found a channel full before.
    pub fn flush(&self) {
        self.to.iter().flatten().for_each(Lane::flush);
    }

    pub fn close(&self) {
        for lane in self.to.iter().flatten() {
            lane.sender.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::executor::Pool;
    use super::*;
    use std::time::Duration;

    /// The trap: a receiver polled on every tick leaves a waker behind each time, and a task's reference
    /// count is 16 bits. Ours only receives, so quiet ticks cost nothing.
    #[test]
    fn a_quiet_mesh_survives_forty_thousand_ticks() {
        const TICKS: u32 = 40_000;
        let member = |index: usize, ends: Ends| {
            let body = move || async move {
                let (mesh, receivers) = super::super::sweep::connect(ends).await;
                let received = std::rc::Rc::new(std::cell::Cell::new(0));
                for receiver in receivers {
                    let received = received.clone();
                    glommio::spawn_local(async move {
                        while receiver.recv().await.is_some() {
                            received.set(received.get() + 1);
                        }
                    })
                    .detach();
                }
                for _ in 0..TICKS {
                    mesh.flush();
                    glommio::timer::sleep(Duration::from_micros(1)).await;
                }
                mesh.send(1 - index, Parcel::Observe { to: index });
                while received.get() == 0 {
                    glommio::timer::sleep(Duration::from_millis(1)).await;
                }
            };
            let pool = Pool {
                cpus: &[index],
                more: 0,
            };
            super::super::executor::spawn("shard-test", index, pool, body).unwrap()
        };
        let mut ends = ends(2);
        let last = member(1, ends.pop().unwrap());
        let first = member(0, ends.pop().unwrap());
        first.join().unwrap();
        last.join().unwrap();
    }
}
