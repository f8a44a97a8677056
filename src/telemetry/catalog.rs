//! stub
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub received: u64,
    pub rejected: u64,
    pub discarded: u64,
    pub delivered: u64,
    pub unconfirmed: u64,
    pub busy_unparsed: u64,
    pub groups_sent: u64,
    pub outcome_unknown: u64,
    pub store_unreadable: u64,
    pub store_refused: u64,
    pub marks_written: u64,
}
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub counters: Counters,
}

use crate::api::{Tally, route::Endpoint, verdict::Problem};
impl Counters {
    pub fn take(&mut self, t: &Tally) {
        self.received += u64::from(t.received);
        self.discarded += u64::from(t.discarded_not_finite)
    }
    pub fn reject(&mut self, t: &Tally, _p: Problem) {
        self.received += u64::from(t.received);
        self.rejected += u64::from(t.received)
    }
    pub fn answered(&mut self, _e: Option<Endpoint>, _s: u16) {}
}
