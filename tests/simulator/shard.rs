//! One shard: its pipeline, its part of the mesh, and its connections. What `runtime::shard` and
//! `runtime::connection` do, a step at a time.

use super::client::Client;
use super::keeper::{Keeper, Writing};
use super::link::Link;
use super::marks::Marks;
use super::world::{Step, World};
use skyline_flux::http::Limits;
use skyline_flux::pipeline::{Abandoned, Connection, Now, Pipeline, Recovered, Report};
use skyline_flux::router::{Group, Reply};
use std::collections::VecDeque;

pub const HTTP: Limits = Limits {
    head_bytes_max: 8192,
    body_bytes_max: 65_536,
};
/// The program's sweep.
pub const SWEEP_US: u64 = 5000;
const HEAD_DEADLINE_MS: u64 = 2000;

pub enum Parcel {
    Group(Group),
    Reply(Reply),
    Recovered(Recovered),
    Report(usize, Report),
}

/// One queue for each direction and pair; the last member is the populate core.
pub struct Mesh {
    /// By sender and receiver, with when each arrives.
    queues: Vec<Vec<VecDeque<(u64, Parcel)>>>,
}

impl Mesh {
    pub fn new(members: usize) -> Mesh {
        let row = || (0..members).map(|_| VecDeque::new()).collect();
        Mesh {
            queues: (0..members).map(|_| row()).collect(),
        }
    }

    pub fn members(&self) -> usize {
        self.queues.len()
    }

    pub fn send(&mut self, from: usize, to: usize, parcel: Parcel, world: &mut World) -> Step {
        world.effect("parcel", [from as u64, to as u64])?;
        let takes_us = world.dice.pick(&[0, 0, 100, 1000, 30_000]);
        self.queues[from][to].push_back((world.now_us + takes_us, parcel));
        Ok(())
    }

    /// The next one from a sender, if it has arrived.
    pub fn receive(&mut self, from: usize, to: usize, now_us: u64) -> Option<Parcel> {
        let queue = &mut self.queues[from][to];
        let arrived = queue.front().is_some_and(|(at, _)| *at <= now_us);
        arrived.then(|| queue.pop_front()).flatten().map(|(_, p)| p)
    }

    pub fn is_quiet(&self) -> bool {
        self.queues.iter().flatten().all(VecDeque::is_empty)
    }

    /// Points of earlier runs that are on their way to an owner.
    pub fn recovered_points(&self) -> u64 {
        let parcels = self.queues.iter().flatten().flatten();
        parcels
            .map(|(_, parcel)| match parcel {
                Parcel::Recovered(recovered) => u64::from(recovered.block.points()),
                _ => 0,
            })
            .sum()
    }
}

/// A connection, as the server sees it.
pub struct Served {
    client: usize,
    connection: Connection,
    rest: Vec<u8>,
    /// When the first byte of `rest` came.
    began_ms: u64,
    /// By when the read under way must be answered; none is.
    deadline_ms: Option<u64>,
    woken: bool,
    more: bool,
}

pub struct Shard {
    pub index: usize,
    pub pipeline: Pipeline,
    pub served: Vec<Option<Served>>,
    pub writing: Writing,
    pub keeper: Keeper,
    pub link: Link,
    pub marks: Marks,
    pub next_sweep_us: u64,
    pub request_deadline_ms: u64,
    pub draining: bool,
}

impl Shard {
    /// One turn of the pipeline, and what comes of it.
    pub fn turn<T>(
        &mut self,
        mesh: &mut Mesh,
        world: &mut World,
        step: impl FnOnce(&mut Pipeline, Now) -> T,
    ) -> Step<T> {
        let result = step(&mut self.pipeline, world.now());
        let effects = std::mem::take(&mut self.pipeline.effects);
        for (owner, group) in effects.groups {
            mesh.send(self.index, owner, Parcel::Group(group), world)?;
        }
        for (reader, reply) in effects.replies {
            mesh.send(self.index, reader, Parcel::Reply(reply), world)?;
        }
        for connection in effects.wake {
            if let Some(served) = &mut self.served[connection] {
                served.woken = true;
            }
        }
        Ok(result)
    }

    pub fn receive(&mut self, from: usize, mesh: &mut Mesh, world: &mut World) -> Step {
        match mesh.receive(from, self.index, world.now_us) {
            Some(Parcel::Group(group)) => self.turn(mesh, world, |p, now| p.group(group, now)),
            Some(Parcel::Reply(reply)) => self.turn(mesh, world, |p, now| p.reply(reply, now)),
            Some(Parcel::Recovered(points)) => {
                self.turn(mesh, world, |p, now| p.recover(&points, now))
            }
            Some(Parcel::Report(..)) => unreachable!("for the populate core"),
            None => Ok(()),
        }
    }

    /// A client connects.
    pub fn accept(&mut self, world: &mut World) {
        let client = world.clients.iter().position(Option::is_none);
        let client = client.unwrap_or_else(|| {
            world.clients.push(None);
            world.clients.len() - 1
        });
        world.clients[client] = Some(Client::new());
        let index = self.served.iter().position(Option::is_none);
        let index = index.unwrap_or_else(|| {
            self.served.push(None);
            self.served.len() - 1
        });
        self.served[index] = Some(Served {
            client,
            connection: Connection::new(index, HTTP),
            rest: Vec::new(),
            began_ms: 0,
            deadline_ms: None,
            woken: false,
            more: false,
        });
    }

    pub fn connections(&self) -> usize {
        self.served.iter().flatten().count()
    }

    /// One of the connections moves on.
    pub fn serve(&mut self, index: usize, mesh: &mut Mesh, world: &mut World) -> Step {
        let Some(mut served) = self.served[index].take() else {
            return Ok(());
        };
        let client = world.clients[served.client]
            .as_mut()
            .expect("until the server closes");
        if client.gone && client.out.is_empty() {
            let connection = served.connection;
            self.turn(mesh, world, |p, _| p.forget(&connection))?;
            self.hang_up(served.client, world);
            return Ok(());
        }
        if served.deadline_ms.is_some() {
            let answer = std::mem::take(&mut served.woken);
            self.served[index] = Some(served);
            return match answer {
                true => self.answer(index, mesh, world),
                false => Ok(()),
            };
        }
        if !served.more {
            let sent = world
                .dice
                .pick(&[1, 30, 2000, 100_000])
                .min(client.out.len());
            served.rest.extend(client.out.drain(..sent));
        }
        if served.rest.is_empty() && !served.more {
            // Once the service drains, an idle connection gives way.
            match self.draining && client.out.is_empty() {
                true => self.hang_up(served.client, world),
                false => self.served[index] = Some(served),
            }
            return Ok(());
        }
        if served.began_ms == 0 {
            served.began_ms = world.now_ms();
        }
        let now_ms = world.now_ms();
        let (connection, rest) = (&mut served.connection, &mut served.rest);
        let late = !served.more && now_ms >= served.began_ms + HEAD_DEADLINE_MS;
        if late {
            world.note("too slow", [self.index as u64, 0]);
            self.turn(mesh, world, |p, now| {
                p.abandon(connection, Abandoned::TooSlow, now)
            })?;
            served.more = false;
        } else {
            let taken = self.turn(mesh, world, |p, now| p.read(connection, rest, now))?;
            served.rest.drain(..taken.consumed);
            served.more = taken.more;
            if taken.consumed > 0 {
                served.began_ms = 0;
            }
        }
        served.deadline_ms = Some(now_ms + self.request_deadline_ms);
        self.served[index] = Some(served);
        self.answer(index, mesh, world)
    }

    /// Sends the answers whose turn has come.
    fn answer(&mut self, index: usize, mesh: &mut Mesh, world: &mut World) -> Step {
        let date = [b'x'; 29];
        let mut out = Vec::new();
        let mut served = self.served[index].take().expect("it is served");
        let connection = &mut served.connection;
        let over = self.turn(mesh, world, |p, now| {
            p.answers(connection, &mut out, &date, now)
        })?;
        if !out.is_empty() {
            world.effect("answer", [self.index as u64, out.len() as u64])?;
            let durability = self.keeper.durability;
            let client = world.clients[served.client]
                .as_mut()
                .expect("until the server closes");
            // Slow senders are told why nobody waits for the rest of their request.
            let abandoned = out.starts_with(b"HTTP/1.1 408");
            if !abandoned {
                for status in client.receive(&out, &mut world.ledger, durability) {
                    let what = match status {
                        204 => "204",
                        400 => "400",
                        401 => "401",
                        413 => "413",
                        429 => "429",
                        504 => "504",
                        _ => panic!("{status}"),
                    };
                    world.note(what, [self.index as u64, 0]);
                }
            }
        }
        if !over {
            self.served[index] = Some(served);
            return Ok(());
        }
        served.deadline_ms = None;
        match served.connection.is_closing() {
            true => self.hang_up(served.client, world),
            false => self.served[index] = Some(served),
        }
        Ok(())
    }

    fn hang_up(&mut self, client: usize, world: &mut World) {
        let client = world.clients[client]
            .take()
            .expect("until the server closes");
        client.cut_off(&mut world.ledger);
    }

    /// Every deadline of the shard.
    pub fn sweep(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        self.next_sweep_us = world.now_us + SWEEP_US + world.dice.below(2000);
        let draining = self.draining;
        self.turn(mesh, world, |pipeline, now| {
            while pipeline.tick(now) {}
            if draining {
                pipeline.drain();
            }
        })?;
        let report = self.turn(mesh, world, |p, _| p.take_report())?;
        if let Some(report) = report {
            let core = mesh.members() - 1;
            mesh.send(self.index, core, Parcel::Report(self.index, report), world)?;
        }
        self.link.acknowledge(&mut self.pipeline, world);
        // Invariant 7: what is due by now has an answer by now.
        for index in 0..self.served.len() {
            let Some(served) = &self.served[index] else {
                continue;
            };
            if served
                .deadline_ms
                .is_some_and(|deadline| world.now_ms() >= deadline)
            {
                assert!(served.woken, "a request is not answered at its deadline");
                self.answer(index, mesh, world)?;
                let still = self.served[index].as_ref();
                let over = still.is_none_or(|served| served.deadline_ms.is_none());
                assert!(
                    over,
                    "a request was woken at its deadline without its answer"
                );
            }
        }
        Ok(())
    }
}
