//! A fake root made from a text: `== /path` begins a file, the lines up to the next one are in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub fn make(root: &Path, text: &str) {
    for file in text.split("== ").skip(1) {
        let (path, content) = file.split_once('\n').expect("a path");
        put(root, path, content.trim_end_matches('\n'));
    }
}

/// With a newline at the end, as the kernel's files have one.
pub fn put(root: &Path, path: &str, content: &str) {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().expect("not the root")).expect("a directory");
    let newline = if content.is_empty() { "" } else { "\n" };
    fs::write(file, format!("{content}{newline}")).expect("a file");
}

/// Everything below a directory: `None` is a directory.
pub fn tree(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(root)
                .expect("below")
                .display()
                .to_string();
            if path.is_symlink() {
                // Into the kernel's own files: not part of the copy.
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
                all.insert(name, None);
            } else {
                all.insert(name, Some(fs::read(&path).expect("a file")));
            }
        }
    }
    all
}
