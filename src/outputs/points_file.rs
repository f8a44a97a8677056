//! `DATA/points.carbon`: where points go when no carbon is configured, in carbon's line protocol, to be
//! replayed with `nc carbon 2003 < points.carbon`. Blocking: called off the shards.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file's tail is searched backwards for the last line's end in steps of this size.
const TAIL_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub struct PointsFile {
    path: PathBuf,
    file: File,
    bytes_max: u64,
}

/// Why a chunk was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("it has reached carbon.file_bytes_max ({0} bytes): replay it, then move it away")]
    Full(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PointsFile {
    /// Opens the file and cuts it to its last whole line: a crash can leave half a line behind.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<PointsFile> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let whole = whole_lines(&mut file)?;
        if whole < file.metadata()?.len() {
            file.set_len(whole)?;
        }
        Ok(PointsFile {
            path: path.to_owned(),
            file,
            bytes_max,
        })
    }

    /// Appends whole lines with one write. Several shards append to one file: the kernel keeps each
    /// write in one piece.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        // Whoever replays the file moves it away first: then there is a new one to begin.
        if self.moved()? {
            *self = PointsFile::open(&self.path, self.bytes_max)?;
        }
        if !self.fits(lines)? {
            return Err(AppendError::Full(self.bytes_max));
        }
        Ok(self.file.write_all(lines)?)
    }

    fn moved(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) != (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn fits(&self, lines: &[u8]) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() + lines.len() as u64 <= self.bytes_max)
    }
}

/// Length of the file up to and including its last line feed.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        tail.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut tail)?;
        if let Some(at) = memchr::memrchr(b'\n', &tail) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_cut_and_whole_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points.carbon");
        let long = "x".repeat(TAIL_BYTES as usize * 2 + 7);
        for (before, after) in [
            ("", ""),
            ("a 1 2\n", "a 1 2\n"),
            ("a 1 2\nb 3", "a 1 2\n"),
            ("half", ""),
            (&format!("a 1 2\n{long}") as &str, "a 1 2\n"),
        ] {
            std::fs::write(&path, before).unwrap();
            let mut file = PointsFile::open(&path, 1 << 30).unwrap();
            file.append(b"n 1.0 3\n").unwrap();
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                format!("{after}n 1.0 3\n")
            );
        }
    }

    #[test]
    fn a_full_file_refuses_and_takes_again_when_it_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points.carbon");
        let mut file = PointsFile::open(&path, 10).unwrap();
        file.append(b"a 1.0 2\n").unwrap();
        assert!(matches!(
            file.append(b"b 1.0 2\n"),
            Err(AppendError::Full(10))
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a 1.0 2\n");
        std::fs::rename(&path, folder.path().join("replayed")).unwrap();
        file.append(b"b 1.0 2\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b 1.0 2\n");
    }
}
