//! A request is decoded as it would be on a connection of its own, however alike the one before it was.

use proptest::prelude::*;

use super::{LIMITS, Limits, outcomes, whole};

const FIRST: &[u8] = b"POST /metric_data_post HTTP/1.1\r\nHost: a.b:80\r\nKey: k\r\nContent-Length: 12\r\nX-Other: y\r\n\r\nabcdefghijkl";
const CHUNKED: &[u8] =
    b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

fn alike(first: &[u8], second: &[u8]) -> bool {
    let alone = [
        outcomes(LIMITS, [first], whole),
        outcomes(LIMITS, [second], whole),
    ]
    .concat();
    let joined = [first, second].concat();
    outcomes(LIMITS, [&joined[..]], whole) == alone
        && outcomes(LIMITS, [first, second], whole) == alone
        && alike_before_another(first, second, &alone)
}

/// The same where something follows, unless the second one takes part of it.
fn alike_before_another(first: &[u8], second: &[u8], alone: &[String]) -> bool {
    let whole_ones = alone.iter().filter(|seen| seen.starts_with("Message"));
    if whole_ones.count() != 2 || alone.len() != 2 || first.last_chunk::<4>() != second.last_chunk()
    {
        return true;
    }
    let expected = [alone, &alone[..1]].concat();
    outcomes(LIMITS, [&[first, second, first].concat()[..]], whole) == expected
}

#[test]
fn another_length_is_another_body() {
    for digits in [
        "12", "07", "00", "13", "99", "1", "012", "+2", "-1", "1 ", "1,", " 1", "1\r", "1\n", "0x",
        "",
    ] {
        let text =
            String::from_utf8_lossy(FIRST).replace("Length: 12", &format!("Length: {digits}"));
        assert!(alike(FIRST, text.as_bytes()), "{digits:?}");
    }
    let large =
        |digits: &str| String::from_utf8_lossy(FIRST).replace("12\r", &format!("{digits}\r"));
    let body = "x".repeat(10_000 - 12);
    assert!(
        alike(
            (large("10000") + &body).as_bytes(),
            large("99999").as_bytes()
        ),
        "too large"
    );
}

const GETS: [&str; 6] = [
    "GET /metric_data?QUERY HTTP/1.1\r\nHost: a.b:80\r\nUser-Agent: x\r\n\r\n",
    "GET /m?QUERY HTTP/1.1\r\nX-Test-Only: 1\r\nkey: k\r\nHost: a\r\nPrefix: p\r\ntelegraf: t\r\n\r\n",
    "GET /m?QUERY HTTP/1.0\r\nConnection: keep-alive\r\nKey: a\r\nKey: b\r\n\r\n",
    "GET http://a.b:80/caf\u{e9}?QUERY HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /m?QUERY#fragment HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /m?QUERY HTTP/1.1\r\nHost: a\r\nKey: k\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
];

fn get(kind: usize, query: &str) -> Vec<u8> {
    GETS[kind].replace("QUERY", query).into_bytes()
}

#[test]
fn another_query_is_the_only_thing_that_is_other() {
    for (kind, query) in (0..GETS.len()).flat_map(|kind| {
        [
            "",
            "a=1",
            "b",
            "?",
            "/?&",
            "a b",
            "a\tb",
            "a#b",
            "#",
            "a\r\nb",
            "\u{e9}",
            "a\u{7f}",
            " HTTP/1.1\r\n",
            "a HTTP/1.1\r\nHost: a\r\n\r\nGET /n?",
            "\0",
        ]
        .map(|query| (kind, query))
    }) {
        let second = get(kind, query);
        for first in ["a=1", "", "b#c", "\u{e9}?"] {
            assert!(
                alike(&get(kind, first), &second),
                "{}",
                second.escape_ascii()
            );
        }
    }
}

#[test]
fn a_query_of_any_length_meets_the_bounds_that_it_always_meets() {
    for bytes in [
        1, 31, 32, 33, 64, 1000, 1023, 1024, 1025, 1100, 8130, 8150, 8170, 8190, 17_000,
    ] {
        for (kind, end) in [(0, ""), (1, "\u{e9}"), (4, " "), (0, "\n")] {
            let query = "q".repeat(bytes) + end;
            assert!(
                alike(&get(kind, "a"), &get(kind, &query)),
                "{bytes} {end:?}"
            );
        }
    }
    let second = get(0, &"q".repeat(40));
    for head_bytes_max in 60..second.len() + 3 {
        let limits = Limits {
            head_bytes_max,
            ..LIMITS
        };
        let first = get(0, "");
        let joined = [&first[..], &second].concat();
        let alone = [
            outcomes(limits, [&first[..]], whole),
            outcomes(limits, [&second[..]], whole),
        ];
        let expected = if alone[0][0].starts_with("Message") {
            alone.concat()
        } else {
            alone[0].clone()
        };
        assert_eq!(
            outcomes(limits, [&joined[..]], whole),
            expected,
            "{head_bytes_max}"
        );
    }
}

proptest! {
    #[test]
    fn one_byte_makes_the_difference_that_it_always_makes(
        chunked: bool, at: usize, byte: u8, kind in 0..4,
    ) {
        let first = if chunked { CHUNKED } else { FIRST };
        let mut second = first.to_vec();
        let at = at % second.len();
        match kind {
            0 => second[at] = byte,
            1 => second.insert(at, byte),
            2 => { second.remove(at); }
            _ => {}
        }
        prop_assert!(alike(first, &second), "{}", second.escape_ascii());
    }

    /// Printable or not, of one byte or two, and each of what ends a query.
    #[test]
    fn a_head_with_another_query_is_what_it_would_be_alone(
        kind in 0..GETS.len(), first in "[a-z=&]{0,40}", second in "([ -~]|[a-z=&]{0,8}|[#é\\t\\r\\n\\x7f]){0,12}",
    ) {
        let (first, second) = (get(kind, &first), get(kind, &second));
        prop_assert!(alike(&first, &second), "{}", second.escape_ascii());
    }

    #[test]
    fn one_byte_makes_the_difference_in_a_head_with_a_query_too(
        kind in 0..GETS.len(), query in "[a-z=&]{1,70}", at: usize, byte: u8, change in 0..4,
    ) {
        let first = get(kind, "a=1");
        let mut second = get(kind, &query);
        let at = at % second.len();
        match change {
            0 => second[at] = byte,
            1 => second.insert(at, byte),
            2 => { second.remove(at); }
            _ => {}
        }
        prop_assert!(alike(&first, &second), "{}", second.escape_ascii());
    }
}
