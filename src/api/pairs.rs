//! A query string → its names and values, by the rules of the server that Skyline Flux ran behind.

/// Names and values, neither decoded; `a=` and a bare `a` have an empty value.
pub(super) fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = query.split(|&byte| byte == b'&').map(|field| {
        let at = memchr::memchr(b'=', field);
        at.map_or((field, &field[..0]), |at| (&field[..at], &field[at + 1..]))
    });
    pairs.filter(|(name, value)| !name.is_empty() || !value.is_empty())
}

/// `+` is a blank and `%xx` a byte; a `%` without two hexadecimal digits stays what it is.
pub(super) fn decode(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = raw;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        rest = match *rest {
            [b'%', high, low, ref after @ ..] if hex(high).is_some() && hex(low).is_some() => {
                out.push(hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0));
                after
            }
            [b'+', ref after @ ..] => {
                out.push(b' ');
                after
            }
            _ => {
                out.push(b'%');
                &rest[1..]
            }
        };
    }
    out.extend_from_slice(rest);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(raw: &[u8]) -> Vec<u8> {
        let mut out = b"left over".to_vec();
        decode(raw, &mut out);
        out
    }

    #[test]
    fn percent_and_plus_are_undone_and_what_is_no_escape_stays() {
        for (raw, plain) in [
            ("a%2Bb+c%20d", &b"a+b c d"[..]),
            ("caf%C3%a9", "café".as_bytes()),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%zz%41", b"%zzA"),
            ("100%+", b"100% "),
            ("%%41", b"%A"),
            ("%ff", b"\xff"),
            ("", b""),
        ] {
            assert_eq!(decoded(raw.as_bytes()), plain, "{raw}");
        }
    }

    #[test]
    fn a_query_is_pairs_of_which_empty_ones_do_not_count() {
        let got: Vec<_> = pairs(b"&a=1&&b&=&c==2&=3&").collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b""), (b"c", b"=2"), (b"", b"3")];
        assert_eq!(got, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_survive_being_percent_encoded(bytes: Vec<u8>) {
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decoded(encoded.as_bytes()), bytes);
        }
    }
}
