//! The text of a mark: what Python's `str([ts, value])` prints, and a tolerant reader.
//!
//! Written byte for byte as Skyline writes it, because its other programs parse it with a
//! Python-literal parser. Read with tolerance, because older versions, Vista and people wrote what is
//! found there. Everything here is one pass over its input, allocates nothing and cannot panic.

use super::Mark;

/// Appends Python's `repr` of a finite double: the shortest digits that read back as the same double,
/// in exponent form when the decimal exponent is below -4 or at least 16.
pub fn python_float(out: &mut Vec<u8>, value: f64) {
    debug_assert!(value.is_finite(), "points and marks hold finite values");
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    if !(1e-9..1e-4).contains(&value.abs()) {
        // Here zmij and Python agree.
        out.extend_from_slice(text);
        return;
    }
    if let [mantissa @ .., b'-', exponent] = text {
        // zmij writes `e-9`, Python `e-09`: two digits at least. Positive exponents begin at 16.
        out.extend_from_slice(mantissa);
        out.extend_from_slice(&[b'-', b'0', *exponent]);
        return;
    }
    // zmij is positional one place further down than Python: 0.00001234 is 1.234e-05.
    let (sign, digits) = text.split_at(usize::from(value < 0.0));
    let (first, rest) = digits["0.0000".len()..].split_at(1);
    out.extend_from_slice(sign);
    out.extend_from_slice(first);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    out.extend_from_slice(b"e-05");
}

/// `[1478021700, 1.0]`, or `[1478021700, None]`: the value of `flux.last.<metric>`.
pub fn write_mark(out: &mut Vec<u8>, mark: Mark) {
    out.push(b'[');
    push_integer(out, mark.timestamp);
    out.extend_from_slice(b", ");
    push_value(out, mark.value);
    out.push(b']');
}

/// `{'timestamp': 1478021700, 'value': 1.0}`: a field of `flux.last.metric_data`.
pub fn write_mark_dict(out: &mut Vec<u8>, mark: Mark) {
    out.extend_from_slice(b"{'timestamp': ");
    push_integer(out, mark.timestamp);
    out.extend_from_slice(b", 'value': ");
    push_value(out, mark.value);
    out.push(b'}');
}

fn push_integer(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Never `nan` or `inf`: they are not Python literals, so the text would read as "no mark".
fn push_value(out: &mut Vec<u8>, value: Option<f64>) {
    match value {
        Some(value) if value.is_finite() => python_float(out, value),
        _ => out.extend_from_slice(b"None"),
    }
}

/// Reads either form: list or tuple, dict with its members in any order and single or double quotes,
/// blanks anywhere between tokens, numbers bare or quoted. A value that is null or not finite reads as
/// `None`; anything else that is not a mark gives no mark.
pub fn read_mark(bytes: &[u8]) -> Option<Mark> {
    let mut tokens = Tokens { rest: bytes };
    let mark = match tokens.next()? {
        Token::Punctuation(b'[') => read_pair(&mut tokens, b']'),
        Token::Punctuation(b'(') => read_pair(&mut tokens, b')'),
        Token::Punctuation(b'{') => read_dict(&mut tokens),
        _ => None,
    }?;
    tokens.blanks();
    tokens.rest.is_empty().then_some(mark)
}

fn read_pair(tokens: &mut Tokens<'_>, close: u8) -> Option<Mark> {
    let timestamp = read_timestamp(tokens.word()?)?;
    tokens.expect(b',')?;
    let value = read_value(tokens.word()?)?;
    tokens.expect(close)?;
    Some(Mark { timestamp, value })
}

fn read_dict(tokens: &mut Tokens<'_>) -> Option<Mark> {
    let (mut timestamp, mut value) = (None, None);
    for end in [b',', b'}'] {
        let name = tokens.word()?;
        tokens.expect(b':')?;
        let word = tokens.word()?;
        match name {
            "timestamp" => timestamp = Some(read_timestamp(word)?),
            "value" => value = Some(read_value(word)?),
            _ => return None,
        }
        tokens.expect(end)?;
    }
    Some(Mark {
        timestamp: timestamp?,
        value: value?,
    })
}

fn read_timestamp(word: &str) -> Option<u32> {
    if let Ok(timestamp) = word.parse() {
        return Some(timestamp);
    }
    let seconds: f64 = word.parse().ok()?;
    // Also false for NaN.
    let fits = (0.0..=f64::from(u32::MAX)).contains(&seconds);
    fits.then_some(seconds as u32)
}

fn read_value(word: &str) -> Option<Option<f64>> {
    if matches!(word, "None" | "null") {
        return Some(None);
    }
    let value: f64 = word.parse().ok()?;
    Some(value.is_finite().then_some(value))
}

enum Token<'a> {
    Punctuation(u8),
    /// A number, a name or the inside of quotes, without the blanks around it.
    Word(&'a str),
}

struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.blanks();
        let (&first, after) = self.rest.split_first()?;
        let word = match first {
            b'[' | b']' | b'(' | b')' | b'{' | b'}' | b',' | b':' => {
                self.rest = after;
                return Some(Token::Punctuation(first));
            }
            b'\'' | b'"' => {
                let end = memchr::memchr(first, after)?;
                self.rest = &after[end + 1..];
                after[..end].trim_ascii()
            }
            _ => {
                let is_end =
                    |byte: &u8| byte.is_ascii_whitespace() || b"[](){},:'\"".contains(byte);
                let end = self.rest.iter().position(is_end);
                let (word, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = after;
                word
            }
        };
        std::str::from_utf8(word).ok().map(Token::Word)
    }

    fn word(&mut self) -> Option<&'a str> {
        match self.next()? {
            Token::Word(word) => Some(word),
            Token::Punctuation(_) => None,
        }
    }

    fn expect(&mut self, punctuation: u8) -> Option<()> {
        match self.next()? {
            Token::Punctuation(found) if found == punctuation => Some(()),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// What this interpreter prints for the script with this input; `None` (and a line that says so)
    /// when the machine does not have it or the script says with exit status 77 that it misses a module.
    pub(crate) fn python(interpreter: &str, script: &str, input: Vec<u8>) -> Option<Vec<u8>> {
        let child = Command::new(interpreter)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: no {interpreter} here");
            return None;
        };
        let mut stdin = child.stdin.take().expect("piped");
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("the interpreter runs");
        if output.status.code() == Some(77) {
            eprintln!("skipped: {interpreter} lacks a module the test needs");
            return None;
        }
        assert!(output.status.success(), "{script}");
        feeder.join().expect("no panic").expect("it read its input");
        Some(output.stdout)
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    /// Doubles at every edge we know of, and thousands of arbitrary bit patterns.
    fn doubles() -> Vec<f64> {
        let mut values = vec![
            0.0,
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::EPSILON,
            5e-324,
            1e23,
            9007199254740993.0,
            1.2345678901234568e17,
            0.1 + 0.2,
        ];
        for exponent in -324..=308 {
            let power: f64 = format!("1e{exponent}").parse().expect("a double");
            values.extend([power, power.next_down(), power.next_up(), power * 1.2345]);
        }
        values.extend((-1074..1024).map(|exponent| 2f64.powi(exponent)));
        values.extend((0..2000).map(|n| f64::from(n) / 100.0));
        let mut bits = 0x9E37_79B9_7F4A_7C15u64;
        for _ in 0..10_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            values.push(f64::from_bits(bits));
        }
        values.retain(|value| value.is_finite());
        let negative: Vec<f64> = values.iter().map(|value| -value).collect();
        values.extend(negative);
        values
    }

    #[test]
    fn marks_are_written_as_cpython_prints_them_and_read_back_from_what_it_prints() {
        const SCRIPT: &str = "
import struct, sys
for line in sys.stdin:
    bits, ts = line.split()
    v = struct.unpack('>d', bytes.fromhex(bits))[0]
    ts = int(ts)
    print(repr(v), str([ts, v]), str({'timestamp': ts, 'value': v}), str((ts, v)), sep='|')
";
        let cases: Vec<Mark> = doubles()
            .into_iter()
            .enumerate()
            .map(|(n, value)| Mark {
                timestamp: (n as u32).wrapping_mul(0x9E37_79B9),
                value: Some(value),
            })
            .collect();
        let input: String = cases
            .iter()
            .map(|mark| {
                format!(
                    "{:016x} {}\n",
                    mark.value.unwrap().to_bits(),
                    mark.timestamp
                )
            })
            .collect();
        let Some(output) = python("python3", SCRIPT, input.into_bytes()) else {
            return;
        };
        let output = String::from_utf8(output).expect("ASCII");
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines.len(), cases.len());
        for (line, &mark) in lines.iter().zip(&cases) {
            let parts: Vec<&str> = line.split('|').collect();
            let value = mark.value.unwrap();
            assert_eq!(text(|out| python_float(out, value)), parts[0]);
            assert_eq!(text(|out| write_mark(out, mark)), parts[1]);
            assert_eq!(text(|out| write_mark_dict(out, mark)), parts[2]);
            for part in &parts[1..] {
                let read = read_mark(part.as_bytes()).expect(part);
                assert_eq!(read.timestamp, mark.timestamp, "{part}");
                let bits = read.value.map(f64::to_bits);
                assert_eq!(bits, Some(value.to_bits()), "{part}");
            }
        }
    }

    #[test]
    fn the_texts_of_the_reference_are_written_to_the_byte() {
        let vectors = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (1e-5, "1e-05"),
            (1.234e-5, "1.234e-05"),
            (-1e-5, "-1e-05"),
            (0.0001, "0.0001"),
            (-0.0, "-0.0"),
            (1e300, "1e+300"),
            (9999999999999998.0, "9999999999999998.0"),
        ];
        for (value, expected) in vectors {
            assert_eq!(text(|out| python_float(out, value)), expected);
        }
        let mut mark = Mark {
            timestamp: 1_478_021_700,
            value: None,
        };
        assert_eq!(text(|out| write_mark(out, mark)), "[1478021700, None]");
        let dict = "{'timestamp': 1478021700, 'value': None}";
        assert_eq!(text(|out| write_mark_dict(out, mark)), dict);
        mark.value = Some(f64::NAN);
        assert_eq!(text(|out| write_mark(out, mark)), "[1478021700, None]");
    }

    #[test]
    fn marks_are_read_in_every_form_that_was_seen_or_could_be_typed() {
        let with = |value| {
            Some(Mark {
                timestamp: 1_478_021_700,
                value,
            })
        };
        let readable: [(&str, Option<f64>); 16] = [
            ("[1478021700, 1.5]", Some(1.5)),
            (" [ 1478021700 ,1.5 ]\n", Some(1.5)),
            ("[1478021700.0, 1.5]", Some(1.5)),
            ("[1478021700.9, 1.5]", Some(1.5)),
            ("['1478021700', '1.5']", Some(1.5)),
            ("[\" 1478021700 \", 1.5]", Some(1.5)),
            ("(1478021700, 15)", Some(15.0)),
            ("[1478021700, None]", None),
            ("[1478021700, null]", None),
            ("[1478021700, nan]", None),
            ("[1478021700, NaN]", None),
            ("[1478021700, -inf]", None),
            ("[1478021700, 1e400]", None),
            ("{'timestamp': 1478021700, 'value': 1.5}", Some(1.5)),
            ("{\"value\":1.5,\"timestamp\":\"1478021700\"}", Some(1.5)),
            ("{'value': None, 'timestamp': 1.4780217e9}", None),
        ];
        for (text, value) in readable {
            assert_eq!(read_mark(text.as_bytes()), with(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_mark_gives_none() {
        let unreadable: [&[u8]; 23] = [
            b"",
            b"None",
            b"1478021700",
            b"[]",
            b"[1478021700]",
            b"[1478021700, 1.0",
            b"[1478021700, 1.0)",
            b"[1478021700, 1.0, 2.0]",
            b"[1478021700, 1.0] x",
            b"[1478021700 1.0]",
            b"[-1, 1.0]",
            b"[4294967296, 1.0]",
            b"[nan, 1.0]",
            b"[None, 1.0]",
            b"[1478021700, one]",
            b"[1478021700, [1.0]]",
            b"['1478021700, 1.0]",
            b"{}",
            b"{'timestamp': 1478021700}",
            b"{'timestamp': 1478021700, 'timestamp': 1478021700}",
            b"{'timestamp': 1478021700, 'other': 1.0}",
            b"{'timestamp': 1478021700, 'value': 1.0, 'more': 1}",
            b"[1478021700, \xff]",
        ];
        for bytes in unreadable {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(read_mark(bytes), None, "{shown}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read_mark(&bytes);
        }

        #[test]
        fn reading_marklike_text_never_panics(text in "[\\[({]?['\" ]{0,2}[a-z0-9.,: ]{0,12}['\"]?[:,]?[-0-9.e]{0,9}[\\])}]?") {
            let _ = read_mark(text.as_bytes());
        }
    }
}
