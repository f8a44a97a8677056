//! Names that are taken from a client without complaint and not kept: Skyline's `SKIP_LIST`, with its
//! `DO_NOT_SKIP_LIST` of exceptions. Compiled once; a name that matches nothing costs one pass over it, and
//! a body in which nothing can match one for all its names.
//!
//! A pattern matches a name that contains it, and a name among whose dotted elements all of its own stand, in
//! whatever order. That is Skyline's rule to the letter, for patterns with an element of its own twice too (they
//! match by the first half only).

use super::windows;
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
    /// The same of an element that all of them have, if they have one: a single pair.
    common: Option<Pairs>,
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
            66.. => self.occur_in_windows::<32>(name),
            33.. => self.occur_in_two_windows(name),
            17.. => self.occur_in_windows::<16>(name),
            _ => name
                .windows(2)
                .any(|two| self.0.iter().any(|pair| two == pair)),
        }
    }

    fn occur_in_two_windows(&self, text: &[u8]) -> bool {
        let Some(windows) = windows::two(text) else {
            return true;
        };
        self.0.iter().any(|&pair| {
            let mut found = [0; windows::BYTES];
            for (here, next) in windows {
                look_for(pair, here, next, &mut found);
            }
            found != [0; windows::BYTES]
        })
    }

    /// In windows of a fixed size without a branch in them, as [`super::name::is_clean`] looks at a name; the last one
    /// ends where the text does, and may lie over the one before.
    fn occur_in_windows<const N: usize>(&self, text: &[u8]) -> bool {
        let (firsts, seconds) = (&text[..text.len() - 1], &text[1..]);
        self.0.iter().any(|&pair| {
            let mut found = [0u8; N];
            let (windows, rest) = firsts.as_chunks::<N>();
            let windows = windows.iter().zip(seconds.as_chunks().0);
            windows.for_each(|(here, next)| look_for(pair, here, next, &mut found));
            if !rest.is_empty()
                && let (Some(here), Some(next)) = (firsts.last_chunk(), seconds.last_chunk())
            {
                look_for(pair, here, next, &mut found);
            }
            found != [0; N]
        })
    }
}

/// Notes where a pair stands in a window. Alone, or not inlined, it is not made of vector instructions.
#[inline(always)]
fn look_for<const N: usize>(
    [first, second]: [u8; 2],
    here: &[u8; N],
    next: &[u8; N],
    found: &mut [u8; N],
) {
    for place in 0..N {
        found[place] |= u8::from(here[place] == first) & u8::from(next[place] == second);
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

    /// Whether it can match a name that stands in `text`, alone or behind the prefix of its namespace. A false says it
    /// of all such names at once.
    #[inline(always)]
    pub fn may_match_in(&self, text: &[u8], prefix: &str) -> bool {
        // The elements that pairs are of have no dot, and the prefix ends with one: no pair lies across.
        let may = |pairs: &Pairs| {
            pairs.may_occur(text) || !prefix.is_empty() && pairs.may_occur(prefix.as_bytes())
        };
        let pairs = self.skip.common.as_ref().or(self.skip.pairs.as_ref());
        !self.skip.patterns.is_empty() && pairs.is_none_or(may)
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
        let all_have = |element: &&String| patterns.iter().all(|p| p.elements.contains(element));
        let first = patterns.first().map(|pattern| pattern.elements.iter());
        let common = first.into_iter().flatten().filter(all_have);
        let common = common.max_by_key(|element| element.len());
        let common = Pairs::of(common.into_iter().map(String::as_str));
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
            common,
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
        for bytes in 2..80 {
            let name = "y".repeat(bytes);
            assert!(!pairs.may_occur(name.as_bytes()), "{bytes}");
            for at in 0..bytes - 1 {
                let mut name = name.clone().into_bytes();
                name[at..at + 2].copy_from_slice(b"ag");
                assert!(pairs.may_occur(&name), "{bytes} {at}");
            }
        }
        assert!(!pairs.may_occur(b"") && !pairs.may_occur(b"y"));
        assert!(Pairs::of(["analyzer", "a"].into_iter()).is_none());
        assert!(Pairs::of([].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn a_name_that_matches_was_not_ruled_out_by_what_it_stands_in(
            before in "[ab.\"]{0,40}", name in "[ab.]{0,20}", after in "[ab.\"]{0,40}",
            prefix in "([ab]{1,20}\\.)?", common in "([ab]{1,4}\\.)?", skip in prop::collection::vec("[ab.]{1,5}", 0..4),
        ) {
            let skip: Vec<String> = skip.iter().map(|text| format!("{common}{text}")).collect();
            let skip = Skip::new(&skip, &[]);
            let text = format!("{before}{name}{after}");
            if skip.matches(&name) || skip.matches(&format!("{prefix}{name}")) {
                prop_assert!(skip.may_match_in(text.as_bytes(), &prefix));
            }
        }

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
