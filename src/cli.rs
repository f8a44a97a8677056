//! The commands. An edge: it reads the environment and files, and prints.

mod describe;
pub mod explain;
pub mod journal;
pub mod start;
mod tune;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, Overrides, Problems};
use crate::preflight::{self, Activated, Refusal};
use crate::runtime;
use crate::tune::apply::Trouble;

/// sysexits.h: a command line that is not understood, and a configuration that is not.
pub const EX_USAGE: u8 = 64;
pub const EX_CONFIG: u8 = 78;
/// Everything else.
pub const EX_FAILURE: u8 = 1;

/// Metrics over HTTP into Graphite: a drop-in replacement for Skyline Flux.
///
/// Without a command it runs the service.
#[derive(Debug, Parser)]
#[command(name = "flux", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The service (the default)
    Run(Run),
    /// List every problem of a configuration; exit 0, or 78
    Check(ConfigFile),
    /// Print the configuration in effect as commented TOML, secrets hidden
    Config(Show),
    /// Print one verdict per point of a request body, ours or Telegraf's, or of carbon lines
    Explain(Explain),
    /// Look into the journal without the service
    #[command(subcommand)]
    Journal(Journal),
    /// Check, apply, revert or render the settings of the host
    #[command(subcommand)]
    Tune(tune::Tune),
    /// Print what completes this command line in a shell: flux completions bash
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print this page for man: flux man | man -l -
    Man,
}

#[derive(Debug, Subcommand)]
enum Journal {
    /// List the segments: run, shard, number, size, and whether the header is whole
    Ls(Segments),
    /// Read every record; exit 1 when one is damaged
    Verify(Segments),
    /// Print the points as carbon lines, delivered or not: flux journal dump | nc carbon 2003
    Dump(Segments),
}

#[derive(Debug, Args)]
struct Segments {
    /// Segments to look at; all of the data directory if left out
    segments: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Where metrics come in: 127.0.0.1:8000 or unix:/path, several with commas
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Graphite's carbon, host:2004
    #[arg(long, value_name = "ADDR")]
    carbon: Option<String>,
    /// The last store: redis://host:6379/0, redis+unix:///path or embedded
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// The directory for the key, the embedded store and points.carbon
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// How many shards serve: a number or auto
    #[arg(long, value_name = "N")]
    shards: Option<String>,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    file: ConfigFile,
    /// Turn a Skyline's settings.py into a configuration, with a comment on every setting; it holds the keys
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    from_skyline: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Explain {
    /// What to read; standard input if left out
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Usage(clap::Error),
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Run(#[from] runtime::Error),
    #[error("{what}: {why}; {cure}")]
    Io {
        what: String,
        why: io::Error,
        cure: &'static str,
    },
    #[error("explain: {0}")]
    Explain(String),
    #[error(
        "journal: not every segment can be read to its end; what can is delivered at the next start"
    )]
    Damaged,
    #[error("tune: {0}")]
    Tune(#[from] Trouble),
    #[error("tune: {what}")]
    Untuned { code: u8, what: &'static str },
}

impl Error {
    pub fn exit_code(&self) -> u8 {
        match self {
            // Asking for the help or the version is none.
            Error::Usage(error) if error.exit_code() == 0 => 0,
            Error::Usage(_) => EX_USAGE,
            Error::Config(_) => EX_CONFIG,
            Error::Untuned { code, .. } => *code,
            _ => EX_FAILURE,
        }
    }

    /// One line on standard error with the causes; of a configuration, one for each problem.
    pub fn report(&self) {
        if let Error::Usage(error) = self {
            // Where standard error is closed there is nobody to tell.
            let _ = error.print();
            return;
        }
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        for line in text.lines() {
            let _ = writeln!(io::stderr(), "flux: {line}");
        }
    }
}

pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let cli = Cli::try_parse_from(arguments).map_err(Error::Usage)?;
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(run) => serve(run),
        Command::Check(file) => check(file.config.as_deref()),
        Command::Config(show) => print_config(show),
        Command::Explain(of) => explain_points(of),
        Command::Journal(verb) => look_into_journal(verb),
        Command::Tune(verb) => tune::tune(verb),
        Command::Completions { shell } => print(&describe::completions(Cli::command(), shell)),
        Command::Man => print(&describe::man(Cli::command())),
    }
}

fn serve(run: Run) -> Result<(), Error> {
    let flags = Overrides {
        listen: run.listen,
        carbon: run.carbon,
        redis: run.redis,
        data_dir: run.data_dir,
        shards: run.shards,
    };
    let mut config = config::load(run.file.config.as_deref(), &environment, &flags)?;
    let activated = Activated::take()?;
    activated.tell(&mut config);
    let mut ready = preflight::check(&config, activated)?;
    let own_key = ready.own_key.take();
    let key_made = own_key.as_ref().is_some_and(|own| own.made);
    if let Some(own) = own_key {
        config.keys.self_key = Some(own.key);
    }
    let paragraph = start::paragraph(
        &config,
        &ready.placement,
        &ready.kernel,
        ready.activated.count(),
        key_made,
    );
    let file = run.file.config;
    let reread = || {
        let mut config = reread(file.as_deref(), &flags, &config.data_dir)?;
        ready.activated.tell(&mut config);
        Ok(config)
    };
    runtime::run(&config, &ready, reread, || {
        let _ = io::stderr().write_all(paragraph.as_bytes());
    })?;
    Ok(())
}

/// As at the start: the file, the environment and the flags of this process, and the key where none is configured.
fn reread(file: Option<&Path>, flags: &Overrides, data_dir: &Path) -> Result<Config, Vec<String>> {
    let loaded = config::load(file, &environment, flags);
    let said = |problem: &config::Problem| problem.to_string();
    let mut config = loaded.map_err(|all| all.0.iter().map(said).collect::<Vec<_>>())?;
    if config.keys.self_key.is_none() {
        let own = config::key::read_or_make(data_dir);
        config.keys.self_key = Some(own.map_err(|error| vec![error.to_string()])?.key);
    }
    Ok(config)
}

fn check(file: Option<&Path>) -> Result<(), Error> {
    load(file)?;
    let what = match file {
        Some(file) => file.display().to_string(),
        None => "the defaults and the environment".to_owned(),
    };
    print(&format!("{what}: no problems\n"))
}

fn print_config(show: Show) -> Result<(), Error> {
    /// Skyline's own is 200 KiB.
    const SETTINGS_BYTES_MAX: u64 = 8 * 1024 * 1024;
    let Some(file) = show.from_skyline else {
        let config = load(show.file.config.as_deref())?;
        return print(&config::render(&config));
    };
    let mut text = String::new();
    let opened = std::fs::File::open(&file);
    opened
        .and_then(|opened| opened.take(SETTINGS_BYTES_MAX).read_to_string(&mut text))
        .map_err(|why| Error::Io {
            what: file.display().to_string(),
            why,
            cure: "name a readable settings.py",
        })?;
    print(&config::from_skyline(&text))
}

fn explain_points(of: Explain) -> Result<(), Error> {
    let config = load(of.config.config.as_deref())?;
    let named = of.file.as_deref().filter(|file| *file != Path::new("-"));
    let unreadable = |why| Error::Io {
        what: named.map_or("standard input".to_owned(), |f| f.display().to_string()),
        why,
        cure: "name a readable file, or give the body on standard input",
    };
    let mut input = Vec::new();
    // What the service would refuse for its size is not read either.
    let limit = config.http.body_bytes_max as u64 + 1;
    match named {
        Some(file) => std::fs::File::open(file).and_then(|f| f.take(limit).read_to_end(&mut input)),
        None => io::stdin().take(limit).read_to_end(&mut input),
    }
    .map_err(unreadable)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // Past 2106 the whole program needs wider timestamps.
    let now = now.map_or(0, |since| since.as_secs() as u32);
    print(&explain::verdicts(&config, &input, now).map_err(Error::Explain)?)
}

fn look_into_journal(verb: Journal) -> Result<(), Error> {
    let (Journal::Ls(of) | Journal::Verify(of) | Journal::Dump(of)) = &verb;
    let flags = Overrides {
        data_dir: of.data_dir.clone(),
        ..Overrides::default()
    };
    let config = config::load(of.config.config.as_deref(), &environment, &flags)?;
    let folder = config.data_dir.join("journal");
    let out = &mut io::BufWriter::new(io::stdout());
    let done = match verb {
        Journal::Ls(of) => journal::ls(&folder, of.segments, out),
        Journal::Verify(of) => journal::verify(&folder, of.segments, out),
        Journal::Dump(of) => journal::dump(&folder, of.segments, out),
    };
    let flushed = print_all(out.flush());
    done.and(flushed)
}

fn load(file: Option<&Path>) -> Result<Config, Problems> {
    config::load(file, &environment, &Overrides::default())
}

fn environment(name: &str) -> Option<String> {
    // What is not UTF-8 is refused by its key or leads nowhere, but is not passed over in silence.
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

fn print(text: &str) -> Result<(), Error> {
    print_all(io::stdout().write_all(text.as_bytes()))
}

fn print_all(written: io::Result<()>) -> Result<(), Error> {
    match written {
        // `flux config | head` has seen enough.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|why| Error::Io {
            what: "standard output".to_owned(),
            why,
            cure: "give it somewhere to write",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_and_takes_the_same_flags() {
        for words in [
            &["flux", "--shards", "2"][..],
            &["flux", "run", "--shards", "2"],
        ] {
            let cli = Cli::try_parse_from(words).unwrap();
            let Command::Run(run) = cli.command.unwrap_or(Command::Run(cli.run)) else {
                panic!("{words:?} is not run");
            };
            assert_eq!(run.shards.as_deref(), Some("2"));
        }
    }

    #[test]
    fn help_ends_well_and_a_wrong_word_does_not() {
        let code = |words: &[&str]| {
            let words = words.iter().map(OsString::from);
            run(words).unwrap_err().exit_code()
        };
        assert_eq!(code(&["flux", "--version"]), 0);
        assert_eq!(code(&["flux", "--frobnicate"]), EX_USAGE);
        assert_eq!(
            code(&["flux", "check", "--config", "/nonexistent"]),
            EX_CONFIG
        );
        assert_eq!(code(&["flux", "explain", "/nonexistent"]), EX_FAILURE);
    }

    #[test]
    fn explain_ends_well_with_a_refused_point_and_not_with_a_refused_body() {
        let directory = tempfile::tempdir().unwrap();
        let explain = |text: &str| {
            let file = directory.path().join("body");
            std::fs::write(&file, text).unwrap();
            let words = ["flux", "explain", file.to_str().unwrap()];
            run(words.map(OsString::from)).map_err(|error| (error.exit_code(), error.to_string()))
        };
        assert_eq!(explain(r#"{"metric": "a", "value": "x"}"#), Ok(()));
        let whole = "explain: refused: invalid json data".to_owned();
        assert_eq!(explain("{"), Err((EX_FAILURE, whole)));
    }
}
