//! API keys, compared in constant time, and the namespace each one writes under.

use std::collections::BTreeMap;
use std::fmt;

use subtle::{Choice, ConstantTimeEq};

/// The configured keys. The self key writes without a prefix, even when it is also listed with one.
pub struct Keys {
    /// The self key first, when there is one.
    entries: Vec<Entry>,
    has_own: bool,
    namespaces: Vec<String>,
}

struct Entry {
    key: String,
    grant: Option<u16>,
    /// With its closing dot; empty for none.
    prefix: String,
}

/// What a valid key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'k> {
    /// Index into [`Keys::namespaces`]; `None` for a key without a prefix.
    pub namespace: Option<u16>,
    /// What every name of the request starts with: empty, or the namespace and a dot.
    pub prefix: &'k str,
}

impl Keys {
    /// An empty key is left out: nothing sent may match it.
    pub fn new(self_key: &str, namespaces: &BTreeMap<String, String>) -> Keys {
        Keys::after(&[], self_key, namespaces)
    }

    /// Those of a configuration that was read again. A namespace keeps its number for the life of the process,
    /// also one without a key: counters and ledgers go by it, and points of before are still under way.
    pub fn after(before: &[String], self_key: &str, namespaces: &BTreeMap<String, String>) -> Keys {
        let mut added: Vec<String> = namespaces
            .iter()
            .filter(|(key, prefix)| !prefix.is_empty() && key.as_str() != self_key)
            .map(|(_, prefix)| prefix.clone())
            .filter(|prefix| !before.contains(prefix))
            .collect();
        added.sort();
        added.dedup();
        let names = [before, &added].concat();
        let own = (!self_key.is_empty()).then(|| Entry::new(self_key, "", &names));
        let others = namespaces
            .iter()
            .filter(|(key, _)| !key.is_empty() && key.as_str() != self_key)
            .map(|(key, prefix)| Entry::new(key, prefix, &names));
        Keys {
            has_own: own.is_some(),
            entries: own.into_iter().chain(others).collect(),
            namespaces: names,
        }
    }

    /// The number of a namespace that comes without a key, for good; `None` for no namespace.
    pub fn number(&mut self, namespace: &str) -> Option<u16> {
        if namespace.is_empty() {
            return None;
        }
        let known = self.namespaces.iter().position(|name| name == namespace);
        let index = known.unwrap_or_else(|| {
            self.namespaces.push(namespace.to_owned());
            self.namespaces.len() - 1
        });
        u16::try_from(index).ok()
    }

    /// The distinct prefixes, in the order [`Grant::namespace`] counts them.
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Looks at every configured key whatever matched before: how long it takes says nothing about
    /// which one, or how much of it, was right.
    #[inline]
    pub fn check(&self, sent: &[u8]) -> Option<Grant<'_>> {
        // As long as a key nearly always is: without a loop over its words.
        let found = match sent.as_array::<32>() {
            Some(sent) => self.find(|key| {
                let key = key.as_array::<32>();
                key.is_some_and(|key| bool::from(same(key, sent)))
            }),
            None => self.find(|key| bool::from(same(key, sent))),
        };
        found.map(|entry| Grant {
            namespace: entry.grant,
            prefix: &entry.prefix,
        })
    }

    #[inline(always)]
    fn find(&self, is_it: impl Fn(&[u8]) -> bool) -> Option<&Entry> {
        let mut found = None;
        for entry in &self.entries {
            if is_it(entry.key.as_bytes()) {
                found = Some(entry);
            }
        }
        found
    }

    /// Whether it is the self key, which populate asks for: other keys may not make this host fetch.
    pub fn is_own(&self, sent: &[u8]) -> bool {
        let own = self.entries.first().filter(|_| self.has_own);
        own.is_some_and(|own| bool::from(same(own.key.as_bytes(), sent)))
    }

    /// Whether a configured key stands somewhere in text that is about to be echoed.
    pub fn occur_in(&self, text: &str) -> bool {
        self.entries.iter().any(|entry| text.contains(&entry.key))
    }
}

/// Looks at every byte of two texts of one length, eight at a time; the length of a key is no secret.
#[inline(always)]
fn same(key: &[u8], sent: &[u8]) -> Choice {
    if key.len() != sent.len() {
        return Choice::from(0);
    }
    let (words, rest) = key.as_chunks();
    let (sent_words, sent_rest) = sent.as_chunks();
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let words = words.iter().zip(sent_words);
    let different = words.fold(0, |all, (key, sent)| all | (word(key) ^ word(sent)));
    let rest = rest.iter().zip(sent_rest);
    let different = rest.fold(different, |all, (key, sent)| all | u64::from(key ^ sent));
    different.ct_eq(&0)
}

impl Entry {
    fn new(key: &str, namespace: &str, names: &[String]) -> Entry {
        let index = names.iter().position(|name| name == namespace);
        Entry {
            key: key.to_owned(),
            grant: index.and_then(|index| u16::try_from(index).ok()),
            prefix: match namespace {
                "" => String::new(),
                name => format!("{name}."),
            },
        }
    }
}

/// Keys never reach a log, not even through `{:?}`.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, hidden)", self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELF: &str = "0123456789abcdef0123456789abcdef";

    fn keys() -> Keys {
        let map = [
            ("k1", "warehouse-1"),
            ("k2", "a"),
            ("k3", "warehouse-1"),
            ("k4", ""),
            ("", "open"),
            (SELF, "never"),
        ];
        let map = map.map(|(key, prefix)| (key.to_owned(), prefix.to_owned()));
        Keys::new(SELF, &map.into_iter().collect())
    }

    #[test]
    fn a_key_gives_its_namespace_and_several_keys_may_share_one() {
        let keys = keys();
        assert_eq!(keys.namespaces(), ["a", "open", "warehouse-1"]);
        for key in ["k1", "k3"] {
            let grant = keys.check(key.as_bytes()).unwrap();
            assert_eq!((grant.namespace, grant.prefix), (Some(2), "warehouse-1."));
        }
        assert_eq!(keys.check(b"k2").unwrap().namespace, Some(0));
    }

    #[test]
    fn a_namespace_keeps_its_number_when_keys_are_read_again() {
        let map = [("k2", "b"), ("k5", "warehouse-1"), ("k6", "")];
        let map = map.map(|(key, prefix)| (key.to_owned(), prefix.to_owned()));
        let keys = Keys::after(keys().namespaces(), SELF, &map.into_iter().collect());
        assert_eq!(keys.namespaces(), ["a", "open", "warehouse-1", "b"]);
        let number = |key: &str| keys.check(key.as_bytes()).map(|grant| grant.namespace);
        let numbers = ["k1", "k2", "k5", "k6", SELF].map(number);
        let expected = [None, Some(Some(3)), Some(Some(2)), Some(None), Some(None)];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_key_with_one_bit_wrong_is_none_at_any_length() {
        for bytes in 1..40 {
            let key = &SELF.repeat(2)[..bytes];
            let keys = Keys::new(key, &BTreeMap::new());
            assert!(keys.check(key.as_bytes()).is_some());
            for bit in 0..8 * bytes {
                let mut sent = key.as_bytes().to_vec();
                sent[bit / 8] ^= 1 << (bit % 8);
                assert!(keys.check(&sent).is_none(), "{bytes} {bit}");
            }
        }
    }

    #[test]
    fn the_self_key_and_a_key_without_a_prefix_write_as_they_are() {
        let plain = Some(Grant {
            namespace: None,
            prefix: "",
        });
        assert_eq!(keys().check(SELF.as_bytes()), plain);
        assert_eq!(keys().check(b"k4"), plain);
    }

    #[test]
    fn only_the_self_key_is_the_own_one() {
        assert!(keys().is_own(SELF.as_bytes()));
        for sent in ["k1", "k4", "", &SELF[1..]] {
            assert!(!keys().is_own(sent.as_bytes()), "{sent}");
        }
        let map = [("k4".to_owned(), String::new())];
        assert!(!Keys::new("", &map.into()).is_own(b"k4"));
    }

    #[test]
    fn anything_else_is_no_key_and_no_key_shows_in_debug_output() {
        let keys = keys();
        for sent in ["", "k", "k11", "K1", "0123456789abcdef0123456789abcdeF"] {
            assert_eq!(keys.check(sent.as_bytes()), None, "{sent}");
        }
        assert!(!format!("{keys:?}").contains("k1"));
        assert!(keys.occur_in(&format!("x{SELF}y")) && !keys.occur_in("a.b"));
    }
}
