//! Bodies that come encoded: undone a slice a turn, so that a large one holds its shard no longer than a small
//! one. What is under way belongs to its connection; the runtime only comes back to go on.

use super::{Connection, Now, PARSED_ANYWAY_BYTES, Pipeline, RETRY_AFTER_SECONDS};
use crate::api::{route, verdict};
use crate::http::encoding::{Fault, Inflater};
use crate::http::response::{Answer, ReplyTo};
use crate::http::{Held, Message};

/// A request whose body is not decoded yet. It is the connection's next one: nothing behind it is looked at.
#[derive(Debug)]
pub(super) struct Inflating {
    held: Held,
    inflater: Inflater,
    to: ReplyTo,
}

impl Inflating {
    pub(super) fn held_bytes(&self) -> usize {
        self.held.held_bytes() + self.inflater.held_bytes()
    }
}

impl Pipeline {
    /// Begins to decode. Most bodies are done within the slice and are never copied.
    // What inflates is made on the stack, which other requests should not have to ask for: each of its pages is touched.
    #[inline(never)]
    pub(super) fn encoded(
        &mut self,
        connection: &mut Connection,
        message: &Message<'_>,
        to: ReplyTo,
        slice: &mut usize,
        now: Now,
    ) {
        let large = message.body.len() > PARSED_ANYWAY_BYTES;
        if large && self.pressed && self.budgets.exhausted() {
            let busy = verdict::busy(RETRY_AFTER_SECONDS);
            return self.answer_encoded(connection, message, busy, to);
        }
        let bytes_max = self.api.inflated_bytes_max;
        let encoding = message.fields.content_encoding;
        let mut inflater =
            Inflater::new(encoding, bytes_max).expect("asked for what can be undone");
        match inflater.advance(message.body, slice) {
            Ok(true) => self.decoded(connection, message, inflater.decoded(), to, now),
            Ok(false) => {
                let held = Held::of(message);
                connection.inflating = Some(Box::new(Inflating { held, inflater, to }));
            }
            Err(fault) => self.not_decoded(connection, message, fault, to),
        }
    }

    /// Goes on with what the connection has under way. True when that request is through.
    #[inline]
    pub(super) fn go_on(
        &mut self,
        connection: &mut Connection,
        slice: &mut usize,
        now: Now,
    ) -> bool {
        connection.inflating.is_none() || self.inflate_on(connection, slice, now)
    }

    #[inline(never)]
    fn inflate_on(&mut self, connection: &mut Connection, slice: &mut usize, now: Now) -> bool {
        let Some(mut inflating) = connection.inflating.take() else {
            return true;
        };
        let Inflating { held, inflater, to } = &mut *inflating;
        match inflater.advance(held.body(), slice) {
            Ok(true) => {
                let message = held.with_body(inflater.decoded());
                self.decoded(connection, &message, message.body, *to, now);
            }
            Ok(false) => {
                connection.inflating = Some(inflating);
                return false;
            }
            Err(fault) => self.not_decoded(connection, &held.with_body(&[]), fault, *to),
        }
        true
    }

    fn decoded(
        &mut self,
        connection: &mut Connection,
        message: &Message<'_>,
        body: &[u8],
        to: ReplyTo,
        now: Now,
    ) {
        self.counters.http.inflated_bytes += body.len() as u64;
        self.request(connection.read, &message.decoded(body), to, now);
        connection.closing = !to.keep_alive;
    }

    fn not_decoded(
        &mut self,
        connection: &mut Connection,
        message: &Message<'_>,
        fault: Fault,
        to: ReplyTo,
    ) {
        self.answer_encoded(connection, message, verdict::not_decoded(fault), to);
    }

    fn answer_encoded(
        &mut self,
        connection: &mut Connection,
        message: &Message<'_>,
        answer: Answer,
        to: ReplyTo,
    ) {
        let endpoint = super::counted(route::Endpoint::of(message.path));
        let answer = Some(Box::new(answer));
        self.reads
            .push(connection.read, Some(endpoint), answer, 0, to);
        connection.closing = !to.keep_alive;
    }
}
