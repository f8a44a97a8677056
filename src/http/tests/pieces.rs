//! However a stream is cut, the same messages come out.

use proptest::prelude::*;

use super::{LIMITS, outcomes, whole};
use crate::http::Limits;

fn compare(limits: Limits, wire: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let expected = outcomes(limits, [wire], whole);
    let mut edges = vec![0];
    edges.extend(cuts.iter().map(|cut| cut % (wire.len() + 1)));
    edges.push(wire.len());
    edges.sort_unstable();
    let pieces = edges.windows(2).map(|edge| &wire[edge[0]..edge[1]]);
    prop_assert_eq!(outcomes(limits, pieces, whole), expected);
    Ok(())
}

fn compare_everywhere(limits: Limits, wire: &[u8]) {
    let expected = outcomes(limits, [wire], whole);
    assert_eq!(outcomes(limits, wire.chunks(1), whole), expected);
    for cut in 0..=wire.len() {
        let (before, after) = wire.split_at(cut);
        assert_eq!(
            outcomes(limits, [before, after], whole),
            expected,
            "cut at {cut} of {}",
            wire.escape_ascii()
        );
    }
}

/// One valid request and the body it carries.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let head = (
        prop::sample::select(vec!["GET", "POST", "OPTIONS", "PUT"]),
        "/[a-z/]{0,12}(\\?[a-z=&%+]{0,12})?",
        prop::sample::select(vec![
            "",
            "Key: abc\r\n",
            "telegraf: true\r\nX-Test-Only:  1 \r\nPREFIX: p.q\r\n",
            "Content-Encoding: GZIP\r\nConnection: keep-alive\r\n",
            "Expect: 100-continue\r\nX-Other: caf\u{e9}\r\n",
        ]),
        prop::sample::select(vec!["", "\r\n", "\r\n\r\n"]),
    );
    let chunk = prop::collection::vec(any::<u8>(), 1..24);
    let body = prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(|body| Some((vec![body], false))),
        prop::collection::vec(chunk, 0..6).prop_map(|chunks| Some((chunks, true))),
    ];
    let framing = (
        prop::sample::select(vec!["", ";a", " ; b=\"c;d\""]),
        prop::sample::select(vec!["", "Vary: *\r\nContent-Length: 9\r\n"]),
    );
    (head, body, framing).prop_map(
        |((method, target, fields, before), body, (extension, trailers))| {
            let mut wire =
                format!("{before}{method} {target} HTTP/1.1\r\nHost: a:1\r\n{fields}").into_bytes();
            match &body {
                None => wire.extend_from_slice(b"\r\n"),
                Some((chunks, false)) => {
                    let length = chunks.concat().len();
                    wire.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
                    wire.extend_from_slice(&chunks.concat());
                }
                Some((chunks, true)) => {
                    wire.extend_from_slice(b"Transfer-Encoding: Chunked\r\n\r\n");
                    for chunk in chunks {
                        let line = format!("{:x}{extension}\r\n", chunk.len());
                        wire.extend_from_slice(line.as_bytes());
                        wire.extend_from_slice(chunk);
                        wire.extend_from_slice(b"\r\n");
                    }
                    wire.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
                }
            }
            let body = body.map(|(chunks, _)| chunks.concat()).unwrap_or_default();
            (wire, body)
        },
    )
}

fn joined(requests: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    requests
        .iter()
        .flat_map(|(wire, _)| wire)
        .copied()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pipelined_requests_come_out_one_by_one_with_their_bodies(
        requests in prop::collection::vec(request(), 1..5)
    ) {
        let seen = outcomes(LIMITS, [&joined(&requests)[..]], |message| {
            message.body.escape_ascii().to_string()
        });
        let sent: Vec<String> = requests
            .iter()
            .map(|(_, body)| body.escape_ascii().to_string())
            .collect();
        prop_assert_eq!(seen, sent);
    }

    #[test]
    fn a_stream_cut_at_any_byte_gives_the_same_messages(
        requests in prop::collection::vec(request(), 1..4)
    ) {
        compare_everywhere(LIMITS, &joined(&requests));
    }

    #[test]
    fn a_stream_in_random_pieces_gives_the_same_messages(
        requests in prop::collection::vec(request(), 1..8),
        cuts in prop::collection::vec(any::<usize>(), 0..20)
    ) {
        compare(LIMITS, &joined(&requests), &cuts)?;
    }

    /// Mostly refused, some of it only after a bound: the refusal must not depend on the cuts either.
    #[test]
    fn damaged_streams_are_refused_alike_however_they_are_cut(
        requests in prop::collection::vec(request(), 1..3),
        damage in prop::collection::vec((any::<usize>(), prop::sample::select(b"\r\n :;\0,0fZ\x80".to_vec())), 1..4),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        head_bytes_max in 1usize..200,
        body_bytes_max in 0usize..60,
    ) {
        let mut wire = joined(&requests);
        for (at, byte) in damage {
            let at = at % wire.len();
            wire[at] = byte;
        }
        compare(LIMITS, &wire, &cuts)?;
        compare(Limits { head_bytes_max, body_bytes_max }, &wire, &cuts)?;
        prop_assert_eq!(outcomes(LIMITS, wire.chunks(1), whole), outcomes(LIMITS, [&wire[..]], whole));
    }
}
