//! A carbon that only counts: decodes every pickle frame, keeps no point, and tells totals over HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Result, http};

// What judges the tests' frames judges the load test's.
#[path = "../../tests/common/pickle.rs"]
mod pickle;

/// Names of the load start so; the rest are the program's own series.
pub const PREFIX: &str = "load.";

#[derive(Default)]
struct Totals {
    points: AtomicU64,
    frames: AtomicU64,
    /// Streams that were not frames; their connection was closed, as carbon does.
    faults: AtomicU64,
}

/// What it told: points of the load, frames, faults.
pub fn totals(report: u16) -> Result<(u64, u64, u64)> {
    let text = http::get(report, "/").map_err(|error| format!("blackhole: {error}"))?;
    let mut numbers = text
        .split_whitespace()
        .filter_map(|word| word.split('=').nth(1)?.parse().ok());
    let mut next = || numbers.next().ok_or_else(|| format!("blackhole: {text:?}"));
    Ok((next()?, next()?, next()?))
}

pub fn serve(carbon: u16, report: u16) -> Result<()> {
    let totals = Arc::new(Totals::default());
    let carbon = listen(carbon)?;
    let report = listen(report)?;
    let reported = totals.clone();
    std::thread::spawn(move || {
        for stream in report.incoming().flatten() {
            // A scraper that goes away early is its own problem.
            let _ = answer(stream, &reported);
        }
    });
    for stream in carbon.incoming().flatten() {
        let totals = totals.clone();
        std::thread::spawn(move || {
            if let Err(fault) = count(stream, &totals) {
                totals.faults.fetch_add(1, Relaxed);
                eprintln!("blackhole: {fault}");
            }
        });
    }
    Ok(())
}

pub fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("port {port}: {error}"))
}

fn answer(mut stream: TcpStream, totals: &Totals) -> std::io::Result<()> {
    // Whatever was asked, in one packet: there is one answer.
    let _ = stream.read(&mut [0; 4096])?;
    let body = format!(
        "points={} frames={} faults={}\n",
        totals.points.load(Relaxed),
        totals.frames.load(Relaxed),
        totals.faults.load(Relaxed),
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn count(mut stream: TcpStream, totals: &Totals) -> std::result::Result<(), String> {
    let mut buffer = vec![0; 4 + pickle::PAYLOAD_BYTES_MAX];
    let mut filled = 0;
    while let Ok(n @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += n;
        let (mut taken, mut points, mut frames) = (0, 0, 0);
        while let Some((payload, bytes)) = pickle::frame(&buffer[taken..filled])? {
            pickle::points(payload, |name, _, _| {
                points += u64::from(name.starts_with(PREFIX));
            })?;
            taken += bytes;
            frames += 1;
        }
        totals.points.fetch_add(points, Relaxed);
        totals.frames.fetch_add(frames, Relaxed);
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
    Ok(())
}
