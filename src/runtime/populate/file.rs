//! `DATA/jobs`: what was accepted and is not done. One write at a time, off the core; everything that came
//! meanwhile goes into the next, and then the answers that waited leave.

use super::Populate;
use crate::config::Durability;
use crate::pipeline::Verdict;
use crate::populate::jobs::{Damage, Jobs, Limits};
use crate::populate::record::OtherVersion;
use crate::runtime::control::Phase;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// After a failed write; until one succeeds no job is taken.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    OtherVersion(#[from] OtherVersion),
}

#[derive(Clone, Debug)]
pub struct JobsFile {
    path: PathBuf,
    sync: bool,
    file: Arc<File>,
}

impl JobsFile {
    /// Reads the jobs of an earlier run, and puts a file in the place of theirs that holds nothing else.
    pub fn open(
        data_dir: &Path,
        durability: Durability,
        limits: Limits,
    ) -> Result<(JobsFile, Jobs, Damage), OpenError> {
        let path = data_dir.join("jobs");
        let old = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (mut jobs, damage) = Jobs::load(limits, &old)?;
        let file = replace(&path, &jobs.snapshot())?;
        let file = JobsFile {
            path,
            sync: durability == Durability::Fsync,
            file: Arc::new(file),
        };
        Ok((file, jobs, damage))
    }
}

/// Written beside, synced, put in place, and the place synced: at any moment there is a whole file.
fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

fn append(mut file: &File, bytes: &[u8], sync: bool) -> io::Result<()> {
    file.write_all(bytes)?;
    if sync {
        file.sync_data()?;
    }
    Ok(())
}

/// Writes until the service has stopped.
pub async fn write(populate: Rc<Populate>) {
    let JobsFile {
        path,
        sync,
        mut file,
    } = populate.file.clone();
    while populate.core.control.phase() < Phase::Stopped {
        let mut waiting = std::mem::take(&mut *populate.waiting.borrow_mut());
        let wants_snapshot = populate.jobs.borrow().wants_snapshot();
        let written = if wants_snapshot {
            let content = populate.jobs.borrow_mut().snapshot();
            let path = path.clone();
            let replaced = move || replace(&path, &content).map(Arc::new);
            let replaced = glommio::executor().spawn_blocking(replaced).await;
            replaced.map(|new| file = new)
        } else {
            let unwritten = populate.jobs.borrow_mut().take_unwritten();
            match unwritten {
                // Everything is durable already.
                None if waiting.is_empty() => {
                    populate.writes.wait().await;
                    continue;
                }
                None => Ok(()),
                Some(bytes) => {
                    let file = file.clone();
                    let appended = move || append(&file, &bytes, sync);
                    glommio::executor().spawn_blocking(appended).await
                }
            }
        };
        let verdict = match &written {
            Ok(()) => Verdict::Accepted,
            Err(error) => {
                populate.jobs.borrow_mut().write_failed();
                populate.core.logger.error(format_args!("jobs: {error}"));
                Verdict::Unknown
            }
        };
        for waiter in waiting.drain(..) {
            populate.answer(waiter, verdict);
        }
        if written.is_err() {
            glommio::timer::sleep(RETRY).await;
        }
    }
}
