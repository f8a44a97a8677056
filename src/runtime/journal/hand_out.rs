//! Reads what earlier runs have left, once more and in pieces, and gives each owner its points.

use super::replay::Replays;
use super::survey::{CHUNK_BYTES, feed};
use crate::journal::recovery::Turn;
use crate::journal::segment::SegmentId;
use crate::pipeline::{RecordId, Recovered};
use crate::router::owner_of;
use crate::runtime::mesh::{Mesh, Parcel};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

/// A parcel for an owner is sent at this size, or when its chunk has been read.
const PARCEL_BYTES: usize = 64 * 1024;

/// Hands everything out, oldest run first. One reader and one channel to each owner: a metric's points stay in
/// the order they were accepted in, also over runs and numbers of shards.
pub async fn run(replays: Rc<Replays>, mesh: Rc<Mesh>) {
    for stream in 0..replays.streams() {
        let mut reading = Reading {
            replays: &replays,
            mesh: &mesh,
            stream,
            parcels: (0..replays.owners())
                .map(|_| Recovered::default())
                .collect(),
            file: None,
        };
        loop {
            replays.room().await;
            if replays.stopping() {
                return;
            }
            match replays.with(stream, |replay| replay.turn()) {
                Turn::Record => reading.record(),
                Turn::More(id) => {
                    reading.send_all();
                    reading.chunk(id).await;
                }
                Turn::Read => break,
            }
        }
        reading.send_all();
    }
    replays.all_handed_out();
}

/// One stream while it is read.
struct Reading<'a> {
    replays: &'a Replays,
    mesh: &'a Mesh,
    stream: usize,
    /// For each owner.
    parcels: Vec<Recovered>,
    file: Option<(SegmentId, Arc<File>, u64)>,
}

impl Reading<'_> {
    /// Puts the points of the record just read into the parcels of their owners.
    fn record(&mut self) {
        let points = self.replays.with(self.stream, |replay| {
            let Some(record) = replay.record() else {
                return 0;
            };
            let id = RecordId {
                stream: self.stream as u32,
                sequence: record.sequence,
            };
            let points = record.points;
            let mut owners = 0;
            for point in record.iter() {
                let hash = self.replays.hasher.hash(point.name);
                let owner = owner_of(hash, self.parcels.len());
                let parcel = &mut self.parcels[owner];
                parcel.block.push(hash, point);
                match parcel.records.last_mut() {
                    Some((last, count)) if *last == id => *count += 1,
                    _ => {
                        parcel.records.push((id, 1));
                        owners += 1;
                    }
                }
            }
            replay.handed(owners);
            points
        });
        self.replays.taken_up(points);
        for owner in 0..self.parcels.len() {
            if self.parcels[owner].block.len_bytes() >= PARCEL_BYTES {
                self.send(owner);
            }
        }
    }

    fn send(&mut self, owner: usize) {
        let parcel = std::mem::take(&mut self.parcels[owner]);
        if !parcel.block.is_empty() {
            self.replays.given(owner, parcel.cost());
            self.mesh.send(owner, Parcel::Recovered(parcel));
        }
    }

    fn send_all(&mut self) {
        (0..self.parcels.len()).for_each(|owner| self.send(owner));
    }

    /// Reads on. What cannot be read ends its segment, and is told: the rest is delivered all the same.
    async fn chunk(&mut self, id: SegmentId) {
        let (file, offset) = match self.file.take() {
            Some((open, file, offset)) if open == id => (Some(file), offset),
            _ => (None, 0),
        };
        let folder = self.replays.folder.clone();
        let read = move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(folder.read(id)?),
            };
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = file.read_at(&mut chunk, offset)?;
            chunk.truncate(length);
            io::Result::Ok((file, chunk))
        };
        let mut chunk = Vec::new();
        match glommio::executor().spawn_blocking(read).await {
            Ok((file, bytes)) => {
                self.file = Some((id, file, offset + bytes.len() as u64));
                chunk = bytes;
            }
            Err(error) => self.replays.logger.error(format_args!(
                "journal: {} cannot be read on ({error})",
                id.file_name()
            )),
        }
        self.replays
            .with(self.stream, |replay| feed(replay, &chunk));
    }
}
