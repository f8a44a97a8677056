//! Source files as the rules want them: comments, strings and test code blanked, lines kept.

use std::path::{Path, PathBuf};

pub struct Source {
    /// Relative to the root, with slashes.
    pub path: String,
    pub code: String,
    /// Without test code.
    pub lines: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let mut code = blank_comments_and_strings(text);
        let tests = blank_tests(&mut code);
        Source {
            path: path.to_owned(),
            code: code.into_iter().collect(),
            lines: text.lines().count() - tests,
        }
    }
}

pub fn root() -> PathBuf {
    // Set by cargo when it runs the tests, so a moved target directory does not mislead.
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), Into::into)
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file under `src` that is not test code as a whole.
pub fn sources() -> Vec<Source> {
    let root = root();
    let files = files(&root.join("src"), "rs");
    assert!(files.len() > 20, "the source tree was not found");
    files
        .iter()
        .map(|path| (path, relative(path, &root)))
        .filter(|(_, name)| !name.contains("/tests/") && !name.ends_with("/tests.rs"))
        .map(|(path, name)| Source::new(&name, &read(path)))
        .collect()
}

pub fn relative(path: &Path, root: &Path) -> String {
    let inside = path
        .strip_prefix(root)
        .expect("it was listed under the root");
    inside.to_string_lossy().replace('\\', "/")
}

/// Files with this extension, in a fixed order, without hidden and build folders.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).expect("a folder of the source tree");
    for entry in entries {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|has| has == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn blank_comments_and_strings(text: &str) -> Vec<char> {
    let text: Vec<char> = text.chars().collect();
    let mut code = text.clone();
    let mut at = 0;
    while at < text.len() {
        let end = match text[at] {
            '/' if text.get(at + 1) == Some(&'/') => line_end(&text, at),
            '/' if text.get(at + 1) == Some(&'*') => block_comment_end(&text, at),
            '"' => string_end(&text, at + 1),
            'r' if !in_word(&text, at) || is_byte_prefix(&text, at) => raw_string_end(&text, at),
            '\'' => char_end(&text, at),
            _ => at + 1,
        };
        if end > at + 1 {
            blank(&mut code[at..end]);
        }
        at = end;
    }
    code
}

fn blank(code: &mut [char]) {
    for c in code.iter_mut().filter(|c| **c != '\n') {
        *c = ' ';
    }
}

fn line_end(text: &[char], from: usize) -> usize {
    let length = text[from..].iter().position(|c| *c == '\n');
    length.map_or(text.len(), |length| from + length)
}

fn block_comment_end(text: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// After the closing quote of a string whose inside starts at `at`.
fn string_end(text: &[char], mut at: usize) -> usize {
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The end of `r"…"` or `r#"…"#`; one further when it is only the letter.
fn raw_string_end(text: &[char], from: usize) -> usize {
    let hashes = text[from + 1..].iter().take_while(|c| **c == '#').count();
    if text.get(from + 1 + hashes) != Some(&'"') {
        return from + 1;
    }
    let inside = from + hashes + 2;
    let closes = |at: &usize| {
        text[*at] == '"' && text[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    (inside..text.len())
        .find(closes)
        .map_or(text.len(), |at| at + 1 + hashes)
}

/// The end of a character literal; one further when it is a lifetime.
fn char_end(text: &[char], from: usize) -> usize {
    if text.get(from + 1) == Some(&'\\') {
        let quote = text[from + 3..].iter().position(|c| *c == '\'');
        return quote.map_or(text.len(), |length| from + 4 + length);
    }
    if text.get(from + 2) == Some(&'\'') {
        from + 3
    } else {
        from + 1
    }
}

fn in_word(text: &[char], at: usize) -> bool {
    at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_')
}

fn is_byte_prefix(text: &[char], at: usize) -> bool {
    text[at - 1] == 'b' && !in_word(text, at - 1)
}

/// Blanks what follows each `#[cfg(test)]`, to its semicolon or closing brace; how many lines that was.
fn blank_tests(code: &mut [char]) -> usize {
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut lines = 0;
    let mut at = 0;
    while at + mark.len() <= code.len() {
        if code[at..at + mark.len()] != mark[..] {
            at += 1;
            continue;
        }
        let body = code[at..].iter().position(|c| matches!(c, '{' | ';'));
        let end = match body.map(|length| at + length) {
            Some(open) if code[open] == '{' => closing_brace(code, open),
            Some(semicolon) => semicolon,
            None => code.len() - 1,
        };
        lines += 1 + code[at..end].iter().filter(|c| **c == '\n').count();
        blank(&mut code[at..=end]);
        at = end;
    }
    lines
}

/// The brace that closes the one at `open`.
pub fn closing_brace(code: &[char], open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len() - 1
}
