//! `DATA/journal` as files. Blocking: called before a start, or off the executors.

use crate::journal::cursor::{Cursor, Ignored};
use crate::journal::segment::SegmentId;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What is appended to the name of a segment with damage.
const ASIDE: &str = "damaged";

#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// What earlier runs have left.
#[derive(Debug, Default)]
pub struct Found {
    /// With their length in bytes.
    pub segments: Vec<(SegmentId, u64)>,
    pub cursors: Vec<(u64, u16, Result<Cursor, Ignored>)>,
}

impl Folder {
    pub fn open(data_dir: &Path) -> io::Result<Folder> {
        let path = data_dir.join("journal");
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    pub fn found(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(id) = SegmentId::parse(&name) {
                found.segments.push((id, entry.metadata()?.len()));
            } else if let Some((run, shard)) = Cursor::parse_name(&name) {
                let bytes = std::fs::read(entry.path())?;
                found
                    .cursors
                    .push((run, shard, Cursor::read(&bytes, run, shard)));
            }
        }
        Ok(found)
    }

    /// A new segment with all its bytes, so that an append meets no full disk. Nothing is left of one that
    /// could not be made. `durable`: its name and its size survive a loss of power.
    pub fn create(&self, id: SegmentId, bytes: u64, durable: bool) -> io::Result<File> {
        let path = self.segment(id);
        let make = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)?;
            allocate(&file, bytes)?;
            file.write_all_at(&id.header(), 0)?;
            if durable {
                file.sync_all()?;
                File::open(&self.0)?.sync_all()?;
            }
            Ok(file)
        };
        make().inspect_err(|_| {
            // There may be nothing to remove.
            let _ = std::fs::remove_file(&path);
        })
    }

    pub fn read(&self, id: SegmentId) -> io::Result<File> {
        File::open(self.segment(id))
    }

    /// When something was last written to it, in Unix seconds.
    pub fn written_seconds(&self, id: SegmentId) -> io::Result<u64> {
        let modified = std::fs::metadata(self.segment(id))?.modified()?;
        let since = modified.duration_since(UNIX_EPOCH);
        Ok(since.map_or(0, |since| since.as_secs()))
    }

    pub fn remove(&self, id: SegmentId) -> io::Result<()> {
        std::fs::remove_file(self.segment(id))
    }

    /// Kept for people, out of the way of every later start.
    pub fn put_aside(&self, id: SegmentId) -> io::Result<()> {
        let name = format!("{}.{ASIDE}", id.file_name());
        std::fs::rename(self.segment(id), self.0.join(name))
    }

    pub fn write_cursor(&self, cursor: &Cursor, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(Cursor::file_name(cursor.run, cursor.shard));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.write_all_at(bytes, offset)
    }

    /// That there is none is as good.
    pub fn remove_cursor(&self, run: u64, shard: u16) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(Cursor::file_name(run, shard))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn segment(&self, id: SegmentId) -> PathBuf {
        self.0.join(id.file_name())
    }
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that is open for as long as the file is.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as libc::off_t) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A file system that cannot: a full disk is then met by a write, and answered 504.
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => file.set_len(bytes),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SegmentId = SegmentId {
        run: 7,
        shard: 1,
        sequence: 2,
    };

    #[test]
    fn a_segment_is_made_whole_found_again_and_put_aside_out_of_sight() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let file = folder.create(ID, 65_536, true).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 65_536);
        assert!(
            folder.create(ID, 65_536, false).is_err(),
            "a name is used once"
        );
        assert!(folder.read(ID).is_err(), "and what was half made is gone");
        folder.create(ID, 65_536, false).unwrap();
        let cursor = Cursor {
            run: 7,
            shard: 1,
            segment: 2,
            record: 3,
        };
        folder.write_cursor(&cursor, 512, &cursor.encode()).unwrap();
        std::fs::write(folder.0.join("note.txt"), "mine").unwrap();
        let found = folder.found().unwrap();
        assert_eq!(found.segments, [(ID, 65_536)]);
        assert_eq!(found.cursors, [(7, 1, Ok(cursor))]);
        folder.put_aside(ID).unwrap();
        folder.remove_cursor(7, 1).unwrap();
        folder.remove_cursor(7, 1).unwrap();
        let found = folder.found().unwrap();
        assert!(found.segments.is_empty() && found.cursors.is_empty());
    }

    /// Nothing of a disk that is too small stays taken.
    #[test]
    fn a_segment_larger_than_the_disk_is_refused_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let huge = 1 << 50;
        assert!(folder.create(ID, huge, false).is_err());
        assert!(folder.found().unwrap().segments.is_empty());
    }
}
