//! The rules: sources in, findings out.

use std::fmt;
use std::path::Path;

use super::source::{Source, closing_brace, files, read, relative};

pub struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Excuses what is found in a file, under a folder (ends in `/`), or in one function (`file: fn name`).
pub struct Exception {
    pub at: &'static str,
    pub reason: &'static str,
}

impl Exception {
    fn excuses(&self, finding: &Finding) -> bool {
        match self.at.split_once(": ") {
            Some((path, what)) => {
                finding.path == path && finding.what.starts_with(&format!("{what} "))
            }
            None if self.at.ends_with('/') => finding.path.starts_with(self.at),
            None => finding.path == self.at,
        }
    }
}

/// Fails with what no exception excuses, and with exceptions that excuse nothing.
pub fn settle(findings: Vec<Finding>, exceptions: &[Exception]) {
    let mut wrong: Vec<String> = findings
        .iter()
        .filter(|finding| {
            !exceptions
                .iter()
                .any(|exception| exception.excuses(finding))
        })
        .map(ToString::to_string)
        .collect();
    for exception in exceptions {
        assert!(
            !exception.reason.is_empty(),
            "{} has no reason",
            exception.at
        );
        if !findings.iter().any(|finding| exception.excuses(finding)) {
            wrong.push(format!(
                "{}: the exception is not needed any more",
                exception.at
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Where one of these stands in the code, not as a part of a longer word.
pub fn words(sources: &[Source], words: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (number, line) in source.code.lines().enumerate() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                findings.push(Finding {
                    path: source.path.clone(),
                    line: number + 1,
                    what: (*word).to_owned(),
                });
            }
        }
    }
    findings
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let joined_before = is_word(word.chars().next()) && is_word(line[..at].chars().next_back());
        let after = line[at + word.len()..].chars().next();
        let joined_after = is_word(word.chars().next_back()) && is_word(after);
        !joined_before && !joined_after
    })
}

/// The rooms of the table in `src/lib.rs`, top first; rooms of one row share a rank.
pub fn map(lib: &str) -> Vec<Vec<String>> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .map(|row| {
            let cell = row.split(" | ").next().unwrap_or_default();
            cell.split(", [`")
                .map(|room| room.trim_end_matches("`]").to_owned())
                .collect()
        })
        .collect()
}

/// Uses of a room that stands below the user's own, and rooms that are not on the map.
pub fn arrows(sources: &[Source], map: &[Vec<String>]) -> Vec<Finding> {
    let rank = |room: &str| {
        map.iter()
            .position(|row| row.iter().any(|name| name == room))
    };
    let mut findings = Vec::new();
    for source in sources {
        let inside = source.path.trim_start_matches("src/");
        let room = inside
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(mine) = rank(room) else {
            let what = format!("{room} is not on the map in src/lib.rs");
            findings.push(Finding {
                path: source.path.clone(),
                line: 1,
                what,
            });
            continue;
        };
        for (at, used) in uses(&source.code) {
            if rank(&used).is_some_and(|theirs| theirs > mine) {
                let line = 1 + source.code[..at].matches('\n').count();
                let what = format!("{room} uses {used}");
                findings.push(Finding {
                    path: source.path.clone(),
                    line,
                    what,
                });
            }
        }
    }
    findings
}

/// What follows `crate::`, also of each name in `crate::{a, b::{c, d}}`.
fn uses(code: &str) -> Vec<(usize, String)> {
    let name = |text: &str| -> String { text.chars().take_while(|c| is_word(Some(*c))).collect() };
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        if !rest.starts_with('{') {
            found.push((at, name(rest)));
            continue;
        }
        let mut depth = 0;
        for (inside, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && matches!(c, '{' | ',') {
                let item = rest[inside + 1..].trim_start();
                found.push((at + start.len() + inside, name(item)));
            }
        }
    }
    found
}

pub fn long_files(sources: &[Source], lines_max: usize) -> Vec<Finding> {
    let long = sources.iter().filter(|source| source.lines > lines_max);
    long.map(|source| Finding {
        path: source.path.clone(),
        line: 1,
        what: format!("file has {} lines without its tests", source.lines),
    })
    .collect()
}

pub fn long_functions(sources: &[Source], lines_max: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let code: Vec<char> = source.code.chars().collect();
        for at in 0..code.len().saturating_sub(3) {
            let keyword = code[at..at + 3] == ['f', 'n', ' '];
            if !keyword || (at > 0 && is_word(Some(code[at - 1]))) {
                continue;
            }
            let Some(open) = body(&code, at) else {
                continue;
            };
            let lines = 1 + newlines(&code[at..closing_brace(&code, open)]);
            if lines > lines_max {
                let rest = &code[at + 3..];
                let name: String = rest.iter().take_while(|c| is_word(Some(**c))).collect();
                findings.push(Finding {
                    path: source.path.clone(),
                    line: 1 + newlines(&code[..at]),
                    what: format!("fn {name} has {lines} lines"),
                });
            }
        }
    }
    findings
}

fn newlines(code: &[char]) -> usize {
    code.iter().filter(|c| **c == '\n').count()
}

/// The brace that opens a function's body; none for a declaration or a function pointer's type.
fn body(code: &[char], from: usize) -> Option<usize> {
    let mut brackets = 0;
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' if brackets == 0 => return None,
            ')' | ']' => brackets -= 1,
            '{' if brackets == 0 => return Some(at),
            ';' | '=' if brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The names that no line of the page has in backquotes.
pub fn undocumented<'n>(page: &str, names: &[&'n str]) -> Vec<&'n str> {
    let missing = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")));
    missing.copied().collect()
}

/// The first cell of each row that starts with a name of ours in backquotes.
pub fn table_names(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` |"))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("flux_") && name.chars().all(|c| is_word(Some(c))))
        .collect()
}

/// Links in all pages to files that are not there.
pub fn broken_links(root: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for page in files(root, "md") {
        let folder = page.parent().expect("a file has a folder");
        for link in links(&read(&page)) {
            if !folder.join(&link).exists() {
                broken.push(format!("{}: {link} is not there", relative(&page, root)));
            }
        }
    }
    broken
}

/// The files a page links to: no addresses, no anchors, nothing from blocks of code.
pub fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for piece in line.split("](").skip(1) {
            let target = piece.split([')', ' ', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                found.push(target.to_owned());
            }
        }
    }
    found
}
