//! A remote Graphite that has one answer: a history of minutes that ends now, made before it serves.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Result, blackhole};

pub fn serve(port: u16, points: u32) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs() as u32);
    let first = now - now % 60 - 60 * points;
    let pairs: Vec<String> = (0..points)
        .map(|index| format!("[{}.25, {}]", index % 1000, first + 60 * index))
        .collect();
    let body = format!(
        "[{{\"target\": \"t\", \"datapoints\": [{}]}}]",
        pairs.join(", ")
    );
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer: Arc<[u8]> = (head + &body).into_bytes().into();
    for stream in blackhole::listen(port)?.incoming().flatten() {
        let answer = answer.clone();
        // A client that goes away is no fault of ours.
        std::thread::spawn(move || answer_all(stream, &answer));
    }
    Ok(())
}

fn answer_all(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            stream.write_all(answer)?;
        }
        line.clear();
    }
    Ok(())
}
