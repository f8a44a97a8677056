//! The embedded store: a table in a file under the data directory. Blocking: called off the shards.
//!
//! Losing marks only costs repeats: the caller writes all that have come since about once a second, and a
//! kill -9 or a power cut loses the marks since.
//! A file that is damaged is moved aside, not trusted and not in the way of a start.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use redb::{Builder, Database, ReadableDatabase};

use super::filter::{Known, Layers};
use super::layers::{self, Change, Filters};
use super::{Hash, Mark};

/// redb's default is 1 GiB. Marks are looked up once per metric and process, so a cache gains little:
/// enough for the inner pages of millions of metrics and the pages a round of writes fills.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// More damaged files than this are not kept: the next one replaces the last.
const DAMAGED_FILES_MAX: u32 = 9;

/// After one I/O error, a full disk's too, redb refuses everything until its file is opened again. So the
/// lock: it is held for reading by whoever looks up or writes, none of them on a shard, and for writing
/// while the file is opened again.
pub struct Store {
    path: PathBuf,
    /// `None`: it could not be opened again yet.
    database: RwLock<Option<Database>>,
    /// Of its own transactions redb lets one write at a time; what is known of them is to change in their order.
    writing: Mutex<()>,
    known: RwLock<Known>,
    hash: Hash,
    filter_bytes_max: usize,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish()
    }
}

/// An opened store, and where a damaged one went that stood in its place.
#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    pub moved_aside: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is in use by another instance: stop it, or use another data_dir")]
    InUse(PathBuf),
    #[error("{0} cannot be opened: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    #[error("{0} cannot be opened: {1} (moving it away loses only the marks in it)")]
    Other(PathBuf, #[source] Box<redb::Error>),
}

/// A look-up or a write failed; the store may be tried again.
#[derive(Debug, thiserror::Error)]
#[error("the embedded store failed: {0}")]
pub struct StoreError(#[source] Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        StoreError(Box::new(error.into()))
    }
}

impl Store {
    /// Opens or makes the file. Reads all of it twice (0.3 s for a million marks): because redb trusts what it reads
    /// later, and for the filters, which have at most so many bytes.
    pub fn open(path: &Path, hash: Hash, filter_bytes_max: usize) -> Result<Opened, OpenError> {
        let mut moved_aside = None;
        let mut database = open_undamaged(path)?;
        if database.is_none() {
            let aside = move_aside(path).map_err(|error| OpenError::Io(path.to_owned(), error))?;
            moved_aside = Some(aside);
            database = open_undamaged(path)?;
        }
        let other = |error| OpenError::Other(path.to_owned(), Box::new(error));
        let Some(database) = database else {
            let corrupted = redb::Error::Corrupted("a new file cannot be read back".into());
            return Err(other(corrupted));
        };
        let known = layers_of(&database, &hash, filter_bytes_max).map_err(other)?;
        let store = Store {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            writing: Mutex::new(()),
            known: RwLock::new(Known::new(known)),
            hash,
            filter_bytes_max,
        };
        Ok(Opened { store, moved_aside })
    }

    /// One mark per name, in their order.
    pub fn get_many(&self, names: &[String]) -> Result<Vec<Option<Mark>>, StoreError> {
        self.with(|database| layers::get(&database.begin_read()?, names, &self.filters()))
    }

    /// All or none are written, and on disk when it returns. That the newest wins is the writer's business, and that
    /// no metric is among them twice.
    pub fn put_many(&self, marks: &[(impl AsRef<str>, Mark)]) -> Result<(), StoreError> {
        let marks = marks.iter().map(|(name, mark)| (name.as_ref(), *mark));
        let mut sorted: Vec<(&str, Mark)> = marks.collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        self.write(|database| {
            let transaction = database.begin_write()?;
            let change = layers::put(&transaction, &sorted, &self.filters())?;
            transaction.commit()?;
            Ok(Some(change))
        })?;
        Ok(())
    }

    /// Once after each round: keeps what look-ups must go through short. True: there may be more to do.
    pub fn tidy_up(&self) -> Result<bool, StoreError> {
        self.write(|database| {
            let transaction = database.begin_write()?;
            let change = layers::merge(&transaction, &database.begin_read()?, &self.filters())?;
            match change {
                Some(_) => transaction.commit()?,
                None => transaction.abort()?,
            }
            Ok(change)
        })
    }

    /// What there is to know of absent metrics from here on.
    pub fn known(&self) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    fn filters(&self) -> Filters<'_> {
        Filters {
            hash: &self.hash,
            known: self.known(),
            bytes_max: self.filter_bytes_max,
        }
    }

    fn write(
        &self,
        work: impl Fn(&Database) -> Result<Option<Change>, redb::Error>,
    ) -> Result<bool, StoreError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|database| {
            let Some(change) = work(database)? else {
                return Ok(false);
            };
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.replace(&change.gone, change.layer, change.filter);
            Ok(true)
        })
    }

    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let result = match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => work(database),
            None => Err(redb::Error::PreviousIo),
        };
        if matches!(result, Err(redb::Error::PreviousIo)) {
            self.open_again()?;
        }
        Ok(result?)
    }

    /// Whatever failed is tried again by its caller.
    fn open_again(&self) -> Result<(), redb::Error> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if database.as_ref().is_some_and(|it| it.begin_write().is_ok()) {
            // Another shard was here first.
            return Ok(());
        }
        // The file is locked as long as it is open.
        *database = None;
        let opened = match open_checked(&self.path) {
            Err(redb::Error::Corrupted(_)) => {
                move_aside(&self.path)?;
                open_checked(&self.path)?
            }
            opened => opened?,
        };
        // A write that failed may be there all the same, and nothing may be there of the rest.
        let now = layers_of(&opened, &self.hash, self.filter_bytes_max)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.renew(now);
        *database = Some(opened);
        Ok(())
    }

    /// Brings everything to disk.
    pub fn close(self) -> Result<(), StoreError> {
        let database = self.database.into_inner();
        if let Some(database) = database.unwrap_or_else(PoisonError::into_inner) {
            database.close()?;
        }
        Ok(())
    }
}

fn layers_of(database: &Database, hash: &Hash, bytes_max: usize) -> Result<Layers, redb::Error> {
    layers::filters(&database.begin_read()?, hash, bytes_max)
}

/// `None`: the file is damaged.
fn open_undamaged(path: &Path) -> Result<Option<Database>, OpenError> {
    let path_owned = || path.to_owned();
    match open_checked(path) {
        Ok(database) => Ok(Some(database)),
        Err(redb::Error::DatabaseAlreadyOpen) => Err(OpenError::InUse(path_owned())),
        Err(redb::Error::Corrupted(_)) => Ok(None),
        // How redb says "not one of my files".
        Err(redb::Error::Io(error)) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(redb::Error::Io(error)) => Err(OpenError::Io(path_owned(), error)),
        Err(error) => Err(OpenError::Other(path_owned(), Box::new(error))),
    }
}

fn open_checked(path: &Path) -> Result<Database, redb::Error> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        // Without it redb may panic on a damaged page, or return what it finds there.
        .set_check_integrity_on_open(true)
        .create(path)?;
    let transaction = database.begin_write()?;
    layers::make_tables(&transaction)?;
    transaction.commit()?;
    Ok(database)
}

/// Renames to the first free `<path>.damaged-<n>`.
fn move_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    let free = (1..DAMAGED_FILES_MAX).find(|&n| !aside(n).exists());
    let to = aside(free.unwrap_or(DAMAGED_FILES_MAX));
    std::fs::rename(path, &to)?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::NameHash;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Uniform, as keyed hashes are: FNV-1a, and once more over its own bytes.
    fn hash(name: &[u8]) -> NameHash {
        let fold = |seed: u128, name: &[u8]| {
            name.iter().fold(seed, |sum, &byte| {
                (sum ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
            })
        };
        let once = fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, name);
        fold(once, &once.to_le_bytes())
    }

    fn open(path: &Path) -> Result<Opened, OpenError> {
        Store::open(path, Box::new(hash), 1 << 20)
    }

    fn marks(range: std::ops::Range<u32>) -> Vec<(String, Mark)> {
        let mark = |n: u32| Mark {
            timestamp: n,
            value: (!n.is_multiple_of(3)).then_some(f64::from(n) / 7.0),
        };
        range.map(|n| (format!("métrique.{n}"), mark(n))).collect()
    }

    fn found(store: &Store, wanted: &[(String, Mark)]) -> usize {
        let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
        let found = store.get_many(&names).expect("readable");
        assert_eq!(found.len(), wanted.len());
        found
            .iter()
            .zip(wanted)
            .filter(|(found, (_, mark))| **found == Some(*mark))
            .count()
    }

    #[test]
    fn marks_are_found_at_once_and_after_a_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let opened = open(&path).unwrap();
        assert_eq!(opened.moved_aside, None);
        let store = opened.store;
        assert_eq!(found(&store, &marks(0..3)), 0);
        store.put_many(&marks(0..1000)).unwrap();
        store.put_many(&marks(1000..2000)).unwrap();
        store.put_many(&marks(2000..3000)).unwrap();
        assert_eq!(found(&store, &marks(0..3000)), 3000);
        store.close().unwrap();
        let reopened = open(&path).unwrap();
        assert_eq!(reopened.moved_aside, None);
        assert_eq!(found(&reopened.store, &marks(0..3001)), 3000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Rounds of marks, some of many metrics, some of the same ones again, merged or not, closed in between or not.
        #[test]
        fn it_behaves_as_a_map_and_never_calls_absent_what_it_has(
            rounds in proptest::collection::vec((0..900u32, 1..700u32, 0..3u8), 1..40),
            filter_bytes_max in prop_oneof![Just(0), Just(300), Just(1 << 20)],
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("last.redb");
            let start = || Store::open(&path, Box::new(hash), filter_bytes_max).unwrap().store;
            let mut store = start();
            let mut model: HashMap<String, Mark> = HashMap::new();
            for (round, (from, count, end)) in rounds.into_iter().enumerate() {
                let mut now = marks(from..from + count);
                now.iter_mut().for_each(|(_, mark)| mark.timestamp += 1000 * round as u32);
                now.reverse();
                store.put_many(&now).unwrap();
                model.extend(now);
                if end > 0 {
                    while store.tidy_up().unwrap() {}
                }
                if end > 1 {
                    store.close().unwrap();
                    store = start();
                }
            }
            let all: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(found(&store, &all), all.len());
            prop_assert_eq!(found(&store, &marks(2000..3000)), 0);
            let known = store.known();
            prop_assert!(all.iter().all(|(name, _)| !known.surely_absent(hash(name.as_bytes()))));
            prop_assert!(known.bytes() <= filter_bytes_max);
            if filter_bytes_max > 300 {
                let absent = (2000..3000).filter(|n| known.surely_absent(hash(format!("{n}").as_bytes())));
                prop_assert!(absent.count() > 900);
            }
        }
    }

    #[test]
    fn many_rounds_leave_few_layers_and_the_same_metrics_no_more_than_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("last.redb")).unwrap().store;
        for _ in 0..100 {
            store.put_many(&marks(0..1000)).unwrap();
            while store.tidy_up().unwrap() {}
        }
        // Eight rounds wait to be merged at the most, and what was merged is as large as one.
        assert!(
            store.known().bytes() <= 9 * 3136,
            "{}",
            store.known().bytes()
        );
        for round in 1..100 {
            store
                .put_many(&marks(round * 1000..round * 1000 + 1000))
                .unwrap();
            while store.tidy_up().unwrap() {}
        }
        assert_eq!(found(&store, &marks(0..100_000)), 100_000);
        let bytes = store.known().bytes();
        assert!((300_000..350_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_was_written_survives_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let store = open(&path).unwrap().store;
        store.put_many(&marks(0..1000)).unwrap();
        // As after a kill: the file as it is on disk now, without the close.
        let copy = dir.path().join("copy.redb");
        std::fs::copy(&path, &copy).unwrap();
        let recovered = open(&copy).unwrap();
        assert_eq!(recovered.moved_aside, None);
        assert_eq!(found(&recovered.store, &marks(0..2000)), 1000);
    }

    #[test]
    fn a_second_instance_is_refused_and_moves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let first = open(&path).unwrap().store;
        let second = open(&path).unwrap_err();
        assert!(matches!(second, OpenError::InUse(_)), "{second}");
        first.put_many(&marks(0..3)).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = open(&dir.path().join("no/such/directory")).unwrap_err();
        assert!(matches!(error, OpenError::Io(..)), "{error}");
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Io(..)), "{error}");
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_the_store_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let store = open(&path).unwrap().store;
        store.put_many(&marks(0..3000)).unwrap();
        store.close().unwrap();
        let intact = std::fs::read(&path).unwrap();
        let mut damaged = vec![
            b"not a database".to_vec(),
            vec![0; intact.len()],
            intact[..intact.len() / 2].to_vec(),
        ];
        for page in 0..intact.len() / 4096 {
            let mut bytes = intact.clone();
            bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
            damaged.push(bytes);
            let mut bytes = intact.clone();
            bytes[page * 4096 + 1999] ^= 1;
            damaged.push(bytes);
        }
        let (mut moved, cases) = (0, damaged.len());
        for bytes in damaged {
            std::fs::write(&path, bytes).unwrap();
            let opened = open(&path).expect("a damaged file never stops a start");
            let expected = match opened.moved_aside {
                Some(aside) => {
                    assert!(aside.exists());
                    moved += 1;
                    0
                }
                // A page that holds nothing.
                None => 3000,
            };
            assert_eq!(found(&opened.store, &marks(0..3000)), expected);
            opened.store.put_many(&marks(0..3)).unwrap();
            assert_eq!(found(&opened.store, &marks(0..3)), 3);
        }
        assert!(moved >= 10, "{moved} of {cases}");
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1 + DAMAGED_FILES_MAX as usize);
    }
}
