//! What happened last, printed with the seed when a check fails, and how often everything happened.

use std::collections::{BTreeMap, VecDeque};

/// Events kept. Enough to see the last request, its write and its delivery.
const EVENTS: usize = 60;

pub struct Trace {
    seed: u64,
    last: VecDeque<(u64, &'static str, [u64; 2])>,
    /// How often each event happened: what a set of seeds never met, it has not tested.
    pub seen: BTreeMap<&'static str, u64>,
    /// Of everything that happened, in order: two runs of a seed must agree.
    pub digest: u64,
    all: bool,
}

impl Trace {
    pub fn new(seed: u64, all: bool) -> Trace {
        Trace {
            seed,
            last: VecDeque::with_capacity(EVENTS),
            seen: BTreeMap::new(),
            digest: 0,
            all,
        }
    }

    /// The numbers say which: mostly a shard, and a size or a number.
    pub fn note(&mut self, now_us: u64, what: &'static str, numbers: [u64; 2]) {
        if self.last.len() == EVENTS {
            self.last.pop_front();
        }
        self.last.push_back((now_us, what, numbers));
        *self.seen.entry(what).or_default() += 1;
        for number in [now_us, what.len() as u64, numbers[0], numbers[1]] {
            self.digest = (self.digest ^ number).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.all {
            eprintln!("{}", line(&(now_us, what, numbers)));
        }
    }
}

fn line((us, what, [a, b]): &(u64, &'static str, [u64; 2])) -> String {
    format!("{:>10}.{:03} ms  {what} {a} {b}", us / 1000, us % 1000)
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let events: Vec<String> = self.last.iter().map(line).collect();
            eprintln!(
                "the last events:\n{}\nsimulator: seed {} failed; again with FLUX_SIMULATOR_SEED={}",
                events.join("\n"),
                self.seed,
                self.seed
            );
        }
    }
}
