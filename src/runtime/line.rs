//! One connection that sends carbon's line protocol: read, take the whole lines, read on. Nothing is answered;
//! when a budget is full nothing is read either, and the sender's own buffers fill.

use super::connections::Waits;
use super::control::Phase;
use super::shard::Shard;
use super::socket::Stream;
use crate::pipeline::{Fed, Feed};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How soon lines that found no room are offered again; a budget frees as frames are delivered.
const PAUSE: Duration = Duration::from_millis(10);

pub async fn serve(shard: Rc<Shard>, stream: Stream) {
    // Where there is no place for another connection it gives way like all idle ones, long before its deadline.
    let index = shard.connections.open(&stream, u64::MAX);
    let mut session = Session {
        shard: &shard,
        index,
        feed: Feed::default(),
        rest: Vec::new(),
        held: 0,
    };
    // An error is the sender's going away. The beginning of a line that has no end is no point.
    let _ = session.run(stream).await;
    shard.connections.buffered.change(session.held, 0);
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
    async fn run(&mut self, mut stream: Stream) -> io::Result<()> {
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
            while fed.blocked || connections.buffered.is_full() && self.rest.is_empty() {
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
    async fn read(&mut self, stream: &mut Stream) -> io::Result<Option<Fed>> {
        let (shard, feed, rest) = (self.shard, &mut self.feed, &mut self.rest);
        let received = stream.receive(&shard.buffer, |bytes| {
            if !rest.is_empty() {
                rest.extend_from_slice(bytes);
                return None;
            }
            let fed = shard.turn(|pipeline, now| pipeline.feed(feed, bytes, now));
            rest.extend_from_slice(&bytes[fed.consumed..]);
            Some(fed)
        });
        Ok(match received.await? {
            None => None,
            Some(None) => Some(self.feed_rest()),
            Some(fed) => {
                self.account();
                fed
            }
        })
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
        self.shard.connections.buffered.change(self.held, now);
        self.held = now;
    }
}
