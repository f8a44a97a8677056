//! Names that are taken from a client without complaint and not kept: Skyline's `SKIP_LIST`, with its
//! `DO_NOT_SKIP_LIST` of exceptions. Compiled once; a name that matches nothing costs one pass over it.
//!
//! A pattern matches a name that contains it, and a name among whose dotted elements all of its own stand, in
//! whatever order. That is Skyline's rule to the letter, for patterns with an element of its own twice too (they
//! match by the first half only).

use aho_corasick::{AhoCorasick, MatchKind};

#[derive(Debug, Default)]
pub struct Skip {
    skip: Patterns,
    keep: Patterns,
}

#[derive(Debug, Default)]
struct Patterns {
    patterns: Vec<Pattern>,
    /// Finds the longest element of each pattern: where none of them is, nothing can match.
    hints: Option<AhoCorasick>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    elements: Vec<String>,
    /// Two equal elements are one in Skyline's sets, and then too few to match.
    by_elements: bool,
}

impl Skip {
    /// What matches `skip` is skipped unless it matches `keep`.
    pub fn new(skip: &[String], keep: &[String]) -> Skip {
        Skip {
            skip: Patterns::new(skip),
            keep: Patterns::new(keep),
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        self.skip.matches(name) && !self.keep.matches(name)
    }
}

impl Patterns {
    fn new(texts: &[String]) -> Patterns {
        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::new(text)).collect();
        let hints = patterns.iter().map(|pattern| {
            let longest = pattern.elements.iter().max_by_key(|element| element.len());
            longest.map_or("", String::as_str)
        });
        let hints = (!patterns.is_empty()).then(|| {
            // Which match comes first is of no interest here, but only with this kind does the crate look for a few
            // patterns sixteen bytes at a time before it looks byte by byte.
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .build(hints);
            built.expect("the configuration bounds the patterns far below what can be compiled")
        });
        Patterns { patterns, hints }
    }

    fn matches(&self, name: &str) -> bool {
        let may = |hints: &AhoCorasick| hints.is_match(name);
        self.hints.as_ref().is_some_and(may)
            && self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        let elements: Vec<String> = text.split('.').map(str::to_owned).collect();
        let twice = |at: usize| elements[..at].contains(&elements[at]);
        Pattern {
            text: text.to_owned(),
            by_elements: !(0..elements.len()).any(twice),
            elements,
        }
    }

    fn matches(&self, name: &str) -> bool {
        let has = |element: &String| name.split('.').any(|part| part == element);
        name.contains(&self.text) || self.by_elements && self.elements.iter().all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// The rule as Skyline writes it, without the short cuts.
    fn python(name: &str, patterns: &[String]) -> bool {
        let parts: BTreeSet<&str> = name.split('.').collect();
        patterns.iter().any(|pattern| {
            let elements: Vec<&str> = pattern.split('.').collect();
            let own: BTreeSet<&str> = elements.iter().copied().collect();
            name.contains(pattern.as_str()) || parts.intersection(&own).count() == elements.len()
        })
    }

    #[test]
    fn a_pattern_matches_as_a_part_or_by_its_elements() {
        let skip = Skip::new(
            &owned(&["skyline.analyzer.", "a.b"]),
            &owned(&["skyline.analyzer.run_time", "kept"]),
        );
        for (name, skipped) in [
            ("skyline.analyzer.x", true),
            ("warehouse-1.skyline.analyzer.x.y", true),
            ("skyline.analyzer.run_time", false),
            ("skyline.x.analyzer.run_time", false),
            ("skyline.horizon.x", false),
            ("xa.by", true),
            ("b.x.a", true),
            ("ab", false),
            ("b.x.a.kept", false),
            // A closing dot is an empty element, which a name seldom has.
            ("analyzer.x.skyline", false),
            (".analyzer.x.skyline", true),
        ] {
            assert_eq!(skip.matches(name), skipped, "{name}");
        }
        assert!(!Skip::default().matches("skyline.analyzer.x"));
        assert!(!Skip::new(&[], &owned(&["x"])).matches("x"));
    }

    proptest! {
        #[test]
        fn the_short_cuts_change_nothing(
            name in "[ab]{0,2}(\\.[ab]{0,2}){0,5}",
            skip in prop::collection::vec("[ab.]{1,5}", 0..4),
            keep in prop::collection::vec("[ab.]{1,5}", 0..3),
        ) {
            let expected = python(&name, &skip) && !python(&name, &keep);
            prop_assert_eq!(Skip::new(&skip, &keep).matches(&name), expected);
        }
    }
}
