//! The shard's one connection to carbon: writes frames, sees the end of the stream, tells the outbound
//! what the peer's kernel has acknowledged.

use super::control::Phase;
use super::dial::{self, Backoff, Dialled, Target};
use super::doorbell::Doorbell;
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
    /// Bytes handed to our kernel; it rings when there are more.
    handed: Cell<u64>,
    wrote: Doorbell,
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
                let end = converse(&shard, dialled).await;
                shard.turn(|pipeline, now| pipeline.carbon_lost(now));
                match end {
                    End::Lost(reason) => shard.carbon.down(reason),
                    // It was asked to, and is there: the next connection is no news.
                    End::Parted if shard.control.phase() < Phase::Flushing => {
                        backoff.reset();
                        continue;
                    }
                    End::Parted => shard.carbon.down("drained"),
                }
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

/// How a connection ended.
enum End {
    Lost(String),
    /// In order, and carbon has read everything.
    Parted,
}

/// Writes frames until the connection ends.
async fn converse(shard: &Rc<Shard>, dialled: Dialled) -> End {
    let Dialled { reader, mut writer } = dialled;
    let line = Rc::new(Line::default());
    shard.turn(|pipeline, _| pipeline.outbound.connected());
    let watch = glommio::spawn_local(watch(shard.clone(), reader, line.clone()));
    let acknowledge = glommio::spawn_local(acknowledge(shard.clone(), line.clone(), {
        // A duplicate of the descriptor would outlive the connection; the number is enough, because
        // this task is dropped before the stream is.
        std::os::fd::AsRawFd::as_raw_fd(&writer)
    }));
    let end = loop {
        if line.lost.get() {
            break End::Lost("the connection was lost".to_owned());
        }
        if shard.control.phase() >= Phase::Keeping {
            break End::Lost("stopped".to_owned());
        }
        let frame = shard.turn(|pipeline, now| pipeline.outbound.next_due(now.ms()));
        let Some(frame) = frame else {
            let parts = shard.control.phase() == Phase::Flushing
                || shard.pipeline.borrow().outbound.wants_confirmation();
            if parts && let Some(end) = farewell(shard, &mut writer, &line).await {
                break end;
            }
            shard.link.wait().await;
            continue;
        };
        if let Err(error) = write(&mut writer, &frame.bytes, &line).await {
            line.failed(&error);
            break End::Lost(error.to_string());
        }
    };
    // Dropped, they are not polled again; awaiting a cancelled task can wait for ever.
    drop(acknowledge);
    drop(watch);
    dial::sever(&writer);
    if line.silent.get() {
        shard.turn(|pipeline, _| pipeline.outbound.silent());
    }
    end
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
        line.wrote.ring();
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
    let mut acknowledged = 0;
    loop {
        if acknowledged == line.handed.get() {
            line.wrote.wait().await;
        }
        glommio::timer::sleep(super::SWEEP).await;
        if let Ok(unacknowledged) = dial::unacknowledged(descriptor) {
            acknowledged = line.handed.get().saturating_sub(unacknowledged);
            shard.turn(|pipeline, now| pipeline.outbound.acknowledged(acknowledged, now.ms()));
        }
    }
}

/// Everything is written: ends the stream and waits for the peer to close in answer, which it does when it
/// has read all of it. Nothing has to be kept for a redo then. That its kernel has acknowledged everything
/// says nothing of the kind: a process that is stopped looks like that, and may be killed.
async fn farewell(shard: &Rc<Shard>, writer: &mut TcpStream, line: &Line) -> Option<End> {
    if !shard.pipeline.borrow().outbound.all_written() {
        return None;
    }
    writer.shutdown(std::net::Shutdown::Write).await.ok()?;
    let until = shard.clock.now().us + FAREWELL.as_micros() as u64;
    while !line.lost.get() && shard.clock.now().us < until {
        glommio::timer::sleep(super::SWEEP).await;
    }
    if line.ended.get() {
        shard.turn(|pipeline, now| pipeline.sink_confirmed(now));
        return Some(End::Parted);
    }
    Some(End::Lost(
        "it did not close in answer to our end".to_owned(),
    ))
}
