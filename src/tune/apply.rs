//! `flux tune apply`: keeps the originals, then writes what is not as wanted. An edge.
//!
//! The order makes every step one that a revert undoes: the state is on the disk before the first value is
//! written, and says what is in a file before that file is.

use std::io;
use std::path::Path;

use super::change::{File, STATE, Since, State};
use super::check::Change;
use super::host::value;
use super::{Status, Wishes, check, files, list};

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{path} cannot be {verb} ({why}); run it as root, on a host and not in its container")]
    File {
        path: String,
        verb: &'static str,
        why: io::Error,
    },
    #[error("{STATE} is not the state of an apply ({0}); move it away")]
    State(serde_json::Error),
}

/// What an apply came to, as lines to print.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<String>,
    /// Not all that was to be done could be done.
    pub failed: bool,
}

impl Report {
    pub fn failed(&mut self, line: String) {
        self.lines.push(line);
        self.failed = true;
    }
}

pub fn load(root: &Path) -> Result<Option<State>, Trouble> {
    match files::text(&files::below(root, STATE)) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(Trouble::State),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(trouble(STATE, "read")(why)),
    }
}

pub fn save(root: &Path, state: &State) -> Result<(), Trouble> {
    let text = serde_json::to_string_pretty(state).map_err(Trouble::State)?;
    files::replace(&files::below(root, STATE), &(text + "\n")).map_err(trouble(STATE, "written"))
}

fn trouble(path: &str, verb: &'static str) -> impl FnOnce(io::Error) -> Trouble {
    let path = path.to_owned();
    move |why| Trouble::File { path, verb, why }
}

pub fn apply(root: &Path, wishes: &Wishes) -> Result<Report, Trouble> {
    let known = load(root)?;
    let host = files::read(root, list::all(), wishes);
    let mut state = known.clone().unwrap_or_default();
    let changes = state.plan(&check::rows(&host, wishes));
    let mut report = Report::default();
    if changes.is_empty() && is_whole(root, &state) {
        report.lines.push("nothing to change".to_owned());
        return Ok(report);
    }
    let made = files::make_way(root, STATE).map_err(trouble(STATE, "written"))?;
    state.made.extend(made.iter().cloned());
    if let Err(error) = save(root, &state) {
        files::unmake(root, &made);
        return Err(error);
    }
    for change in &changes {
        write(root, change, known.as_ref(), &mut state, &mut report);
    }
    if state.settings.is_empty() {
        let _ = std::fs::remove_file(files::below(root, STATE));
        files::unmake(root, &state.made);
        return Ok(report);
    }
    save(root, &state)?;
    make_last(root, &mut state, &mut report)?;
    check_again(root, wishes, &mut report);
    Ok(report)
}

/// Whether an earlier apply got as far as the files that make its settings last.
fn is_whole(root: &Path, state: &State) -> bool {
    let written = |path| state.files.iter().find(|file| file.path == path);
    state.lasting().into_iter().all(|(path, _)| {
        written(path).is_some_and(|file| {
            let there = files::text(&files::below(root, path)).ok();
            file.since(there.as_deref()) != Since::AsBefore
        })
    })
}

fn write(
    root: &Path,
    change: &Change,
    known: Option<&State>,
    state: &mut State,
    report: &mut Report,
) {
    let Change {
        path,
        before,
        after,
    } = change;
    let set = files::set(root, path, after);
    let there = files::text(&files::below(root, path)).ok();
    let at = state.settings.iter().position(|s| s.path == *path);
    let at = at.expect("every change was planned into the state");
    let was = value(before);
    match set {
        Ok(()) if there.as_deref().map(value).as_deref() == Some(after) => {
            report
                .lines
                .push(format!("changed  {path}: {was} -> {after}"));
        }
        Ok(()) => {
            let now = there.as_deref().map(value).unwrap_or_default();
            report.failed(format!(
                "failed   {path}: {after} was written, and it is {now}"
            ));
            state.settings[at].written = now;
        }
        Err(why) => report.failed(format!("failed   {path}: stays {was} ({why})")),
    }
    if there.as_deref() == Some(before) {
        // Nothing came of it: there is nothing to put back but what an earlier apply did.
        let earlier = known.and_then(|known| known.settings.iter().find(|s| s.path == *path));
        match earlier {
            Some(earlier) => state.settings[at] = earlier.clone(),
            None => {
                state.settings.remove(at);
            }
        }
    }
}

fn make_last(root: &Path, state: &mut State, report: &mut Report) -> Result<(), Trouble> {
    for path in state.lasting().into_iter().map(|(path, _)| path) {
        let file = files::below(root, path);
        if !state.files.iter().any(|known| known.path == path) {
            let before = match files::text(&file) {
                Ok(text) => Some(text),
                Err(why) if why.kind() == io::ErrorKind::NotFound => None,
                Err(why) => {
                    report.failed(format!("failed   {path}: {why}"));
                    continue;
                }
            };
            state.files.push(File {
                path: path.to_owned(),
                written: before.clone().unwrap_or_default(),
                before,
            });
        }
        let there = files::text(&file).ok();
        let known = state.files.iter().find(|known| known.path == path);
        if known.is_some_and(|known| known.since(there.as_deref()) == Since::Foreign) {
            report.failed(format!(
                "failed   {path}: was edited since the last apply, and stays"
            ));
            continue;
        }
        // Asked again: what was in the file before is part of its text.
        let text = state
            .lasting()
            .into_iter()
            .find(|(other, _)| *other == path);
        let Some((_, text)) = text else { continue };
        for known in state.files.iter_mut().filter(|known| known.path == path) {
            known.written = text.clone();
        }
        let way = files::make_way(root, path);
        state.made.extend(way.as_ref().cloned().unwrap_or_default());
        save(root, state)?;
        match way.and_then(|_| files::replace(&file, &text)) {
            Ok(()) => report.lines.push(format!("written  {path}")),
            Err(why) => report.failed(format!("failed   {path}: {why}")),
        }
    }
    Ok(())
}

/// The kernel may have taken a value and kept another.
fn check_again(root: &Path, wishes: &Wishes, report: &mut Report) {
    let host = files::read(root, list::all(), wishes);
    for row in check::rows(&host, wishes) {
        if row.item.kind.is_written() && row.status == Status::Wrong {
            let (id, current) = (row.item.id, &row.current);
            report.failed(format!(
                "wrong    {id}: is {current}, wanted {}",
                row.required
            ));
        }
    }
}
