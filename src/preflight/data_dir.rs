//! The data directory: there, writable, and ours alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Refusal;

/// Holds the directory: the lock ends with this, or with the process, however it ends.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held, not read")] File);

/// What this start has made so far; removed again unless it is kept.
#[derive(Debug, Default)]
pub struct Made(Vec<PathBuf>);

impl Made {
    pub fn file(&mut self, path: PathBuf) {
        self.0.push(path);
    }

    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A directory that somebody else has put something in stays.
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

pub fn lock(directory: &Path, made: &mut Made) -> Result<DataLock, Refusal> {
    let unusable = |why| Refusal::DataDir {
        path: directory.to_owned(),
        why,
    };
    create(directory, made).map_err(unusable)?;
    probe(directory).map_err(unusable)?;
    let path = directory.join("lock");
    loop {
        let existed = path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Refusal::AnotherInstance {
                    path: directory.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(why)) => return Err(unusable(why)),
        }
        // A start that was refused removes the lock file it made; whoever waited for that one holds
        // a file that is no longer there, and tries again.
        if !is_still(&path, &file) {
            continue;
        }
        if !existed {
            made.file(path);
        }
        // A courtesy; the lock holds without it.
        let _ = sign(&mut file);
        return Ok(DataLock(file));
    }
}

fn create(directory: &Path, made: &mut Made) -> io::Result<()> {
    let missing = directory.ancestors().take_while(|path| {
        // "" is the working directory's parent in a relative path.
        !path.as_os_str().is_empty() && !path.exists()
    });
    let mut missing: Vec<&Path> = missing.collect();
    missing.reverse();
    for path in missing {
        match fs::create_dir(path) {
            Ok(()) => made.file(path.to_owned()),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Makes and removes a file: rights, read-only mounts and a full disk answer alike.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!("probe.{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| file.write_all(b"writable\n"));
    let removed = fs::remove_file(&path);
    written.and(removed)
}

fn is_still(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(held)) => there.dev() == held.dev() && there.ino() == held.ino(),
        _ => false,
    }
}

/// Leaves our process id in the lock file, for whoever is refused because of us.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).map(|_| text.trim().parse()) {
        Ok(Ok(id)) => {
            let id: u32 = id;
            format!(" (process {id})")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_locked_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        let mut made = Made::default();
        let held = lock(&directory, &mut made).unwrap();
        made.keep();
        assert!(directory.is_dir());
        let refusal = lock(&directory, &mut Made::default())
            .unwrap_err()
            .to_string();
        let process = format!("(process {})", std::process::id());
        assert!(refusal.contains(&process), "{refusal}");
        drop(held);
        assert!(lock(&directory, &mut Made::default()).is_ok());
    }

    #[test]
    fn what_was_made_for_a_refused_start_is_removed_and_what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let mut made = Made::default();
        drop(lock(&root.path().join("a/b"), &mut made).unwrap());
        drop(made);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::write(root.path().join("mine"), "").unwrap();
        let mut made = Made::default();
        drop(lock(root.path(), &mut made).unwrap());
        drop(made);
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_file_in_the_directory_s_place_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        fs::write(&file, "").unwrap();
        for directory in [file.clone(), file.join("below")] {
            let refused = lock(&directory, &mut Made::default());
            assert!(
                matches!(refused, Err(Refusal::DataDir { .. })),
                "{directory:?}"
            );
        }
        assert!(file.is_file());
    }
}
