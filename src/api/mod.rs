//! Messages → points and a verdict. Pure.

pub mod auth;
pub mod json;
pub mod number;
pub mod query;
pub mod route;
pub mod validate;
pub mod verdict;

use crate::http::{Message, response::Answer};
use crate::point::PointSink;

/// What the points of one request came to before their owners decide about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items parsed, whatever became of them.
    pub received: u32,
    /// Not finite: accepted from the client's point of view, counted, not pushed.
    pub discarded_not_finite: u32,
    /// Index into the configured namespaces; `None` for the self key and for no key.
    pub namespace: Option<u16>,
}

/// What the request asks the shard to do.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// The points are in the sink; the owners decide about duplicates and the answer is
    /// [`verdict::accepted`] unless one of them fails.
    Points(Tally),
    /// Nothing to hand over (the caller rolls the sink back). A bad request of `received` items rejects them all.
    Answer { answer: Answer, tally: Tally },
    /// The health probe: answered 200, and the `flux.listen` heartbeat is due.
    Probe(Answer),
}

/// What is decided from, built once from the configuration and shared by reference.
#[derive(Debug)]
pub struct Api {
    pub keys: auth::Keys,
    pub limits: PointLimits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PointLimits {
    pub age_seconds_max: u32,
    pub future_seconds_max: u32,
    pub points_per_request_max: usize,
    /// Length of `points.whisper_path`, for the rule that a whisper file's path is at most 4,096 bytes.
    pub whisper_path_bytes: usize,
}

/// Buffers kept between requests, so that the steady state allocates nothing.
#[derive(Default)]
pub struct Scratch {}

impl Api {
    /// Decides one message at `now` (Unix seconds).
    pub fn decide(
        &self,
        message: &Message<'_>,
        now: u32,
        scratch: &mut Scratch,
        sink: &mut impl PointSink,
    ) -> Decision {
        let _ = (message, now, scratch, sink);
        Decision::Answer {
            answer: verdict::accepted(),
            tally: Tally::default(),
        }
    }
}
