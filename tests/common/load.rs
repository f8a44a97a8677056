//! Clients that keep the ledger's books while the program is stalled, killed and started again. Bounded
//! in requests and in time; a lane is one thread with one connection (and a second one for retries).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::flux::KEY;
use super::http::{Client, batch, post, request, single};
use super::ledger::{Ledger, PREFIX};
use super::now;

/// How far back a lane's timestamps begin: within `points.age_seconds_max` with room for a slow test.
const BEGIN_SECONDS: u32 = 2_900;
const AGE_SECONDS_MAX: u32 = 3_400;

#[derive(Clone, Debug)]
pub struct Load {
    pub lanes: u32,
    /// Metrics of a lane; a batch holds up to all of them, so that it spans owners.
    pub metrics: usize,
    /// In a thousand requests: how many are single points, GETs, and sent on two connections at once.
    pub singles: u64,
    pub gets: u64,
    pub twice: u64,
    /// Every request on a connection of its own.
    pub fresh: bool,
    /// A pause after every request.
    pub pause: Duration,
    /// Whether a request without an answer, or with a 504, is sent again until it has one.
    pub retry: bool,
    /// Bytes that make the names longer.
    pub padding: usize,
    pub requests_max: usize,
    pub time_max: Duration,
    pub seed: u64,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            lanes: 4,
            metrics: 40,
            singles: 300,
            gets: 100,
            twice: 150,
            fresh: false,
            pause: Duration::from_millis(1),
            retry: false,
            padding: 0,
            requests_max: 100_000,
            time_max: Duration::from_secs(200),
            seed: 1,
        }
    }
}

impl Load {
    pub fn start(self, ledger: &Ledger, port: u16) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let lanes = (0..self.lanes)
            .map(|_| {
                let mut lane = Lane::new(ledger, port, self.clone());
                let stop = stop.clone();
                std::thread::spawn(move || lane.run(&stop))
            })
            .collect();
        Running { stop, lanes }
    }
}

pub struct Running {
    stop: Arc<AtomicBool>,
    lanes: Vec<JoinHandle<()>>,
}

impl Running {
    /// What has no answer by then stays unknown.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }

    /// Until every lane has sent its requests.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        for lane in self.lanes.drain(..) {
            if lane.join().is_err() && !std::thread::panicking() {
                panic!("a lane failed");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

/// xorshift64: a test needs no better randomness, and can be told its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

pub struct Lane {
    ledger: Ledger,
    load: Load,
    port: u16,
    number: u32,
    generation: u32,
    names: Vec<Arc<str>>,
    timestamp: u32,
    clients: [Option<Client>; 2],
    dice: Dice,
}

impl Lane {
    pub fn new(ledger: &Ledger, port: u16, load: Load) -> Lane {
        let number = ledger.next_lane();
        let dice = Dice::new(load.seed << 8 | u64::from(number));
        let mut lane = Lane {
            ledger: ledger.clone(),
            load,
            port,
            number,
            generation: 0,
            names: Vec::new(),
            timestamp: 0,
            clients: [None, None],
            dice,
        };
        lane.begin(now());
        lane
    }

    /// New metrics, which have all their timestamps before them.
    pub fn begin(&mut self, now: u32) {
        self.generation += 1;
        let padding: String = (0..self.load.padding)
            .map(|i| if i % 60 == 0 { '.' } else { 'x' })
            .collect();
        self.names = (0..self.load.metrics)
            .map(|i| format!("{PREFIX}{}.{}.{i}{padding}", self.number, self.generation))
            .map(|name| name.trim_end_matches('.').into())
            .collect();
        self.timestamp = now - BEGIN_SECONDS;
    }

    fn run(&mut self, stop: &AtomicBool) {
        let started = Instant::now();
        for _ in 0..self.load.requests_max {
            if stop.load(Ordering::Relaxed) || started.elapsed() > self.load.time_max {
                return;
            }
            let status = self.send(stop);
            std::thread::sleep(match status {
                // No room, or nobody there: soon again, with other points.
                Some(429) | None => Duration::from_millis(20),
                _ => self.load.pause,
            });
        }
    }

    /// One request of new points, which is answered.
    pub fn ask(&mut self) -> u16 {
        self.send(&AtomicBool::new(false)).expect("an answer")
    }

    /// Asks until there is no room.
    pub fn ask_until_full(&mut self) {
        let full = (0..10_000).any(|_| self.ask() == 429);
        assert!(full, "10,000 requests fitted");
    }

    /// One request of new points, and what was said to it in the end.
    pub fn send(&mut self, stop: &AtomicBool) -> Option<u16> {
        let (from, to) = (self.timestamp, now());
        if from >= to || to - from > AGE_SECONDS_MAX {
            self.begin(to);
        }
        self.send_next(stop)
    }

    /// One request, whatever the clock says of its timestamp.
    pub fn send_next(&mut self, stop: &AtomicBool) -> Option<u16> {
        self.timestamp += 1;
        let kind = self.dice.below(1000);
        let count = match kind < self.load.singles + self.load.gets {
            true => 1,
            false => 1 + self.dice.below(self.names.len() as u64) as usize,
        };
        let first = self.dice.below((self.names.len() - count + 1) as u64) as usize;
        let names = &self.names[first..first + count];
        let points = self.ledger.attempt(names, self.timestamp);
        let bytes = if kind < self.load.gets {
            get(&names[0], self.timestamp, points.start as f64)
        } else if count == 1 {
            post(&single(KEY, &names[0], self.timestamp, points.start as f64))
        } else {
            let items = names.iter().zip(points.clone());
            post(&batch(
                KEY,
                items.map(|(name, value)| (&**name, self.timestamp, value as f64)),
            ))
        };
        let twice = self.dice.below(1000) < self.load.twice;
        loop {
            let status = self.exchange(&bytes, &points, twice);
            let unknown = matches!(status, None | Some(504));
            if !unknown || !self.load.retry || stop.load(Ordering::Relaxed) {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends on one connection, or on both before either answer is read: the second is then a retry of
    /// points whose first request is still being decided. Returns the better answer.
    fn exchange(
        &mut self,
        bytes: &[u8],
        points: &std::ops::Range<usize>,
        twice: bool,
    ) -> Option<u16> {
        let connections = if twice { 2 } else { 1 };
        let mut asked = Vec::new();
        for client in &mut self.clients[..connections] {
            if client.as_ref().is_none_or(Client::has_ended) {
                *client = Client::try_connect(self.port).ok();
            }
            asked.push(Instant::now());
            let sent = client.as_mut().map(|client| client.try_send(bytes));
            if !matches!(sent, Some(Ok(()))) {
                *client = None;
            }
        }
        let mut best = None;
        for (client, asked) in self.clients.iter_mut().zip(asked) {
            let answer = client.as_mut().map(Client::try_answer);
            let status = match answer {
                Some(Ok(Some(answer))) => {
                    if answer.status == 429 {
                        let seconds = answer.header("retry-after");
                        let seconds = seconds.and_then(|text| text.parse::<u32>().ok());
                        assert!(seconds.is_some_and(|s| s >= 1), "when? {answer:?}");
                        assert!(!answer.closes(), "another batch may fit: {answer:?}");
                    }
                    if answer.closes() || self.load.fresh {
                        *client = None;
                    }
                    Some(answer.status)
                }
                _ => {
                    *client = None;
                    None
                }
            };
            self.ledger.answered(points.clone(), status, asked);
            best = match (best, status) {
                (Some(204), _) | (_, None) => best,
                _ => status,
            };
        }
        best
    }
}

fn get(name: &str, timestamp: u32, value: f64) -> Vec<u8> {
    let target =
        format!("/metric_data?metric={name}&timestamp={timestamp}&value={value}&key={KEY}");
    request("GET", &target, &[], b"")
}
