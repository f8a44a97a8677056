//! `fetch_resolution_urls` as text: a Python list of strings, as `str(list)` writes it, with or without one
//! more pair of quotes around it.
//!
//! Vista puts double quotes around a list that may hold double-quoted elements itself, so the text as a
//! whole is no Python literal: the pair is taken off first. Only where that gives no list is the text read
//! as one string literal that holds a list, which is what Skyline's worker does.

use crate::python::text::string;

/// Why a text is no list of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no list of quoted strings")]
pub struct NoList;

/// The elements; none for an empty list.
pub fn list(text: &str) -> Result<Vec<String>, NoList> {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let inside = inside('"').or_else(|| inside('\'')).unwrap_or(text);
    elements(inside).or_else(|why| match literal(text) {
        Some((text, "")) => elements(&text),
        _ => Err(why),
    })
}

fn elements(text: &str) -> Result<Vec<String>, NoList> {
    let text = text.trim();
    let inside = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    let inside = inside('[', ']').or_else(|| inside('(', ')'));
    let mut rest = inside.ok_or(NoList)?.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (element, after) = literal(rest).ok_or(NoList)?;
        found.push(element);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return Err(NoList),
        }
    }
    Ok(found)
}

/// The string literal that starts here, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    // Python 2 marks text with a `u`.
    string(text.strip_prefix(['u', 'U']).unwrap_or(text), false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::last::text::tests::python;

    fn texts(text: &str) -> Vec<String> {
        list(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_list_is_read_with_and_without_the_outer_quotes() {
        for text in [
            r#""['http://a/?x', 'http://b']""#,
            r#"['http://a/?x', 'http://b']"#,
            r#""["http://a/?x", "http://b"]""#,
            r#"["http://a/?x","http://b"]"#,
            r#"'["http://a/?x", "http://b"]'"#,
            r#"  "[u'http://a/?x', u"http://b",]"  "#,
            r#"('http://a/?x', 'http://b')"#,
            r#""[\"http://a/?x\", \"http://b\"]""#,
            r#"'[\'http://a/?x\', \'http://b\']'"#,
        ] {
            assert_eq!(texts(text), ["http://a/?x", "http://b"], "{text}");
        }
        for text in ["[]", "()", "\"[]\"", "'()'", " [ ] "] {
            assert_eq!(texts(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_target_may_hold_either_quote_and_a_backslash() {
        // As Python writes ["a('b')", 'c("d")', "e'\"f", 'g\\d'] and Vista quotes it.
        let text = r#""["a('b')", 'c("d")', 'e\'"f', 'g\\d', 'h\d']""#;
        let expected = ["a('b')", r#"c("d")"#, r#"e'"f"#, r"g\d", r"h\d"];
        assert_eq!(texts(text), expected);
        assert_eq!(texts(r"['\x41\u00e9\101\U0001f600\t']"), ["AéA😀\t"]);
    }

    #[test]
    fn what_is_no_list_of_strings_is_refused() {
        for text in [
            "",
            "\"",
            "\"\"",
            "None",
            "\"None\"",
            "[[",
            "[",
            "]",
            "['a'",
            "['a' 'b']",
            "[1]",
            "['a', 2]",
            "['a',, 'b']",
            "[,]",
            "'http://a'",
            "{'a'}",
            "['a\n']",
            r"['\x4']",
            r"['\ud800']",
            r"['\N{DASH}']",
            "[['a']]",
            "['a'] + ['b']",
            "[b'a']",
            "[r'a']",
        ] {
            assert_eq!(list(text), Err(NoList), "{text}");
        }
    }

    /// The interpreter itself is the oracle for what `str(list)` writes.
    #[test]
    fn what_python_writes_is_read_back() {
        let script = r#"
import sys
urls = sys.stdin.buffer.read().decode('utf-8').split('\0')
sys.stdout.buffer.write(('"%s"' % urls).encode('utf-8'))
"#;
        let urls = [
            "http://a/?t=f('x')",
            "http://a/?t=f(\"x\")",
            "it's \"both\"",
            "back\\slash\\b\\x41",
            "tab\there",
            "café 😀",
            "\u{7f}\u{a0}\u{200b}",
            "",
            "[x]",
            "'",
            "\"",
            "\\",
        ];
        let Some(text) = python("python3", script, urls.join("\0").into_bytes()) else {
            return;
        };
        assert_eq!(texts(std::str::from_utf8(&text).unwrap()), urls);
    }

    proptest! {
        #[test]
        fn any_list_as_python_writes_it_is_read_back(urls in proptest::collection::vec("[a-c'\"\\\\\n\t é\\[\\],]{0,12}", 0..5)) {
            // Python's repr: single quotes, unless only single ones stand inside.
            let quoted = |url: &String| {
                let quote = if url.contains('\'') && !url.contains('"') { '"' } else { '\'' };
                let mut out = String::from(quote);
                for c in url.chars() {
                    match c {
                        '\\' => out.push_str("\\\\"),
                        '\n' => out.push_str("\\n"),
                        '\t' => out.push_str("\\t"),
                        _ if c == quote => out.extend(['\\', c]),
                        _ => out.push(c),
                    }
                }
                out + &String::from(quote)
            };
            let items: Vec<String> = urls.iter().map(quoted).collect();
            let text = format!("\"[{}]\"", items.join(", "));
            prop_assert_eq!(list(&text), Ok(urls));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]()'\"\\\\,uxN0-9a-f é\n]{0,30}") {
            let _ = list(&text);
        }
    }
}
