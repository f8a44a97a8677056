//! What a host said when it was asked: the text of each file the list reads. Pure; `files` fills it.

use std::collections::BTreeMap;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Text(String),
    /// This kernel, or this machine, has no such file: not the same as a wrong value.
    Missing,
    /// It is there and this user may not read it.
    Unreadable(String),
}

#[derive(Clone, Debug, Default)]
pub struct Host {
    files: BTreeMap<String, Reading>,
    /// What setting up an io_uring came to, `Err` with its errno; `None` where it was not tried.
    pub ring: Option<Result<(), i32>>,
}

impl Host {
    pub fn put(&mut self, path: String, reading: Reading) {
        self.files.insert(path, reading);
    }

    pub fn reading(&self, path: &str) -> &Reading {
        self.files.get(path).unwrap_or(&Reading::Missing)
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        match self.reading(path) {
            Reading::Text(text) => Some(text),
            Reading::Missing | Reading::Unreadable(_) => None,
        }
    }

    /// A file of one value.
    pub fn value(&self, path: &str) -> Option<String> {
        self.text(path).map(value)
    }

    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// The files a pattern stands for, in order.
    pub fn matching<'a>(
        &'a self,
        pattern: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Reading)> + use<'a> {
        let pattern = pattern.to_owned();
        self.files
            .iter()
            .filter(move |(path, _)| matches(&pattern, path))
            .map(|(path, reading)| (path.as_str(), reading))
    }

    pub fn texts<'a>(
        &'a self,
        pattern: &str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.matching(pattern)
            .filter_map(|(path, reading)| match reading {
                Reading::Text(text) => Some((path, text.as_str())),
                Reading::Missing | Reading::Unreadable(_) => None,
            })
    }

    /// A word of the kernel's command line: what follows its `=`, empty without one.
    pub fn boot_word(&self, word: &str) -> Option<&str> {
        self.text("/proc/cmdline")?
            .split_whitespace()
            .find_map(|given| match given.split_once('=') {
                Some((name, value)) => (name == word).then_some(value),
                None => (given == word).then_some(""),
            })
    }

    /// How many CPUs a list such as `0-3,6` in a file names.
    pub fn listed(&self, path: &str) -> Option<usize> {
        let mut count = 0;
        for part in self.text(path)?.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            count += last.checked_sub(first)? + 1;
        }
        Some(count)
    }

    /// The hard limit of this process; `u64::MAX` is unlimited.
    pub fn limit(&self, name: &str) -> Option<u64> {
        let line = self
            .text("/proc/self/limits")?
            .lines()
            .find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// Whether a seccomp filter is in force.
    pub fn filtered(&self) -> bool {
        self.text("/proc/self/status")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.strip_prefix("Seccomp:"))
            .any(|mode| mode.trim() == "2")
    }

    /// The kernel's release, and what can be read of its version.
    pub fn release(&self) -> (String, Option<(u32, u32)>) {
        let text = self.value("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse().ok();
        let version = number().zip(number());
        (text, version)
    }
}

/// `*` stands for anything within one part of a path.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// At most one `*` in a part.
pub fn part_matches(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == part,
        Some((before, after)) => {
            part.len() >= before.len() + after.len()
                && part.starts_with(before)
                && part.ends_with(after)
        }
    }
}

/// The value in a file: its words, or of a file of choices the one in brackets.
pub fn value(text: &str) -> String {
    match chosen(text) {
        Some(word) => word.to_owned(),
        None => text.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// Some files of /sys show all their choices, the one in force in brackets.
pub fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

/// What such a file shows once `word` is in force; `None` when it is not a choice.
pub fn choose(text: &str, word: &str) -> Option<String> {
    let old = chosen(text)?;
    let (bare, bracketed) = (text.replace(&format!("[{old}]"), old), format!("[{word}]"));
    let mut found = false;
    let words: Vec<&str> = bare
        .split(' ')
        .map(|shown| {
            let here = shown.trim_end() == word;
            found |= here;
            if here { bracketed.as_str() } else { shown }
        })
        .collect();
    let tail = if bare.ends_with('\n') && !words.last()?.ends_with('\n') {
        "\n"
    } else {
        ""
    };
    found.then(|| words.join(" ") + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> Host {
        let mut host = Host::default();
        for (path, text) in files {
            host.put((*path).to_owned(), Reading::Text((*text).to_owned()));
        }
        host
    }

    #[test]
    fn a_star_stays_within_its_part_of_the_path() {
        assert!(matches("/a/b*/c", "/a/b12/c"));
        assert!(matches("/a/*/c", "/a/x/c"));
        for path in ["/a/b/x/c", "/a/b12", "/a/c1/c", "/a/b12/c/d"] {
            assert!(!matches("/a/b*/c", path), "{path}");
        }
    }

    #[test]
    fn a_file_of_choices_is_read_and_moves_its_brackets() {
        let text = "always [madvise] never\n";
        assert_eq!(value(text), "madvise");
        for (word, then) in [
            ("never", "always madvise [never]\n"),
            ("always", "[always] madvise never\n"),
            ("madvise", text),
        ] {
            assert_eq!(choose(text, word).as_deref(), Some(then));
            assert_eq!(choose(then, "madvise").as_deref(), Some(text));
        }
        assert_eq!(choose(text, "sometimes"), None);
        assert_eq!(choose("tsc kvm-clock \n", "tsc"), None);
        let spaced = "none [mq-deadline] kyber \n";
        let then = choose(spaced, "none").unwrap();
        assert_eq!(then, "[none] mq-deadline kyber \n");
        assert_eq!(choose(&then, "mq-deadline").as_deref(), Some(spaced));
        assert_eq!(value("4096\t131072\t6291456\n"), "4096 131072 6291456");
    }

    #[test]
    fn a_word_of_the_command_line_is_not_found_inside_another() {
        let host = host(&[(
            "/proc/cmdline",
            "quiet xisolcpus=9 isolcpus=1,2 nohz_full\n",
        )]);
        assert_eq!(host.boot_word("isolcpus"), Some("1,2"));
        assert_eq!(host.boot_word("nohz_full"), Some(""));
        assert_eq!(host.boot_word("rcu_nocbs"), None);
    }

    #[test]
    fn the_hard_limit_is_the_one_that_counts() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max locked memory         65536                unlimited            bytes\n\
                      Max open files            1024                 20000                files\n";
        let host = host(&[("/proc/self/limits", limits)]);
        assert_eq!(host.limit("Max locked memory"), Some(u64::MAX));
        assert_eq!(host.limit("Max open files"), Some(20_000));
        assert_eq!(host.limit("Max pending signals"), None);
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        for (text, count) in [
            ("0\n", Some(1)),
            ("0-3,6\n", Some(5)),
            ("\n", None),
            ("3-1", None),
        ] {
            let host = host(&[("/c", text)]);
            assert_eq!(host.listed("/c"), count, "{text}");
        }
    }

    #[test]
    fn the_filter_is_seen_in_the_process_status() {
        let filtered = |status| host(&[("/proc/self/status", status)]).filtered();
        assert!(filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!filtered("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t2\n"));
    }

    #[test]
    fn what_can_be_read_of_a_release() {
        for (text, version) in [
            ("6.18.44-fc-v657\n", Some((6, 18))),
            ("5.10.0-28-amd64", Some((5, 10))),
            ("4.18.0-553.el8", Some((4, 18))),
            ("", None),
        ] {
            let host = host(&[("/proc/sys/kernel/osrelease", text)]);
            assert_eq!(host.release(), (text.trim().to_owned(), version));
        }
    }
}
