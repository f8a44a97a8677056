//! `flux journal ls / verify / dump`: looks into the journal without the service. Reads only, so it may run
//! beside a service that uses the same folder: what that has not written yet is simply not there.

use crate::journal::reader::{Counts, Next, Reader, Record};
use crate::journal::segment::{HEADER_BYTES, SegmentId};
use crate::journal::show;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::Error;

/// Bytes of one read.
const CHUNK_BYTES: usize = 256 * 1024;
/// What a segment's name ends with, whole or put aside.
const SUFFIXES: [&str; 2] = [".journal", ".journal.damaged"];

/// Segments in the order of replay: those named, or all of the folder.
fn segments(folder: &Path, named: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    if !named.is_empty() {
        return Ok(named);
    }
    let unreadable = |why| unreadable(folder, why);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if SUFFIXES
            .iter()
            .any(|suffix| path.to_string_lossy().ends_with(suffix))
        {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn unreadable(path: &Path, why: io::Error) -> Error {
    Error::Io {
        what: path.display().to_string(),
        why,
        cure: "name a readable folder with --data-dir or --config, or readable segments",
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub fn ls(folder: &Path, named: Vec<PathBuf>, out: &mut impl Write) -> Result<(), Error> {
    for path in segments(folder, named)? {
        let open = || {
            let mut head = Vec::new();
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            file.take(HEADER_BYTES as u64).read_to_end(&mut head)?;
            Ok((head, length))
        };
        let (head, length) = open().map_err(|why| unreadable(&path, why))?;
        write(out, show::entry(&name(&path), length, &head).as_bytes())?;
    }
    Ok(())
}

/// Reads every record of every segment. What is damaged or torn is told, and is an error.
pub fn verify(folder: &Path, named: Vec<PathBuf>, out: &mut impl Write) -> Result<(), Error> {
    let mut all = Counts::default();
    for path in segments(folder, named)? {
        let counts = read(&path, |_| Ok(()))?;
        write(out, show::verdict(&name(&path), &counts).as_bytes())?;
        all.add(&counts);
    }
    write(out, show::verdict("all", &all).as_bytes())?;
    match all.has_damage() || all.strangers > 0 {
        true => Err(Error::Damaged),
        false => Ok(()),
    }
}

/// The points in carbon's line protocol, delivered or not: Graphite overwrites what it has.
pub fn dump(folder: &Path, named: Vec<PathBuf>, out: &mut impl Write) -> Result<(), Error> {
    let mut lines = Vec::new();
    for path in segments(folder, named)? {
        read(&path, |record| {
            lines.clear();
            show::dump(&record, &mut lines);
            write(out, &lines)
        })?;
    }
    Ok(())
}

fn read(
    path: &Path,
    mut each: impl FnMut(Record<'_>) -> Result<(), Error>,
) -> Result<Counts, Error> {
    let text = name(path);
    let text = text.strip_suffix(".damaged").unwrap_or(&text);
    let Some(id) = SegmentId::parse(text) else {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "not the name of a segment");
        return Err(unreadable(path, why));
    };
    let mut file = File::open(path).map_err(|why| unreadable(path, why))?;
    let mut reader = Reader::new(id);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match reader.advance() {
            Next::Record => reader.record().map_or(Ok(()), &mut each)?,
            Next::End => return Ok(*reader.counts()),
            Next::More => match file.read(&mut chunk).map_err(|why| unreadable(path, why))? {
                0 => reader.end_of_file(),
                length => reader.push(&chunk[..length]),
            },
        }
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes).map_err(|why| Error::Io {
        what: "standard output".to_owned(),
        why,
        cure: "give it somewhere to write",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Durability, Journal, commit::Limits};
    use crate::point::Point;

    #[test]
    fn a_folder_is_listed_verified_and_dumped_and_damage_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let limits = Limits {
            segment_bytes: 65_536,
            shard_bytes_max: 1 << 20,
        };
        let mut journal: Journal<()> = Journal::new(Durability::Journal, 7, 1, limits);
        let id = journal.wanted().unwrap();
        journal.segments.created(id);
        let mut bytes = id.header().to_vec();
        for timestamp in [60, 120, 180] {
            journal.push(Point {
                name: "a.b",
                timestamp,
                value: 0.5,
                fill: false,
            });
            let write = journal.start().unwrap();
            bytes.extend_from_slice(&write.bytes);
            journal.finished(write, true, |_, _| {});
        }
        let path = root.path().join(id.file_name());
        std::fs::write(&path, &bytes).unwrap();
        let told = |verb: &dyn Fn(&mut Vec<u8>) -> Result<(), Error>| {
            let mut out = Vec::new();
            let result = verb(&mut out);
            (String::from_utf8(out).unwrap(), result.is_ok())
        };
        let (listed, ok) = told(&|out| ls(root.path(), vec![], out));
        assert!(ok && listed.starts_with(&id.file_name()) && listed.ends_with("ok\n"));
        let lines = "a.b 0.5 60\na.b 0.5 120\na.b 0.5 180\n";
        let (dumped, ok) = told(&|out| dump(root.path(), vec![], out));
        assert!(ok && dumped == lines, "{dumped}");
        let (verified, ok) = told(&|out| verify(root.path(), vec![path.clone()], out));
        assert!(
            ok && verified.ends_with("all: 3 points in 3 records\n"),
            "{verified}"
        );

        // The second record's payload.
        let at = HEADER_BYTES + 28 + 25 + 28 + 5;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (verified, ok) = told(&|out| verify(root.path(), vec![], out));
        assert!(!ok && verified.contains("1 records damaged"), "{verified}");
        let (dumped, _) = told(&|out| dump(root.path(), vec![], out));
        assert_eq!(dumped, "a.b 0.5 60\na.b 0.5 180\n");
        assert!(
            ls(
                root.path(),
                vec![root.path().join("gone.journal")],
                &mut Vec::new()
            )
            .is_err()
        );
    }
}
