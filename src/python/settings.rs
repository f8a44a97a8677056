//! A file of plain assignments, `NAME = literal`. Whatever else stands in it is named by its line and left out,
//! and with it every name it may have changed: a value that is only perhaps right is worse than none.

use std::collections::HashMap;

use super::Value;
use super::text;
use super::value::{Cursor, Reader};

/// What a file assigns, and what of it was not read.
#[derive(Debug, Default)]
pub struct Settings {
    /// In the order of the file; of a name that is assigned twice, the last time.
    pub assigned: Vec<Assigned>,
    pub left_out: Vec<LeftOut>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    pub name: String,
    pub value: Value,
    pub line: usize,
}

/// A statement that was not read.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// What it assigns or changes; of another statement, its first word. Never a value: it may be a key.
    pub name: String,
    pub line: usize,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("its value is no literal")]
    NoLiteral,
    #[error("it is assigned in a block")]
    InBlock,
    #[error("it is changed by more than an assignment")]
    Changed,
    #[error("this is no assignment")]
    Statement,
    #[error("it has no end, and what follows was not read")]
    NoEnd,
}

pub fn read(text: &str) -> Settings {
    // As Python reads files: one kind of line end, and no byte order mark.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut file = File::default();
    let mut at = Cursor {
        rest: text,
        line: 1,
    };
    let mut indented = false;
    while !at.rest.is_empty() {
        // What follows a semicolon stands in the same block.
        let before = &text[..text.len() - at.rest.len()];
        if before.is_empty() || before.ends_with('\n') {
            indented = at.next_is(' ') || at.next_is('\t');
        }
        at.skip_blank(false);
        at.skip_comment();
        if !at.eat('\n') && !at.rest.is_empty() {
            file.statement(&mut at, indented);
        }
    }
    file.settings
}

#[derive(Default)]
struct File {
    settings: Settings,
    known: HashMap<String, Value>,
}

impl File {
    /// One statement, to the end of its last line.
    fn statement(&mut self, at: &mut Cursor<'_>, indented: bool) {
        let begin = *at;
        let mut reader = Reader {
            known: &self.known,
            depth: 0,
        };
        let name = at.name();
        if name.is_empty() || at.rest.starts_with(['\'', '"']) {
            // A text alone is how Skyline documents its settings.
            *at = begin;
            if matches!(reader.value(at, false), Some(Value::Text(_))) && ends(at) {
                return;
            }
            *at = begin;
            return self.skip(at, name, Why::Statement);
        }
        at.skip_blank(false);
        let assigns = at.next_is('=') && !at.rest.starts_with("==");
        if !assigns {
            let changes = ['.', '[', '+', '-', '*', '/', '%', '|', '&', ':', ','];
            let keyword = matches!(name, "try" | "else" | "except" | "finally");
            let why = match at.rest.starts_with(changes) && !keyword {
                true => Why::Changed,
                false => Why::Statement,
            };
            *at = begin;
            return self.skip(at, name, why);
        }
        at.eat('=');
        let value = values(&mut reader, at).filter(|_| ends(at));
        match value {
            Some(value) if !indented => self.assign(name, value, begin.line),
            Some(_) => self.leave_out(name, begin.line, Why::InBlock),
            None => {
                *at = begin;
                self.skip(at, name, Why::NoLiteral);
            }
        }
    }

    fn assign(&mut self, name: &str, value: Value, line: usize) {
        // Whatever was done to it before does not matter any more.
        let settings = &mut self.settings;
        settings.assigned.retain(|known| known.name != name);
        let gone = |left: &LeftOut| left.name == name && left.why != Why::Statement;
        settings.left_out.retain(|left| !gone(left));
        self.known.insert(name.to_owned(), value.clone());
        self.settings.assigned.push(Assigned {
            name: name.to_owned(),
            value,
            line,
        });
    }

    fn leave_out(&mut self, name: &str, line: usize, why: Why) {
        if why != Why::Statement {
            self.settings.assigned.retain(|known| known.name != name);
            self.known.remove(name);
        }
        let name = name.to_owned();
        self.settings.left_out.push(LeftOut { name, line, why });
    }

    /// Passes over a statement that is not read.
    fn skip(&mut self, at: &mut Cursor<'_>, name: &str, why: Why) {
        let line = at.line;
        let why = if skip_line(at) { why } else { Why::NoEnd };
        self.leave_out(name, line, why);
    }
}

/// A literal, or several with commas between, which is a tuple.
fn values(reader: &mut Reader<'_>, at: &mut Cursor<'_>) -> Option<Value> {
    let first = reader.value(at, false)?;
    at.skip_blank(false);
    if !at.next_is(',') {
        return Some(first);
    }
    let mut items = vec![first];
    while at.eat(',') {
        at.skip_blank(false);
        if at.rest.is_empty() || at.rest.starts_with(['\n', '#', ';']) {
            break;
        }
        items.push(reader.value(at, false)?);
        at.skip_blank(false);
    }
    Some(Value::List(items))
}

/// Whether the statement ends here; if so, its end is taken.
fn ends(at: &mut Cursor<'_>) -> bool {
    at.skip_blank(false);
    at.skip_comment();
    at.rest.is_empty() || at.eat('\n') || at.eat(';')
}

/// To the end of a statement of any kind: a line end outside of brackets and texts. False where there is none.
fn skip_line(at: &mut Cursor<'_>) -> bool {
    let mut open = 0u32;
    loop {
        at.skip_blank(open > 0);
        at.skip_comment();
        let Some(c) = at.rest.chars().next() else {
            return open == 0;
        };
        match c {
            '\n' => {
                at.eat(c);
                return true;
            }
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            '\'' | '"' => {
                let triple = at.rest.starts_with("'''") || at.rest.starts_with("\"\"\"");
                // Raw, because only its end is looked for.
                match text::string(at.rest, true) {
                    Some((_, rest)) => {
                        at.skip_to(rest);
                        continue;
                    }
                    None if triple => {
                        at.take(at.rest.len());
                        return false;
                    }
                    None => {}
                }
            }
            _ => {}
        }
        at.take(c.len_utf8());
    }
}
