//! Offers batches of points at a fixed rate, each at its appointed time whatever became of the others, and
//! tells how long after that time the answers came.
//!
//! `offer PORT KEY RATE SECONDS [JOBS HISTORY_PORT]`: RATE in requests a second; 0 sends as fast as answers come.
//! First it posts JOBS populate jobs, whose histories come from HISTORY_PORT. Prints one line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CONNECTIONS: usize = 8;
const BATCH: usize = 450;
/// A set of metrics has this many timestamps before it, each once; then comes a new set.
const TIMESTAMPS: u32 = 3_000;
const BEGIN_SECONDS: u32 = 3_200;

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: &str) -> std::io::Result<Client> {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    fn post(&mut self, path: &str, body: &[u8]) -> std::io::Result<u16> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: flux\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.0.get_mut().write_all(&bytes)?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if status == 0 {
                status = line
                    .split(' ')
                    .nth(1)
                    .and_then(|s| s.parse().ok())
                    .unwrap_or(0);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut rest = vec![0; length];
        self.0.read_exact(&mut rest)?;
        Ok(status)
    }
}

/// A body whose timestamps are written over, so that making one costs next to nothing.
struct Body {
    bytes: Vec<u8>,
    places: Vec<usize>,
    key: String,
    lane: usize,
    set: u32,
    timestamp: u32,
    end: u32,
}

impl Body {
    fn new(key: &str, lane: usize) -> Body {
        let mut body = Body {
            bytes: Vec::new(),
            places: Vec::new(),
            key: key.to_owned(),
            lane,
            set: 0,
            timestamp: 0,
            end: 0,
        };
        body.begin();
        body
    }

    fn begin(&mut self) {
        self.set += 1;
        self.timestamp = now() - BEGIN_SECONDS;
        self.end = self.timestamp + TIMESTAMPS;
        self.bytes = format!("{{\"key\": \"{}\", \"metrics\": [", self.key).into_bytes();
        self.places.clear();
        for index in 0..BATCH {
            let comma = if index == 0 { "" } else { ", " };
            let name = format!("load.lane{}.set{}.metric{index}", self.lane, self.set);
            let start = format!("{comma}{{\"metric\": \"{name}\", \"value\": 1.5, \"timestamp\": ");
            self.bytes.extend_from_slice(start.as_bytes());
            self.places.push(self.bytes.len());
            self.bytes.extend_from_slice(b"0000000000}");
        }
        self.bytes.extend_from_slice(b"]}");
    }

    fn next(&mut self) -> &[u8] {
        self.timestamp += 1;
        if self.timestamp > self.end {
            self.begin();
        }
        let digits = self.timestamp.to_string();
        for place in &self.places {
            self.bytes[*place..*place + 10].copy_from_slice(digits.as_bytes());
        }
        &self.bytes
    }
}

#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    not_2xx: usize,
    errors: usize,
}

fn lane(number: usize, port: &str, key: &str, rate: f64, began: Instant, time: Duration) -> Seen {
    let mut seen = Seen::default();
    let mut body = Body::new(key, number);
    let Ok(mut client) = Client::connect(port) else {
        seen.errors += 1;
        return seen;
    };
    for turn in 0.. {
        let due = match rate > 0.0 {
            true => Duration::from_secs_f64((turn * CONNECTIONS + number) as f64 / rate),
            false => began.elapsed(),
        };
        if due >= time {
            break;
        }
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        match client.post("/metric_data_post", body.next()) {
            Ok(status) => seen.not_2xx += usize::from(status != 204),
            Err(_) => {
                seen.errors += 1;
                break;
            }
        }
        seen.micros.push((began.elapsed() - due).as_micros() as u32);
    }
    seen
}

fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}

fn post_jobs(port: &str, key: &str, count: usize, history: &str) -> std::io::Result<()> {
    let mut client = Client::connect(port)?;
    for index in 0..count {
        let job = format!(
            "{{\"remote_host_type\": \"graphite\", \"remote_target\": \"t{index}\", \
             \"metric\": \"history.m{index}\", \"namespace_prefix\": \"\", \"key\": \"{key}\", \
             \"fetch_resolution_urls\": [\"http://127.0.0.1:{history}/render/?target={index}\"]}}"
        );
        let status = client.post("/populate_metric", job.as_bytes())?;
        if status != 204 {
            return Err(std::io::Error::other(format!("job {index}: {status}")));
        }
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, key, rate, seconds, jobs @ ..] = arguments.as_slice() else {
        eprintln!("usage: offer PORT KEY RATE SECONDS [JOBS HISTORY_PORT]");
        std::process::exit(64);
    };
    let rate: f64 = rate.parse().expect("RATE is a number");
    let time = Duration::from_secs_f64(seconds.parse().expect("SECONDS is a number"));
    if let [count, history] = jobs
        && let Err(error) = post_jobs(port, key, count.parse().expect("a number"), history)
    {
        eprintln!("offer: {error}");
        std::process::exit(1);
    }
    let began = Instant::now();
    let all: Vec<Seen> = std::thread::scope(|scope| {
        let start = |number| scope.spawn(move || lane(number, port, key, rate, began, time));
        let lanes: Vec<_> = (0..CONNECTIONS).map(start).collect();
        let join = |lane: std::thread::ScopedJoinHandle<'_, Seen>| lane.join();
        lanes
            .into_iter()
            .map(join)
            .map(|seen| seen.expect("a lane"))
            .collect()
    });
    let mut micros: Vec<u32> = all.iter().flat_map(|seen| seen.micros.clone()).collect();
    micros.sort_unstable();
    let at = |part: usize| micros.get(micros.len() * part / 1000).copied().unwrap_or(0);
    println!(
        "OFFER requests={} points={} seconds={:.3} not2xx={} errors={} p50={} p99={}",
        micros.len(),
        micros.len() * BATCH,
        began.elapsed().as_secs_f64(),
        all.iter().map(|seen| seen.not_2xx).sum::<usize>(),
        all.iter().map(|seen| seen.errors).sum::<usize>(),
        at(500),
        at(990)
    );
}
