//! API keys: what one looks like, and the service's own one when none is configured: made on the
//! first start, kept in `DATA/key`. An edge: it reads and writes files. A key is never part of a
//! message.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub const KEY_CHARACTERS: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key file holds one line; anything much longer is some other file named by mistake.
const KEY_FILE_BYTES_MAX: u64 = 256;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "key: {what}; put a key of 32 letters and digits there, or remove the file to have one made"
    )]
    Content { what: String },
    #[error("key: {path} can be read by every user (mode {mode:o}); run: chmod 600 {path}")]
    Open { path: PathBuf, mode: u32 },
    #[error("key: {path} cannot be made ({why}); make its directory writable, or set keys.self")]
    Make { path: PathBuf, why: io::Error },
}

/// The service's own key, and whether it was made just now.
pub struct OwnKey {
    pub key: String,
    pub made: bool,
}

pub fn is_key(text: &str) -> bool {
    text.len() == KEY_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The key in a file, without the blanks around it; else what is wrong with the file.
pub fn read_file(path: &Path) -> Result<String, String> {
    let said = |why: io::Error| format!("{} cannot be read ({why})", path.display());
    let size = fs::metadata(path).map_err(said)?.len();
    if size > KEY_FILE_BYTES_MAX {
        return Err(format!(
            "{} is {size} bytes long, too long for a key",
            path.display()
        ));
    }
    let text = fs::read_to_string(path).map_err(said)?;
    let key = text.trim();
    if is_key(key) {
        Ok(key.to_owned())
    } else {
        Err(format!(
            "{} does not hold 32 letters and digits (hidden)",
            path.display()
        ))
    }
}

/// Reads `DATA/key`, or makes it. The caller holds the lock of the directory, so nobody else does
/// the same.
pub fn read_or_make(data_dir: &Path) -> Result<OwnKey, KeyError> {
    let path = data_dir.join("key");
    match fs::metadata(&path) {
        Ok(meta) => {
            let mode = meta.permissions().mode() & 0o777;
            // Kubernetes opens mounted volumes to their group by itself, so only others are refused.
            if mode & 0o007 != 0 {
                return Err(KeyError::Open { path, mode });
            }
            let read = read_file(&path).map(|key| OwnKey { key, made: false });
            read.map_err(|what| KeyError::Content { what })
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => match make(data_dir, &path) {
            Ok(key) => Ok(OwnKey { key, made: true }),
            Err(why) => Err(KeyError::Make { path, why }),
        },
        Err(why) => Err(KeyError::Make { path, why }),
    }
}

/// All or nothing: a crash leaves no half-written key.
fn make(data_dir: &Path, path: &Path) -> io::Result<String> {
    let key = random()?;
    let new = data_dir.join("key.new");
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let written = write_new(&new, &key).and_then(|()| fs::rename(&new, path));
    if let Err(why) = written {
        let _ = fs::remove_file(&new);
        return Err(why);
    }
    File::open(data_dir)?.sync_all()?;
    Ok(key)
}

fn write_new(path: &Path, key: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_all()
}

/// Every character equally likely: bytes past the last whole multiple of 62 are thrown away.
fn random() -> io::Result<String> {
    const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;
    let mut key = String::with_capacity(KEY_CHARACTERS);
    while key.len() < KEY_CHARACTERS {
        let mut bytes = [0u8; 2 * KEY_CHARACTERS];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let room = KEY_CHARACTERS - key.len();
        key.extend(
            fair.take(room)
                .map(|byte| ALPHABET[*byte as usize % ALPHABET.len()] as char),
        );
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_read_ever_after() {
        let directory = tempfile::tempdir().unwrap();
        let first = read_or_make(directory.path()).unwrap();
        assert!(first.made && is_key(&first.key));
        let path = directory.path().join("key");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!directory.path().join("key.new").exists());
        let second = read_or_make(directory.path()).unwrap();
        assert!(!second.made && second.key == first.key);
        let other = tempfile::tempdir().unwrap();
        assert!(read_or_make(other.path()).unwrap().key != first.key);
    }

    #[test]
    fn a_key_file_with_something_else_in_it_or_open_to_all_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for (text, mode) in [("sesame", 0o600), ("", 0o600), (&*"k".repeat(32), 0o604)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let Err(error) = read_or_make(directory.path()) else {
                panic!("{text} was taken");
            };
            let message = error.to_string();
            assert!(message.contains(path.to_str().unwrap()) && !message.contains("sesame"));
            assert_eq!(matches!(error, KeyError::Open { .. }), mode == 0o604);
        }
    }

    #[test]
    fn every_character_is_as_likely_as_the_next() {
        let mut counts = [0u32; 256];
        for _ in 0..2_000 {
            random()
                .unwrap()
                .bytes()
                .for_each(|byte| counts[byte as usize] += 1);
        }
        // 64,000 draws over 62 characters: 1,032 each, 32 the standard deviation. Taking 256 values
        // modulo 62 would put the first eight at 1,250.
        for character in ALPHABET {
            let count = counts[*character as usize];
            assert!((810..=1_255).contains(&count), "{character}: {count}");
        }
        let first_eight: u32 = ALPHABET[..8].iter().map(|c| counts[*c as usize]).sum();
        assert!(first_eight < 9_000, "{first_eight}");
    }
}
