//! What a message says besides its framing, and the bounds on it.

use super::{LIMITS, brief, decode, one, outcomes, post};
use crate::http::{Awaiting, ContentEncoding, Decoded, Decoder, Limits, Message};

/// One fact about the only message in `wire`.
fn fact(wire: &str, show: fn(&Message<'_>) -> String) -> String {
    one(outcomes(LIMITS, [wire.as_bytes()], show))
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn a_target_is_split_into_path_and_query() {
    for (target, expected) in [
        ("/metric_data?a=b&c=?", "Get /metric_data ?a=b&c=?"),
        ("/a?", "Get /a ?"),
        ("//flux//a%20b", "Get //flux//a%20b"),
        ("/a#b?c", "Get /a"),
        ("/a?b#c?d", "Get /a ?b"),
        ("http://a/b?c", "Get /b ?c"),
        ("HTTPS://a.b:80/", "Get /"),
        ("http://a", "Get /"),
        ("http://a?b", "Get / ?b"),
        ("http://[::1]:80/b", "Get /b"),
    ] {
        let wire = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(decode(wire.as_bytes()), [expected]);
    }
}

#[test]
fn methods_are_told_apart_by_their_exact_name() {
    for (method, expected) in [
        ("GET", "Get"),
        ("POST", "Post"),
        ("OPTIONS", "Options"),
        ("HEAD", "Head"),
        ("PUT", "Other"),
        ("get", "Other"),
        ("GETT", "Other"),
    ] {
        let wire = format!("{method} /a HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(decode(wire.as_bytes()), [format!("{expected} /a")]);
    }
}

#[test]
fn the_connection_is_kept_by_default_on_1_1_and_on_request_on_1_0() {
    for (fields, kept_1_1, kept_1_0) in [
        ("", true, false),
        ("Connection: close\r\n", false, false),
        ("Connection: Keep-Alive\r\n", true, true),
        ("connection: Upgrade , CLOSE\r\n", false, false),
        ("Connection: keep-alive,\tclose\r\n", false, false),
        ("Connection: te\r\nConnection: close\r\n", false, false),
        ("Connection: TE, keep-alive\r\n", true, true),
        ("Connection: closed, unkeep-alive\r\n", true, false),
    ] {
        for (version, kept) in [("1.1", kept_1_1), ("1.0", kept_1_0)] {
            let wire = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            let seen = fact(&wire, |message| {
                format!("{} {}", message.keep_alive, message.http_1_0)
            });
            assert_eq!(seen, format!("{kept} {}", version == "1.0"), "{wire}");
        }
    }
}

#[test]
fn the_applications_fields_are_found_whatever_their_case() {
    let wire = get("KEY: abc \r\nTelegraf:\ttrue\r\nprefix: a.b\r\nX-TEST-ONLY:\r\nkeys: no\r\n");
    let seen = fact(&wire, |message| {
        let text = |value: Option<&[u8]>| value.map(|value| value.escape_ascii().to_string());
        let fields = &message.fields;
        format!(
            "{:?} {:?} {:?} {:?}",
            text(fields.key),
            text(fields.telegraf),
            text(fields.prefix),
            text(fields.x_test_only)
        )
    });
    assert_eq!(seen, r#"Some("abc") Some("true") Some("a.b") Some("")"#);
    let seen = fact(&get("X-Key: abc\r\n"), |message| {
        format!("{:?}", message.fields)
    });
    assert_eq!(seen, format!("{:?}", crate::http::Fields::default()));
}

#[test]
fn a_repeated_key_is_no_key() {
    let key = |message: &Message<'_>| {
        let key = message.fields.key.expect("there is one");
        key.escape_ascii().to_string()
    };
    let seen = fact(&get("key: abc\r\nX: y\r\nkey: def\r\n"), key);
    assert_eq!(seen, r"abc\r\nX: y\r\nkey: def");
    let seen = fact(
        &get("prefix: abc\r\nprefix: def\r\nkey: a\r\n"),
        |message| String::from_utf8_lossy(message.fields.prefix.unwrap_or_default()).into_owned(),
    );
    assert_eq!(seen, "abc", "of the harmless ones the first counts");
}

#[test]
fn content_encodings_are_gzip_deflate_nothing_or_unknown() {
    use ContentEncoding::{Deflate, Gzip, Identity, Unknown};
    for (fields, expected) in [
        ("", Identity),
        ("Content-Encoding: identity\r\n", Identity),
        ("Content-Encoding: \r\n", Identity),
        ("content-encoding: GZip\r\n", Gzip),
        ("Content-Encoding: x-gzip\r\n", Gzip),
        (
            "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
            Gzip,
        ),
        (
            "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n",
            Unknown,
        ),
        ("Content-Encoding: gzip, gzip\r\n", Unknown),
        ("Content-Encoding: gzip, identity\r\n", Unknown),
        ("Content-Encoding: Deflate\r\n", Deflate),
        ("Content-Encoding: gzip, deflate\r\n", Unknown),
        (
            "Content-Encoding: br\r\nContent-Encoding: gzip\r\n",
            Unknown,
        ),
        ("Content-Encoding: snappy\r\n", Unknown),
    ] {
        let seen = fact(&get(fields), |message| {
            format!("{:?}", message.fields.content_encoding)
        });
        assert_eq!(seen, format!("{expected:?}"), "{fields}");
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped_but_not_for_ever() {
    let request = get("");
    assert_eq!(
        decode(format!("\r\n\r\n{request}\r\n{request}\r\n").as_bytes()),
        ["Get /", "Get /"]
    );
    let wire = format!("{}{request}", "\r\n".repeat(8));
    assert_eq!(decode(wire.as_bytes()), ["Get /"]);
    let wire = format!("{}{request}", "\r\n".repeat(9));
    assert_eq!(
        decode(wire.as_bytes()),
        [r#"Malformed("too many empty lines")"#]
    );
}

#[test]
fn a_get_may_have_a_body_and_a_post_none() {
    let wire = b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /b HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(decode(wire), [r#"Get /a "hello""#, "Post /b"]);
}

/// `send_continue` of each call, the head first and then `rest` byte by byte, until something else comes out.
fn interim(version: &str, fields: &str, rest: &str) -> (Vec<bool>, String) {
    let mut buffer = format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let mut decoder = Decoder::new(LIMITS);
    let mut asked = Vec::new();
    let mut rest = rest.bytes();
    loop {
        match decoder.next(&mut buffer) {
            Decoded::Incomplete { send_continue } => asked.push(send_continue),
            Decoded::Message { message, .. } => return (asked, brief(&message)),
            Decoded::Refused(refusal) => return (asked, format!("{refusal:?}")),
        }
        match rest.next() {
            Some(byte) => buffer.push(byte),
            None => return (asked, "incomplete".to_owned()),
        }
    }
}

#[test]
fn an_interim_response_is_asked_for_once_and_only_where_it_helps() {
    let expect = "Expect: 100-Continue\r\nContent-Length: 2\r\n";
    let hi = "Post / \"hi\"".to_owned();
    assert_eq!(
        interim("1.1", expect, "hi"),
        (vec![true, false], hi.clone())
    );
    assert_eq!(interim("1.0", expect, "hi"), (vec![false, false], hi));
    let chunked = "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n";
    let (asked, message) = interim("1.1", chunked, "2\r\nhi\r\n0\r\n\r\n");
    assert_eq!(
        (asked.iter().filter(|asked| **asked).count(), asked[0]),
        (1, true)
    );
    assert_eq!(message, "Post / \"hi\"");
    // Nothing to wait for: no body, or all of it there.
    assert_eq!(
        interim("1.1", "Expect: 100-continue\r\n", ""),
        (vec![], "Post /".to_owned())
    );
    assert_eq!(post(expect, "hi"), ["Post /p \"hi\""]);
    // A body that will not be taken is not asked for.
    let large = "Expect: 100-continue\r\nContent-Length: 65537\r\n";
    assert_eq!(
        interim("1.1", large, ""),
        (vec![], "BodyTooLarge".to_owned())
    );
    for other in ["101-continue", "", "100-continue, other", "200-ok"] {
        let fields = format!("Expect: {other}\r\nContent-Length: 2\r\n");
        assert_eq!(
            interim("1.1", &fields, ""),
            (vec![], "UnknownExpectation".to_owned())
        );
    }
}

#[test]
fn an_interim_response_waits_for_the_whole_head() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut decoder = Decoder::new(LIMITS);
    for end in 0..=head.len() {
        let mut buffer = head[..end].to_vec();
        let send_continue = end == head.len();
        assert_eq!(
            decoder.next(&mut buffer),
            Decoded::Incomplete { send_continue }
        );
    }
}

#[test]
fn a_connection_can_tell_what_it_waits_for() {
    let mut decoder = Decoder::new(LIMITS);
    let mut awaiting = |wire: &[u8]| {
        let _ = decoder.next(&mut wire.to_vec());
        decoder.awaiting()
    };
    assert_eq!(awaiting(b""), Awaiting::Request);
    assert_eq!(awaiting(b"\r"), Awaiting::Request);
    assert_eq!(awaiting(b"\r\n"), Awaiting::Request);
    assert_eq!(awaiting(b"\r\nG"), Awaiting::Head);
    assert_eq!(awaiting(b"\r\nGET / HTTP/1.1\r\n"), Awaiting::Head);
    let head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(awaiting(head), Awaiting::Body);
    assert_eq!(awaiting(&[&head[..], b"a"].concat()), Awaiting::Request);
}

const SMALL: Limits = Limits {
    head_bytes_max: 60,
    body_bytes_max: 10,
};

fn small(wire: &str) -> String {
    one(outcomes(SMALL, [wire.as_bytes()], brief))
}

#[test]
fn a_head_is_bounded_to_the_byte_and_its_request_line_too() {
    let head = |bytes: usize| {
        let bare = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        bare.replace("X: ", &format!("X: {}", "a".repeat(bytes - bare.len())))
    };
    assert_eq!(head(60).len(), 60);
    assert_eq!(small(&head(60)), "Get /");
    assert_eq!(small(&head(61)), "HeadTooLarge");
    assert_eq!(small(&head(61)[..59]), "incomplete");
    assert_eq!(small(&head(61)[..60]), "HeadTooLarge");
    assert_eq!(small(&format!("GET /{}", "a".repeat(54))), "incomplete");
    assert_eq!(small(&format!("GET /{}", "a".repeat(55))), "UriTooLong");

    let line = |bytes: usize| {
        let path = "a".repeat(bytes - "GET / HTTP/1.1".len());
        decode(format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
    };
    assert!(one(line(8190)).starts_with("Get /aaa"));
    assert_eq!(line(8191), ["UriTooLong"]);
    assert_eq!(decode("a".repeat(8192).as_bytes()), ["UriTooLong"]);
    assert_eq!(decode("a".repeat(8191).as_bytes()), ["incomplete"]);

    assert_eq!(post(&"X: a\r\n".repeat(99), ""), ["Post /p"]);
    assert_eq!(post(&"X: a\r\n".repeat(100), ""), ["HeadTooLarge"]);
}

#[test]
fn a_body_is_bounded_to_the_byte_however_it_is_framed() {
    let fixed = |bytes: usize, sent: usize| {
        let body = "a".repeat(sent);
        small(&format!(
            "POST / HTTP/1.0\r\nContent-Length: {bytes}\r\n\r\n{body}"
        ))
    };
    assert_eq!(fixed(10, 10), "Post / \"aaaaaaaaaa\"");
    assert_eq!(fixed(11, 0), "BodyTooLarge", "from the head alone");
    let head = "P / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = |chunks: &str| small(&format!("{head}{chunks}"));
    assert_eq!(
        chunked("5\r\naaaaa\r\n5\r\naaaaa\r\n0\r\n\r\n"),
        "Other / \"aaaaaaaaaa\""
    );
    assert_eq!(chunked("5\r\naaaaa\r\n6\r\n"), "BodyTooLarge");
    assert_eq!(chunked("b\r\n"), "BodyTooLarge");
}

#[test]
fn the_framing_of_a_chunked_body_is_bounded_too() {
    let limits = Limits {
        head_bytes_max: 100,
        body_bytes_max: 1000,
    };
    let send = |chunks: usize, size_line: &str| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = format!("{size_line}\r\na\r\n").repeat(chunks);
        let wire = format!("{head}{chunks}0\r\n\r\n");
        let len = |message: &Message<'_>| message.body.len().to_string();
        one(outcomes(limits, wire.as_bytes().chunks(7), len))
    };
    assert_eq!(send(1000, "1"), "1000");
    assert_eq!(send(1001, "1"), "BodyTooLarge");
    // 28 times 182 bytes of framing are the 5,096 that are allowed.
    assert_eq!(send(28, &format!("1;{}", "x".repeat(176))), "28");
    assert_eq!(send(28, &format!("1;{}", "x".repeat(177))), "BodyTooLarge");
}

#[test]
fn a_full_buffer_never_waits_for_more() {
    // The longest thing that is still incomplete: every bound filled to its last byte but one.
    let limits = Limits {
        head_bytes_max: 100,
        body_bytes_max: 5096,
    };
    let fields = "Host: a\r\nTransfer-Encoding: chunked\r\n";
    let blank = format!("POST / HTTP/1.1\r\n{fields}X: \r\n\r\n").len();
    let pad = "a".repeat(100 - blank);
    let mut wire = format!(
        "{}POST / HTTP/1.1\r\n{fields}X: {pad}\r\n\r\n",
        "\r\n".repeat(8)
    );
    for chunk in 0..36 {
        let data = "d".repeat(if chunk == 0 { 5061 } else { 1 });
        wire += &format!("{:x};{}\r\n{data}\r\n", data.len(), "x".repeat(246));
    }
    wire += &format!("0;{}\r\n", "x".repeat(252));
    wire += &format!("T: {}", "t".repeat(4092));
    // `outcomes` asserts that the buffer stays below `buffer_bytes_max`.
    assert_eq!(
        one(outcomes(limits, [wire.as_bytes()], brief)),
        "incomplete"
    );
    assert!(
        wire.len() * 100 > limits.buffer_bytes_max() * 97,
        "{} of {}",
        wire.len(),
        limits.buffer_bytes_max()
    );
    wire += "t";
    assert_eq!(
        one(outcomes(limits, [wire.as_bytes()], brief)),
        "HeadTooLarge"
    );
}
