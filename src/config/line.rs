//! The keys of `[line]`, for the [`catalog`](super::catalog).

use super::endpoint::listen_text;
use super::reader::{listeners, prefix_fault};
use super::setting::{Kind, Setting, Shown, Wrong, quoted, whole};

pub const LISTEN: Setting = Setting {
    section: "line",
    key: "listen",
    help: "Where carbon's line protocol comes in: one address or several; an IP address with a port, or unix:/path.",
    why: "off: it asks for no key, so whoever reaches it may write; keep it on this host.",
    kind: Kind::Other {
        expected: "an IP address with a port, unix:/path, or a list of them",
        example: "\"127.0.0.1:2003\"",
    },
    secret: false,
    read: |given, config| {
        config.line.listen = listeners(given)?;
        Ok(())
    },
    show: |config| {
        let texts = config.line.listen.iter().map(|l| quoted(&listen_text(l)));
        match texts.collect::<Vec<_>>().as_slice() {
            [] => Shown::Unset,
            [one] => Shown::Value(one.clone()),
            several => Shown::Value(format!("[{}]", several.join(", "))),
        }
    },
};

pub const NAMESPACE: Setting = Setting {
    section: "line",
    key: "namespace",
    help: "The prefix of metrics that come in lines, in place of a key's; \"\" for none.",
    why: "as they are sent, which is what carbon does.",
    kind: Kind::Other {
        expected: "a prefix",
        example: "\"hosts\"",
    },
    secret: false,
    read: |given, config| {
        let prefix = given.text()?;
        if let Some(fault) = prefix_fault(prefix) {
            return Err(Wrong::Said(format!("{} {fault}", quoted(prefix))));
        }
        config.line.namespace = prefix.to_owned();
        Ok(())
    },
    show: |config| Shown::Value(quoted(&config.line.namespace)),
};

pub const LINE_BYTES_MAX: Setting = whole!(
    line.line_bytes_max,
    256..=65_536,
    "Bytes of one line; a longer one is passed over and counted.",
    "twice the longest path that Graphite can store."
);

pub const IDLE_DEADLINE_MS: Setting = whole!(
    line.idle_deadline_ms,
    100..=86_400_000,
    "Milliseconds a connection that sends lines may be silent before it is closed, in the middle of a line too.",
    "an hour: senders are silent for minutes and lose what they write into a closed connection; one whose host has gone is silent for ever."
);
