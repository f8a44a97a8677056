//! The embedded store: a table in a file under the data directory. Blocking: called off the shards.
//!
//! Losing marks only costs repeats: the caller writes all that have come since about once a second, and a
//! kill -9 or a power cut loses the marks since.
//! A file that is damaged is moved aside, not trusted and not in the way of a start.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Builder, Database, ReadableDatabase, TableDefinition};

use super::Mark;

/// Metric → timestamp and value. Changing a type here needs a new table name.
const MARKS: TableDefinition<&str, (u32, Option<f64>)> = TableDefinition::new("marks");

/// redb's default is 1 GiB. Marks are looked up once per metric and process, so a cache gains little:
/// enough for the inner pages of millions of metrics and the pages one batch of writes touches.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// More damaged files than this are not kept: the next one replaces the last.
const DAMAGED_FILES_MAX: u32 = 9;

/// After one I/O error, a full disk's too, redb refuses everything until its file is opened again. So the
/// lock: it is held for reading by whoever looks up or writes, none of them on a shard, and for writing
/// while the file is opened again.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// `None`: it could not be opened again yet.
    database: RwLock<Option<Database>>,
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
    /// Opens or makes the file. Reads all of it once (0.2 s for a million marks), because redb trusts
    /// what it reads later.
    pub fn open(path: &Path) -> Result<Opened, OpenError> {
        if let Some(store) = open_undamaged(path)? {
            return Ok(Opened {
                store,
                moved_aside: None,
            });
        }
        let aside = move_aside(path).map_err(|error| OpenError::Io(path.to_owned(), error))?;
        match open_undamaged(path)? {
            Some(store) => Ok(Opened {
                store,
                moved_aside: Some(aside),
            }),
            None => {
                let corrupted = redb::Error::Corrupted("a new file cannot be read back".into());
                Err(OpenError::Other(path.to_owned(), Box::new(corrupted)))
            }
        }
    }

    /// One mark per name, in their order.
    pub fn get_many(&self, names: &[String]) -> Result<Vec<Option<Mark>>, StoreError> {
        self.with(|database| get_many(database, names))
    }

    /// All or none are written, and on disk when it returns. That the newest wins is the writer's business.
    pub fn put_many(&self, mut marks: Vec<(String, Mark)>) -> Result<(), StoreError> {
        // In the order of the tree: a page is copied once and then written while it is in the cache.
        marks.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.with(|database| put_many(database, &marks))
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
        match open_checked(&self.path) {
            Err(redb::Error::Corrupted(_)) => {
                move_aside(&self.path)?;
                *database = Some(open_checked(&self.path)?);
            }
            opened => *database = Some(opened?),
        }
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

fn get_many(database: &Database, names: &[String]) -> Result<Vec<Option<Mark>>, redb::Error> {
    let table = database.begin_read()?.open_table(MARKS)?;
    let mut marks = Vec::with_capacity(names.len());
    for name in names {
        let found = table.get(name.as_str())?;
        marks.push(found.map(|found| {
            let (timestamp, value) = found.value();
            Mark { timestamp, value }
        }));
    }
    Ok(marks)
}

fn put_many(database: &Database, marks: &[(String, Mark)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(MARKS)?;
        for (name, mark) in marks {
            table.insert(name.as_str(), (mark.timestamp, mark.value))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// `None`: the file is damaged.
fn open_undamaged(path: &Path) -> Result<Option<Store>, OpenError> {
    let path_owned = || path.to_owned();
    match open_checked(path) {
        Ok(database) => Ok(Some(Store {
            path: path_owned(),
            database: RwLock::new(Some(database)),
        })),
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
    // A reader refuses a table that was never made.
    let transaction = database.begin_write()?;
    transaction.open_table(MARKS)?;
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
        let opened = Store::open(&path).unwrap();
        assert_eq!(opened.moved_aside, None);
        let store = opened.store;
        assert_eq!(found(&store, &marks(0..3)), 0);
        store.put_many(marks(0..1000)).unwrap();
        store.put_many(marks(1000..2000)).unwrap();
        store.put_many(marks(2000..3000)).unwrap();
        assert_eq!(found(&store, &marks(0..3000)), 3000);
        store.close().unwrap();
        let reopened = Store::open(&path).unwrap();
        assert_eq!(reopened.moved_aside, None);
        assert_eq!(found(&reopened.store, &marks(0..3001)), 3000);
    }

    #[test]
    fn what_was_written_survives_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let store = Store::open(&path).unwrap().store;
        store.put_many(marks(0..1000)).unwrap();
        // As after a kill: the file as it is on disk now, without the close.
        let copy = dir.path().join("copy.redb");
        std::fs::copy(&path, &copy).unwrap();
        let recovered = Store::open(&copy).unwrap();
        assert_eq!(recovered.moved_aside, None);
        assert_eq!(found(&recovered.store, &marks(0..2000)), 1000);
    }

    #[test]
    fn a_second_instance_is_refused_and_moves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let first = Store::open(&path).unwrap().store;
        let second = Store::open(&path).unwrap_err();
        assert!(matches!(second, OpenError::InUse(_)), "{second}");
        first.put_many(marks(0..3)).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Store::open(&dir.path().join("no/such/directory")).unwrap_err();
        assert!(matches!(error, OpenError::Io(..)), "{error}");
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Io(..)), "{error}");
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_the_store_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.redb");
        let store = Store::open(&path).unwrap().store;
        store.put_many(marks(0..3000)).unwrap();
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
            let opened = Store::open(&path).expect("a damaged file never stops a start");
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
            opened.store.put_many(marks(0..3)).unwrap();
            assert_eq!(found(&opened.store, &marks(0..3)), 3);
        }
        assert!(moved >= 10, "{moved} of {cases}");
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1 + DAMAGED_FILES_MAX as usize);
    }
}
