//! A carbon that only counts: decodes every pickle frame, keeps no point, and tells totals over HTTP.
//!
//! `sink CARBON_PORT REPORT_PORT [PREFIX]`: counts all points, and those whose name starts with PREFIX.
//! `GET /` on the report port answers `total=… matching=… frames=… faults=…` on one line.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

// What judges the tests' frames judges the load test's; its names for tests are not all used here.
#[path = "../tests/common/pickle.rs"]
mod pickle;

#[derive(Default)]
struct Totals {
    points: AtomicU64,
    matching: AtomicU64,
    frames: AtomicU64,
    /// Streams that were not frames; their connection was closed, as carbon does.
    faults: AtomicU64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(carbon), Some(report)) = (arguments.first(), arguments.get(1)) else {
        eprintln!("usage: sink CARBON_PORT REPORT_PORT [PREFIX]");
        std::process::exit(64);
    };
    let prefix: Arc<str> = arguments.get(2).map_or("", String::as_str).into();
    let totals = Arc::new(Totals::default());
    let carbon = listen(carbon);
    let report = listen(report);
    let reported = totals.clone();
    std::thread::spawn(move || {
        for stream in report.incoming().flatten() {
            // A scraper that goes away early is its own problem.
            let _ = answer(stream, &reported);
        }
    });
    for stream in carbon.incoming().flatten() {
        let (totals, prefix) = (totals.clone(), prefix.clone());
        std::thread::spawn(move || {
            if let Err(fault) = count(stream, &totals, &prefix) {
                totals.faults.fetch_add(1, Relaxed);
                eprintln!("sink: {fault}");
            }
        });
    }
}

fn listen(port: &str) -> TcpListener {
    TcpListener::bind(format!("127.0.0.1:{port}")).unwrap_or_else(|error| {
        eprintln!("sink: port {port}: {error}");
        std::process::exit(1);
    })
}

fn answer(mut stream: TcpStream, totals: &Totals) -> std::io::Result<()> {
    // Whatever was asked, in one packet: there is one answer.
    let _ = stream.read(&mut [0; 4096])?;
    let body = format!(
        "total={} matching={} frames={} faults={}\n",
        totals.points.load(Relaxed),
        totals.matching.load(Relaxed),
        totals.frames.load(Relaxed),
        totals.faults.load(Relaxed),
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn count(mut stream: TcpStream, totals: &Totals, prefix: &str) -> Result<(), String> {
    let mut buffer = vec![0; 4 + pickle::PAYLOAD_BYTES_MAX];
    let mut filled = 0;
    while let Ok(n @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += n;
        let mut taken = 0;
        while let Some((payload, bytes)) = pickle::frame(&buffer[taken..filled])? {
            let mut matching = 0;
            let points = pickle::points(payload, |name, _, _| {
                matching += u64::from(name.starts_with(prefix));
            })?;
            taken += bytes;
            totals.points.fetch_add(points as u64, Relaxed);
            totals.matching.fetch_add(matching, Relaxed);
            totals.frames.fetch_add(1, Relaxed);
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
    Ok(())
}
