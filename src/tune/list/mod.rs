//! The list, by what a setting is about: [`service`] holds what a start requires, [`network`] and [`machine`] what
//! makes it fast. A new setting is one more entry there; the table in docs/tuning.md is made from it.

mod machine;
mod network;
mod service;

use super::{Item, Judged, Kind, Severity, Side, Status};

/// In the order in which they are shown, and in which a start is refused.
pub fn all() -> impl Iterator<Item = &'static Item> {
    service::ITEMS
        .iter()
        .chain(network::ITEMS)
        .chain(machine::ITEMS)
}

/// What most entries have in common.
const ITEM: Item = Item {
    id: "",
    reads: &[],
    kind: Kind::Report(|_, _| Judged {
        current: String::new(),
        required: String::new(),
        status: Status::Unknown,
        because: None,
    }),
    severity: Severity::Note,
    need: None,
    offered: None,
    applies: None,
    side: Side::Service,
    reboot: false,
    why: "",
    when: "",
    risk: "",
    source: "",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete_and_said_in_one_sentence() {
        let mut ids: Vec<&str> = Vec::new();
        for item in all() {
            assert!(!ids.contains(&item.id), "{} is there twice", item.id);
            ids.push(item.id);
            assert!(!item.reads.is_empty(), "{} reads nothing", item.id);
            for text in [item.why, item.when, item.risk, item.source] {
                assert!(!text.is_empty(), "{} leaves something open", item.id);
                assert!(!text.ends_with('.') && !text.contains(". "), "{text}");
                assert!(!text.contains('|') && !text.contains('\n'), "{text}");
            }
            let required = item.severity == Severity::Required;
            assert_eq!(item.need.is_some(), required, "{}", item.id);
            if let Some(applies) = item.applies {
                assert_eq!(applies.shell.is_empty(), !item.kind.is_written());
            }
        }
        let needs: Vec<&str> = all().filter(|i| i.need.is_some()).map(|i| i.id).collect();
        let all_needs = [
            "kernel",
            "io_uring_disabled",
            "seccomp",
            "memlock",
            "nofile",
        ];
        assert_eq!(needs, all_needs);
    }
}
