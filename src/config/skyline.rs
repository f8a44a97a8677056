//! A Skyline's settings → a configuration of ours, as TOML. What becomes of each setting stands in a comment;
//! what would not be taken by `flux check` is left out, and named.

mod rules;

use std::fmt::Write;

use super::Config;
use super::catalog::CATALOG;
use super::check::check;
use super::setting::{Given, Setting, quoted};
use crate::python::Value;
use crate::python::settings::{self, Settings};
use rules::{OURS, Outcome, RULES, Rule};

/// The configuration for a settings file.
pub fn from_skyline(text: &str) -> String {
    let settings = settings::read(text);
    let known = Known(&settings);
    let mut conversion = Conversion::default();
    for rule in RULES {
        if rule.names.iter().any(|name| known.line(name).is_some()) {
            conversion.apply(rule, &known);
        }
    }
    conversion.settle();
    conversion.name_the_rest(&known);
    conversion.text()
}

/// What the file assigns.
struct Known<'s>(&'s Settings);

impl Known<'_> {
    fn line(&self, name: &str) -> Option<usize> {
        let mut assigned = self.0.assigned.iter();
        let found = assigned.find(|assigned| assigned.name == name);
        found.map(|assigned| assigned.line)
    }

    /// A setting's value; `None` and an empty text are how Skyline writes that there is none.
    fn get(&self, name: &str) -> Option<&Value> {
        let mut assigned = self.0.assigned.iter();
        let found = assigned.find(|assigned| assigned.name == name)?;
        match &found.value {
            Value::None => None,
            Value::Text(text) if text.is_empty() => None,
            value => Some(value),
        }
    }

    /// Those of the names that are there, each with its line.
    fn places(&self, names: &[&str]) -> String {
        let place = |name: &&str| Some(format!("{name} (line {})", self.line(name)?));
        let places: Vec<String> = names.iter().filter_map(place).collect();
        places.join(", ")
    }
}

/// A key of ours with the value it gets.
struct Set {
    setting: &'static Setting,
    given: Given,
    from: String,
}

#[derive(Default)]
struct Conversion {
    set: Vec<Set>,
    nothing_to_set: Vec<String>,
    left_out: Vec<String>,
}

impl Conversion {
    fn apply(&mut self, rule: &Rule, known: &Known<'_>) {
        let from = known.places(rule.names);
        let mut notes = Vec::new();
        let outcome = (rule.convert)(known, &mut notes);
        let (path, noted) = (rule.path, from.clone());
        self.left_out
            .extend(notes.iter().map(|note| format!("{noted}: {note}")));
        let setting = CATALOG.iter().find(|setting| setting.path() == path);
        match (outcome, setting) {
            (Outcome::Set(given), Some(setting)) => {
                match (setting.read)(&given, &mut Config::default()) {
                    Ok(()) => self.set.push(Set {
                        setting,
                        given,
                        from,
                    }),
                    Err(wrong) => {
                        let said = setting.said(wrong, &given).join(", ");
                        self.left_out.push(format!("{from}: {path}: {said}"));
                    }
                }
            }
            (Outcome::Set(_), None) => {
                let note = format!("{from}: not in this version yet ({path})");
                self.left_out.push(note);
            }
            (Outcome::Nothing(why), _) => self.nothing_to_set.push(format!("{from}: {why}")),
            (Outcome::LeftOut(why), _) => self.left_out.push(format!("{from}: {why}")),
            (Outcome::Silent, _) => {}
        }
    }

    /// Leaves out what does not go together, until `flux check` has nothing to say.
    fn settle(&mut self) {
        loop {
            let mut config = Config::default();
            for set in &self.set {
                // It was taken before, by itself.
                let _ = (set.setting.read)(&set.given, &mut config);
            }
            let problems = check(&config, &[]);
            let Some(problem) = problems.first() else {
                return;
            };
            let named = |set: &Set| set.setting.path() == problem.path;
            let at = self.set.iter().position(named);
            let Some(at) = at.or(self.set.len().checked_sub(1)) else {
                return;
            };
            let set = self.set.remove(at);
            self.left_out.push(format!("{}: {problem}", set.from));
        }
    }

    /// No setting of ours is passed over in silence, and nothing that could not be read.
    fn name_the_rest(&mut self, known: &Known<'_>) {
        let is_ruled = |name: &str| RULES.iter().any(|rule| rule.names.contains(&name));
        let is_ours = |name: &str| OURS.iter().any(|prefix| name.starts_with(prefix));
        for assigned in &known.0.assigned {
            let (name, line) = (assigned.name.as_str(), assigned.line);
            if is_ours(name) && !is_ruled(name) {
                self.left_out
                    .push(format!("{name} (line {line}): it has no counterpart"));
            }
        }
        for left in &known.0.left_out {
            let what = match left.name.as_str() {
                "" => String::new(),
                name => format!("{name}: "),
            };
            let note = format!("line {}: {what}{}", left.line, left.why);
            self.left_out.push(note);
        }
    }

    fn text(&self) -> String {
        let mut out = format!(
            "# From a Skyline's settings, by flux {}. It holds keys: let nobody else read it (chmod 600).\n\
             # `flux check --config FILE` tests it; `flux config` explains every key.\n",
            env!("CARGO_PKG_VERSION")
        );
        let mut section = "";
        for setting in CATALOG {
            let path = setting.path();
            let Some(set) = self.set.iter().find(|set| set.setting.path() == path) else {
                continue;
            };
            if setting.section != section {
                section = setting.section;
                let _ = write!(out, "\n[{section}]\n");
            }
            let _ = writeln!(out, "# {}", set.from);
            push_key(&mut out, setting.key, &set.given);
        }
        for (heading, notes) in [
            ("Understood, and nothing to set", &self.nothing_to_set),
            ("Not taken over", &self.left_out),
        ] {
            if !notes.is_empty() {
                let _ = write!(out, "\n# {heading}:\n");
            }
            for note in notes {
                let _ = writeln!(out, "#   {note}");
            }
        }
        out
    }
}

fn push_key(out: &mut String, key: &str, given: &Given) {
    let Given::Table(members) = given else {
        let _ = writeln!(out, "{key} = {}", toml(given));
        return;
    };
    for member in members {
        // A line of its own for each key of a namespace; they are letters and digits.
        let _ = writeln!(out, "{key}.{} = {}", member.name, toml(&member.value));
    }
}

fn toml(given: &Given) -> String {
    match given {
        Given::Text(text) => quoted(text),
        Given::Whole(number) => number.to_string(),
        Given::Flag(flag) => flag.to_string(),
        Given::List(items) => {
            let items: String = items.iter().map(|i| format!("\n  {},", toml(i))).collect();
            format!("[{items}\n]")
        }
        Given::Table(members) => {
            let member = |m: &super::setting::Member| format!("{} = {}", m.name, toml(&m.value));
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Given::Other(written) => written.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Overrides, load};
    use super::*;

    fn loaded(text: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("flux.toml");
        std::fs::write(&file, text).unwrap();
        match load(Some(&file), &|_| None, &Overrides::default()) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}\n{text}"),
        }
    }

    fn converted(settings: &str) -> (Config, String) {
        let text = from_skyline(settings);
        (loaded(&text), text)
    }

    #[test]
    fn nothing_gives_the_defaults() {
        assert_eq!(converted("").0, Config::default());
    }

    #[test]
    fn ports_that_collide_with_ours_move_ours() {
        let (config, _) = converted("FLUX_PORT = 8001");
        assert_eq!(config.http.listen.len(), 1);
        assert_eq!(config.admin.listen.port(), 8002);
    }

    #[test]
    fn without_a_pickle_port_carbon_is_spoken_to_in_lines_and_without_sending_not_at_all() {
        use super::super::Protocol;
        let host = "FLUX_CARBON_HOST = 'g'\n";
        let carbon = |rest: &str| converted(&format!("{host}{rest}")).0.carbon;
        let endpoint = |port| Some(("g".to_owned(), port));
        assert_eq!(carbon("").endpoint, endpoint(2004));
        let line = carbon("FLUX_CARBON_PORT = '2003'");
        assert_eq!(
            (line.endpoint, line.protocol),
            (endpoint(2003), Protocol::Line)
        );
        let both = carbon("FLUX_CARBON_PORT = 2003\nFLUX_CARBON_PICKLE_PORT = 2014");
        assert_eq!(
            (both.endpoint, both.protocol),
            (endpoint(2014), Protocol::Pickle)
        );
        assert_eq!(carbon("FLUX_SEND_TO_CARBON = False").endpoint, None);
    }

    #[test]
    fn bad_keys_are_left_out_one_by_one_and_never_shown() {
        let own = "a".repeat(32);
        let good = "b".repeat(32);
        let (config, text) = converted(&format!(
            "FLUX_SELF_API_KEY = '{own}'\nFLUX_API_KEYS = {{\n'{own}': 'x',\n'{good}': 'w.1',\n\
             'short-sesame': 'y',\n'{}': 'no good',\n5: 'z'}}\n\
             FLUX_NAMESPACE_QUOTAS = {{'w.1': 300, 'nobody': 2, 'x': 'y'}}\n",
            "c".repeat(32)
        ));
        assert_eq!(config.keys.self_key, Some(own));
        assert_eq!(config.keys.namespaces, [(good, "w.1".to_owned())].into());
        assert_eq!(config.keys.quotas, [("w.1".to_owned(), 300)].into());
        assert!(!text.contains("sesame") && !text.contains("cccc"), "{text}");
        for line in [3, 5, 6, 7] {
            assert!(text.contains(&format!("on line {line}")), "{line}: {text}");
        }
        assert!(
            text.contains("\"nobody\"") && text.contains("\"x\""),
            "{text}"
        );
    }

    #[test]
    fn what_does_not_go_together_is_left_out_and_the_rest_stays() {
        let (config, text) = converted(
            "FLUX_CARBON_HOST = '127.0.0.1'\nFLUX_CARBON_PICKLE_PORT = 8000\nFLUX_BACKLOG = 254\n\
             FLUX_MAX_AGE = 'old'\nFLUX_IP = 'localhost'",
        );
        assert_eq!(config.carbon.endpoint, None);
        assert_eq!(config.http.backlog, 254);
        assert!(text.contains("listens on itself"), "{text}");
        assert!(text.contains("FLUX_MAX_AGE (line 4)"), "{text}");
        assert!(text.contains("FLUX_IP (line 5)"), "{text}");
    }

    #[test]
    fn a_redis_password_may_hold_anything() {
        let (config, text) =
            converted("REDIS_SOCKET_PATH = '/tmp/r s.sock'\nREDIS_PASSWORD = 'a&b=c%41 d+é'");
        let expected = "password: Some(\"a&b=c%41 d+é\")";
        let super::super::LastStore::Redis { password, .. } = &config.last.store else {
            panic!("{text}");
        };
        assert_eq!(format!("password: {password:?}"), expected);
    }
}
