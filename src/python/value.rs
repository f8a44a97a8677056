//! One literal, of any kind, and the blanks, comments and line ends around it.

use std::collections::HashMap;

use super::text;
use super::{Entry, Value};

/// Deeper than any settings file, and shallow enough for the stack.
const DEPTH_MAX: u32 = 32;

/// Where reading stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'t> {
    pub rest: &'t str,
    pub line: usize,
}

impl<'t> Cursor<'t> {
    /// Takes this many bytes, which end at a character's end.
    pub fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    pub fn skip_to(&mut self, rest: &'t str) {
        self.take(self.rest.len() - rest.len());
    }

    pub fn next_is(&self, c: char) -> bool {
        self.rest.starts_with(c)
    }

    pub fn eat(&mut self, c: char) -> bool {
        let found = self.next_is(c);
        if found {
            self.take(c.len_utf8());
        }
        found
    }

    /// Blanks and joined lines; between brackets ends of lines and comments too.
    pub fn skip_blank(&mut self, bracketed: bool) {
        loop {
            let c = self.rest.chars().next();
            match c {
                Some(' ' | '\t' | '\u{c}') => self.eat(c.unwrap_or_default()),
                Some('\\') if self.rest.starts_with("\\\n") => !self.take(2).is_empty(),
                Some('\n') if bracketed => self.eat('\n'),
                Some('#') if bracketed => {
                    self.skip_comment();
                    true
                }
                _ => return,
            };
        }
    }

    /// To the end of the line.
    pub fn skip_comment(&mut self) {
        if self.next_is('#') {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    /// The name that starts here; empty for none.
    pub fn name(&mut self) -> &'t str {
        let starts = |c: char| c.is_alphabetic() || c == '_';
        if !self.rest.starts_with(starts) {
            return "";
        }
        let ends = |c: char| !(c.is_alphanumeric() || c == '_');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        self.take(end)
    }
}

/// Reads literals; a name counts as the literal that was given that name before.
pub(super) struct Reader<'k> {
    pub known: &'k HashMap<String, Value>,
    pub depth: u32,
}

impl Reader<'_> {
    /// The literal that starts here, after blanks. `None`: something else does, or it has no end.
    pub fn value(&mut self, at: &mut Cursor<'_>, bracketed: bool) -> Option<Value> {
        at.skip_blank(bracketed);
        let c = at.rest.chars().next()?;
        match c {
            '(' => self.brackets(at, ')'),
            '[' => self.brackets(at, ']'),
            '{' => self.dict(at),
            '\'' | '"' => self.texts(at, bracketed),
            '0'..='9' | '.' => number(at),
            '+' | '-' => {
                at.eat(c);
                at.skip_blank(bracketed);
                match number(at)? {
                    Value::Whole(number) if c == '-' => Some(Value::Whole(-number)),
                    Value::Float(number) if c == '-' => Some(Value::Float(-number)),
                    number => Some(number),
                }
            }
            _ => self.named(at, bracketed),
        }
    }

    fn named(&mut self, at: &mut Cursor<'_>, bracketed: bool) -> Option<Value> {
        let mut ahead = *at;
        match ahead.name() {
            "" => None,
            _ if ahead.rest.starts_with(['\'', '"']) => self.texts(at, bracketed),
            name => {
                *at = ahead;
                match name {
                    "None" => Some(Value::None),
                    "True" => Some(Value::Flag(true)),
                    "False" => Some(Value::Flag(false)),
                    name => self.known.get(name).cloned(),
                }
            }
        }
    }

    /// One text, or several that stand side by side.
    fn texts(&mut self, at: &mut Cursor<'_>, bracketed: bool) -> Option<Value> {
        let mut whole = String::new();
        loop {
            // Bytes are no text, and a formatted text is no literal.
            let raw = match at.name() {
                "" | "u" | "U" => false,
                "r" | "R" => true,
                _ => return None,
            };
            let (piece, rest) = text::string(at.rest, raw)?;
            whole.push_str(&piece);
            at.skip_to(rest);
            at.skip_blank(bracketed);
            let mut ahead = *at;
            ahead.name();
            if !ahead.rest.starts_with(['\'', '"']) {
                return Some(Value::Text(whole));
            }
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// A list, a tuple, or one value that brackets are put around.
    fn brackets(&mut self, at: &mut Cursor<'_>, close: char) -> Option<Value> {
        at.take(1);
        let mut items = Vec::new();
        let mut commas = 0;
        loop {
            at.skip_blank(true);
            if at.eat(close) {
                break;
            }
            if items.len() > commas {
                return None;
            }
            items.push(self.deeper(|reader| reader.value(at, true))?);
            at.skip_blank(true);
            commas += usize::from(at.eat(','));
        }
        match close == ')' && commas == 0 && items.len() == 1 {
            true => items.pop(),
            false => Some(Value::List(items)),
        }
    }

    fn dict(&mut self, at: &mut Cursor<'_>) -> Option<Value> {
        at.take(1);
        let mut entries = Vec::new();
        let mut commas = 0;
        loop {
            at.skip_blank(true);
            if at.eat('}') {
                return Some(Value::Dict(entries));
            }
            if entries.len() > commas {
                return None;
            }
            let line = at.line;
            let key = self.deeper(|reader| reader.value(at, true))?;
            at.skip_blank(true);
            if !at.eat(':') {
                return None;
            }
            let value = self.deeper(|reader| reader.value(at, true))?;
            entries.push(Entry { key, value, line });
            at.skip_blank(true);
            commas += usize::from(at.eat(','));
        }
    }
}

/// A whole number in any base, or a decimal one. Python 2's `0777` and `10L` are refused, as Python 3 does.
fn number(at: &mut Cursor<'_>) -> Option<Value> {
    let mut before = ' ';
    let ends = |c: char| {
        let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        before = c;
        !(sign || c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))
    };
    let end = at.rest.find(ends).unwrap_or(at.rest.len());
    // In 0xE+1 the sign is another operator.
    let hex = at
        .rest
        .get(..2)
        .is_some_and(|p| p.eq_ignore_ascii_case("0x"));
    let written = &at.rest[..end];
    let written = match hex {
        true => written.split(['+', '-']).next().unwrap_or_default(),
        false => written,
    };
    at.take(written.len());
    if written.ends_with('_') || written.contains("__") || written.contains("_.") {
        return None;
    }
    let plain = written.replace('_', "").to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = plain.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).ok().map(Value::Whole);
        }
    }
    if plain.bytes().all(|byte| byte.is_ascii_digit()) {
        let zeros = plain.bytes().all(|byte| byte == b'0');
        let number = plain
            .parse()
            .ok()
            .filter(|_| zeros || !plain.starts_with('0'));
        return number.map(Value::Whole);
    }
    let decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-');
    let number = plain.chars().all(decimal).then(|| plain.parse().ok())?;
    number.map(Value::Float)
}
