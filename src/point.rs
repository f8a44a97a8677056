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

/// Hashes whose places in a table are fetched together before the first is looked up: 16 KiB of cache lines, half of a
/// first-level cache.
pub const TOUCHED_AHEAD: usize = 256;

/// Points of one group, owned: what crosses from the shard that read a request to the shard that owns the metrics.
/// Never a reference into a read buffer. The names stand together in one text, so that none is checked again.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Block {
    headers: Vec<Header>,
    names: String,
}

/// What a block knows of a point beside its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header {
    pub hash: NameHash,
    pub value: f64,
    pub timestamp: u32,
    pub name_bytes: u16,
    pub fill: bool,
}

impl Header {
    #[inline]
    pub fn of(hash: NameHash, point: Point<'_>) -> Header {
        Header {
            hash,
            value: point.value,
            timestamp: point.timestamp,
            // A name is at most 4,096 bytes (api::validate), so its length fits.
            name_bytes: point.name.len() as u16,
            fill: point.fill,
        }
    }
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
    #[inline(always)]
    pub fn push(&mut self, hash: NameHash, point: Point<'_>) {
        self.headers.push(Header::of(hash, point));
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

    /// What is at a place beside its name, and the next place.
    #[inline]
    pub fn header(&self, place: Place) -> (&Header, Place) {
        let header = &self.headers[place.index];
        let next = Place {
            index: place.index + 1,
            name_at: place.name_at + usize::from(header.name_bytes),
        };
        (header, next)
    }

    /// The points from one place up to another.
    #[inline]
    pub fn run(&self, from: Place, to: Place) -> Run<'_> {
        Run {
            headers: &self.headers[from.index..to.index],
            names: &self.names[from.name_at..to.name_at],
        }
    }

    pub fn all(&self) -> Run<'_> {
        Run {
            headers: &self.headers,
            names: &self.names,
        }
    }

    /// The hashes of at most so many points from a place on.
    pub fn hashes(&self, from: Place, points_max: usize) -> impl Iterator<Item = NameHash> {
        let headers = self.headers.iter().skip(from.index);
        headers.take(points_max).map(|header| header.hash)
    }

    pub fn iter(&self) -> impl Iterator<Item = (NameHash, Point<'_>)> {
        self.all().iter()
    }
}

/// Points that stand next to each other in a block, or one alone: what is the same for all of them is done once.
#[derive(Debug, Default, Clone, Copy)]
pub struct Run<'a> {
    headers: &'a [Header],
    names: &'a str,
}

impl<'a> Run<'a> {
    /// A point that stands in no block.
    #[inline]
    pub fn one(header: &'a Header, name: &'a str) -> Run<'a> {
        Run {
            headers: std::slice::from_ref(header),
            names: name,
        }
    }

    pub fn points(&self) -> usize {
        self.headers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// As [`Block::len_bytes`].
    pub fn len_bytes(&self) -> usize {
        self.bytes_with(BLOCK_HEADER_BYTES)
    }

    /// Of all names, and so many for each point beside its name.
    #[inline]
    pub fn bytes_with(&self, beside_name: usize) -> usize {
        self.names.len() + self.points() * beside_name
    }

    pub fn headers(&self) -> &'a [Header] {
        self.headers
    }

    pub fn name(&self) -> &'a str {
        self.names
    }

    /// Each header with its name, not looked at as text again.
    #[inline]
    pub fn named(self) -> impl Iterator<Item = (&'a Header, &'a [u8])> {
        let mut names = self.names.as_bytes();
        self.headers.iter().map(move |header| {
            let (name, rest) = names.split_at(usize::from(header.name_bytes));
            names = rest;
            (header, name)
        })
    }

    pub fn iter(self) -> impl Iterator<Item = (NameHash, Point<'a>)> {
        let mut names = self.names;
        self.headers.iter().map(move |header| {
            let (name, rest) = names.split_at(usize::from(header.name_bytes));
            names = rest;
            let point = Point {
                name,
                timestamp: header.timestamp,
                value: header.value,
                fill: header.fill,
            };
            (header.hash, point)
        })
    }

    /// The first points and the others: as many as are allowed and need at most so many bytes, when each takes
    /// `beside_name` more than its name; or fewer, but at least one.
    #[inline]
    pub fn fit(self, points_max: usize, beside_name: usize, bytes_max: usize) -> (Self, Self) {
        let fits = self.points() <= points_max && self.bytes_with(beside_name) <= bytes_max;
        match fits || self.points() <= 1 {
            true => (self, Run::default()),
            false => self.first_that_fit(points_max, beside_name, bytes_max),
        }
    }

    #[inline(never)]
    fn first_that_fit(
        self,
        points_max: usize,
        beside_name: usize,
        bytes_max: usize,
    ) -> (Self, Self) {
        let mut points = points_max.clamp(1, self.points());
        loop {
            let (first, others) = self.split_at(points);
            if points == 1 || first.bytes_with(beside_name) <= bytes_max {
                return (first, others);
            }
            points /= 2;
        }
    }

    fn split_at(self, points: usize) -> (Self, Self) {
        let (first, others) = self.headers.split_at(points);
        let bytes = match others {
            [] => self.names.len(),
            _ => first
                .iter()
                .map(|header| usize::from(header.name_bytes))
                .sum(),
        };
        let (names, other_names) = self.names.split_at(bytes);
        let run = |headers, names| Run { headers, names };
        (run(first, names), run(others, other_names))
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
    #[test]
    fn a_run_gives_its_first_points_as_far_as_they_fit_and_one_in_any_case() {
        let mut block = Block::default();
        let names = ["a", "bé", "", "dddd", "e", "ff", "g"];
        for (at, name) in names.into_iter().enumerate() {
            let point = Point {
                name,
                timestamp: at as u32,
                value: at as f64,
                fill: at % 2 == 0,
            };
            block.push(at as NameHash, point);
        }
        let all: Vec<_> = block.iter().collect();
        let mut places = vec![Place::default()];
        for _ in names {
            let (_, next) = block.header(places[places.len() - 1]);
            places.push(next);
        }
        for (from, to) in (0..7).flat_map(|from| (from + 1..=7).map(move |to| (from, to))) {
            let run = block.run(places[from], places[to]);
            assert_eq!(run.iter().collect::<Vec<_>>(), all[from..to]);
            for (points_max, bytes_max) in (0..9).flat_map(|n| (0..90).map(move |m| (n, m))) {
                let (first, others) = run.fit(points_max, 10, bytes_max);
                let middle = from + first.points();
                assert_eq!(first.iter().collect::<Vec<_>>(), all[from..middle]);
                assert_eq!(others.iter().collect::<Vec<_>>(), all[middle..to]);
                let fits = first.points() <= points_max && first.bytes_with(10) <= bytes_max;
                assert!(first.points() == 1 || fits);
                let all_fit = run.points() <= points_max && run.bytes_with(10) <= bytes_max;
                assert!(!all_fit || others.is_empty());
            }
        }
    }
}
