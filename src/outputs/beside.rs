//! What is said of a point once, when it is accepted: never of a duplicate, never again from the journal.

use super::distinct::Distinct;
use super::names::Names;
use super::statsd::Datagrams;
use crate::point::Run;

/// Those that are not configured are `None`, and cost a branch.
#[derive(Debug, Default)]
pub struct Beside {
    pub statsd: Option<Datagrams>,
    pub distinct: Option<Distinct>,
    /// For `flux.workers.metrics_sent` and `flux.filled_metrics`.
    pub sent: Option<Names>,
    pub filled: Option<Names>,
}

impl Beside {
    #[inline]
    pub fn accepted(&mut self, run: Run<'_>, now_ms: u64) {
        if let Some(distinct) = &mut self.distinct {
            for header in run.headers() {
                distinct.insert(header.hash);
            }
        }
        if self.statsd.is_some() || self.sent.is_some() || self.filled.is_some() {
            self.named(run, now_ms);
        }
    }

    fn named(&mut self, run: Run<'_>, now_ms: u64) {
        for (hash, point) in run.iter() {
            if let Some(statsd) = &mut self.statsd {
                statsd.push(point.name, point.value, now_ms);
            }
            if let Some(sent) = &mut self.sent {
                sent.push(hash, point.name);
            }
            if point.fill
                && let Some(filled) = &mut self.filled
            {
                filled.push(hash, point.name);
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, unix_seconds: u32, now_ms: u64) {
        if let Some(statsd) = &mut self.statsd {
            statsd.tick(now_ms);
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.tick(unix_seconds);
        }
        for names in [&mut self.sent, &mut self.filled].into_iter().flatten() {
            names.tick(unix_seconds);
        }
    }

    /// Datagrams wait to be sent.
    pub fn wants_statsd(&self) -> bool {
        let statsd = self.statsd.as_ref();
        statsd.is_some_and(|statsd| statsd.front().is_some())
    }

    /// Names wait to be written to Redis.
    pub fn wants_store(&self) -> bool {
        let names = [&self.sent, &self.filled];
        names.into_iter().flatten().any(Names::is_waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Header, Point};

    #[test]
    fn a_fill_is_told_of_as_sent_and_as_filled_and_others_only_as_sent() {
        let mut beside = Beside {
            statsd: Some(Datagrams::new(1432)),
            distinct: Some(Distinct::new(60)),
            sent: Some(Names::new(10)),
            filled: Some(Names::new(10)),
        };
        beside.tick(120, 0);
        for (hash, name, fill) in [(1, "a", false), (2 << 52, "b", true), (1, "a", false)] {
            let point = Point {
                name,
                timestamp: 5,
                value: 2.0,
                fill,
            };
            beside.accepted(Run::one(&Header::of(hash, point), name), 0);
        }
        assert!(beside.wants_store() && !beside.wants_statsd());
        beside.tick(121, 1000);
        let statsd = beside.statsd.as_ref().unwrap();
        assert_eq!(statsd.front(), Some(&b"a:2.0|c\nb:2.0|c\na:2.0|c"[..]));
        assert_eq!(beside.sent.as_mut().unwrap().take(9), ["a", "b"]);
        assert_eq!(beside.filled.as_mut().unwrap().take(9), ["b"]);
        beside.tick(180, 2000);
        assert_eq!(beside.distinct.as_ref().unwrap().of_last_interval(), 2);
    }
}
