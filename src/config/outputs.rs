//! The keys of what goes out beside carbon and the last store.

use super::endpoint::{host_port, host_port_text};
use super::setting::{Kind, Setting, Shown, Wrong, flag, quoted, whole};

pub const STATSD_ENDPOINT: Setting = Setting {
    section: "statsd",
    key: "endpoint",
    help: "A statsd, host:port: each accepted point is sent to it once as a counter, over UDP.",
    why: "FLUX_SEND_TO_STATSD's default: off.",
    kind: Kind::Other {
        expected: "a host and a port",
        example: "\"statsd.example:8125\"",
    },
    secret: false,
    read: |given, config| {
        config.statsd.endpoint = Some(host_port(given.text()?).map_err(Wrong::Said)?);
        Ok(())
    },
    show: |config| match &config.statsd.endpoint {
        Some((host, port)) => Shown::Value(quoted(&host_port_text(host, *port))),
        None => Shown::Unset,
    },
};

pub const STATSD_DATAGRAM_BYTES_MAX: Setting = whole!(
    statsd.datagram_bytes_max,
    512..=65_507,
    "Bytes of a datagram to statsd; only a single longer line goes alone in a larger one.",
    "below an Ethernet's MTU of 1,500 with room for IP, UDP and a tunnel, so that none is fragmented."
);

pub const METRICS_SENT: Setting = flag!(
    skyline.metrics_sent,
    "Whether the set flux.workers.metrics_sent is kept, each minute's names, and the minute before as aet.flux.workers.metrics_sent; needs Redis.",
    "it costs a command per thousand metrics, and only Skyline's Thunder and metrics manager look at it."
);

pub const FILLED_METRICS: Setting = flag!(
    skyline.filled_metrics,
    "Whether metrics that are back-filled are noted in the hash flux.filled_metrics, for Skyline's Analyzer to sort and de-duplicate; needs Redis.",
    "IDENTIFY_AIRGAPS' default."
);

pub const FULL_DURATION_SECONDS: Setting = whole!(
    skyline.full_duration_seconds,
    1..=31_536_000,
    "The expiry written into flux.filled_metrics, in seconds.",
    "FULL_DURATION's default."
);

pub const TO_CARBON: Setting = flag!(
    telemetry.to_carbon,
    "Whether the service's own series, skyline.flux.<host>.…, are sent to carbon; only with carbon.endpoint.",
    "Skyline's dashboards draw them."
);

pub const HOST_NAME: Setting = Setting {
    section: "telemetry",
    key: "host_name",
    help: "The <host> in the names of the service's own series; \"\" for none.",
    why: "the kernel's host name, its dots as _; SERVER_METRICS_NAME goes here.",
    kind: Kind::Other {
        expected: "letters, digits, - _ and single dots",
        example: "\"skyline-1\"",
    },
    secret: false,
    read: |given, config| {
        let text = given.text()?;
        if !is_host_name(text) {
            return Err(Wrong::Kind);
        }
        config.telemetry.host_name = Some(text.to_owned());
        Ok(())
    },
    show: |config| match &config.telemetry.host_name {
        Some(name) => Shown::Value(quoted(name)),
        None => Shown::Unset,
    },
};

pub const INTERVAL_SECONDS: Setting = whole!(
    telemetry.interval_seconds,
    1..=3_600,
    "Seconds between two points of the service's own series.",
    "Skyline's minute, and the usual resolution of its Graphite."
);

/// Part of a metric's name, so one that makes no empty element.
fn is_host_name(text: &str) -> bool {
    /// As much as the kernel's may have.
    const HOST_NAME_BYTES_MAX: usize = 64;
    let element = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !part.is_empty() && part.chars().all(allowed)
    };
    text.is_empty() || (text.len() <= HOST_NAME_BYTES_MAX && text.split('.').all(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_makes_no_empty_element_and_no_second_metric() {
        for good in ["", "a", "web-01", "web_01.example.org"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in [
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "café",
            "a\nb",
            &"a".repeat(65),
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
