//! Killed in the middle of 50 jobs of 50 metrics, with live points for the same metrics meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::common::blackhole::Blackhole;
use super::common::carbon::CarbonCache;
use super::common::flux::{Flux, KEY};
use super::common::graphite::GraphiteWeb;
use super::common::http::{Client, batch};
use super::common::redis::{Redis, Reply};
use super::common::remote::{Gate, Remote, graphite_series};
use super::common::{now, wait_for};
use super::{LONG, graphite_job, jobs, minute, post, value, wait_idle, wait_reconciled};

const METRICS: u32 = 50;
const HISTORY_SECONDS: u32 = 3 * 3600;

fn name(index: u32) -> String {
    format!("kill.m{index}")
}

/// What every metric has to end up with, value by value.
type Books = Vec<BTreeMap<u32, f64>>;

/// The first half of the metrics has live points in minutes that the history covers too; the others' are
/// newer than all of it.
fn first_live(index: u32, end: u32) -> u32 {
    match index % 2 {
        0 => end - 1800,
        _ => end,
    }
}

fn history(index: u32, end: u32) -> impl Iterator<Item = (u32, f64)> {
    let minutes = (end - HISTORY_SECONDS..end).step_by(60);
    minutes.map(move |at| (at, value(u64::from(index), at)))
}

/// Sends live points of all metrics, each until it is taken, and keeps the books.
struct Live {
    stop: Arc<AtomicBool>,
    books: Arc<Mutex<Books>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// When this returns, every metric has its first one.
    fn start(port: u16, end: u32) -> Live {
        let books: Books = vec![BTreeMap::new(); METRICS as usize];
        let books = Arc::new(Mutex::new(books));
        let stop = Arc::new(AtomicBool::new(false));
        send_round(port, end, 0, &books);
        let (ours, stopped) = (books.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            // As far ahead as a live point may be, whatever the start was.
            for round in (1..).take_while(|_| !stopped.load(SeqCst)) {
                send_round(port, end, round, &ours);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Live {
            stop,
            books,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> Books {
        self.stop.store(true, SeqCst);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("the sender does not panic");
        self.books.lock().expect("no holder panics").clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

fn send_round(port: u16, end: u32, round: u32, books: &Mutex<Books>) {
    // A second of the odd metrics takes ten rounds, because the future is not theirs.
    let due = |index: u32| index.is_multiple_of(2) || round.is_multiple_of(10);
    let points: Vec<(u32, u32, f64)> = (0..METRICS)
        .filter(|index| due(*index))
        .map(|index| {
            let step = if index % 2 == 0 { round } else { round / 10 };
            let at = first_live(index, end) + step;
            (index, at, f64::from(1_000_000 + round * METRICS + index))
        })
        .collect();
    let names: Vec<String> = points.iter().map(|(index, ..)| name(*index)).collect();
    let items = names.iter().zip(&points);
    let body = batch(
        KEY,
        items.map(|(name, (_, at, value))| (name.as_str(), *at, *value)),
    );
    let bytes = super::common::http::post(&body);
    wait_for("a live point is taken", LONG, || {
        let mut client = Client::try_connect(port).ok()?;
        client.try_send(&bytes).ok()?;
        let answer = client.try_answer().ok()??;
        assert!(matches!(answer.status, 204 | 429 | 504), "{answer:?}");
        (answer.status == 204).then_some(())
    });
    let mut books = books.lock().expect("no holder panics");
    for (index, at, value) in points {
        books[index as usize].insert(at, value);
    }
}

/// Looks at the marks all the time: none may ever move back.
struct Marks(Arc<AtomicBool>, Option<JoinHandle<BTreeMap<String, u32>>>);

impl Marks {
    fn watch(redis: &Arc<Redis>) -> Marks {
        let (stop, redis) = (Arc::new(AtomicBool::new(false)), redis.clone());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let keys: Vec<String> = (0..METRICS)
                .map(|i| format!("flux.last.{}", name(i)))
                .collect();
            let words: Vec<&str> = ["MGET"]
                .into_iter()
                .chain(keys.iter().map(String::as_str))
                .collect();
            let mut newest = BTreeMap::new();
            while !stopped.load(SeqCst) {
                let Reply::Array(marks) = redis.command(&words) else {
                    panic!("MGET answers with an array");
                };
                for (key, mark) in keys.iter().zip(marks) {
                    let Reply::Bulk(Some(text)) = mark else {
                        assert!(!newest.contains_key(key), "{key} is gone");
                        continue;
                    };
                    let at = text[1..].split(',').next().and_then(|at| at.parse().ok());
                    let at: u32 = at.unwrap_or_else(|| panic!("{key}: {text}"));
                    let known = newest.insert(key.clone(), at).unwrap_or(0);
                    assert!(known <= at, "{key} moved from {known} back to {at}");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            newest
        });
        Marks(stop, Some(thread))
    }

    fn stop(mut self) -> BTreeMap<String, u32> {
        self.0.store(true, SeqCst);
        let thread = self.1.take().expect("it runs");
        thread.join().expect("no mark moved back")
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Half of the jobs are held at their remote until after the restart; of the others some are done, and
/// some on their way, when `ready` says that it is time for the end. Returns what every metric must have.
fn killed(
    mut flux: Flux,
    redis: &Arc<Redis>,
    gentle: bool,
    ready: impl Fn() -> bool,
) -> (Flux, Books) {
    let end = minute(now());
    let (early, late) = (Gate::default(), Gate::default());
    let (first, second) = (early.clone(), late.clone());
    let remote = Remote::start(move |path| {
        let index: u32 = path
            .rsplit('=')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let gate = if index < METRICS / 2 { &first } else { &second };
        gate.wait();
        std::thread::sleep(Duration::from_millis(20));
        graphite_series(history(index, end).map(|(at, value)| (at, Some(value))))
    });
    for index in 0..METRICS {
        let urls = [remote.url(&format!("/render/?target={index}"))];
        assert_eq!(post(&flux, &graphite_job(&name(index), &urls)).status, 204);
    }
    let live = Live::start(flux.port, end);
    let marks = Marks::watch(redis);
    early.open();
    wait_for("it is in the middle", LONG, || ready().then_some(()));
    let done = jobs(&flux, "done");
    match gentle {
        true => assert!(flux.stop_within(Duration::from_secs(20)).success()),
        false => flux.kill9(),
    }
    late.open();
    flux.start_again();
    let recovered = jobs(&flux, "recovered");
    assert!(
        recovered >= f64::from(METRICS / 2),
        "{recovered} jobs, {done} were done"
    );
    wait_idle(&flux);
    let failed = flux.metrics().sum("flux_populate_jobs_failed_total");
    assert_eq!(failed, 0.0);
    let mut books = live.stop();
    for index in 0..METRICS {
        let key = format!("flux.last.{}", name(index));
        let (last, value) = books[index as usize].last_key_value().expect("live points");
        redis.wait_mark(&name(index), &format!("[{last}, {value:?}]"));
        assert!(redis.get(&key).is_some());
        let live = first_live(index, end);
        books[index as usize].extend(history(index, end).filter(|(at, _)| *at < live));
    }
    marks.stop();
    wait_reconciled(&flux);
    (flux, books)
}

fn against_a_sink(gentle: bool) {
    let blackhole = Blackhole::start();
    let redis = Arc::new(Redis::start());
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .shards(2)
        .start();
    // Histories of some are there, of others in part or not at all.
    let middle = || {
        blackhole
            .points()
            .iter()
            .filter(|p| p.value < 1_000_000.0)
            .count()
            > 1_500
    };
    let (_flux, books) = killed(flux, &redis, gentle, middle);
    let mut delivered: Books = vec![BTreeMap::new(); METRICS as usize];
    for point in blackhole.points() {
        let index: usize = point.name["kill.m".len()..].parse().expect("a number");
        let before = delivered[index].insert(point.timestamp, point.value);
        assert!(
            before.is_none_or(|before| before.to_bits() == point.value.to_bits()),
            "{point:?}"
        );
    }
    for (index, (delivered, expected)) in delivered.iter().zip(&books).enumerate() {
        let missing: Vec<_> = expected
            .iter()
            .filter(|(at, _)| !delivered.contains_key(at))
            .collect();
        assert!(
            missing.is_empty(),
            "{}: missing {missing:?}",
            name(index as u32)
        );
        assert_eq!(delivered, expected, "{}", name(index as u32));
    }
}

#[test]
fn killed_in_the_middle_of_fifty_jobs_nothing_is_missing_and_no_mark_lowered() {
    against_a_sink(false);
}

#[test]
fn stopped_in_the_middle_of_fifty_jobs_nothing_is_missing_and_no_mark_lowered() {
    against_a_sink(true);
}

#[test]
fn killed_in_the_middle_graphites_render_api_has_every_value() {
    let carbon = CarbonCache::keeping("1s:6h");
    let local = GraphiteWeb::of(&carbon);
    let redis = Arc::new(Redis::start());
    let flux = Flux::builder()
        .carbon(&format!("127.0.0.1:{}", carbon.pickle_port))
        .redis(&redis.url())
        .shards(2)
        .set_text("populate.graphite", &local.render_address())
        .start();
    let (admin, port) = (flux.admin_port, flux.port);
    assert_ne!(admin, port);
    let middle = || {
        let answer = Client::connect(admin).get("/metrics");
        let metrics = super::common::flux::Metrics::parse(&answer.body);
        metrics.with("flux_populate_jobs_total", "result=\"done\"") >= 5.0
    };
    let (_flux, books) = killed(flux, &redis, false, middle);
    for index in 0..METRICS {
        let expected = &books[index as usize];
        let (first, last) = (expected.first_key_value(), expected.last_key_value());
        let (from, until) = (first.expect("points").0 - 1, *last.expect("points").0);
        let mut differ = Vec::new();
        let until_whole = std::time::Instant::now() + LONG;
        while std::time::Instant::now() < until_whole {
            let held = local.values(&name(index), from, until);
            let all: BTreeSet<u32> = held.keys().chain(expected.keys()).copied().collect();
            let pair = |at: u32| (at, held.get(&at).copied(), expected.get(&at).copied());
            differ = all
                .into_iter()
                .map(pair)
                .filter(|(_, held, expected)| held != expected)
                .collect();
            if differ.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(differ.is_empty(), "{}: {differ:?}", name(index));
    }
}
