//! The mesh: what executors send each other, and one letter box for each of them.
//!
//! A letter box is a queue without a lock and a note whether its owner sleeps. Who is awake looks into it between two
//! looks at its clients; who sleeps is woken through an eventfd, once, by the first who sends (docs/decisions/0002
//! says why these are not glommio's channels).
//!
//! What waits in a letter box is bounded by what may be sent: every group has reserved its bytes at the owner, every
//! reply belongs to a group, and the populate core has so many jobs and questions under way.

use super::bell::Eventfd;
use super::reload::Live;
use crate::pipeline::{Posted, Recovered, Report, ToCore, ToOwner, Verdict};
use crate::request::ReadId;
use crate::router::{Group, Reply};
use crate::telemetry::Snapshot;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::mpsc::{self, Receiver, Sender};

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

/// The outside of a letter box.
struct Door {
    /// Something was put in since its owner looked.
    mail: AtomicBool,
    /// How its owner wants to be woken: a [`Rest`], or [`AWAKE`].
    rests: AtomicU8,
    /// For each [`Rest`].
    bells: [Eventfd; 2],
}

/// Where an executor waits for what others send. Each has a bell of its own, which only its kind of waiting hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// In glommio, which reads the bell.
    Asleep,
    /// In the clients' ring, which polls it (see [`super::ring`]).
    Dozing,
}

/// It looks by itself.
const AWAKE: u8 = u8::MAX;

/// One executor's place in the mesh.
pub struct Mesh {
    member: usize,
    doors: Arc<[Door]>,
    to: Vec<Sender<Parcel>>,
    inbox: Receiver<Parcel>,
}

/// The places of a full mesh of `members` executors.
pub fn of(members: usize) -> io::Result<Vec<Mesh>> {
    let door = |_| {
        Ok(Door {
            mail: AtomicBool::new(false),
            rests: AtomicU8::new(AWAKE),
            bells: [Eventfd::new()?, Eventfd::new()?],
        })
    };
    let doors: io::Result<Arc<[Door]>> = (0..members).map(door).collect();
    let doors = doors?;
    let (to, inboxes): (Vec<_>, Vec<_>) = (0..members).map(|_| mpsc::channel()).unzip();
    let place = |(member, inbox)| Mesh {
        member,
        doors: doors.clone(),
        to: to.clone(),
        inbox,
    };
    Ok(inboxes.into_iter().enumerate().map(place).collect())
}

impl Mesh {
    pub fn members(&self) -> usize {
        self.to.len()
    }

    pub fn send(&self, member: usize, parcel: Parcel) {
        // An executor that is gone has left the service; nothing is owed to it.
        if self.to[member].send(parcel).is_err() {
            return;
        }
        let door = &self.doors[member];
        door.mail.store(true, Ordering::Release);
        // Either the owner sees the mail before it rests, or we see that it rests: see `rest`.
        fence(Ordering::SeqCst);
        if door.rests.load(Ordering::Relaxed) == AWAKE {
            return;
        }
        let rested = door.rests.swap(AWAKE, Ordering::Relaxed);
        if let Some(bell) = door.bells.get(usize::from(rested)) {
            bell.write();
        }
    }

    /// Rings once more for a member that was rung for and may sleep all the same.
    pub fn nudge(&self, member: usize) {
        self.doors[member].bells[Rest::Asleep as usize].write();
    }

    pub fn has_mail(&self) -> bool {
        self.doors[self.member].mail.load(Ordering::Relaxed)
    }

    /// Hands over everything that has come. `false`: nothing.
    pub fn take(&self, handle: impl FnMut(Parcel)) -> bool {
        if !self.has_mail() {
            return false;
        }
        // What comes from here on sets it again; a parcel taken already may have set it for nothing.
        self.doors[self.member].mail.swap(false, Ordering::Acquire);
        self.inbox.try_iter().for_each(handle);
        true
    }

    /// From here on whoever sends wakes us. `false`: somebody has sent already.
    pub fn rest(&self, rest: Rest) -> bool {
        let door = &self.doors[self.member];
        door.rests.store(rest as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if door.mail.load(Ordering::Acquire) {
            self.wake();
            return false;
        }
        true
    }

    /// We look by ourselves again.
    pub fn wake(&self) {
        self.doors[self.member]
            .rests
            .store(AWAKE, Ordering::Relaxed);
    }

    /// What wakes us.
    pub fn bell(&self, rest: Rest) -> &Eventfd {
        &self.doors[self.member].bells[rest as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn observe(to: usize) -> Parcel {
        Parcel::Observe { to }
    }

    #[test]
    fn parcels_of_one_sender_come_in_order_and_once() {
        let mut mesh = of(2).unwrap();
        let (to, from) = (mesh.remove(1), mesh.remove(0));
        assert!(!to.take(|_| unreachable!()));
        (0..1000).for_each(|i| from.send(1, observe(i)));
        let mut seen = Vec::new();
        assert!(to.take(|parcel| match parcel {
            Parcel::Observe { to } => seen.push(to),
            other => panic!("{other:?}"),
        }));
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert!(!to.take(|_| unreachable!()));
    }

    #[test]
    fn who_is_awake_is_not_rung_for_and_who_sleeps_is_once() {
        let mut mesh = of(2).unwrap();
        let (to, from) = (mesh.remove(1), mesh.remove(0));
        from.send(1, observe(0));
        assert!(!to.rest(Rest::Dozing), "there is mail");
        assert!(to.take(drop));
        for rest in [Rest::Asleep, Rest::Dozing] {
            assert!(to.rest(rest));
            from.send(1, observe(1));
            from.send(1, observe(2));
            assert_eq!(to.bell(rest).read(), 1);
            assert!(to.take(drop));
            assert!(to.rest(rest));
            to.wake();
        }
        from.send(1, observe(3));
        from.nudge(1);
        assert_eq!(to.bell(Rest::Asleep).read(), 1, "the nudge alone");
    }

    /// The one thing that must never happen: a parcel in the box, its owner asleep, and nobody who rings.
    #[test]
    fn no_parcel_lies_before_a_sleeper() {
        const PARCELS: usize = 200_000;
        let mut mesh = of(3).unwrap();
        let to = mesh.remove(2);
        let senders = mesh.into_iter().map(|from| {
            thread::spawn(move || {
                for i in 0..PARCELS {
                    from.send(2, observe(i));
                    if i % 64 == 0 {
                        thread::yield_now();
                    }
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        let mut count = 0;
        while count < 2 * PARCELS {
            let rest = [Rest::Asleep, Rest::Dozing][count % 2];
            if !to.take(|_| count += 1) && to.rest(rest) {
                // Blocks for ever if nobody rings.
                to.bell(rest).read();
                to.wake();
            }
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    }
}
