//! The list of host settings and its four verbs: `flux tune check / apply / revert / render`.
//!
//! The list is data ([`list`]), and what is made of it is pure: a [`host::Host`] holds what was read, [`check`]
//! compares, [`change`] says what to write and what to put back, [`show`] and [`render`] make text. Only [`files`],
//! [`apply`], [`revert`] and [`ring`] touch the host, below a root that a test can put elsewhere.

pub mod apply;
pub mod change;
pub mod check;
pub mod files;
pub mod host;
mod judge;
pub mod list;
pub mod needs;
pub mod page;
pub mod render;
pub mod revert;
pub mod ring;
pub mod show;

use crate::config::Config;
use host::Host;
use needs::Fault;

/// What a start cannot do without, and why it is not there.
pub type Need = fn(&Host, &Wishes) -> Result<(), Fault>;

/// One setting of the host.
#[derive(Clone, Copy)]
pub struct Item {
    pub id: &'static str,
    /// Paths, each part with at most one `*`; `{disk}` is the data directory's. The first is what is judged, and
    /// written; a word of the kernel's command line stands as `/proc/cmdline` here and in the id.
    pub reads: &'static [&'static str],
    pub kind: Kind,
    pub severity: Severity,
    /// What a start is refused for; the same for `preflight` and for `check`.
    pub need: Option<Need>,
    /// The words of this file are the values there are.
    pub offered: Option<&'static str>,
    pub applies: Option<Applies>,
    pub side: Side,
    pub reboot: bool,
    /// One sentence each.
    pub why: &'static str,
    pub when: &'static str,
    pub risk: &'static str,
    /// Where the value comes from.
    pub source: &'static str,
}

/// When an item is looked at on a host at all.
#[derive(Clone, Copy)]
pub struct Applies {
    pub only_if: &'static str,
    /// The same as a condition of the rendered script; of an item that is written.
    pub shell: &'static str,
    pub holds: fn(&Host, &Wishes) -> bool,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// Each number at least this; one that is larger stays.
    Minimum(fn(&Wishes) -> Vec<u64>),
    /// A range that covers this one; one that is wider stays.
    Covers(u64, u64),
    Exact(&'static str),
    /// Any of these; the first that is offered is written.
    OneOf(&'static [&'static str]),
    /// Never written.
    Report(fn(&Host, &Wishes) -> Judged),
}

/// What a report-only item comes to.
pub struct Judged {
    pub current: String,
    pub required: String,
    pub status: Status,
    /// Said in place of the item's own reason.
    pub because: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; no exit status depends on it.
    Note,
    /// Costs throughput or latency, or drops connections under load.
    Advised,
    /// Without it the service does not start.
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Service,
    /// A host that sends load; looked at only with `--generator`.
    Generator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    Wrong,
    /// This kernel or machine has no such setting, or does not offer a wanted value.
    Unsupported,
    /// What the item is for is not the case on this host.
    NotApplicable,
    /// It is there and cannot be read or understood.
    Unknown,
}

/// What the configuration asks of the host.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub backlog: u32,
    pub connections_max: u32,
    pub listeners: u32,
    pub executors: usize,
    pub generator: bool,
    /// The queue directory of the data directory's disk, under /sys.
    pub disk: Option<String>,
}

impl Wishes {
    pub fn of(config: &Config, executors: usize) -> Wishes {
        Wishes {
            backlog: config.http.backlog,
            connections_max: config.http.connections_max,
            listeners: config.http.listen.len() as u32,
            executors,
            generator: false,
            disk: None,
        }
    }

    /// A path of the list as it is on this host.
    pub fn path(&self, read: &str) -> String {
        // Without a disk the path leads nowhere, which is what is to be said of it.
        read.replace("{disk}", self.disk.as_deref().unwrap_or("/sys/block/none"))
    }
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Advised => "advised",
            Severity::Required => "required",
        }
    }
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Wrong => "wrong",
            Status::Unsupported => "unsupported here",
            Status::NotApplicable => "does not apply",
            Status::Unknown => "unknown",
        }
    }
}

impl Kind {
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Minimum(_) | Kind::Covers(..) => "minimum",
            Kind::Exact(_) => "exact",
            Kind::OneOf(_) => "one of",
            Kind::Report(_) => "report only",
        }
    }

    pub fn is_written(&self) -> bool {
        !matches!(self, Kind::Report(_))
    }
}

/// The first need of the list that is not met: what a start is refused for.
pub fn refusal(host: &Host, wishes: &Wishes) -> Result<(), Fault> {
    let mut needs = list::all().filter_map(|item| item.need);
    needs.try_for_each(|need| need(host, wishes))
}
