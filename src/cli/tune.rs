//! `flux tune check / apply / revert / render`: the command line of [`crate::tune`].

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{ConfigFile, Error, environment, print};
use crate::config::{self, Overrides};
use crate::preflight;
use crate::tune::apply::{self, Report};
use crate::tune::{Wishes, check, files, list, render, revert, show};

#[derive(Debug, Subcommand)]
pub enum Tune {
    /// Compare the host with what the service wants; exit 0 well, 1 something advised is wrong, 2 it cannot run
    Check(Check),
    /// Write what is not as wanted, now and for the next boot, and keep the originals; exit 0, or 1
    Apply(Wanted),
    /// Put the originals back, unless somebody else has changed them since; exit 0, or 1
    Revert(Revert),
    /// Print a shell script that does as apply does, and touch nothing
    Render(Wanted),
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    wanted: Wanted,
    /// For programs: the same, with what apply would write
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Wanted {
    #[command(flatten)]
    config: ConfigFile,
    /// The data directory, whose disk is looked at
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Look at what a host that sends load needs too
    #[arg(long)]
    generator: bool,
    #[command(flatten)]
    below: Below,
}

#[derive(Debug, Args)]
pub struct Revert {
    /// Put the originals back also where somebody else has changed a value since
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    below: Below,
}

#[derive(Debug, Args)]
struct Below {
    /// Look for /proc, /sys, /etc and /var below this directory: to rehearse on a copy
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub fn tune(verb: Tune) -> Result<(), Error> {
    match verb {
        Tune::Check(of) => {
            let root = root(&of.wanted.below)?;
            let wishes = wishes(&root, &of.wanted)?;
            let host = files::read(&root, list::all(), &wishes);
            let rows = check::rows(&host, &wishes);
            print(&match of.json {
                true => show::json(&rows),
                false => show::table(&rows),
            })?;
            match check::exit_code(&rows) {
                0 => Ok(()),
                1 => Err(untuned(1, "something is not as advised")),
                code => Err(untuned(code, "the service cannot run on this host")),
            }
        }
        Tune::Apply(of) => {
            let root = root(&of.below)?;
            let wishes = wishes(&root, &of)?;
            told(apply::apply(&root, &wishes)?, "not everything is as wanted")
        }
        Tune::Revert(of) => {
            let report = revert::revert(&root(&of.below)?, of.force)?;
            told(report, "not everything was put back")
        }
        Tune::Render(of) => {
            let root = root(&of.below)?;
            print(&render::script(&wishes(&root, &of)?))
        }
    }
}

/// As the file system has it, so that `/.` is no other machine.
fn root(below: &Below) -> Result<PathBuf, Error> {
    below.root.canonicalize().map_err(|why| Error::Io {
        what: below.root.display().to_string(),
        why,
        cure: "name a directory with --root",
    })
}

fn wishes(root: &Path, of: &Wanted) -> Result<Wishes, Error> {
    let flags = Overrides {
        data_dir: of.data_dir.clone(),
        ..Overrides::default()
    };
    let config = config::load(of.config.config.as_deref(), &environment, &flags)?;
    let placement = preflight::plan(&config.cpu, &preflight::ours()?);
    Ok(Wishes {
        generator: of.generator,
        disk: files::disk(root, &config.data_dir),
        ..Wishes::of(&config, placement.executors())
    })
}

fn told(report: Report, otherwise: &'static str) -> Result<(), Error> {
    print(&(report.lines.join("\n") + "\n"))?;
    match report.failed {
        true => Err(untuned(1, otherwise)),
        false => Ok(()),
    }
}

fn untuned(code: u8, what: &'static str) -> Error {
    Error::Untuned { code, what }
}
