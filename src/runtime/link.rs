//! The shard's one connection to carbon: writes frames, sees the end of the stream, tells the outbound
//! what the peer's kernel has acknowledged.

use super::control::Phase;
use super::dial::{self, Backoff, Dialled, Target};
use super::shard::Shard;
use futures_lite::{AsyncReadExt, AsyncWrite};
use glommio::net::TcpStream;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// How long the peer has to close after our end of stream, once it has acknowledged everything: a
/// carbon that reads answers within milliseconds.
const FAREWELL: Duration = Duration::from_millis(500);

/// What the writing and the reading side of one connection tell each other.
#[derive(Default)]
struct Line {
    lost: Cell<bool>,
    /// The peer closed its side without an error.
    ended: Cell<bool>,
    /// It did not acknowledge anything for too long (TCP_USER_TIMEOUT).
    silent: Cell<bool>,
    /// Bytes handed to our kernel.
    handed: Cell<u64>,
}

impl Line {
    fn failed(&self, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::TimedOut {
            self.silent.set(true);
        }
    }
}

pub async fn run(shard: Rc<Shard>, target: Target) {
    let mut backoff = Backoff::new(shard.index as u64 + 0x9e37_79b9);
    while shard.control.phase() < Phase::Keeping {
        match dial::dial(&target).await {
            Ok(dialled) => {
                shard.carbon.up();
                let began_ms = shard.clock.now().ms();
                let reason = converse(&shard, dialled).await;
                shard.turn(|pipeline, now| pipeline.carbon_lost(now));
                shard.carbon.down(reason);
                // A connection that lived for a while was a good one: try again at once.
                if shard.clock.now().ms() > began_ms + 1000 {
                    backoff.reset();
                }
            }
            Err(error) => shard.carbon.down(error),
        }
        glommio::timer::sleep(backoff.delay()).await;
    }
}

/// Writes frames until the connection is lost. Returns why.
async fn converse(shard: &Rc<Shard>, dialled: Dialled) -> String {
    let Dialled { reader, mut writer } = dialled;
    let line = Rc::new(Line::default());
    shard.turn(|pipeline, _| pipeline.outbound.connected());
    let watch = glommio::spawn_local(watch(shard.clone(), reader, line.clone()));
    let acknowledge = glommio::spawn_local(acknowledge(shard.clone(), line.clone(), {
        // A duplicate of the descriptor would outlive the connection; the number is enough, because
        // this task is dropped before the stream is.
        std::os::fd::AsRawFd::as_raw_fd(&writer)
    }));
    let reason = loop {
        if line.lost.get() {
            break "the connection was lost".to_owned();
        }
        if shard.control.phase() >= Phase::Keeping {
            break "stopped".to_owned();
        }
        let frame = shard.turn(|pipeline, now| pipeline.outbound.next_due(now.ms()));
        let Some(frame) = frame else {
            if shard.control.phase() == Phase::Flushing
                && let Some(reason) = farewell(shard, &mut writer, &line).await
            {
                break reason;
            }
            shard.link.wait().await;
            continue;
        };
        if let Err(error) = write(&mut writer, &frame.bytes, &line).await {
            line.failed(&error);
            break error.to_string();
        }
    };
    // Dropped, they are not polled again; awaiting a cancelled task can wait for ever.
    drop(acknowledge);
    drop(watch);
    dial::sever(&writer);
    if line.silent.get() {
        shard.turn(|pipeline, _| pipeline.outbound.silent());
    }
    reason
}

async fn write(writer: &mut TcpStream, bytes: &[u8], line: &Line) -> std::io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let rest = &bytes[written..];
        let count = futures_lite::future::poll_fn(|context| {
            Pin::new(&mut *writer).poll_write(context, rest)
        })
        .await?;
        written += count;
        line.handed.set(line.handed.get() + count as u64);
    }
    Ok(())
}

/// A read is always posted, so that a peer that goes away is seen at once and not at the next write.
async fn watch(shard: Rc<Shard>, mut reader: TcpStream, line: Rc<Line>) {
    let mut scrap = [0u8; 256];
    loop {
        match reader.read(&mut scrap).await {
            // Carbon sends nothing; whatever it is, it is not for us.
            Ok(1..) => continue,
            Ok(0) => line.ended.set(true),
            Err(error) => line.failed(&error),
        }
        break;
    }
    line.lost.set(true);
    // A write that waits for room would wait for ever.
    dial::sever(&reader);
    shard.link.ring();
}

/// Tells the outbound what has been acknowledged, as long as something is not.
async fn acknowledge(shard: Rc<Shard>, line: Rc<Line>, descriptor: std::os::fd::RawFd) {
    loop {
        glommio::timer::sleep(super::SWEEP).await;
        if let Ok(unacknowledged) = dial::unacknowledged(descriptor) {
            let acknowledged = line.handed.get().saturating_sub(unacknowledged);
            shard.turn(|pipeline, now| pipeline.outbound.acknowledged(acknowledged, now.ms()));
        }
    }
}

/// Draining, and everything is written: ends the stream and waits for the peer to close in answer,
/// which it does when it has read all of it. Nothing is left to the redo window then.
async fn farewell(shard: &Rc<Shard>, writer: &mut TcpStream, line: &Line) -> Option<String> {
    if !shard.pipeline.borrow().outbound.all_written() {
        return None;
    }
    writer.shutdown(std::net::Shutdown::Write).await.ok()?;
    let until = shard.clock.now().us + FAREWELL.as_micros() as u64;
    while !line.lost.get() && shard.clock.now().us < until {
        glommio::timer::sleep(super::SWEEP).await;
    }
    let all_acknowledged =
        dial::unacknowledged(std::os::fd::AsRawFd::as_raw_fd(writer)).is_ok_and(|bytes| bytes == 0);
    if line.ended.get() || (!line.lost.get() && all_acknowledged) {
        shard.turn(|pipeline, now| pipeline.sink_confirmed(now));
    }
    Some("drained".to_owned())
}
