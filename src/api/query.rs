//! `GET /metric_data`: one metric in the query.
//!
//! Parameters are examined in the order they came in, and the first bad one decides the answer, before what is
//! missing is looked at: Skyline's order, so that a probe behind a bad key is 401 and one before it is
//! 200. Unlike there, `fill` counts wherever it stands, the prefix is always applied, the name is checked (last), and a
//! repeated parameter is refused.

use super::at_once::{self, Usual};
use super::auth::Grant;
use super::name::Letters;
use super::pairs::{decode, pairs};
use super::partly::{self, LeftOut};
use super::report::Report;
use super::take::{Taker, reject};
use super::usual;
use super::validate::{self, Fault, Given, Item, Rules};
use super::verdict::{self, Problem};
use super::{Api, Decision, Scratch, Tally};
use crate::http::Message;
use crate::point::PointSink;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Key,
    Metric,
    Value,
    Timestamp,
    Status,
    Fill,
    Test,
}

const PARAMETERS: usize = 7;

impl Parameter {
    fn named(name: &[u8]) -> Option<Parameter> {
        Some(match name {
            b"key" => Parameter::Key,
            b"metric" => Parameter::Metric,
            b"value" => Parameter::Value,
            b"timestamp" => Parameter::Timestamp,
            b"status" => Parameter::Status,
            b"fill" => Parameter::Fill,
            b"test" => Parameter::Test,
            _ => return None,
        })
    }
}

/// The parameters' values, percent-decoded; kept for their memory.
#[derive(Debug, Default)]
pub struct Decoded {
    name: Vec<u8>,
    values: [Vec<u8>; PARAMETERS],
}

/// A query taken apart, in its order.
struct Query<'q> {
    order: [Option<Parameter>; PARAMETERS],
    values: [Option<&'q [u8]>; PARAMETERS],
    repeated: [bool; PARAMETERS],
    /// How many known parameters came before the first unknown one.
    known_before_unknown: Option<usize>,
}

pub(super) fn decide<S: PointSink>(
    api: &Api,
    message: &Message<'_>,
    now: u32,
    scratch: &mut Scratch,
    sink: &mut S,
) -> Decision {
    let Scratch {
        name,
        decoded,
        known,
        ..
    } = scratch;
    let mut rules = Rules {
        limits: &api.limits,
        now,
        prefix: "",
        letters: Letters::Any,
    };
    let query = message.query.unwrap_or_default();
    let usual = usual::read(query);
    if let Some(usual) = &usual {
        let taken = at_once::take(api, &message.fields, usual, now, name, sink);
        if let Some(tally) = taken {
            return Decision::Points(tally);
        }
    }
    let checked = match usual.and_then(|usual| checked(api, usual, &rules)) {
        Some(checked) => checked,
        None => match in_full(api, query, decoded, &rules) {
            Ok(checked) => checked,
            Err(decision) => return decision,
        },
    };
    let Checked { item, grant, test } = checked;
    rules.prefix = grant.prefix;
    let x_test_only = message.fields.x_test_only;
    let test = test || x_test_only.is_some_and(|value| !value.is_empty());
    let quota = api.quotas.of(grant.namespace, known);
    let mut taker = Taker {
        rules,
        name,
        sink,
        tally: Tally {
            received: 1,
            namespace: grant.namespace,
            ..Tally::default()
        },
        report: test.then(Report::default),
        // Skyline skips what is posted only.
        skip: None,
        quota: quota.filter(|_| !test),
        only_check: false,
        left_out: LeftOut::default(),
    };
    if let Err(fault) = taker.take(&item) {
        return reject(&fault, "", taker.tally);
    }
    match (&taker.quota, item.metric) {
        (Some(quota), Given::Text(name)) if taker.tally.over_quota > 0 => Decision::Partly {
            answer: partly::over_quota(quota.max(), name, &api.keys),
            tally: taker.tally,
        },
        _ => taker.finish(&api.keys),
    }
}

/// One metric with all that it needs, every parameter of which is good.
struct Checked<'q, 'k> {
    item: Item<'q>,
    grant: Grant<'k>,
    test: bool,
}

/// Of the usual shape, and nothing wrong with what it says; else which fault comes first is not decided here.
fn checked<'q, 'k>(
    api: &'k Api,
    Usual { item, key, .. }: Usual<'q>,
    rules: &Rules<'_>,
) -> Option<Checked<'q, 'k>> {
    let grant = api.keys.check(key)?;
    validate::timestamp(&item.timestamp, item.fill, rules).ok()?;
    Some(Checked {
        item,
        grant,
        test: false,
    })
}

fn in_full<'q, 'k>(
    api: &'k Api,
    query: &[u8],
    decoded: &'q mut Decoded,
    rules: &Rules<'_>,
) -> Result<Checked<'q, 'k>, Decision> {
    let query = Query::split(query, decoded);
    let mut item = Item {
        fill: matches!(query.get(Parameter::Fill), Some(b"true" | b"True")),
        ..Item::default()
    };
    match query.examine(api, &mut item, rules) {
        Ok(Examined::Probe) => Err(Decision::Probe(verdict::healthy())),
        Ok(Examined::Item(grant)) => Ok(Checked {
            item,
            grant,
            test: query.get(Parameter::Test) == Some(b"true"),
        }),
        Err(fault) => {
            let tally = Tally {
                received: u32::from(query.has(Parameter::Metric) || query.has(Parameter::Value)),
                ..Tally::default()
            };
            Err(reject(&fault, "", tally))
        }
    }
}

enum Examined<'k> {
    Probe,
    Item(Grant<'k>),
}

impl<'q> Query<'q> {
    fn split(query: &[u8], decoded: &'q mut Decoded) -> Query<'q> {
        let mut order = [None; PARAMETERS];
        let mut known = 0;
        let mut seen = [false; PARAMETERS];
        let mut repeated = [false; PARAMETERS];
        let mut known_before_unknown = None;
        for (name, value) in pairs(query) {
            decode(name, &mut decoded.name);
            let Some(parameter) = Parameter::named(&decoded.name) else {
                known_before_unknown.get_or_insert(known);
                continue;
            };
            let index = parameter as usize;
            if seen[index] {
                repeated[index] = true;
                continue;
            }
            seen[index] = true;
            decode(value, &mut decoded.values[index]);
            order[known] = Some(parameter);
            known += 1;
        }
        let decoded: &'q Decoded = decoded;
        Query {
            order,
            values: std::array::from_fn(|index| {
                seen[index].then_some(decoded.values[index].as_slice())
            }),
            repeated,
            known_before_unknown,
        }
    }

    fn get(&self, parameter: Parameter) -> Option<&'q [u8]> {
        self.values[parameter as usize]
    }

    fn has(&self, parameter: Parameter) -> bool {
        self.get(parameter).is_some()
    }

    /// Looks at everything but the name, in the query's order, and then at what is missing.
    fn examine<'k>(
        &self,
        api: &'k Api,
        item: &mut Item<'q>,
        rules: &Rules<'_>,
    ) -> Result<Examined<'k>, Fault> {
        let mut grant = None;
        for (index, parameter) in self.order.iter().map_while(|p| *p).enumerate() {
            if self.known_before_unknown == Some(index) {
                return Err(unknown());
            }
            if self.repeated[parameter as usize] {
                return Err(repeated(parameter));
            }
            let sent = self.get(parameter).unwrap_or_default();
            match parameter {
                Parameter::Key => {
                    let checked = api.keys.check(sent);
                    grant = Some(checked.ok_or(Fault::new(Problem::InvalidKey, ""))?);
                }
                Parameter::Metric => {
                    let not_utf8 = || Fault::new(Problem::InvalidMetric, "the name is not UTF-8");
                    item.metric = text(sent).ok_or_else(not_utf8)?;
                }
                // What was read is kept as a number: the check of the whole item need not read the
                // text again.
                Parameter::Timestamp => {
                    let not_utf8 =
                        || Fault::new(Problem::InvalidTimestamp, "timestamp is not an int");
                    let given = text(sent).ok_or_else(not_utf8)?;
                    let timestamp = validate::timestamp(&given, item.fill, rules)?;
                    item.timestamp = Given::Unsigned(timestamp.into());
                }
                Parameter::Value => {
                    let invalid = |why| Fault::new(Problem::InvalidValue, why);
                    if sent.is_empty() {
                        return Err(invalid("the value is empty"));
                    }
                    let given = text(sent).ok_or_else(|| invalid("not a number"))?;
                    item.value = Given::Float(validate::value(&given)?);
                }
                Parameter::Status => return Ok(Examined::Probe),
                Parameter::Fill | Parameter::Test => {}
            }
        }
        if self.known_before_unknown.is_some() {
            return Err(unknown());
        }
        let grant = grant.ok_or(Fault::new(Problem::NoKeyParameter, ""))?;
        if matches!(item.metric, Given::Absent | Given::Text("")) {
            return Err(Fault::new(Problem::NoMetricParameter, ""));
        }
        if item.value == Given::Absent {
            return Err(Fault::new(Problem::NoValueParameter, ""));
        }
        Ok(Examined::Item(grant))
    }
}

/// Its name is not echoed: a bare key in a query is a parameter's name.
fn unknown() -> Fault {
    let why = "only key, metric, value, timestamp, status, fill and test are known";
    Fault::new(Problem::InvalidParameter, why)
}

fn repeated(parameter: Parameter) -> Fault {
    let problem = match parameter {
        Parameter::Timestamp => Problem::InvalidTimestamp,
        Parameter::Value => Problem::InvalidValue,
        _ => Problem::InvalidParameter,
    };
    let name = match parameter {
        Parameter::Key => "key is repeated",
        Parameter::Metric => "metric is repeated",
        Parameter::Value => "value is repeated",
        Parameter::Timestamp => "timestamp is repeated",
        Parameter::Status => "status is repeated",
        Parameter::Fill => "fill is repeated",
        Parameter::Test => "test is repeated",
    };
    Fault::new(problem, name)
}

fn text(sent: &[u8]) -> Option<Given<'_>> {
    std::str::from_utf8(sent).ok().map(Given::Text)
}
