//! A request of one usual item: taken at once where it is good and nothing has to be left out, told or asked about
//! it. Whatever else is the case is found out, and decided, by whoever reads the request in full.

use super::name::{self, Letters};
use super::validate::{Item, Rules};
use super::{Api, Tally};
use crate::http::Fields;
use crate::point::{Point, PointSink};

/// An item that was read in one pass, and the key it came with, in a request that says nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual<'q> {
    pub item: Item<'q>,
    pub key: &'q [u8],
    /// Where its name stands as it is, for the skip patterns; nothing where these do not count.
    pub name_in: Option<&'q [u8]>,
}

/// Into the sink; `None`: nothing was taken. `name` is for one that has to be rewritten.
// What it is given does not fit into registers.
#[inline(always)]
pub(super) fn take(
    api: &Api,
    fields: &Fields<'_>,
    usual: &Usual<'_>,
    now: u32,
    name: &mut String,
    sink: &mut impl PointSink,
) -> Option<Tally> {
    let test = fields.x_test_only.is_some_and(|value| !value.is_empty());
    let grant = api.keys.check(usual.key)?;
    if test || api.quotas.has(grant.namespace) {
        return None;
    }
    let rules = Rules {
        limits: &api.limits,
        now,
        prefix: grant.prefix,
        letters: Letters::Ascii,
    };
    let name = name::finish(&usual.item, &rules, name).ok()?;
    if let Some(text) = usual.name_in
        && api.skip.may_match_in(text, grant.prefix)
        && api.skip.matches(name)
    {
        return None;
    }
    let (timestamp, value) = usual.item.check_numbers(&rules).ok()?;
    if !value.is_finite() {
        return None;
    }
    sink.push(Point {
        name,
        timestamp,
        value,
        fill: usual.item.fill,
    });
    Some(Tally {
        received: 1,
        namespace: grant.namespace,
        ..Tally::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::auth::Keys;
    use super::super::quota::Quotas;
    use super::super::skip::Skip;
    use super::super::validate::Given;
    use super::super::{PointLimits, Scratch};
    use super::*;
    use crate::http::{Message, Method};
    use crate::point::Collected;
    use proptest::prelude::*;

    const NOW: u32 = 1_478_021_700;
    const OWN: &str = "0123456789abcdef0123456789abcdef";

    fn api() -> Api {
        let limits = PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 10,
            whisper_path_bytes: 30,
        };
        let namespaces = [("k2", "wide"), ("k3", "full")];
        let namespaces = namespaces.map(|(key, name)| (key.to_owned(), name.to_owned()));
        let mut api = Api::new(Keys::new(OWN, &namespaces.into_iter().collect()), limits);
        api.skip = Skip::new(&["left.out".to_owned()], &["left.out.not".to_owned()]);
        // In the order of their names.
        api.quotas = Quotas::new([7; 16], [Some((0, Vec::new())), None]);
        api
    }

    /// What becomes of it, to the last bit of a value.
    fn decided(header: Option<&str>, test: Option<&str>, body: &str) -> String {
        let message = Message {
            method: Method::Post,
            path: b"/metric_data_post",
            query: None,
            fields: Fields {
                key: header.map(str::as_bytes),
                x_test_only: test.map(str::as_bytes),
                ..Fields::default()
            },
            body: body.as_bytes(),
            http_1_0: false,
            keep_alive: true,
        };
        let mut sink = Collected::default();
        let decision = api().decide(&message, NOW, &mut Scratch::default(), &mut sink);
        format!("{decision:?} {sink:?}")
    }

    /// By the parser alone: a blank behind the brace is none of the usual shape.
    fn in_full(header: Option<&str>, test: Option<&str>, body: &str) -> String {
        decided(header, test, &body.replacen('{', "{ ", 1))
    }

    #[test]
    fn the_usual_item_is_taken_whoever_has_sent_it_and_no_other_is() {
        for (name, key, taken) in [
            ("a.b", OWN, true),
            ("a.b", "k2", true),
            ("wide.b", "k2", true),
            ("left.out.not", OWN, true),
            ("left.out", OWN, false),
            ("a.b", "k3", false),
            ("a.b", "k4", false),
            (&"a".repeat(252), OWN, false),
        ] {
            let usual = Usual {
                item: Item {
                    metric: Given::Text(name),
                    timestamp: Given::Unsigned(NOW.into()),
                    value: Given::Unsigned(1),
                    fill: false,
                    clean: true,
                },
                key: key.as_bytes(),
                name_in: Some(name.as_bytes()),
            };
            let mut sink = Collected::default();
            let (fields, mut buffer) = (Fields::default(), String::new());
            let tally = take(&api(), &fields, &usual, NOW, &mut buffer, &mut sink);
            assert_eq!(
                (tally.is_some(), sink.0.len()),
                (taken, taken.into()),
                "{name} {key}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_at_once_is_what_is_taken_in_full(
            name in "(a|b\\.c|left\\.out|out\\.left|left\\.out\\.not|wide\\.y|full|caf\u{e9}|a b|\\.\\.|)[a-z.]{0,45}",
            value in prop::sample::select(vec!["1", "1.5", "-2", "\"7\"", "\"inf\"", "1e400", "0.10000000000000001", "true"]),
            timestamp in prop::sample::select(vec!["1478021700", "1478018100", "1478018099", "1478021760", "1478021761", "\"1478021700\"", "7"]),
            key in prop::sample::select(vec![OWN, "k2", "k3", "k4", "", "k\\u0032", "k\u{e9}"]),
            keyless in 0..8u8,
            header in prop::option::weighted(0.2, prop::sample::select(vec![OWN, "k2", "k3", "", "x"])),
            test in prop::option::weighted(0.2, prop::sample::select(vec!["", "1"])),
            blank in prop::sample::select(vec!["", " "]),
            end in prop::sample::select(vec!["}", "}", "}", "}\n", "} ", ",\"fill\":true}", "}}", ""]),
        ) {
            let key = match keyless {
                0 => String::new(),
                _ => format!(",{blank}\"key\":{blank}\"{key}\""),
            };
            let body = format!(
                "{{\"metric\":{blank}\"{name}\",{blank}\"value\":{blank}{value},{blank}\"timestamp\":{blank}{timestamp}{key}{end}"
            );
            prop_assert_eq!(decided(header, test, &body), in_full(header, test, &body), "{}", body);
        }
    }
}
