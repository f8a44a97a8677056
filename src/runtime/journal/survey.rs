//! Before anything is served: what earlier runs have left in `DATA/journal`, read through once, so that each
//! owner knows what was accepted then. Blocking; on the main thread, while the executors do not run yet.

use super::files::Folder;
use crate::dedup::table::Table;
use crate::journal::recovery::{Plan, Replay, Stream, Turn};
use crate::journal::segment::{SegmentId, next_run};
use crate::router::{NameHasher, owner_of};
use crate::telemetry::log::Logger;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of one read.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// What a start has found.
pub struct Found {
    pub folder: Folder,
    /// The number of the run that begins.
    pub run: u64,
    /// For each shard: the metrics with undelivered points, and their newest timestamp.
    pub tables: Vec<Table>,
    pub streams: Vec<Stream>,
    /// Bytes of each segment.
    pub lengths: BTreeMap<SegmentId, u64>,
    /// When each was written last, in Unix seconds.
    pub written: BTreeMap<SegmentId, u64>,
    /// Undelivered, as far as can be known.
    pub points: u64,
    pub cursors_ignored: u64,
}

/// Looks at `DATA/journal`, deletes what is delivered, and reads the rest through once.
pub fn find(
    folder: Folder,
    now_unix_ms: u64,
    hasher: NameHasher,
    mut tables: Vec<Table>,
    logger: Logger,
) -> io::Result<Found> {
    let found = folder.found()?;
    let cursor_runs = found.cursors.iter().map(|(run, _, _)| *run);
    let runs = found
        .segments
        .iter()
        .map(|(id, _)| id.run)
        .chain(cursor_runs);
    let run = next_run(now_unix_ms, runs);
    let mut lengths: BTreeMap<SegmentId, u64> = found.segments.iter().copied().collect();
    let plan = Plan::new(lengths.keys().copied(), found.cursors.into_iter());
    for id in plan.delivered {
        folder.remove(id)?;
        lengths.remove(&id);
    }
    for (run, shard) in plan.stale {
        folder.remove_cursor(run, shard)?;
    }
    for (run, shard, why) in &plan.ignored {
        logger.warn(format_args!(
            "journal: the cursor of run {run}, shard {shard} is ignored ({why}); what it covered is repeated"
        ));
    }
    let mut written = BTreeMap::new();
    for id in lengths.keys() {
        written.insert(*id, folder.written_seconds(*id)?);
    }
    let streams: Vec<Stream> = plan.runs.into_iter().flatten().collect();
    let mut points = 0;
    for stream in &streams {
        points += survey(&folder, stream, hasher, &mut tables, logger);
    }
    if points > 0 {
        logger.info(format_args!(
            "journal: {points} undelivered points of earlier runs in {} segments; they are delivered now",
            lengths.len()
        ));
    }
    Ok(Found {
        folder,
        run,
        tables,
        streams,
        lengths,
        written,
        points,
        cursors_ignored: plan.ignored.len() as u64,
    })
}

/// Tells the tables what a stream holds: a second value at one of these timestamps is a duplicate, and
/// their marks are not in the last store yet. Returns how many points there are.
fn survey(
    folder: &Folder,
    stream: &Stream,
    hasher: NameHasher,
    tables: &mut [Table],
    logger: Logger,
) -> u64 {
    let mut replay = Replay::new(stream.clone());
    let mut file: Option<(SegmentId, File, u64)> = None;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match replay.turn() {
            Turn::Read => return replay.recovered_points,
            Turn::More(id) => {
                let read = read_on(folder, id, &mut file, &mut chunk);
                if let Err(error) = &read {
                    logger.error(format_args!(
                        "journal: {} cannot be read on ({error}); the rest of it is not delivered",
                        id.file_name()
                    ));
                }
                feed(&mut replay, &chunk[..read.unwrap_or(0)]);
            }
            Turn::Record => {
                let points = replay.record().into_iter().flat_map(|record| record.iter());
                for point in points.filter(|point| !point.fill) {
                    let hash = hasher.hash(point.name);
                    let owner = owner_of(hash, tables.len());
                    tables[owner].recovered(hash, point.timestamp);
                }
            }
        }
    }
}

fn read_on(
    folder: &Folder,
    id: SegmentId,
    file: &mut Option<(SegmentId, File, u64)>,
    chunk: &mut [u8],
) -> io::Result<usize> {
    let (_, open, offset) = match file {
        Some(open) if open.0 == id => open,
        _ => file.insert((id, folder.read(id)?, 0)),
    };
    let length = open.read_at(chunk, *offset)?;
    *offset += length as u64;
    Ok(length)
}

/// Gives a replay the next chunk of the segment it reads; an empty one is its end.
pub fn feed(replay: &mut Replay, chunk: &[u8]) {
    replay.push(chunk);
    if chunk.is_empty() {
        replay.end_of_file();
    }
}
