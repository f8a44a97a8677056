//! The embedded store's tables: layers of marks, each in the order of its names, the newest first to be asked.
//!
//! A round of marks becomes a layer of its own, so writing one costs what its bytes cost, whatever is stored already
//! (docs/decisions/0016). A few layers of one rank become one of the next rank; what a newer one has of a metric wins.
//! Nothing here is kept between transactions.

use super::chunk::{self, CHUNK_BYTES};
use super::filter::{Filter, Known, Layers};
use super::{Hash, Mark};
use redb::{
    Error, Range, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use std::cmp::Ordering;

/// A layer's number, which rises with its age → its rank and how many marks. Changing a type here, or what a
/// chunk looks like, needs new table names.
const LAYERS: TableDefinition<u64, (u8, u64)> = TableDefinition::new("layers");
/// The layer, and the first name of the chunk → the chunk.
const CHUNKS: TableDefinition<(u64, &[u8]), &[u8]> = TableDefinition::new("chunks");

/// So many layers of one rank become one: each mark is copied once for each eightfold of the store, and a look-up
/// has some twenty filters to ask at ten million marks.
const LAYERS_PER_RANK: usize = 8;

struct Layer {
    number: u64,
    rank: u8,
    marks: u64,
}

/// What came of a write: this layer, with its filter, in place of those.
pub struct Change {
    pub gone: Vec<u64>,
    pub layer: u64,
    pub filter: Option<Filter>,
}

/// What filters are made with.
pub struct Filters<'f> {
    pub hash: &'f Hash,
    pub known: Known,
    pub bytes_max: usize,
}

impl Filters<'_> {
    fn make(&self, marks: u64, gone: &[u64]) -> Option<Filter> {
        let others = self.known.bytes_without(gone);
        Filter::new(marks, self.bytes_max.saturating_sub(others))
    }
}

/// A reader refuses a table that was never made.
pub fn make_tables(transaction: &WriteTransaction) -> Result<(), Error> {
    transaction.open_table(LAYERS)?;
    transaction.open_table(CHUNKS)?;
    Ok(())
}

/// The oldest first.
fn list(table: &impl ReadableTable<u64, (u8, u64)>) -> Result<Vec<Layer>, Error> {
    let mut layers = Vec::new();
    for found in table.iter()? {
        let (number, about) = found?;
        let (rank, marks) = about.value();
        layers.push(Layer {
            number: number.value(),
            rank,
            marks,
        });
    }
    Ok(layers)
}

/// One mark per name, in their order.
pub fn get(
    transaction: &ReadTransaction,
    names: &[String],
    filters: &Filters<'_>,
) -> Result<Vec<Option<Mark>>, Error> {
    let layers = list(&transaction.open_table(LAYERS)?)?;
    let chunks = transaction.open_table(CHUNKS)?;
    names
        .iter()
        .map(|name| {
            let hash = (filters.hash)(name.as_bytes());
            for Layer { number, .. } in layers.iter().rev() {
                if filters.known.may_be_in(*number, hash)
                    && let Some(mark) = find(&chunks, *number, name)?
                {
                    return Ok(Some(mark));
                }
            }
            Ok(None)
        })
        .collect()
}

fn find(
    chunks: &ReadOnlyTable<(u64, &'static [u8]), &'static [u8]>,
    layer: u64,
    name: &str,
) -> Result<Option<Mark>, Error> {
    let upto = (layer, [].as_slice())..=(layer, name.as_bytes());
    let last = chunks.range(upto)?.next_back().transpose()?;
    Ok(last.and_then(|(_, chunk)| chunk::find(chunk.value(), name)))
}

/// A new layer of these marks, which are in the order of their names.
pub fn put(
    transaction: &WriteTransaction,
    marks: &[(&str, Mark)],
    filters: &Filters<'_>,
) -> Result<Change, Error> {
    let mut layers = transaction.open_table(LAYERS)?;
    let mut chunks = transaction.open_table(CHUNKS)?;
    let newest = layers.last()?.map_or(0, |(number, _)| number.value());
    let filter = filters.make(marks.len() as u64, &[]);
    let mut builder = Builder::new(&mut chunks, newest + 1, filter);
    for (name, mark) in marks {
        builder.make_room(name.as_bytes(), name.len())?;
        chunk::push(&mut builder.chunk, name, *mark);
        builder.note((filters.hash)(name.as_bytes()));
    }
    let (_, filter) = builder.finish()?;
    layers.insert(newest + 1, (0, marks.len() as u64))?;
    Ok(Change {
        gone: Vec::new(),
        layer: newest + 1,
        filter,
    })
}

/// One layer in place of all of the lowest rank, if there are enough of them. `before` reads what the
/// transaction began with.
pub fn merge(
    transaction: &WriteTransaction,
    before: &ReadTransaction,
    filters: &Filters<'_>,
) -> Result<Option<Change>, Error> {
    let mut layers = transaction.open_table(LAYERS)?;
    let mut all = list(&layers)?;
    let Some(rank) = all.last().map(|newest| newest.rank) else {
        return Ok(None);
    };
    // Ranks only fall from the oldest to the newest.
    let merged = all.split_off(all.partition_point(|layer| layer.rank > rank));
    if merged.len() < LAYERS_PER_RANK {
        return Ok(None);
    }
    let gone: Vec<u64> = merged.iter().map(|layer| layer.number).collect();
    let (oldest, newest) = (gone[0], gone[gone.len() - 1]);
    let marks = merged.iter().map(|layer| layer.marks).sum();
    let mut chunks = transaction.open_table(CHUNKS)?;
    let mut builder = Builder::new(&mut chunks, newest + 1, filters.make(marks, &gone));
    let before = before.open_table(CHUNKS)?;
    let sources: Result<Vec<_>, _> = gone
        .iter()
        .rev()
        .map(|it| Source::new(&before, *it))
        .collect();
    let mut sources = sources?;
    while let Some(next) = least(&mut sources)? {
        let source = &mut sources[next];
        builder.make_room(source.name(), source.entry().len())?;
        builder.chunk.extend_from_slice(source.entry());
        builder.note((filters.hash)(source.name()));
        source.advance()?;
    }
    let (kept, filter) = builder.finish()?;
    let old = (oldest, [].as_slice())..(newest + 1, [].as_slice());
    chunks.retain_in(old, |_, _| false)?;
    layers.retain_in(oldest..=newest, |_, _| false)?;
    // Of the same metrics again and again there is no more than before.
    let rank = rank + u8::from(kept > marks / 2);
    layers.insert(newest + 1, (rank, kept))?;
    Ok(Some(Change {
        gone,
        layer: newest + 1,
        filter,
    }))
}

/// Reads every name there is.
pub fn filters(
    transaction: &ReadTransaction,
    hash: &Hash,
    bytes_max: usize,
) -> Result<Layers, Error> {
    let chunks = transaction.open_table(CHUNKS)?;
    let mut room = bytes_max;
    let mut filters = Vec::new();
    // The newest first: it is them that are asked about what is new, and the room may not do for all.
    for layer in list(&transaction.open_table(LAYERS)?)?.iter().rev() {
        let mut filter = Filter::new(layer.marks, room);
        if let Some(filter) = &mut filter {
            for found in chunks.range(all_of(layer.number))? {
                for entry in chunk::entries(found?.1.value()) {
                    filter.add(hash(entry.name));
                }
            }
            room -= filter.bytes();
        }
        filters.push((layer.number, filter.map(Into::into)));
    }
    Ok(filters)
}

fn all_of(layer: u64) -> std::ops::Range<(u64, &'static [u8])> {
    (layer, [].as_slice())..(layer + 1, [].as_slice())
}

/// Writes one layer.
struct Builder<'t, 'txn> {
    chunks: &'t mut Table<'txn, (u64, &'static [u8]), &'static [u8]>,
    layer: u64,
    first: Vec<u8>,
    chunk: Vec<u8>,
    marks: u64,
    filter: Option<Filter>,
}

impl<'t, 'txn> Builder<'t, 'txn> {
    fn new(
        chunks: &'t mut Table<'txn, (u64, &'static [u8]), &'static [u8]>,
        layer: u64,
        filter: Option<Filter>,
    ) -> Self {
        Builder {
            chunks,
            layer,
            first: Vec::new(),
            chunk: Vec::with_capacity(2 * CHUNK_BYTES),
            marks: 0,
            filter,
        }
    }

    /// A mark of so many bytes comes next.
    fn make_room(&mut self, name: &[u8], bytes: usize) -> Result<(), Error> {
        if self.first.len() + self.chunk.len() + bytes > CHUNK_BYTES {
            self.seal()?;
        }
        if self.chunk.is_empty() {
            self.first.clear();
            self.first.extend_from_slice(name);
        }
        Ok(())
    }

    fn note(&mut self, hash: crate::point::NameHash) {
        self.marks += 1;
        self.filter.iter_mut().for_each(|it| it.add(hash));
    }

    fn seal(&mut self) -> Result<(), Error> {
        if !self.chunk.is_empty() {
            let key = (self.layer, self.first.as_slice());
            self.chunks.insert(key, self.chunk.as_slice())?;
            self.chunk.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, Option<Filter>), Error> {
        self.seal()?;
        if let Some(filter) = &mut self.filter {
            filter.fold(self.marks);
        }
        Ok((self.marks, self.filter))
    }
}

/// One of the layers being merged, and the mark it has come to.
struct Source {
    chunks: Range<'static, (u64, &'static [u8]), &'static [u8]>,
    chunk: Vec<u8>,
    place: usize,
    name_bytes: usize,
    entry_bytes: usize,
}

impl Source {
    fn new(
        chunks: &ReadOnlyTable<(u64, &'static [u8]), &'static [u8]>,
        layer: u64,
    ) -> Result<Source, Error> {
        let mut source = Source {
            chunks: chunks.range(all_of(layer))?,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            place: 0,
            name_bytes: 0,
            entry_bytes: 0,
        };
        source.advance()?;
        Ok(source)
    }

    fn is_over(&self) -> bool {
        self.entry_bytes == 0
    }

    fn entry(&self) -> &[u8] {
        &self.chunk[self.place..self.place + self.entry_bytes]
    }

    fn name(&self) -> &[u8] {
        &self.entry()[chunk::LENGTH_BYTES..][..self.name_bytes]
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.place += self.entry_bytes;
        loop {
            if let Some(entry) = chunk::at(&self.chunk, self.place) {
                self.name_bytes = entry.name.len();
                self.entry_bytes = entry.bytes.len();
                return Ok(());
            }
            (self.place, self.entry_bytes) = (0, 0);
            self.chunk.clear();
            match self.chunks.next().transpose()? {
                Some((_, chunk)) => self.chunk.extend_from_slice(chunk.value()),
                None => return Ok(()),
            }
        }
    }
}

/// Whose mark comes next, the newest layer's of several that have the metric; the others are past it then.
fn least(sources: &mut [Source]) -> Result<Option<usize>, Error> {
    let mut least: Option<usize> = None;
    for next in 0..sources.len() {
        if sources[next].is_over() {
            continue;
        }
        match least.map(|least| sources[least].name().cmp(sources[next].name())) {
            Some(Ordering::Less) => {}
            Some(Ordering::Equal) => sources[next].advance()?,
            Some(Ordering::Greater) | None => least = Some(next),
        }
    }
    Ok(least)
}
