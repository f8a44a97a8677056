//! Ways to make two servers see different requests, each with what we do about it. Written by hand.

use super::{LIMITS, decode, one, outcomes, post};
use crate::http::{Decoded, Decoder, Refusal};

/// Refused as malformed, for this reason, with nothing executed.
#[track_caller]
fn malformed(outcomes: Vec<String>, reason: &str) {
    assert_eq!(one(outcomes), format!("Malformed({reason:?})"));
}

#[test]
fn content_length_and_transfer_encoding_together_are_refused() {
    let both = "both Content-Length and Transfer-Encoding";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: identity\r\ncontent-length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding:\r\n",
    ] {
        malformed(
            post(fields, "0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
            both,
        );
    }
}

#[test]
fn a_content_length_is_digits_and_comes_once() {
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "-0",
        "5, 5",
        "5,5",
        "5 5",
        "0x5",
        "5_0",
        "5.0",
        "5;",
        "\"5\"",
        "5a",
        "\u{665}",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        let fields = format!("Content-Length: {value}\r\n");
        malformed(post(&fields, "hello"), "Content-Length");
    }
    let repeated = "repeated Content-Length";
    malformed(
        post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        repeated,
    );
    malformed(
        post("Content-Length: 5\r\ncontent-length: 5\r\n", "hello"),
        repeated,
    );
    assert_eq!(
        post("Content-Length:\t005 \r\n", "hello"),
        [r#"Post /p "hello""#]
    );
    assert_eq!(
        post("Content-Length: 18446744073709551615\r\n", ""),
        ["BodyTooLarge"]
    );
}

#[test]
fn a_transfer_encoding_is_chunked_and_nothing_else() {
    for value in [
        "",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity, chunked",
        "chunked,",
        ",chunked",
        "xchunked",
        "chunkedx",
        "chunked;a=b",
        "\"chunked\"",
        "'chunked'",
        "chun ked",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(
            post(&fields, "0\r\n\r\n"),
            ["UnknownTransferEncoding"],
            "{value}"
        );
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(
            post(fields, "0\r\n\r\n"),
            ["UnknownTransferEncoding"],
            "{fields}"
        );
    }
    let good = "tRANSFER-eNCODING: \t CHUNKED\t \r\n";
    assert_eq!(
        post(good, "5\r\nhello\r\n0\r\n\r\n"),
        [r#"Post /p "hello""#]
    );
    malformed(
        post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        "field value",
    );
    malformed(
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        "field name",
    );
    malformed(
        post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        "field name",
    );
    // Another name, however much it looks like it: no body, and what follows is read as a request.
    let lookalike = post("Transfer_Encoding: chunked\r\n", "0\r\n\r\n");
    assert_eq!(lookalike, ["Post /p", r#"Malformed("request line")"#]);
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    malformed(decode(old), "Transfer-Encoding on HTTP/1.0");
}

#[test]
fn only_crlf_ends_a_line() {
    for wire in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
    ] {
        malformed(decode(wire), "line end without CR");
    }
    malformed(
        decode(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        "request line",
    );
    malformed(
        decode(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        "request line",
    );
    malformed(decode(b"GET / HTTP/1.1\rHost: a\r\n\r\n"), "line end");
    malformed(post("X: a\rb\r\n", ""), "field value");
    malformed(post("X: a\r\r\n", ""), "field value");
    malformed(post("X:\rContent-Length: 5\r\n", "hello"), "field value");
    malformed(post("X\r: a\r\n", ""), "field name");
}

#[test]
fn fields_keep_to_their_grammar() {
    for fields in [
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " X: a\r\n",
        "\tX: a\r\n",
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        ": a\r\n",
        "X\r\n",
        "X Y: a\r\n",
        "X\0: a\r\n",
        "X(: a\r\n",
        "X\u{e9}: a\r\n",
    ] {
        malformed(post(fields, "hello"), "field name");
    }
    for control in (0u8..0x20)
        .chain([0x7f])
        .filter(|byte| !b"\t\r\n".contains(byte))
    {
        // At the front, where blanks are skipped, and far behind, where whole words are compared at once.
        for fields in [
            format!("X: {}b\r\n", control as char),
            format!("X: {}{}\r\n", "a".repeat(70), control as char),
        ] {
            malformed(post(&fields, ""), "field value");
        }
    }
    assert_eq!(
        post(
            "X: \ta\tb\u{e9} \r\nEmpty:\r\nBlank: \t\r\n!#$%&'*+-.^_`|~: a\r\n",
            ""
        ),
        ["Post /p"]
    );
}

#[test]
fn there_is_exactly_one_host_and_it_is_one() {
    let get = |fields: &str| decode(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes());
    malformed(get(""), "no Host");
    malformed(get("X-Host: a\r\n"), "no Host");
    malformed(get("Host: a\r\nHost: a\r\n"), "repeated Host");
    malformed(get("Host: a\r\nhost: b\r\n"), "repeated Host");
    for host in [
        "",
        " ",
        "a b",
        "a, b",
        "a,b",
        "a@b",
        "user:secret@a",
        "http://a",
        "a/b",
        "a?b",
        "a#b",
        "a:b",
        "a:1:2",
        "a:-1",
        "a:123456",
        ":80",
        "[::1",
        "::1",
        "[]",
        "[::1]a",
        "[::g]",
        "a\\b",
        "\"a\"",
        "<a>",
        "caf\u{e9}",
    ] {
        malformed(get(&format!("Host: {host}\r\n")), "Host");
    }
    for host in [
        "a",
        "a:80",
        "a:",
        "a_b.c-d",
        "127.0.0.1:8000",
        "[::1]",
        "[::1]:8000",
        "0.0.0.0=5000",
        "caf%C3%A9",
    ] {
        assert_eq!(get(&format!("Host: {host}\r\n")), ["Get /"], "{host}");
    }
    assert_eq!(decode(b"GET / HTTP/1.0\r\n\r\n"), ["Get /"]);
    malformed(
        decode(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        "repeated Host",
    );
    malformed(decode(b"GET http://a/ HTTP/1.1\r\n\r\n"), "no Host");
}

#[test]
fn request_lines_are_taken_literally() {
    let get = |line: &str| decode(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
    for line in [
        "GET",
        "GET ",
        "GET /",
        "GET  / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        " GET / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET  HTTP/1.1",
        "G:T / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / /b HTTP/1.1 HTTP/1.1",
        "\u{16}\u{3}\u{1}",
    ] {
        malformed(get(line), "request line");
    }
    for line in [
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET / HTTP/1.11",
        "GET / HTTP/1.1x",
    ] {
        malformed(get(line), "line end");
    }
    for line in [
        "GET / ",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / FTP/1.1",
        "GET / HTTPS/1.1",
        "GET /a b",
        "GET / HTTP/11.1",
    ] {
        malformed(get(line), "HTTP version");
    }
    for line in [
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / HTTP/1.2",
        "GET / HTTP/3.0",
    ] {
        assert_eq!(get(line), ["VersionNotSupported"], "{line}");
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(decode(preface), ["VersionNotSupported"]);
    for target in [
        "*",
        "a",
        "a/b",
        "a:80",
        "ftp://a/",
        "http:/a",
        "http://",
        "http:///a",
        "http://a@b/",
        "?a",
        "#a",
    ] {
        malformed(get(&format!("GET {target} HTTP/1.1")), "request target");
    }
    malformed(get("CONNECT a:80 HTTP/1.1"), "request target");
}

/// The chunks of one request, with another request right behind it.
fn chunks(wire: &str) -> Vec<String> {
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    post("Transfer-Encoding: chunked\r\n", &format!("{wire}{next}"))
}

#[test]
fn chunk_sizes_are_hex_digits_and_nothing_else() {
    for size in [
        "",
        " ",
        "+5",
        "-5",
        " 5",
        "g",
        "00000000000000005",
        ";a=b",
        "\"",
    ] {
        malformed(
            chunks(&format!("{size}\r\nhello\r\n0\r\n\r\n")),
            "chunk size",
        );
    }
    for size in [
        "5 ", "5\t", "0x5", "5_", "5,5", "5;", "5;a\x07", "5;a\rb", "5;;a", "5 5", "5\r",
    ] {
        malformed(
            chunks(&format!("{size}\r\nhello\r\n0\r\n\r\n")),
            "chunk extension",
        );
    }
    for end in ["0 ", "0;", "0x0", "0_0", "0,"] {
        malformed(
            chunks(&format!("5\r\nhello\r\n{end}\r\n\r\n")),
            "chunk extension",
        );
    }
    let both = [r#"Post /p "hello""#, "Get /next"];
    assert_eq!(chunks("5\r\nhello\r\n0\r\n\r\n"), both);
    assert_eq!(
        chunks("0000000000000002;a\r\nhe\r\n3 ; b=\"\\\"\"\r\nllo\r\n00;c=d\r\n\r\n"),
        both
    );
    for size in ["ffffffffffffffff", "10001", "8000000000000000"] {
        assert_eq!(
            chunks(&format!("{size}\r\nhello")),
            ["BodyTooLarge"],
            "{size}"
        );
    }
    let long = "a".repeat(250);
    assert_eq!(chunks(&format!("5;{long}\r\nhello\r\n0\r\n\r\n")), both);
    malformed(
        chunks(&format!("5;{long}aaaaa\r\nhello\r\n0\r\n\r\n")),
        "chunk size line too long",
    );
}

#[test]
fn chunk_data_ends_with_crlf_where_its_size_says() {
    for rest in [
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "5\r\nhello \r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
    ] {
        malformed(chunks(rest), "chunk data without CRLF after it");
    }
    malformed(chunks("5\r\nhello\r\n\r\n0\r\n\r\n"), "chunk size");
}

#[test]
fn trailers_are_read_strictly_and_change_nothing() {
    let both = [r#"Post /p "hello""#, "Get /next"];
    for trailers in [
        "",
        "Vary: *\r\n",
        "Content-Length: 99\r\nTransfer-Encoding: gzip\r\nHost: evil\r\nHost: evil\r\n",
    ] {
        assert_eq!(chunks(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n")), both);
    }
    let keyed = outcomes(
        LIMITS,
        [
            &b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nkey: b\r\n\r\n"
                [..],
        ],
        |message| format!("{:?}", message.fields.key),
    );
    assert_eq!(keyed, ["None"]);
    for trailers in [
        "X : a\r\n",
        " X: a\r\n",
        "X: a\r\n b\r\n",
        "X\r\n",
        "X: \0\r\n",
        "X: a\rb\r\n",
        "\rX: a\r\n",
    ] {
        malformed(chunks(&format!("0\r\n{trailers}\r\n")), "trailer");
    }
    // Where the last chunk's empty line is missing, the next request is taken for trailers, never executed.
    malformed(chunks("5\r\nhello\r\n0\r\n"), "trailer");
    let many = "A: b\r\n".repeat(101);
    assert_eq!(chunks(&format!("0\r\n{many}\r\n")), ["HeadTooLarge"]);
    let long = "a".repeat(5000);
    assert_eq!(chunks(&format!("0\r\nA: {long}")), ["HeadTooLarge"]);
}

#[test]
fn nothing_after_a_refusal_is_executed() {
    let smuggled = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let wire = format!("GET /a HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\n{smuggled}");
    assert_eq!(
        decode(wire.as_bytes()),
        ["Get /a", "Malformed(\"request line\")"]
    );
    // `outcomes` stops at the first refusal, so ask once more with a request that would be fine.
    let mut decoder = Decoder::new(LIMITS);
    let refusal = Decoded::Refused(Refusal::Malformed("request line"));
    assert_eq!(decoder.next(&mut b"BAD\r\n\r\n".to_vec()), refusal);
    assert_eq!(decoder.next(&mut smuggled.as_bytes().to_vec()), refusal);
}
