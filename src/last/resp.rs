//! The few reply types of RESP2 we need, decoded from a buffer that may end anywhere.
//!
//! One token at a time: an array is its length, then its elements as tokens of their own. So a reply
//! of thousands of elements is neither collected nor read again from its start when more bytes come;
//! at most one unfinished token stays in the caller's buffer, and [`BULK_BYTES_MAX`] bounds it.

/// A mark is under 100 bytes. What is longer is somebody else's value: passed over, never buffered.
pub const BULK_BYTES_MAX: usize = 4096;
/// Errors and statuses of real servers are under 200 bytes.
pub const LINE_BYTES_MAX: usize = 4096;
/// Redis' own limit for one value: a longer one is not from Redis.
const BULK_BYTES_SERVER_MAX: i64 = 512 * 1024 * 1024;
/// Redis' own limit for the elements of one command or reply.
const ELEMENTS_MAX: i64 = 1024 * 1024;
const CRLF: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    /// A bulk string longer than [`BULK_BYTES_MAX`].
    BulkTooLong,
    /// A missing value, or a missing array.
    Nil,
    /// This many elements follow as tokens.
    Array(u32),
}

/// These bytes are not RESP2: the connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply that is not RESP2")]
pub struct Malformed;

/// Remembers what must be passed over before the next token.
#[derive(Debug, Default)]
pub struct Decoder {
    skip_bytes: usize,
}

impl Decoder {
    /// The token at the start of `buffer`, which is moved behind it; `None` when more bytes are needed
    /// (what was passed over is gone from `buffer` then, too).
    pub fn next<'a>(&mut self, buffer: &mut &'a [u8]) -> Result<Option<Token<'a>>, Malformed> {
        let skipped = self.skip_bytes.min(buffer.len());
        *buffer = &buffer[skipped..];
        self.skip_bytes -= skipped;
        let Some((&kind, after)) = buffer.split_first() else {
            return Ok(None);
        };
        let Some((line, after)) = split_line(after)? else {
            return Ok(None);
        };
        let token = match kind {
            b'+' => Token::Simple(line),
            b'-' => Token::Error(line),
            b':' => Token::Integer(integer(line)?),
            b'*' => match integer(line)? {
                -1 => Token::Nil,
                count @ 0..=ELEMENTS_MAX => Token::Array(count as u32),
                _ => return Err(Malformed),
            },
            b'$' => match integer(line)? {
                -1 => Token::Nil,
                len @ 0..=BULK_BYTES_SERVER_MAX => {
                    return self.bulk(buffer, after, len as usize);
                }
                _ => return Err(Malformed),
            },
            _ => return Err(Malformed),
        };
        *buffer = after;
        Ok(Some(token))
    }

    /// `after` is what follows the line with the length.
    fn bulk<'a>(
        &mut self,
        buffer: &mut &'a [u8],
        after: &'a [u8],
        len: usize,
    ) -> Result<Option<Token<'a>>, Malformed> {
        if len > BULK_BYTES_MAX {
            *buffer = after;
            self.skip_bytes = len + CRLF;
            return Ok(Some(Token::BulkTooLong));
        }
        let Some((bulk, rest)) = after.split_at_checked(len + CRLF) else {
            return Ok(None);
        };
        let bulk = bulk.strip_suffix(b"\r\n").ok_or(Malformed)?;
        *buffer = rest;
        Ok(Some(Token::Bulk(bulk)))
    }
}

/// The bytes up to CRLF, and those after it; `None` when it has not come yet.
type Line<'a> = Option<(&'a [u8], &'a [u8])>;

fn split_line(bytes: &[u8]) -> Result<Line<'_>, Malformed> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\r', window) else {
        return match window.len() < LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(Malformed),
        };
    };
    match bytes.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((&bytes[..end], &bytes[end + CRLF..]))),
        Some(_) => Err(Malformed),
    }
}

fn integer(line: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Value;

    use super::*;

    /// A whole reply as the redis crate shows it; `None` when the tokens end before it does.
    fn value<'a>(tokens: &mut impl Iterator<Item = Token<'a>>) -> Option<Value> {
        Some(match tokens.next()? {
            Token::Simple(b"OK") => Value::Okay,
            Token::Simple(text) => Value::SimpleString(String::from_utf8_lossy(text).into()),
            Token::Integer(number) => Value::Int(number),
            Token::Bulk(bytes) => Value::BulkString(bytes.to_vec()),
            Token::Nil => Value::Nil,
            Token::Array(count) => {
                let elements: Option<_> = (0..count).map(|_| value(tokens)).collect();
                Value::Array(elements?)
            }
            Token::Error(_) | Token::BulkTooLong => unreachable!("not generated"),
        })
    }

    /// Feeds the bytes in two parts, the way a session keeps the unfinished rest.
    fn tokens_cut_at(bytes: &[u8], cut: usize) -> Result<Vec<String>, Malformed> {
        let mut decoder = Decoder::default();
        let mut shown = Vec::new();
        let mut kept = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            kept.extend_from_slice(part);
            let mut rest = &kept[..];
            while let Some(token) = decoder.next(&mut rest)? {
                shown.push(format!("{token:?}"));
            }
            kept = rest.to_vec();
        }
        Ok(shown)
    }

    fn write(out: &mut Vec<u8>, value: &Value) {
        match value {
            Value::Okay => out.extend_from_slice(b"+OK\r\n"),
            Value::SimpleString(text) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Value::Int(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Value::BulkString(bytes) => {
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Value::Nil => out.extend_from_slice(b"$-1\r\n"),
            Value::Array(elements) => {
                out.extend_from_slice(format!("*{}\r\n", elements.len()).as_bytes());
                elements.iter().for_each(|element| write(out, element));
            }
            _ => unreachable!("not generated"),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..40);
        let leaf = prop_oneof![
            Just(Value::Okay),
            Just(Value::Nil),
            "[A-Z]{3,8}".prop_map(Value::SimpleString),
            any::<i64>().prop_map(Value::Int),
            bytes.prop_map(Value::BulkString),
        ];
        leaf.prop_recursive(2, 16, 6, |inner| {
            proptest::collection::vec(inner, 0..6).prop_map(Value::Array)
        })
    }

    proptest! {
        #[test]
        fn replies_are_what_the_redis_crate_reads_wherever_the_buffer_ends(value_sent in any_value()) {
            let mut bytes = Vec::new();
            write(&mut bytes, &value_sent);
            let oracle = redis::parse_redis_value(&bytes).unwrap();

            let mut rest = &bytes[..];
            let mut decoder = Decoder::default();
            let mut tokens = std::iter::from_fn(|| decoder.next(&mut rest).unwrap());
            prop_assert_eq!(value(&mut tokens), Some(oracle));
            prop_assert!(rest.is_empty());

            let whole = tokens_cut_at(&bytes, bytes.len()).unwrap();
            for cut in 0..bytes.len() {
                prop_assert_eq!(&tokens_cut_at(&bytes, cut).unwrap(), &whole, "cut at {}", cut);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = tokens_cut_at(&bytes, bytes.len() / 2);
        }

        #[test]
        fn replylike_text_never_panics(text in "([+:$*-][-0-9a]{0,3}(\r\n)?[a-z]{0,4}(\r\n)?){0,6}") {
            let _ = tokens_cut_at(text.as_bytes(), text.len() / 2);
        }
    }

    #[test]
    fn errors_and_missing_arrays_are_tokens() {
        let mut bytes = &b"-ERR unknown command\r\n*-1\r\n"[..];
        let mut decoder = Decoder::default();
        let error = decoder.next(&mut bytes);
        assert_eq!(error, Ok(Some(Token::Error(b"ERR unknown command"))));
        assert_eq!(decoder.next(&mut bytes), Ok(Some(Token::Nil)));
        assert_eq!(decoder.next(&mut bytes), Ok(None));
    }

    #[test]
    fn a_value_that_is_too_long_is_passed_over_without_being_kept() {
        let mut bytes = b"$100000\r\n".to_vec();
        bytes.extend_from_slice(&[b'+'; 100_000]);
        bytes.extend_from_slice(b"\r\n:7\r\n");
        let mut decoder = Decoder::default();
        let mut kept: Vec<u8> = Vec::new();
        let mut tokens = Vec::new();
        for part in bytes.chunks(1000) {
            kept.extend_from_slice(part);
            let mut rest = &kept[..];
            while let Some(token) = decoder.next(&mut rest).expect("well formed") {
                tokens.push(format!("{token:?}"));
            }
            kept = rest.to_vec();
            assert!(kept.len() < 16);
        }
        assert_eq!(tokens, ["BulkTooLong", "Integer(7)"]);
    }

    #[test]
    fn what_no_server_sends_is_malformed_at_once() {
        let long_line = format!("+{}", "x".repeat(LINE_BYTES_MAX));
        let malformed = [
            "x\r\n",
            "$-2\r\n",
            "$536870913\r\n",
            "$ 1\r\n",
            "$\r\n",
            "*1048577\r\n",
            "*-2\r\n",
            ":\r\n",
            ":9223372036854775808\r\n",
            "+OK\rx",
            "$1\r\nab\r\n",
            &long_line,
        ];
        for text in malformed {
            let result = Decoder::default().next(&mut text.as_bytes());
            assert_eq!(result, Err(Malformed), "{text:?}");
        }
    }
}
