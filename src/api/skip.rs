//! Names that are taken from a client without complaint and not kept: Skyline's `SKIP_LIST`, with its
//! `DO_NOT_SKIP_LIST` of exceptions. Compiled once; a name that matches nothing costs one pass over it.
//!
//! A pattern matches a name that contains it, and a name among whose dotted elements all of its own stand, in
//! whatever order. That is Skyline's rule to the letter, for patterns with an element of its own twice too (they
//! match by the first half only).

use super::name::window;
use aho_corasick::{AhoCorasick, MatchKind};

#[derive(Debug, Default)]
pub struct Skip {
    skip: Patterns,
    keep: Patterns,
}

#[derive(Debug, Default)]
struct Patterns {
    patterns: Vec<Pattern>,
    /// Of a few patterns: where none of these is, nothing can match either, and it is seen sooner.
    pairs: Option<Pairs>,
    /// Finds the longest element of each pattern: where none of them is, nothing can match.
    hints: Option<AhoCorasick>,
}

/// From each pattern two neighbouring bytes that other names seldom have.
#[derive(Debug)]
struct Pairs(Vec<[u8; 2]>);

/// With more of them looking for the elements themselves is as fast.
const PAIRS_MAX: usize = 8;

/// The letters of English words, the most usual first.
const LETTERS: &[u8] = b"etaoinsrhldcumfpgwybvkxjqz";

impl Pairs {
    /// `None` when there are none, too many, or one is too short to have a pair.
    fn of<'h>(hints: impl Iterator<Item = &'h str>) -> Option<Pairs> {
        let rank = |letter: &u8| LETTERS.iter().position(|usual| usual == letter);
        let seldom = |pair: &&[u8]| pair.iter().filter_map(rank).sum::<usize>();
        let rarest = hints.map(|hint| {
            let pair = hint.as_bytes().windows(2).max_by_key(seldom)?;
            Some([pair[0], pair[1]])
        });
        let pairs: Vec<[u8; 2]> = rarest.collect::<Option<_>>()?;
        (1..=PAIRS_MAX)
            .contains(&pairs.len())
            .then_some(Pairs(pairs))
    }

    fn may_occur(&self, name: &[u8]) -> bool {
        match name.len() {
            33.. => self.occur_in_windows::<32>(name),
            17.. => self.occur_in_windows::<16>(name),
            _ => true,
        }
    }

    /// As [`super::name::is_clean`] looks at a name.
    fn occur_in_windows<const N: usize>(&self, name: &[u8]) -> bool {
        let last = name.len() - 1 - N;
        let mut found = [0u8; N];
        let mut at = 0;
        while let (Some(here), Some(next)) = (window::<N>(name, at), window::<N>(name, at + 1)) {
            for [first, second] in &self.0 {
                for place in 0..N {
                    found[place] |=
                        u8::from(here[place] == *first) & u8::from(next[place] == *second);
                }
            }
            if at == last {
                break;
            }
            at = last.min(at + N);
        }
        found.iter().fold(0, |all, found| all | found) != 0
    }
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
        let pairs = Pairs::of(hints.clone());
        let hints = (!patterns.is_empty()).then(|| {
            // Which match comes first is of no interest here, but only with this kind does the crate look for a few
            // patterns sixteen bytes at a time before it looks byte by byte.
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .build(hints);
            built.expect("the configuration bounds the patterns far below what can be compiled")
        });
        Patterns {
            patterns,
            pairs,
            hints,
        }
    }

    fn matches(&self, name: &str) -> bool {
        let pairs = self.pairs.as_ref();
        if pairs.is_some_and(|pairs| !pairs.may_occur(name.as_bytes())) {
            return false;
        }
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

    #[test]
    fn a_pair_is_found_wherever_it_stands_in_a_name() {
        let pairs = Pairs::of(["analyzer", "mirage"].into_iter()).unwrap();
        assert_eq!(pairs.0, [*b"yz", *b"ag"]);
        for bytes in 17..80 {
            let name = "y".repeat(bytes);
            assert!(!pairs.may_occur(name.as_bytes()), "{bytes}");
            for at in 0..bytes - 1 {
                let mut name = name.clone().into_bytes();
                name[at..at + 2].copy_from_slice(b"ag");
                assert!(pairs.may_occur(&name), "{bytes} {at}");
            }
        }
        assert!(Pairs::of(["analyzer", "a"].into_iter()).is_none());
        assert!(Pairs::of([].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn the_short_cuts_change_nothing_in_long_names(
            name in "[ab]{0,9}(\\.[ab]{0,9}){0,9}",
            skip in prop::collection::vec("[ab.]{2,5}", 0..4),
        ) {
            prop_assert_eq!(Skip::new(&skip, &[]).matches(&name), python(&name, &skip));
        }

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
