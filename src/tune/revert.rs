//! `flux tune revert`: puts back exactly what an apply has kept. An edge.

use std::io;
use std::path::Path;

use super::apply::{Report, Trouble, load, save};
use super::change::{File, STATE, Setting, Since, State};
use super::files;
use super::host::{chosen, value};

/// Without `force` nothing at all is touched where somebody else has changed one of the values since.
pub fn revert(root: &Path, force: bool) -> Result<Report, Trouble> {
    let mut report = Report::default();
    let Some(mut state) = load(root)? else {
        report.lines.push("nothing to revert".to_owned());
        return Ok(report);
    };
    let foreign = foreign(root, &state);
    if !force && !foreign.is_empty() {
        for line in foreign {
            report.failed(line);
        }
        let what = "nothing was reverted; --force puts the originals back all the same";
        report.lines.push(what.to_owned());
        return Ok(report);
    }
    // Last changed, first restored.
    let mut settings = std::mem::take(&mut state.settings);
    settings.reverse();
    settings.retain(|setting| !put_back(root, setting, &mut report));
    settings.reverse();
    let mut lasting = std::mem::take(&mut state.files);
    lasting.retain(|file| !put_back_file(root, file, &mut report));
    if report.failed {
        // What is left can be tried again.
        state.settings = settings;
        state.files = lasting;
        save(root, &state)?;
        return Ok(report);
    }
    let removed = std::fs::remove_file(files::below(root, STATE));
    removed.map_err(|why| Trouble::File {
        path: STATE.to_owned(),
        verb: "removed",
        why,
    })?;
    files::unmake(root, &state.made);
    Ok(report)
}

fn there(root: &Path, path: &str) -> Option<String> {
    files::text(&files::below(root, path)).ok()
}

fn foreign(root: &Path, state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    for setting in &state.settings {
        let there = there(root, &setting.path);
        if setting.since(there.as_deref()) == Since::Foreign {
            let now = there.as_deref().map_or("gone".to_owned(), value);
            let (path, written) = (&setting.path, &setting.written);
            lines.push(format!(
                "foreign  {path}: is {now}, and apply left {written}"
            ));
        }
    }
    for file in &state.files {
        let there = there(root, &file.path);
        if file.since(there.as_deref()) == Since::Foreign {
            lines.push(format!("foreign  {}: was edited since", file.path));
        }
    }
    lines
}

/// Whether it is done with.
fn put_back(root: &Path, setting: &Setting, report: &mut Report) -> bool {
    let Setting { path, before, .. } = setting;
    let now = there(root, path);
    if setting.since(now.as_deref()) == Since::AsBefore {
        return true;
    }
    // Of a file of choices only the chosen word can be written.
    let text = chosen(before).unwrap_or(before);
    match files::set(root, path, text) {
        Ok(()) => {
            let now = now.as_deref().map(value).unwrap_or_default();
            report
                .lines
                .push(format!("restored {path}: {now} -> {}", value(before)));
            true
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            report.lines.push(format!("gone     {path}"));
            true
        }
        Err(why) => {
            report.failed(format!("failed   {path}: {why}"));
            false
        }
    }
}

fn put_back_file(root: &Path, file: &File, report: &mut Report) -> bool {
    if file.since(there(root, &file.path).as_deref()) == Since::AsBefore {
        return true;
    }
    let path = files::below(root, &file.path);
    let (done, word) = match &file.before {
        Some(text) => (files::replace(&path, text), "restored"),
        None => (std::fs::remove_file(&path), "removed "),
    };
    match done {
        Ok(()) => {
            report.lines.push(format!("{word} {}", file.path));
            true
        }
        Err(why) => {
            report.failed(format!("failed   {}: {why}", file.path));
            false
        }
    }
}
