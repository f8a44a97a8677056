//! One connection: read, let the pipeline decide, answer in order with one send, read on.
//!
//! What a read brings is lent only while it is decoded ([`super::socket`]); what is not a whole message yet
//! moves to the connection.

use super::STEP_ASIDE;
use super::connections::Waits;
use super::shard::Shard;
use super::socket::{Overrun, Stream};
use crate::config;
use crate::http::Limits;
use crate::http::decoder::Awaiting;
use crate::pipeline::{Abandoned, Connection, Taken};
use std::io;
use std::rc::Rc;

/// What holds for a connection, as the configuration has it now.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub limits: Limits,
    pub deadlines: Deadlines,
    /// For a connection that sends lines.
    pub line_idle_ms: u64,
    /// How long an idle connection is kept when the service stops.
    pub drain_idle_ms: u64,
}

/// The part of the drain's deadline that idle connections may have: what is under way needs the rest.
const DRAIN_IDLE_SHARE: u32 = 4;

impl Bounds {
    pub fn of(http: &config::Http, line: &config::Line) -> Bounds {
        Bounds {
            line_idle_ms: u64::from(line.idle_deadline_ms),
            limits: Limits {
                head_bytes_max: http.head_bytes_max,
                body_bytes_max: http.body_bytes_max,
            },
            deadlines: Deadlines {
                head_ms: u64::from(http.head_deadline_ms),
                request_ms: u64::from(http.request_deadline_ms),
                idle_ms: u64::from(http.idle_deadline_ms),
            },
            drain_idle_ms: http
                .drain_idle_ms
                .min(http.drain_deadline_ms / DRAIN_IDLE_SHARE)
                .into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the head of a request, from its first byte.
    pub head_ms: u64,
    /// For a whole request, and for a client to take its answer.
    pub request_ms: u64,
    pub idle_ms: u64,
}

/// A kept-back part above this is freed when it is empty: one large body is not remembered.
const KEPT_CAPACITY_BYTES: usize = 16 * 1024;
/// After a refusal, what the client is still sending is read and dropped up to this, so that closing
/// does not reset the connection before it has read the answer.
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
const LINGER_MS: u64 = 2000;

pub async fn serve(shard: Rc<Shard>, mut stream: Stream) {
    let Bounds {
        limits, deadlines, ..
    } = shard.connections.bounds.get();
    let idle_until = shard.clock.now().ms() + deadlines.idle_ms;
    let index = shard.connections.open(&stream, idle_until);
    let mut connection = Connection::new(index, limits);
    let mut session = Session {
        shard: &shard,
        index,
        rest: Vec::new(),
        out: Vec::new(),
        began_ms: 0,
        held: 0,
    };
    // An error is the client's going away: its points are decided all the same, nobody is left to tell.
    let _ = session.run(&mut stream, &mut connection).await;
    shard.connections.buffered.change(session.held, 0);
    shard.turn(|pipeline, _| pipeline.forget(&connection));
    shard.connections.close(index);
}

struct Session<'a> {
    shard: &'a Shard,
    index: usize,
    /// The beginning of a message whose end has not been read.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// When the first byte of `rest` came.
    began_ms: u64,
    /// What `rest` and a body under way take, as the shard knows it.
    held: usize,
}

impl Session<'_> {
    async fn run(&mut self, stream: &mut Stream, connection: &mut Connection) -> io::Result<()> {
        let mut more = false;
        loop {
            let taken = if more {
                if connection.is_inflating() {
                    if self.shard.connections.buffered.is_full() {
                        return self.abandon(stream, connection, Abandoned::NoRoom).await;
                    }
                    self.step_aside().await;
                }
                self.decode_rest(connection)
            } else {
                self.arm(connection);
                if !self.rest.is_empty() && self.shard.connections.buffered.is_full() {
                    return self.abandon(stream, connection, Abandoned::NoRoom).await;
                }
                match self.read(stream, connection).await {
                    Ok(Some(taken)) => taken,
                    Ok(None) if self.shard.connections.timed_out(self.index) => {
                        return self.abandon(stream, connection, Abandoned::TooSlow).await;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) if error.get_ref().is_some_and(|cause| cause.is::<Overrun>()) => {
                        return self.abandon(stream, connection, Abandoned::NoRoom).await;
                    }
                    Err(error) => return Err(error),
                }
            };
            more = taken.more;
            self.answer(stream, connection).await?;
            if connection.is_closing() {
                return self.linger(stream).await;
            }
        }
    }

    async fn abandon(
        &mut self,
        stream: &mut Stream,
        connection: &mut Connection,
        why: Abandoned,
    ) -> io::Result<()> {
        self.shard.turn(|p, now| p.abandon(connection, why, now));
        self.rest = Vec::new();
        self.account(connection);
        self.answer(stream, connection).await?;
        self.linger(stream).await
    }

    /// Tells the shard what this connection keeps of unfinished requests.
    fn account(&mut self, connection: &Connection) {
        let now = self.rest.capacity() + connection.held_bytes();
        self.shard.connections.buffered.change(self.held, now);
        self.held = now;
    }

    /// Between two slices of a body: everything else that has something to do does it. It is our turn, not the
    /// client's, so no deadline of its runs meanwhile.
    async fn step_aside(&self) {
        self.shard
            .connections
            .waits(self.index, Waits::Owners, u64::MAX);
        let aside = &self.shard.connections.aside;
        aside.set(aside.get() + 1);
        // A timer and not a yield: only from there does the executor look at its sockets.
        glommio::timer::sleep(STEP_ASIDE).await;
        aside.set(aside.get() - 1);
    }

    fn deadlines(&self) -> Deadlines {
        self.shard.connections.bounds.get().deadlines
    }

    /// How long the next read may take.
    fn arm(&mut self, connection: &Connection) {
        let now_ms = self.shard.clock.recent_ms();
        let (waits, deadline_ms) = if self.rest.is_empty() {
            self.began_ms = 0;
            (Waits::Idle, now_ms + self.deadlines().idle_ms)
        } else {
            if self.began_ms == 0 {
                self.began_ms = now_ms;
            }
            let allowed_ms = match connection.awaiting() {
                Awaiting::Body => self.deadlines().request_ms,
                Awaiting::Head | Awaiting::Request => self.deadlines().head_ms,
            };
            (Waits::Request, self.began_ms + allowed_ms)
        };
        self.shard.connections.waits(self.index, waits, deadline_ms);
    }

    /// Reads once and decodes. `None` at the end of the stream.
    async fn read(
        &mut self,
        stream: &mut Stream,
        connection: &mut Connection,
    ) -> io::Result<Option<Taken>> {
        let (shard, rest) = (self.shard, &mut self.rest);
        // The decoder refuses what would grow past its bounds.
        let received = stream.receive(&shard.buffer, |bytes| {
            if !rest.is_empty() {
                rest.extend_from_slice(bytes);
                return None;
            }
            let taken = shard.turn(|p, now| p.read(connection, bytes, now));
            rest.extend_from_slice(&bytes[taken.consumed..]);
            Some(taken)
        });
        Ok(match received.await? {
            None => None,
            Some(None) => Some(self.decode_rest(connection)),
            Some(taken) => {
                self.account(connection);
                taken
            }
        })
    }

    fn decode_rest(&mut self, connection: &mut Connection) -> Taken {
        let rest = &mut self.rest;
        let taken = self.shard.turn(|p, now| p.read(connection, rest, now));
        if taken.consumed > 0 {
            self.rest.drain(..taken.consumed);
            self.began_ms = 0;
        }
        if self.rest.is_empty() && self.rest.capacity() > KEPT_CAPACITY_BYTES {
            self.rest = Vec::new();
        }
        self.account(connection);
        taken
    }

    /// Sends the answers of the read in order: those that are ready at once, the others when their
    /// owners have decided.
    async fn answer(&mut self, stream: &mut Stream, connection: &mut Connection) -> io::Result<()> {
        let shard = self.shard;
        loop {
            let out = &mut self.out;
            let over = shard.turn(|p, now| p.answers(connection, out, &shard.clock.date(now), now));
            if !self.out.is_empty() {
                let until = shard.clock.recent_ms() + self.deadlines().request_ms;
                shard.connections.waits(self.index, Waits::Client, until);
                stream.send(&mut self.out).await?;
            }
            if over {
                if self.out.capacity() > KEPT_CAPACITY_BYTES {
                    self.out = Vec::new();
                }
                return Ok(());
            }
            shard.connections.waits(self.index, Waits::Owners, u64::MAX);
            shard.connections.woken(self.index).await;
        }
    }

    /// Closes so that the answer reaches a client that is still sending: half-close, read and drop a
    /// bounded amount, close.
    async fn linger(&mut self, stream: &mut Stream) -> io::Result<()> {
        let until = self.shard.clock.now().ms() + LINGER_MS;
        self.shard
            .connections
            .waits(self.index, Waits::Client, until);
        stream.half_close()?;
        let mut dropped = 0;
        while dropped < LINGER_BYTES_MAX {
            match stream
                .receive(&self.shard.buffer, |bytes| bytes.len())
                .await?
            {
                Some(length) => dropped += length,
                None => break,
            }
        }
        Ok(())
    }
}
