//! A point, and a block of points that can travel between shards.

/// One metric's value at one second, already checked: `name` is sanitised and carries its
/// namespace's prefix, `value` is finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<'a> {
    pub name: &'a str,
    /// Unix seconds. 32 bits: the window keeps live points near now, and `fill` is bounded by it.
    pub timestamp: u32,
    pub value: f64,
    /// A back-fill: bypasses de-duplication and does not move the mark.
    pub fill: bool,
}

/// Where decoded points go. The caller takes a mark before a request and rolls back when the request
/// is refused, so a stage may push points before it has seen the last one.
pub trait PointSink {
    fn push(&mut self, point: Point<'_>);
}

/// For tests and `flux explain`: keeps the points as owned values.
#[derive(Debug, Default, PartialEq)]
pub struct Collected(pub Vec<(String, u32, f64, bool)>);

impl PointSink for Collected {
    fn push(&mut self, point: Point<'_>) {
        self.0.push((
            point.name.to_owned(),
            point.timestamp,
            point.value,
            point.fill,
        ));
    }
}

/// A keyed 128-bit hash of a metric's name: the name's stand-in in the de-duplication table, and
/// what decides its owner shard.
pub type NameHash = u128;

/// Points of one group in one owned block of bytes: what crosses from the shard that read a request
/// to the shard that owns the metrics. Never a reference into a read buffer.
///
/// Layout of one point, little-endian: hash 16, value 8, timestamp 4, name length 2, flags 2, name.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Block {
    bytes: Vec<u8>,
    points: u32,
}

/// What one point takes in a block beside its name.
pub const BLOCK_HEADER_BYTES: usize = 32;
/// What one point costs beside its name on its whole way, in the bytes that admission counts: its place
/// in a block, its tuple in a frame, and what is remembered until the frame is delivered. Rounded up,
/// so that the bound on it is a bound on memory.
pub const POINT_COST_BYTES: usize = BLOCK_HEADER_BYTES + 48;
const FLAG_FILL: u16 = 1;

impl Block {
    pub fn push(&mut self, hash: NameHash, point: Point<'_>) {
        // A name is at most 4,096 bytes (api::validate), so its length fits.
        let len = point.name.len() as u16;
        let flags = if point.fill { FLAG_FILL } else { 0 };
        let mut header = [0u8; BLOCK_HEADER_BYTES];
        header[..16].copy_from_slice(&hash.to_le_bytes());
        header[16..24].copy_from_slice(&point.value.to_le_bytes());
        header[24..28].copy_from_slice(&point.timestamp.to_le_bytes());
        header[28..30].copy_from_slice(&len.to_le_bytes());
        header[30..32].copy_from_slice(&flags.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(point.name.as_bytes());
        self.points += 1;
    }

    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn points(&self) -> u32 {
        self.points
    }

    pub fn is_empty(&self) -> bool {
        self.points == 0
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.points = 0;
    }

    /// Takes back everything pushed after the block had this size.
    pub fn truncate(&mut self, bytes: usize, points: u32) {
        self.bytes.truncate(bytes);
        self.points = points;
    }

    /// The point that starts at `offset`, and where the next one starts.
    pub fn at(&self, offset: usize) -> (NameHash, Point<'_>, usize) {
        let (header, rest) = self.bytes[offset..].split_at(BLOCK_HEADER_BYTES);
        let hash = u128::from_le_bytes(header[..16].try_into().expect("16 bytes"));
        let value = f64::from_le_bytes(header[16..24].try_into().expect("8 bytes"));
        let timestamp = u32::from_le_bytes(header[24..28].try_into().expect("4 bytes"));
        let len = u16::from_le_bytes(header[28..30].try_into().expect("2 bytes")) as usize;
        let flags = u16::from_le_bytes(header[30..32].try_into().expect("2 bytes"));
        let name = std::str::from_utf8(&rest[..len]).expect("push took a str");
        let point = Point {
            name,
            timestamp,
            value,
            fill: flags & FLAG_FILL != 0,
        };
        (hash, point, offset + BLOCK_HEADER_BYTES + len)
    }

    pub fn iter(&self) -> impl Iterator<Item = (NameHash, Point<'_>)> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            (offset < self.bytes.len()).then(|| {
                let (hash, point, next) = self.at(offset);
                offset = next;
                (hash, point)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_was_pushed_and_forgets_what_was_rolled_back() {
        let a = Point {
            name: "a.b",
            timestamp: 1_478_021_700,
            value: -0.0,
            fill: false,
        };
        let b = Point {
            name: "café",
            timestamp: u32::MAX,
            value: f64::MIN_POSITIVE,
            fill: true,
        };
        let mut block = Block::default();
        block.push(7, a);
        let (bytes, points) = (block.len_bytes(), block.points());
        block.push(u128::MAX, b);
        assert_eq!(
            block.iter().collect::<Vec<_>>(),
            vec![(7, a), (u128::MAX, b)]
        );
        block.truncate(bytes, points);
        assert_eq!(block.iter().collect::<Vec<_>>(), vec![(7, a)]);
        assert_eq!(block.len_bytes(), BLOCK_HEADER_BYTES + 3);
    }
}
