//! `flux journal ls / verify / dump`: what is in the journal, as text.

use super::reader::{Counts, Record};
use super::segment::{HEADER_BYTES, Header, SegmentId};
use crate::carbon::line;
use std::fmt::Write;

/// A line of `ls`, for one file: its name, its size, and its first bytes.
pub fn entry(file_name: &str, bytes: u64, head: &[u8]) -> String {
    let Some(named) = SegmentId::parse(file_name) else {
        return format!("{file_name}  {bytes} bytes  not a segment\n");
    };
    let header = match head
        .first_chunk::<HEADER_BYTES>()
        .map(SegmentId::read_header)
    {
        Some(Header::Ours(id)) if id == named => "ok".to_owned(),
        Some(Header::Ours(id)) => format!("belongs to {}", id.file_name()),
        Some(Header::Version(version)) => {
            format!("version {version}, which this program cannot read")
        }
        Some(Header::Damaged) | None => "header damaged".to_owned(),
    };
    let SegmentId {
        run,
        shard,
        sequence,
    } = named;
    format!("{file_name}  run {run}  shard {shard}  segment {sequence}  {bytes} bytes  {header}\n")
}

/// A line of `verify`, for one file or for all.
pub fn verdict(what: &str, counts: &Counts) -> String {
    let mut text = format!(
        "{what}: {} points in {} records",
        counts.points, counts.records
    );
    let mut note = |count: u64, words: &str| {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {count} {words}");
        }
    };
    note(counts.damaged, "records damaged");
    note(counts.damaged_bytes, "bytes damaged");
    note(counts.torn, "torn at the end");
    note(counts.torn_bytes, "bytes torn");
    note(counts.headers_damaged, "headers damaged");
    note(
        counts.strangers,
        "not read: another version, or another's name",
    );
    text.push('\n');
    text
}

/// A record in carbon's line protocol: a journal can be delivered by hand, `flux journal dump | nc carbon 2003`.
pub fn dump(record: &Record<'_>, out: &mut Vec<u8>) {
    for point in record.iter() {
        line::push_line(out, point.name, point.timestamp, point.value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::{Next, Reader};
    use super::super::{Durability, Journal, commit::Limits};
    use super::*;
    use crate::point::Point;

    #[test]
    fn a_journal_is_listed_verified_and_dumped_as_lines() {
        let limits = Limits {
            segment_bytes: 64 * 1024,
            shard_bytes_max: 1024 * 1024,
        };
        let mut journal: Journal<()> = Journal::new(Durability::Journal, 7, 1, limits);
        let id = journal.wanted().unwrap();
        journal.segments.created(id);
        for timestamp in [60, 120] {
            journal.push(Point {
                name: "a.b",
                timestamp,
                value: 0.5,
                fill: false,
            });
        }
        let mut file = id.header().to_vec();
        file.extend(journal.start().unwrap().bytes);
        file.resize(1000, 0);
        let name = id.file_name();
        assert_eq!(
            entry(&name, 1000, &file),
            format!("{name}  run 7  shard 1  segment 0  1000 bytes  ok\n")
        );
        assert!(entry(&name, 0, &[]).ends_with("header damaged\n"));
        assert!(entry("key", 32, b"x").ends_with("not a segment\n"));
        let mut reader = Reader::new(id);
        reader.push(&file);
        reader.end_of_file();
        let mut lines = vec![];
        while reader.advance() == Next::Record {
            dump(&reader.record().unwrap(), &mut lines);
        }
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "a.b 0.5 60\na.b 0.5 120\n"
        );
        assert_eq!(
            verdict("all", reader.counts()),
            "all: 2 points in 1 records\n"
        );
        let counts = Counts {
            damaged: 2,
            torn_bytes: 9,
            ..Counts::default()
        };
        let expected = "x: 0 points in 0 records, 2 records damaged, 9 bytes torn\n";
        assert_eq!(verdict("x", &counts), expected);
    }
}
