//! Marks in the order of their names as bytes: what the embedded store keeps some two hundred of as one value.
//!
//! A mark is: the name's length (u16), the name, the timestamp (u32), and the value (f64) or, where there is none,
//! a NaN that is never stored otherwise. Numbers are little-endian. Bytes that are no mark end a chunk.

use super::Mark;

/// A chunk with its key and redb's own few dozen bytes fills a page of 16 KiB: a larger one would waste half of one of 32.
pub const CHUNK_BYTES: usize = 15 * 1024;

/// The name's length.
pub const LENGTH_BYTES: usize = 2;
/// Timestamp and value.
const TAIL_BYTES: usize = 12;
/// In place of a value. Points that are not finite are never accepted.
const NO_VALUE: u64 = u64::MAX;

/// One mark of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    pub name: &'c [u8],
    /// All of it, to be copied into another chunk.
    pub bytes: &'c [u8],
}

impl Entry<'_> {
    pub fn mark(&self) -> Option<Mark> {
        let (_, tail) = self.bytes.split_last_chunk::<TAIL_BYTES>()?;
        let (timestamp, value) = tail.split_first_chunk::<4>()?;
        let value = u64::from_le_bytes(value.try_into().ok()?);
        Some(Mark {
            timestamp: u32::from_le_bytes(*timestamp),
            value: (value != NO_VALUE).then_some(f64::from_bits(value)),
        })
    }
}

pub fn push(chunk: &mut Vec<u8>, name: &str, mark: Mark) {
    // Names are bounded far below this; one that were not would be found under its beginning.
    let length = name.len().min(usize::from(u16::MAX));
    chunk.extend_from_slice(&(length as u16).to_le_bytes());
    chunk.extend_from_slice(&name.as_bytes()[..length]);
    chunk.extend_from_slice(&mark.timestamp.to_le_bytes());
    let value = mark.value.map_or(NO_VALUE, f64::to_bits);
    chunk.extend_from_slice(&value.to_le_bytes());
}

/// The mark that begins there; `None` at the end.
pub fn at(chunk: &[u8], place: usize) -> Option<Entry<'_>> {
    let rest = chunk.get(place..)?;
    let length = usize::from(u16::from_le_bytes(*rest.first_chunk::<LENGTH_BYTES>()?));
    let bytes = rest.get(..LENGTH_BYTES + length + TAIL_BYTES)?;
    Some(Entry {
        name: &bytes[LENGTH_BYTES..LENGTH_BYTES + length],
        bytes,
    })
}

pub fn entries(chunk: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut place = 0;
    std::iter::from_fn(move || {
        let entry = at(chunk, place)?;
        place += entry.bytes.len();
        Some(entry)
    })
}

pub fn find(chunk: &[u8], name: &str) -> Option<Mark> {
    let mut found = entries(chunk);
    found.find(|entry| entry.name == name.as_bytes())?.mark()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(
            marks in proptest::collection::vec((".{0,20}", any::<u32>(), proptest::option::of(-1e300..1e300f64)), 0..50),
        ) {
            let mut chunk = Vec::new();
            for (name, timestamp, value) in &marks {
                push(&mut chunk, name, Mark { timestamp: *timestamp, value: *value });
            }
            let read: Vec<_> = entries(&chunk).map(|entry| (entry.name.to_vec(), entry.mark())).collect();
            let put: Vec<_> = marks
                .iter()
                .map(|(name, timestamp, value)| {
                    (name.clone().into_bytes(), Some(Mark { timestamp: *timestamp, value: *value }))
                })
                .collect();
            prop_assert_eq!(read, put);
            for (name, ..) in &marks {
                prop_assert!(find(&chunk, name).is_some());
            }
            prop_assert!(find(&chunk, "a name longer than twenty letters").is_none());
        }

        #[test]
        fn any_bytes_are_read_to_some_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: usize = entries(&bytes).map(|entry| entry.bytes.len()).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
