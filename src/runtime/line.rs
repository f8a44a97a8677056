//! One connection that sends carbon's line protocol: read, take the whole lines, read on. Nothing is answered;
//! when a budget is full nothing is read either, and the sender's own buffers fill.

use super::connections::Waits;
use super::control::Phase;
use super::shard::Shard;
use crate::pipeline::{Fed, Feed};
use futures_lite::{AsyncRead, future};
use glommio::net::TcpStream;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of one read: a thousand lines, and what a connection holds at most while it waits for room.
const READ_BYTES: usize = 64 * 1024;
/// How soon lines that found no room are offered again; a budget frees as frames are delivered.
const PAUSE: Duration = Duration::from_millis(10);

pub async fn serve(shard: Rc<Shard>, stream: TcpStream) {
    // Where there is no place for another connection it gives way like all idle ones, long before its deadline.
    let index = shard.connections.open(stream.as_raw_fd(), u64::MAX);
    let mut session = Session {
        shard: &shard,
        index,
        feed: Feed::default(),
        rest: Vec::new(),
        held: 0,
    };
    // An error is the sender's going away. The beginning of a line that has no end is no point.
    let _ = session.run(stream).await;
    shard.connections.buffered(session.held, 0);
    shard.connections.close(index);
}

struct Session<'a> {
    shard: &'a Shard,
    index: usize,
    feed: Feed,
    /// What was read and is not consumed.
    rest: Vec<u8>,
    /// The same, as the shard knows it.
    held: usize,
}

impl Session<'_> {
    async fn run(&mut self, mut stream: TcpStream) -> io::Result<()> {
        let connections = &self.shard.connections;
        let clock = &self.shard.clock;
        loop {
            let until_ms = clock.now().ms() + connections.bounds.get().line_idle_ms;
            connections.waits(self.index, Waits::Lines, until_ms);
            let Some(mut fed) = self.read(&mut stream).await? else {
                if clock.now().ms() >= until_ms {
                    self.shard.turn(|pipeline, _| pipeline.closed_idle_feed());
                }
                return Ok(());
            };
            while fed.blocked || connections.buffers_full() && self.rest.is_empty() {
                if self.shard.control.phase() > Phase::Draining {
                    return Ok(());
                }
                // Our turn, not the sender's.
                connections.waits(self.index, Waits::Owners, u64::MAX);
                glommio::timer::sleep(PAUSE).await;
                fed = self.feed_rest();
            }
        }
    }

    /// Reads once and takes the lines. `None` at the end of the stream.
    async fn read(&mut self, stream: &mut TcpStream) -> io::Result<Option<Fed>> {
        let shard = self.shard;
        if self.rest.is_empty() {
            let read = future::poll_fn(|context| {
                let buffer = &mut shard.buffer.borrow_mut()[..READ_BYTES];
                Pin::new(&mut *stream).poll_read(context, buffer)
            });
            let length = read.await?;
            if length == 0 {
                return Ok(None);
            }
            // Nothing runs between the read's return and here: the bytes are still ours.
            let buffer = shard.buffer.borrow();
            let bytes = &buffer[..length];
            let feed = &mut self.feed;
            let fed = shard.turn(|pipeline, now| pipeline.feed(feed, bytes, now));
            self.rest.extend_from_slice(&bytes[fed.consumed..]);
            drop(buffer);
            self.account();
            return Ok(Some(fed));
        }
        let filled = self.rest.len();
        self.rest.resize(filled + READ_BYTES, 0);
        let rest = &mut self.rest;
        let read = future::poll_fn(|context| {
            Pin::new(&mut *stream).poll_read(context, &mut rest[filled..])
        });
        let length = read.await?;
        self.rest.truncate(filled + length);
        if length == 0 {
            return Ok(None);
        }
        Ok(Some(self.feed_rest()))
    }

    fn feed_rest(&mut self) -> Fed {
        let (feed, rest) = (&mut self.feed, &self.rest);
        let fed = self
            .shard
            .turn(|pipeline, now| pipeline.feed(feed, rest, now));
        self.rest.drain(..fed.consumed);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        self.account();
        fed
    }

    fn account(&mut self) {
        let now = self.rest.capacity();
        self.shard.connections.buffered(self.held, now);
        self.held = now;
    }
}
