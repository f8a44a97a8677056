//! gunicorn's own corpus: the parser Python Flux runs behind. Every case is either answered alike or listed
//! here with what we do and why.

use base64::Engine;

use super::{LIMITS, decode, outcomes, whole};

/// Valid for gunicorn (some only with a setting of its own), not a message here.
#[rustfmt::skip]
const STRICTER: &[(&str, &str, &str)] = &[
    ("valid/009", "both Content-Length and Transfer-Encoding", "the shape of request smuggling"),
    ("valid/024", "HeadTooLarge", "16,399 bytes of head; gunicorn was given longer limits for it"),
    ("valid/025", "UnknownTransferEncoding", "gzip as a transfer coding: 501"),
    ("valid/025_line", "UnknownTransferEncoding", "gzip as a transfer coding: 501"),
    ("valid/028", "field name", "space before a colon; allowed there by a setting"),
    ("valid/029", "UnknownTransferEncoding", "identity is no transfer coding any more"),
    ("valid/030", "UnknownTransferEncoding", "identity is no transfer coding any more"),
    ("valid/099", "incomplete", "the corpus holds 8,599 bytes of a body of 17,914"),
    ("valid/compat_obs_fold", "field", "obs-fold; allowed there by a setting"),
    ("valid/compat_obs_fold_huge", "field", "obs-fold; allowed there by a setting"),
    ("valid/pp_01", "HTTP version", "the PROXY protocol is not spoken"),
    ("valid/pp_02", "HTTP version", "the PROXY protocol is not spoken"),
    ("valid/pp_04", "request line", "the PROXY protocol is not spoken"),
    ("valid/pp_05", "request line", "the PROXY protocol is not spoken"),
    ("valid/rfc9112_smuggle_gzip_chunked_01", "UnknownTransferEncoding", "gzip as a transfer coding: 501"),
    ("valid/rfc9112_smuggle_te_identity_chunked_01", "UnknownTransferEncoding", "identity is no transfer coding any more"),
    ("valid/rfc9112_target_absolute_userinfo_01", "request target", "a user name in a target is an error (RFC 9110, 4.2.4)"),
    ("valid/rfc9112_target_authority_connect_01", "request target", "not a proxy"),
    ("valid/rfc9112_target_authority_ipv6_01", "request target", "not a proxy"),
];

/// Refused by gunicorn, taken here.
#[rustfmt::skip]
const LAXER: &[(&str, &str, &str)] = &[
    ("invalid/003c", "Other /foo", "any token is a method, and the route answers 405"),
    ("invalid/006", "Other /q=", "4,112 bytes of request line; our limit is Apache's 8,190"),
    ("invalid/007", "Other /stuff/here", "a field of 8,203 bytes; we bound the head as a whole"),
    ("invalid/008", "Other /stuff/here", "a field of 8,189 bytes; we bound the head as a whole"),
    ("invalid/010", "Get /test", "gunicorn was given a limit of few or short fields"),
    ("invalid/011", "Get /test", "gunicorn was given a limit of few or short fields"),
    ("invalid/012", "Get /test", "gunicorn was given a limit of few or short fields"),
    ("invalid/017", "Get /test", "a field of 8,189 bytes; we bound the head as a whole"),
    ("invalid/019", "Get /test", "X-Forwarded-* means nothing to us"),
    ("invalid/040", "Get /keep/same/as ?invalid/040 \"tricked\"", "no CGI: an underscore is a letter of another name"),
    ("invalid/041", "Get /stuff/here", "Content-Type means nothing to us"),
    ("invalid/chunked_07", "Post /chunked_ambiguous", "no CGI: an underscore is a letter of another name"),
    ("invalid/limit_header_default_01", "Get /", "a field of 8,190 bytes; we bound the head as a whole"),
    ("invalid/rfc9110_trailer_forbidden_cl_01", "Post /p \"hello\"", "trailers are read and thrown away"),
    ("invalid/rfc9110_trailer_forbidden_host_01", "Post /p \"hello\"", "trailers are read and thrown away"),
    ("invalid/rfc9110_trailer_forbidden_te_01", "Post /p \"hello\"", "trailers are read and thrown away"),
];

#[derive(serde::Deserialize)]
struct Case {
    id: String,
    expect: String,
    payload_b64: String,
}

impl Case {
    /// `valid/001`
    fn name(&self) -> &str {
        let name = self.id.trim_start_matches("tests/requests/");
        name.trim_end_matches(".http")
    }

    /// Twenty valid cases carry no `Host`, which we refuse; the others are refused for a reason of their own.
    fn wire(&self) -> Vec<u8> {
        let wire = base64::engine::general_purpose::STANDARD
            .decode(&self.payload_b64)
            .expect("base64");
        let needs_host = !wire.windows(6).any(|six| six == b"\nHost:");
        // The second request of this one is the body of the first, 24 bytes as it is.
        if !needs_host || self.name() == "valid/020" {
            return wire;
        }
        let mut with_host = Vec::new();
        for line in wire.split_inclusive(|&byte| byte == b'\n') {
            with_host.extend_from_slice(line);
            if line.ends_with(b" HTTP/1.1\r\n") {
                with_host.extend_from_slice(b"Host: a\r\n");
            }
        }
        with_host
    }
}

fn cases() -> Option<Vec<Case>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../shared/corpora/gunicorn-requests.json");
    let Ok(text) = std::fs::read(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    Some(serde_json::from_slice(&text).expect("the corpus is a list of cases"))
}

#[test]
fn gunicorns_cases_are_taken_and_refused_as_there_except_those_listed() {
    let Some(cases) = cases() else { return };
    assert!(cases.len() > 100, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let seen = decode(&case.wire());
        let last = seen.last().cloned().unwrap_or_default();
        let methods = ["Get", "Post", "Options", "Other"];
        let taken = methods.iter().any(|method| last.starts_with(method));
        let listed = |table: &[(&str, &'static str, &str)]| {
            let row = table.iter().find(|(name, ..)| *name == case.name());
            row.map(|(_, outcome, _)| *outcome)
        };
        let ok = match (listed(STRICTER), listed(LAXER), case.expect.as_str()) {
            (Some(outcome), None, "ok") => !taken && last.contains(outcome),
            (None, Some(outcome), "error") => taken && last.contains(outcome),
            (None, None, "ok") => taken,
            (None, None, "error") => !taken,
            _ => false,
        };
        if !ok {
            wrong.push(format!("{}: {seen:?}", case.name()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for (name, ..) in STRICTER.iter().chain(LAXER) {
        assert!(cases.iter().any(|case| case.name() == *name), "no {name}");
    }
}

#[test]
fn gunicorns_cases_come_out_alike_byte_by_byte() {
    for case in cases().unwrap_or_default() {
        let wire = case.wire();
        let expected = outcomes(LIMITS, [&wire[..]], whole);
        let name = case.name();
        assert_eq!(outcomes(LIMITS, wire.chunks(1), whole), expected, "{name}");
    }
}

/// The messages themselves, where a case has something to get wrong.
#[test]
fn what_gunicorns_cases_say_is_what_comes_out() {
    let Some(cases) = cases() else { return };
    let expectations: &[(&str, &[&str])] = &[
        (
            "valid/001",
            &["Other /stuff/here ?foo=bar \"{\\\"nom\\\": \\\"nom\\\"}\""],
        ),
        ("valid/005", &["Get /forums/1/topics/2375 ?page=1"]),
        ("valid/008", &["Get /unusual_content_length \"HELLO\""]),
        (
            "valid/012",
            &["Post /chunked_w_trailing_headers \"hello world\""],
        ),
        ("valid/013", &["Post /chunked_w_extensions \"hello world\""]),
        ("valid/018", &["Get /first", "Get /second"]),
        (
            "valid/020",
            &["Get /first \"GET /second HTTP/1.1\\r\\n\\r\\n\""],
        ),
        ("valid/040", &["Get /keep/same/as ?invalid/040 \"tricked\""]),
        ("valid/100", &["Get ///keeping_slashes"]),
        ("valid/rfc9112_target_absolute_01", &["Get /foo ?q=1"]),
        ("valid/rfc9112_target_asterisk_options_01", &["Options *"]),
    ];
    for (name, expected) in expectations {
        let case = cases.iter().find(|case| case.name() == *name);
        let case = case.expect("the case is in the corpus");
        assert_eq!(&decode(&case.wire()), expected, "{name}");
    }
}
