//! Reads what the list wants to know, and writes settings, below a root. An edge.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host::{Host, Reading, choose, part_matches};
use super::{Item, Wishes, list, ring};

/// No file of the list is longer by far.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a start has to know.
pub fn required(wishes: &Wishes) -> Host {
    let needs = list::all().filter(|item| item.need.is_some());
    read(Path::new("/"), needs, wishes)
}

pub fn read<'a>(root: &Path, items: impl IntoIterator<Item = &'a Item>, wishes: &Wishes) -> Host {
    let mut host = Host::default();
    for item in items {
        for path in item.reads.iter().chain(&item.offered) {
            for path in expand(root, &wishes.path(path)) {
                let reading = reading(&below(root, &path));
                host.put(path, reading);
            }
        }
    }
    // Another root is another machine, and what this kernel does says nothing about that.
    if root == Path::new("/") {
        host.ring = Some(ring::tried());
    }
    host
}

pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn reading(path: &Path) -> Reading {
    match text(path) {
        Ok(text) => Reading::Text(text),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Reading::Missing,
        Err(why) => Reading::Unreadable(why.to_string()),
    }
}

pub fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The paths that are there for a pattern; a path without a star stands for itself.
fn expand(root: &Path, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.trim_start_matches('/').split('/') {
        if !part.contains('*') {
            paths
                .iter_mut()
                .for_each(|path| *path += &format!("/{part}"));
            continue;
        }
        let mut longer = Vec::new();
        for path in &paths {
            let Ok(entries) = fs::read_dir(below(root, path)) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if part_matches(part, &name) {
                    longer.push(format!("{path}/{name}"));
                }
            }
        }
        longer.sort_unstable();
        paths = longer;
    }
    if pattern.contains('*') {
        paths.retain(|path| below(root, path).symlink_metadata().is_ok());
    }
    paths
}

/// The queue directory of the disk that `directory`, or the nearest there is above it, lies on.
pub fn disk(root: &Path, directory: &Path) -> Option<String> {
    let directory = std::path::absolute(directory).ok()?;
    let device = directory
        .ancestors()
        .find_map(|path| fs::metadata(path).ok())?
        .dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let disk = format!("/sys/dev/block/{major}:{minor}");
    // A partition has no queue; the disk above it does.
    let queue = [format!("{disk}/queue"), format!("{disk}/../queue")]
        .into_iter()
        .find(|queue| below(root, queue).is_dir())?;
    // By its name, which outlives a start of the host better than its number.
    let named = below(root, &queue).canonicalize().ok().and_then(|path| {
        let name = path.parent()?.file_name()?.to_string_lossy().into_owned();
        Some(format!("/sys/block/{name}/queue"))
    });
    Some(
        named
            .filter(|named| below(root, named).is_dir())
            .unwrap_or(queue),
    )
}

/// Writes a setting as the kernel wants it. A root of its own has no kernel to move the brackets of a file of
/// choices, so that is done here.
pub fn set(root: &Path, path: &str, value: &str) -> io::Result<()> {
    let file = below(root, path);
    let shown = match root == Path::new("/") {
        true => None,
        false => choose(&text(&file)?, value),
    };
    let text = shown.unwrap_or_else(|| value.to_owned());
    // Neither made nor made empty: a setting that is not there stays so. The kernel takes it in one write.
    let mut opened = fs::OpenOptions::new().write(true).open(&file)?;
    opened.write_all(text.as_bytes())?;
    // The files of /proc and /sys have no length, and say so in ways of their own.
    match root == Path::new("/") || opened.metadata()?.len() == 0 {
        true => Ok(()),
        false => opened.set_len(text.len() as u64),
    }
}

/// A whole file: there in full or not at all, also after a loss of power.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = (|| {
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Makes the directories on the way to a file; says which were not there, the highest first.
pub fn make_way(root: &Path, path: &str) -> io::Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut directory = Path::new(path).parent();
    while let Some(above) = directory {
        let text = above.to_string_lossy().into_owned();
        if below(root, &text).is_dir() {
            break;
        }
        missing.push(text);
        directory = above.parent();
    }
    missing.reverse();
    for (index, directory) in missing.iter().enumerate() {
        if let Err(why) = fs::create_dir(below(root, directory)) {
            unmake(root, &missing[..index]);
            return Err(why);
        }
    }
    Ok(missing)
}

/// Takes made directories away again; one that somebody has put something in stays.
pub fn unmake(root: &Path, made: &[String]) {
    for directory in made.iter().rev() {
        let _ = fs::remove_dir(below(root, directory));
    }
}
