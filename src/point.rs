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

/// Points of one group, owned: what crosses from the shard that read a request to the shard that owns the metrics.
/// Never a reference into a read buffer. The names stand together in one text, so that none is checked again.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Block {
    headers: Vec<Header>,
    names: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    hash: NameHash,
    value: f64,
    timestamp: u32,
    name_bytes: u16,
    fill: bool,
}

/// Where a point stands in a block; the default is the first one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    index: usize,
    name_at: usize,
}

/// What one point takes in a block beside its name.
pub const BLOCK_HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(BLOCK_HEADER_BYTES == 32);
/// What one point costs beside its name on its whole way, in the bytes that admission counts: its place
/// in a block, its tuple in a frame, and what is remembered until the frame is delivered. Rounded up,
/// so that the bound on it is a bound on memory.
pub const POINT_COST_BYTES: usize = BLOCK_HEADER_BYTES + 48;

impl Block {
    #[inline]
    pub fn push(&mut self, hash: NameHash, point: Point<'_>) {
        self.headers.push(Header {
            hash,
            value: point.value,
            timestamp: point.timestamp,
            // A name is at most 4,096 bytes (api::validate), so its length fits.
            name_bytes: point.name.len() as u16,
            fill: point.fill,
        });
        self.names.push_str(point.name);
    }

    pub fn len_bytes(&self) -> usize {
        self.headers.len() * BLOCK_HEADER_BYTES + self.names.len()
    }

    pub fn points(&self) -> u32 {
        self.headers.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    pub fn clear(&mut self) {
        self.headers.clear();
        self.names.clear();
    }

    /// Takes back everything pushed after the block had this size.
    pub fn truncate(&mut self, bytes: usize, points: u32) {
        let points = points as usize;
        self.headers.truncate(points);
        self.names.truncate(bytes - points * BLOCK_HEADER_BYTES);
    }

    /// The point at a place, and the place of the next one.
    #[inline]
    pub fn at(&self, place: Place) -> (NameHash, Point<'_>, Place) {
        let header = &self.headers[place.index];
        let next = Place {
            index: place.index + 1,
            name_at: place.name_at + usize::from(header.name_bytes),
        };
        let point = Point {
            name: &self.names[place.name_at..next.name_at],
            timestamp: header.timestamp,
            value: header.value,
            fill: header.fill,
        };
        (header.hash, point, next)
    }

    /// The hashes of at most so many points from a place on.
    pub fn hashes(&self, from: Place, points_max: usize) -> impl Iterator<Item = NameHash> {
        let headers = self.headers.iter().skip(from.index);
        headers.take(points_max).map(|header| header.hash)
    }

    pub fn iter(&self) -> impl Iterator<Item = (NameHash, Point<'_>)> {
        let mut place = Place::default();
        std::iter::from_fn(move || {
            (place.index < self.headers.len()).then(|| {
                let (hash, point, next) = self.at(place);
                place = next;
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
