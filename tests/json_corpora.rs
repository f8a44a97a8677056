//! Hostile JSON and hostile names: public corpora, read where they are, and properties with `serde_json`
//! as the oracle.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use skyline_flux::api::auth::Keys;
use skyline_flux::api::json::{self, Parser, Unreadable};
use skyline_flux::api::validate::Given;
use skyline_flux::api::{Api, Decision, PointLimits, Scratch};
use skyline_flux::http::{Fields, Message, Method};
use skyline_flux::point::Collected;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NOW: u32 = 1_795_454_579;

/// The folder, or `None` (said aloud) in a plain clone.
fn corpus(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: no {name} here");
        return None;
    }
    Some(path)
}

fn read(parser: &mut Parser, body: &[u8]) -> Result<(), Unreadable> {
    parser.read(body, |nodes| nodes.map(|_| ()))
}

/// What Python takes and JSON does not.
const TAKEN_AS_PYTHON_DOES: [&str; 3] = [
    "n_number_NaN.json",
    "n_number_infinity.json",
    "n_number_minus_infinity.json",
];

/// The suite leaves these open; we take them. (The others of its `i_` files are refused: invalid UTF-8,
/// UTF-16, lone surrogates, nesting deeper than our bound.)
const OPEN_AND_TAKEN: [&str; 11] = [
    "i_number_double_huge_neg_exp.json",
    "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",
    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",
    "i_number_real_pos_overflow.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
    "i_structure_UTF-8_BOM_empty_object.json",
];

#[test]
fn the_json_test_suite_is_read_as_it_asks() {
    let Some(folder) = corpus("JSONTestSuite/test_parsing") else {
        return;
    };
    let mut parser = Parser::default();
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let body = std::fs::read(&path).unwrap();
        let taken = match name.split_once('_').unwrap().0 {
            "y" => true,
            "n" => TAKEN_AS_PYTHON_DOES.contains(&name),
            _ => OPEN_AND_TAKEN.contains(&name),
        };
        let result = read(&mut parser, &body);
        assert_eq!(result.is_ok(), taken, "{name}: {result:?}");
        let utf8 = std::str::from_utf8(&body).is_ok();
        assert_eq!(result == Err(Unreadable::NotUtf8), !utf8, "{name}");
        count += 1;
    }
    assert!(count > 300, "only {count} files");
}

fn api() -> Api {
    Api::new(
        Keys::new(KEY, &BTreeMap::new()),
        PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 1000,
            whisper_path_bytes: 28,
        },
    )
}

fn post(body: &[u8], scratch: &mut Scratch) -> (Decision, Collected) {
    let message = Message {
        method: Method::Post,
        path: b"/metric_data_post",
        query: None,
        fields: Fields::default(),
        body,
        http_1_0: false,
        keep_alive: true,
    };
    let mut sink = Collected::default();
    let decision = api().decide(&message, NOW, scratch, &mut sink);
    (decision, sink)
}

fn get(query: &str, scratch: &mut Scratch) -> (Decision, Collected) {
    let message = Message {
        method: Method::Get,
        path: b"/metric_data",
        query: Some(query.as_bytes()),
        fields: Fields::default(),
        body: b"",
        http_1_0: false,
        keep_alive: true,
    };
    let mut sink = Collected::default();
    let decision = api().decide(&message, NOW, scratch, &mut sink);
    (decision, sink)
}

/// One point with a name of the charset, or a 400 with a JSON body, and nothing else.
fn well_answered(name: &str, wide: bool, (decision, sink): (Decision, Collected)) {
    match decision {
        Decision::Points(tally) => {
            assert_eq!((tally.received, sink.0.len()), (1, 1), "{name:?}");
            let written = &sink.0[0].0;
            let allowed = |c: char| {
                c.is_ascii_alphanumeric()
                    || "+-%._/=:".contains(c)
                    || wide && !c.is_ascii() && c.is_alphanumeric()
            };
            assert!(written.chars().all(allowed), "{name:?} became {written:?}");
            assert!(!written.is_empty() && written.len() <= 4096 - 28 - 5);
        }
        Decision::Answer { answer, .. } => {
            assert_eq!(answer.status, 400, "{name:?}");
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let message = body["message"].as_str().unwrap();
            let expected = ["invalid metric - ", "no metric parameter passed"];
            assert!(
                expected.iter().any(|start| message.starts_with(start)),
                "{message}"
            );
            assert!(answer.body.is_ascii() && answer.body.len() < 2000);
        }
        Decision::Partly { .. } | Decision::Probe(_) | Decision::Job => {
            panic!("{name:?} is nothing else")
        }
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn naughty_strings_are_names_of_the_charset_or_refused() {
    let Some(path) = corpus("blns/blns.json") else {
        return;
    };
    let strings: Vec<String> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(strings.len() > 500);
    let mut scratch = Scratch::default();
    for name in &strings {
        let body = serde_json::json!({"metric": name, "value": 1, "key": KEY}).to_string();
        well_answered(name, false, post(body.as_bytes(), &mut scratch));
        let query = format!("metric={}&value=1&key={KEY}", percent_encoded(name));
        well_answered(name, true, get(&query, &mut scratch));

        // As a value, a timestamp, a query, a whole body: no panic, and never a 5xx.
        let body = serde_json::json!({"metric": "a", "value": name, "timestamp": name, "key": KEY});
        for decision in [
            post(body.to_string().as_bytes(), &mut scratch).0,
            post(name.as_bytes(), &mut scratch).0,
            get(name, &mut scratch).0,
        ] {
            if let Decision::Answer { answer, .. } = decision {
                assert!((400..500).contains(&answer.status), "{name:?}");
            }
        }
    }
}

/// Bits of JSON, put together without sense.
fn jumble() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        "[\\[\\]{}:,\" ]",
        "[-+]?[0-9]{0,25}(\\.[0-9]{0,3})?([eE][-+]?[0-9]{1,3})?",
        Just("\"a\":".to_owned()),
        Just("\"\\u00e9\\n\\\\\"".to_owned()),
        Just("\"\\ud83d\\ude00\"".to_owned()),
        Just("\"\\ud83d\"".to_owned()),
        Just("true,".to_owned()),
        Just("null".to_owned()),
        Just("[1,2]".to_owned()),
    ];
    let body = prop::collection::vec(bit, 0..8).prop_map(|bits| bits.concat());
    (body, any::<bool>()).prop_map(|(body, list)| if list { format!("[{body}]") } else { body })
}

/// Any document: what a client could mean.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<Option<bool>>().prop_map(|value| serde_json::json!(value)),
        any::<i64>().prop_map(|value| serde_json::json!(value)),
        any::<u64>().prop_map(|value| serde_json::json!(value)),
        any::<String>().prop_map(|value| serde_json::json!(value)),
        "[\\x00-\\x7f]{0,80}".prop_map(|value| serde_json::json!(value)),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(serde_json::Value::from_iter),
        ]
    })
}

fn tree(nodes: &[json::Node<'_>]) -> serde_json::Value {
    match json::given(nodes) {
        Given::Nested => match (json::members(nodes), json::elements(nodes)) {
            (Some(members), _) => members
                .map(|(name, value)| (name.to_owned(), tree(value)))
                .collect(),
            (_, Some((len, elements))) => {
                let list: Vec<_> = elements.map(tree).collect();
                assert_eq!(list.len(), len);
                list.into()
            }
            _ => unreachable!("nested is one of the two"),
        },
        Given::Absent | Given::Null => serde_json::Value::Null,
        Given::False => false.into(),
        Given::True => true.into(),
        Given::Unsigned(value) => value.into(),
        Given::Signed(value) => value.into(),
        Given::Float(value) => value.into(),
        Given::Text(value) => value.into(),
    }
}

proptest! {
    #[test]
    fn what_is_json_is_decided_as_serde_json_does(text in jumble()) {
        let ours = read(&mut Parser::default(), text.as_bytes());
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => prop_assert_eq!(ours, Ok(())),
            // Python takes these.
            Err(error) if error.to_string().contains("number out of range") => {}
            Err(_) => prop_assert_eq!(ours, Err(Unreadable::NotJson)),
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_meant_after_any_other(
        documents in prop::collection::vec((document(), any::<bool>()), 1..4),
    ) {
        let mut parser = Parser::default();
        for (document, pretty) in &documents {
            let text = if *pretty {
                serde_json::to_string_pretty(document).unwrap()
            } else {
                document.to_string()
            };
            let got = parser.read(text.as_bytes(), |nodes| nodes.map(tree));
            prop_assert_eq!(got.as_ref(), Ok(document));
            // With a literal only Python knows beside it, by way of the second look.
            let got = parser.read(format!("[NaN, {text}]").as_bytes(), |nodes| nodes.map(tree));
            // Longer numbers may come back as floats.
            if text.bytes().filter(u8::is_ascii_digit).count() < 18 {
                let expected = serde_json::json!(["NaN", document]);
                prop_assert_eq!(got, Ok(expected));
            }
        }
    }

    #[test]
    fn a_value_arrives_to_the_last_bit_by_every_way(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let mut scratch = Scratch::default();
        for text in [format!("{value:e}"), format!("{value:?}"), format!("{value}")] {
            for written in [text.clone(), format!("\"{text}\"")] {
                let body = format!(r#"{{"metric":"a","value":{written},"key":"{KEY}"}}"#);
                let (_, sink) = post(body.as_bytes(), &mut scratch);
                // A bare integer has no negative zero, in Python neither.
                let zero = written == "-0";
                let expected = if zero { 0 } else { bits };
                prop_assert_eq!(sink.0.first().map(|point| point.2.to_bits()), Some(expected), "{}", written);
            }
            let query = format!("metric=a&value={}&key={KEY}", percent_encoded(&text));
            let (_, sink) = get(&query, &mut scratch);
            prop_assert_eq!(sink.0.first().map(|point| point.2.to_bits()), Some(bits));
        }
    }

    #[test]
    fn any_bytes_are_answered(body: Vec<u8>, query: Vec<u8>) {
        let mut scratch = Scratch::default();
        let _ = post(&body, &mut scratch);
        let query = String::from_utf8_lossy(&query);
        let _ = get(&query, &mut scratch);
    }
}
