//! What an apply changes, what it remembers for a revert, and the files that make a change outlive a restart of
//! the host. Pure.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::check::{Change, Row};
use super::host::value;
use super::list;

/// Where the originals are kept. Not in the service's own directory: what root puts back must not be the
/// service's to write.
pub const STATE: &str = "/var/lib/flux-tune/tune.json";
/// After what distributions and most packages bring; /etc/sysctl.conf still comes later.
pub const SYSCTL: &str = "/etc/sysctl.d/90-flux-tune.conf";
/// What lies under /sys has no sysctl: systemd-tmpfiles writes it at every start of the host.
pub const TMPFILES: &str = "/etc/tmpfiles.d/90-flux-tune.conf";

const HEAD: &str = "# Written by flux tune apply; flux tune revert takes it away.\n";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub settings: Vec<Setting>,
    pub files: Vec<File>,
    /// Directories that were not there, the highest first.
    pub made: Vec<String>,
}

/// A live value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub id: String,
    pub path: String,
    /// As it was before the first apply, byte for byte.
    pub before: String,
    /// What it was after the last one; anything else is somebody else's.
    pub written: String,
}

/// A file that makes values last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    pub before: Option<String>,
    pub written: String,
}

/// How what is there stands to what an apply has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    AsWritten,
    /// As it was before the apply: nothing to put back.
    AsBefore,
    Foreign,
}

impl Setting {
    pub fn since(&self, text: Option<&str>) -> Since {
        match text {
            Some(text) if text == self.before => Since::AsBefore,
            Some(text) if value(text) == self.written => Since::AsWritten,
            _ => Since::Foreign,
        }
    }
}

impl File {
    pub fn since(&self, text: Option<&str>) -> Since {
        match text {
            text if text == self.before.as_deref() => Since::AsBefore,
            Some(text) if text == self.written => Since::AsWritten,
            _ => Since::Foreign,
        }
    }
}

impl State {
    /// Takes these changes in; the original of what was changed before stays the first one.
    pub fn plan<'a>(&mut self, rows: impl IntoIterator<Item = &'a Row>) -> Vec<Change> {
        let mut changes = Vec::new();
        for row in rows {
            for change in &row.changes {
                self.set(row.item.id, change);
                changes.push(change.clone());
            }
        }
        changes
    }

    fn set(&mut self, id: &str, change: &Change) {
        let known = self.settings.iter_mut().find(|s| s.path == change.path);
        match known {
            Some(setting) => setting.written = change.after.clone(),
            None => self.settings.push(Setting {
                id: id.to_owned(),
                path: change.path.clone(),
                before: change.before.clone(),
                written: change.after.clone(),
            }),
        }
    }

    /// The text of each file that makes the settings last, with what was in it before this program came.
    pub fn lasting(&self) -> Vec<(&'static str, String)> {
        [SYSCTL, TMPFILES]
            .into_iter()
            .filter_map(|path| {
                let lines = lines(path, &self.settings);
                let known = self.files.iter().find(|file| file.path == path);
                let before = known.and_then(|file| file.before.clone());
                let before = before.unwrap_or_default();
                (!lines.is_empty()).then(|| (path, before + HEAD + &lines))
            })
            .collect()
    }
}

/// `None` for what is not under /proc/sys.
pub fn sysctl_key(path: &str) -> Option<String> {
    Some(path.strip_prefix("/proc/sys/")?.replace('/', "."))
}

fn lines(file: &str, settings: &[Setting]) -> String {
    let mut out = String::new();
    let mut last = "";
    for setting in settings {
        let line = match (sysctl_key(&setting.path), file) {
            (Some(key), SYSCTL) => format!("{key} = {}", setting.written),
            (None, TMPFILES) => format!("w {} - - - - {}", setting.path, setting.written),
            _ => continue,
        };
        let item = list::all().find(|item| item.id == setting.id);
        // Writing to a String cannot fail.
        if let Some(item) = item.filter(|item| item.id != last) {
            let _ = writeln!(out, "# {}", item.why);
            last = item.id;
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_of_a_second_apply_is_still_the_first_one() {
        let mut state = State::default();
        let change = |before: &str, after: &str| Change {
            path: "/proc/sys/net/core/somaxconn".to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        state.set("somaxconn", &change("128\n", "1024"));
        state.set("somaxconn", &change("64\n", "2048"));
        assert_eq!(state.settings.len(), 1);
        let setting = &state.settings[0];
        assert_eq!((&*setting.before, &*setting.written), ("128\n", "2048"));
        assert_eq!(setting.since(Some("2048\n")), Since::AsWritten);
        assert_eq!(setting.since(Some("128\n")), Since::AsBefore);
        assert_eq!(setting.since(Some("4096\n")), Since::Foreign);
        assert_eq!(setting.since(None), Since::Foreign);
    }

    #[test]
    fn what_was_in_a_file_stays_in_it() {
        let mut state = State::default();
        for (id, path, value) in [
            ("swappiness", "/proc/sys/vm/swappiness", "1"),
            ("governor", "/sys/a", "performance"),
        ] {
            state.settings.push(Setting {
                id: id.to_owned(),
                path: path.to_owned(),
                before: String::new(),
                written: value.to_owned(),
            });
        }
        state.files.push(File {
            path: SYSCTL.to_owned(),
            before: Some("a.b = 1\n".to_owned()),
            written: String::new(),
        });
        let lasting = state.lasting();
        let [(SYSCTL, sysctl), (TMPFILES, tmpfiles)] = &lasting[..] else {
            panic!("{lasting:?}");
        };
        assert!(sysctl.starts_with("a.b = 1\n#"), "{sysctl}");
        assert!(sysctl.ends_with("\nvm.swappiness = 1\n"), "{sysctl}");
        let line = "\nw /sys/a - - - - performance\n";
        assert!(tmpfiles.ends_with(line), "{tmpfiles}");
    }
}
