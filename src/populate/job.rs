//! Vista's request → a job, or the rule that refuses it. Everything that can be wrong with a job is found
//! here, at the request: what was accepted can be carried out.
//!
//! The order of the rules is JSON, the key, and only then the rest, so that a stranger learns nothing.

use super::address::{Address, Hosts, URL_BYTES_MAX, Unusable};
use super::literal::{self, NoList};
use crate::api::PointLimits;
use crate::api::auth::Keys;
use crate::api::json::{self, Node, Parser, Unreadable};
use crate::api::name::{self, Letters};
use crate::api::validate::{Fault, Given, Item, Rules};
use crate::api::verdict::Problem;

/// Most URLs of one job: Vista sends one for each of a handful of resolutions.
pub const URLS_MAX: usize = 64;
/// Longest remote target: it is part of each URL, which has the same bound.
pub const TARGET_BYTES_MAX: usize = URL_BYTES_MAX;

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    Graphite,
    Prometheus,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub metric: String,
    pub remote: Remote,
    /// What Vista calls the series; a member of `vista.fetcher.unique_metrics` once it is there.
    pub target: String,
    /// Sorted: Vista's order is arbitrary, and two posts of the same job are recognised.
    pub urls: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    Job(Job),
    /// An empty list of URLs: there is nothing to do, and that is done.
    Nothing,
}

/// Why a request is no job.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not JSON")]
    NotJson,
    #[error("the body is no object with members")]
    NoData,
    #[error("there is no key")]
    NoKey,
    #[error("it is not the service's own key")]
    WrongKey,
    #[error("the document has no {0}")]
    Missing(&'static str),
    #[error("{0} is not text")]
    NotText(&'static str),
    #[error("metric: {}", .0.why)]
    Metric(Fault),
    #[error("remote_host_type is neither graphite nor prometheus")]
    RemoteHostType,
    #[error("remote_target is empty, or longer than {TARGET_BYTES_MAX} bytes")]
    Target,
    #[error("fetch_resolution_urls is None")]
    NoUrls,
    #[error("fetch_resolution_urls: {0}")]
    Undecodable(#[from] NoList),
    #[error("{0} URLs, and a job has at most {URLS_MAX}")]
    TooManyUrls(usize),
    #[error("URL {place}: {why}")]
    Url { place: usize, why: Unusable },
    #[error("URL {0}: its host is not in populate.allowed_hosts")]
    HostNotAllowed(usize),
}

impl Refused {
    /// As the one table of statuses has it; what is repeated to the client holds nothing of a URL.
    pub fn fault(&self) -> Fault {
        let problem = match self {
            Refused::NotJson => return Fault::new(Problem::InvalidJson, ""),
            Refused::NoKey => return Fault::new(Problem::NoKeyPassed, ""),
            Refused::WrongKey => return Fault::new(Problem::InvalidKey, ""),
            Refused::Metric(fault) => return fault.clone(),
            Refused::NotUtf8 | Refused::NoData => Problem::NoPostData,
            _ => Problem::InvalidParameter,
        };
        Fault::new(problem, self.to_string())
    }
}

/// What a job is checked against.
pub struct Checks<'c> {
    pub keys: &'c Keys,
    pub limits: &'c PointLimits,
    pub hosts: &'c Hosts,
}

/// Reads a body, whole and not encoded. A key in the request's header wins over the document's.
pub fn read(
    body: &[u8],
    header_key: Option<&[u8]>,
    checks: &Checks<'_>,
    parser: &mut Parser,
) -> Result<Posted, Refused> {
    parser.read(body, |nodes| {
        let nodes = nodes.map_err(|why| match why {
            Unreadable::NotUtf8 => Refused::NotUtf8,
            Unreadable::NotJson => Refused::NotJson,
        })?;
        let document = Document::of(nodes).ok_or(Refused::NoData)?;
        document.key(header_key, checks.keys)?;
        document.job(checks)
    })
}

#[derive(Default)]
struct Document<'t, 'i> {
    key: Given<'i>,
    metric: Given<'i>,
    namespace_prefix: Given<'i>,
    remote_host_type: Given<'i>,
    remote_target: Given<'i>,
    urls: Option<&'t [Node<'i>]>,
}

impl<'t, 'i> Document<'t, 'i> {
    /// The last of repeated members counts. `user`, `password` and `token` are not looked at, as in Skyline.
    fn of(nodes: &'t [Node<'i>]) -> Option<Document<'t, 'i>> {
        let mut document = Document::default();
        let mut empty = true;
        for (name, value) in json::members(nodes)? {
            empty = false;
            match name {
                "key" => document.key = json::given(value),
                "metric" => document.metric = json::given(value),
                "namespace_prefix" => document.namespace_prefix = json::given(value),
                "remote_host_type" => document.remote_host_type = json::given(value),
                "remote_target" => document.remote_target = json::given(value),
                "fetch_resolution_urls" => document.urls = Some(value),
                _ => {}
            }
        }
        (!empty).then_some(document)
    }

    fn key(&self, header: Option<&[u8]>, keys: &Keys) -> Result<(), Refused> {
        let sent = match (header.filter(|key| !key.is_empty()), self.key) {
            (Some(key), _) => key,
            (None, Given::Absent) => return Err(Refused::NoKey),
            (None, Given::Text(key)) => key.as_bytes(),
            (None, _) => return Err(Refused::WrongKey),
        };
        keys.is_own(sent).then_some(()).ok_or(Refused::WrongKey)
    }

    fn job(&self, checks: &Checks<'_>) -> Result<Posted, Refused> {
        // Not used, but a document without it is none of Vista's.
        if self.namespace_prefix == Given::Absent {
            return Err(Refused::Missing("namespace_prefix"));
        }
        let remote = match text("remote_host_type", &self.remote_host_type)? {
            "graphite" => Remote::Graphite,
            "prometheus" => Remote::Prometheus,
            _ => return Err(Refused::RemoteHostType),
        };
        let target = text("remote_target", &self.remote_target)?;
        if target.is_empty() || target.len() > TARGET_BYTES_MAX {
            return Err(Refused::Target);
        }
        let metric = self.metric_name(checks.limits)?;
        let urls = urls(self.urls, checks.hosts)?;
        if urls.is_empty() {
            return Ok(Posted::Nothing);
        }
        Ok(Posted::Job(Job {
            metric,
            remote,
            target: target.to_owned(),
            urls,
        }))
    }

    /// Vista keeps letters beyond ASCII in its names.
    fn metric_name(&self, limits: &PointLimits) -> Result<String, Refused> {
        if self.metric == Given::Absent {
            return Err(Refused::Missing("metric"));
        }
        let rules = Rules {
            limits,
            now: 0,
            prefix: "",
            letters: Letters::Any,
        };
        let mut buffer = String::new();
        let item = Item {
            metric: self.metric,
            ..Item::default()
        };
        let name = name::finish(&item, &rules, &mut buffer);
        name.map(str::to_owned).map_err(Refused::Metric)
    }
}

fn text<'i>(name: &'static str, given: &Given<'i>) -> Result<&'i str, Refused> {
    match *given {
        Given::Text(text) => Ok(text),
        Given::Absent => Err(Refused::Missing(name)),
        _ => Err(Refused::NotText(name)),
    }
}

/// The addresses as they are asked for, or the first that cannot be.
fn urls(nodes: Option<&[Node<'_>]>, hosts: &Hosts) -> Result<Vec<String>, Refused> {
    const NAME: &str = "fetch_resolution_urls";
    let nodes = nodes.ok_or(Refused::Missing(NAME))?;
    let mut urls = match (json::elements(nodes), json::given(nodes)) {
        (Some((count, _)), _) if count > URLS_MAX => return Err(Refused::TooManyUrls(count)),
        (Some((_, elements)), _) => elements
            .map(|element| text(NAME, &json::given(element)).map(str::to_owned))
            .collect::<Result<Vec<String>, Refused>>()?,
        (None, Given::Null) => return Err(Refused::NoUrls),
        (None, Given::Text(text)) if text.trim_matches(['"', '\'', ' ']) == "None" => {
            return Err(Refused::NoUrls);
        }
        (None, Given::Text(text)) => literal::list(text)?,
        _ => return Err(Refused::NotText(NAME)),
    };
    if urls.len() > URLS_MAX {
        return Err(Refused::TooManyUrls(urls.len()));
    }
    for (index, url) in urls.iter().enumerate() {
        let place = index + 1;
        let address = match url.len() {
            0..=URL_BYTES_MAX => Address::parse(url),
            _ => Err(Unusable::TooLong),
        };
        let address = address.map_err(|why| Refused::Url { place, why })?;
        if !hosts.allow(&address) {
            return Err(Refused::HostNotAllowed(place));
        }
    }
    urls.sort();
    urls.dedup();
    Ok(urls)
}

#[cfg(test)]
#[path = "tests/job.rs"]
mod tests;
