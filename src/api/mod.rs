//! Messages → points and a verdict. Pure: a message and the time in; points into a sink, and what to
//! answer, out. May assume that the message is whole and its framing sound.
//!
//! `route` finds the endpoint; [`query`] (GET) and [`post`] read one request each, by way of
//! [`json`], or, of the shape that everybody sends, [`plain`] and `usual`, from where a single item that is good goes
//! by way of `at_once`; [`telegraf`] reads another program's form of it. [`validate`], [`name`] and [`number`] are the
//! rules of one item, [`skip`] and [`quota`] those that leave one out; [`verdict`] is the one table of statuses and
//! messages.

mod at_once;
pub mod auth;
pub mod decimal;
pub mod document;
pub mod explain;
pub mod json;
pub mod line;
pub mod name;
pub mod number;
mod pairs;
mod partly;
pub mod plain;
pub mod post;
pub mod query;
pub mod quota;
mod report;
pub mod route;
pub(crate) mod second_look;
pub mod skip;
pub mod take;
pub mod telegraf;
mod usual;
pub mod validate;
pub mod verdict;
mod windows;

use crate::config;
use crate::http::{ContentEncoding, Message, Method, response::Answer};
use crate::point::PointSink;

use route::Endpoint;
use verdict::Problem;

/// What the points of one request came to before their owners decide about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items parsed, whatever became of them; none for a request that carries no points to keep (a
    /// probe, a test).
    pub received: u32,
    /// Not finite: accepted from the client's point of view, counted, not pushed.
    pub discarded_not_finite: u32,
    /// The same, of a Telegraf batch: texts and booleans, which the answer names.
    pub not_numeric: u32,
    /// The same: values of metrics that no name can be made for.
    pub unnamed: u32,
    /// The same: the name matches a skip pattern.
    pub skipped: u32,
    /// Rejected one by one, in a request whose other points are not: new metrics of a full namespace.
    pub over_quota: u32,
    /// Index into [`auth::Keys::namespaces`]; `None` for a key without a prefix and for no key.
    pub namespace: Option<u16>,
    /// Why the items were rejected, all of them; `None` when they were not.
    pub problem: Option<Problem>,
}

/// What the request asks the shard to do.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// The points are in the sink; the owners decide about duplicates and the answer is
    /// [`verdict::accepted`] unless one of them fails.
    Points(Tally),
    /// The same, with an answer that says what was left out.
    Partly { answer: Answer, tally: Tally },
    /// Nothing to hand over (the caller rolls the sink back). A bad request of `received` items rejects them all.
    Answer { answer: Answer, tally: Tally },
    /// A job for populate: read by its own room.
    Job,
    /// The health probe: answered 200, and the `flux.listen` heartbeat is due.
    Probe(Answer),
}

/// What is decided from, built once from the configuration and shared by reference.
#[derive(Debug)]
pub struct Api {
    pub keys: auth::Keys,
    pub limits: PointLimits,
    pub skip: skip::Skip,
    pub quotas: quota::Quotas,
    pub telegraf: telegraf::Settings,
    pub line: line::Settings,
    /// Most that a body may be once its content encoding is undone.
    pub inflated_bytes_max: usize,
}

/// Numbers of namespaces are not given twice, so reloads could use them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys.namespaces: more than 65535 different prefixes since the start; restart the service")]
pub struct TooManyNamespaces;

#[derive(Clone, Debug, PartialEq)]
pub struct PointLimits {
    pub age_seconds_max: u32,
    pub future_seconds_max: u32,
    pub points_per_request_max: usize,
    /// Length of `points.whisper_path`, for the rule that a whisper file's path is at most 4,096 bytes.
    pub whisper_path_bytes: usize,
}

impl From<&config::Points> for PointLimits {
    fn from(points: &config::Points) -> PointLimits {
        PointLimits {
            age_seconds_max: points.age_seconds_max,
            future_seconds_max: points.future_seconds_max,
            points_per_request_max: points.points_per_request_max,
            whisper_path_bytes: points.whisper_path.as_os_str().len(),
        }
    }
}

/// Buffers kept between requests, so that the steady state allocates nothing.
#[derive(Default)]
pub struct Scratch {
    parser: json::Parser,
    /// Items of a body that was read in one pass.
    items: plain::Kept,
    /// A name that had to be rewritten.
    name: String,
    /// A name that is put together from a Telegraf metric.
    path: String,
    /// What this shard has read of the quotas' ledgers.
    known: quota::Known,
    /// Query parameters, percent-decoded.
    decoded: query::Decoded,
}

impl Scratch {
    /// For a body that another room reads.
    pub fn parser(&mut self) -> &mut json::Parser {
        &mut self.parser
    }
}

impl Api {
    /// Skips nothing and has no quotas; as the defaults have it else.
    pub fn new(mut keys: auth::Keys, limits: PointLimits) -> Api {
        let config::Config { http, line, .. } = config::Config::default();
        let line = line::Settings::of(&line, &mut keys);
        Api {
            keys,
            limits,
            skip: skip::Skip::default(),
            quotas: quota::Quotas::default(),
            telegraf: telegraf::Settings {
                sanitise: false,
                names_bytes_max: http.inflated_bytes_max,
            },
            line,
            inflated_bytes_max: http.inflated_bytes_max,
        }
    }

    /// As configured; `quotas` because they remember what was before.
    pub fn of(config: &config::Config, quotas: quota::Quotas) -> Api {
        let (keys, line) = Api::numbered(config, &[]);
        Api::build(config, keys, line, quotas)
    }

    /// Keys and what needs none, with the numbers of their namespaces behind those of before.
    fn numbered(config: &config::Config, before: &[String]) -> (auth::Keys, line::Settings) {
        let own = config.keys.self_key.as_deref().unwrap_or_default();
        let mut keys = auth::Keys::after(before, own, &config.keys.namespaces);
        let line = line::Settings::of(&config.line, &mut keys);
        (keys, line)
    }

    fn build(
        config: &config::Config,
        keys: auth::Keys,
        line: line::Settings,
        quotas: quota::Quotas,
    ) -> Api {
        let config::Config { points, http, .. } = config;
        Api {
            line,
            skip: skip::Skip::new(&points.skip, &points.do_not_skip),
            quotas,
            telegraf: telegraf::Settings {
                sanitise: points.telegraf_sanitise,
                names_bytes_max: http.inflated_bytes_max,
            },
            inflated_bytes_max: http.inflated_bytes_max,
            ..Api::new(keys, PointLimits::from(points))
        }
    }

    /// As a configuration has it that was read again; what was remembered and numbered stays.
    pub fn after(&self, config: &config::Config) -> Result<Api, TooManyNamespaces> {
        let (keys, line) = Api::numbered(config, self.keys.namespaces());
        if keys.namespaces().len() > usize::from(u16::MAX) {
            return Err(TooManyNamespaces);
        }
        let quota = |name| config.keys.quotas.get(name).copied();
        let quotas = self.quotas.after(keys.namespaces().iter().map(quota));
        Ok(Api::build(config, keys, line, quotas))
    }

    /// Whether the message's body is looked at, and encoded in a way that can be undone.
    pub fn reads_encoded(&self, message: &Message<'_>) -> bool {
        matches!(
            message.fields.content_encoding,
            ContentEncoding::Gzip | ContentEncoding::Deflate
        ) && route::route(message.path, message.method) == Ok(Endpoint::MetricDataPost)
    }

    /// Decides one message at `now` (Unix seconds).
    pub fn decide(
        &self,
        message: &Message<'_>,
        now: u32,
        scratch: &mut Scratch,
        sink: &mut impl PointSink,
    ) -> Decision {
        let endpoint = Endpoint::of(message.path);
        self.decide_at(endpoint, message, now, scratch, sink)
    }

    /// The same where it is known what the path names.
    #[inline]
    pub fn decide_at(
        &self,
        endpoint: Option<Endpoint>,
        message: &Message<'_>,
        now: u32,
        scratch: &mut Scratch,
        sink: &mut impl PointSink,
    ) -> Decision {
        match route::allowed(endpoint, message.method) {
            Ok(Endpoint::MetricData) => query::decide(self, message, now, scratch, sink),
            Ok(Endpoint::MetricDataPost) => post::decide(self, message, now, scratch, sink),
            Ok(Endpoint::PopulateMetric) => Decision::Job,
            Err(mut answer) => {
                // The answer to a HEAD ends with its head: a body would be read as the next answer.
                if message.method == Method::Head {
                    answer.body = (&[][..]).into();
                }
                answer.into()
            }
        }
    }
}

/// An answer to a request without points.
impl From<Answer> for Decision {
    fn from(answer: Answer) -> Decision {
        let tally = Tally::default();
        Decision::Answer { answer, tally }
    }
}
