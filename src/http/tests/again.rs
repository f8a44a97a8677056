//! A request is decoded as it would be on a connection of its own, however alike the one before it was.

use proptest::prelude::*;

use super::{LIMITS, outcomes, whole};

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
}
