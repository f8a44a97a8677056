//! The keys of `[populate]`, for the [`catalog`](super::catalog), and the two kinds of text only they have:
//! an address to ask and a host that may be asked.

use url::{Host, Url};

use super::reader::{path, path_text};
use super::setting::{Given, Kind, Setting, Shown, Wrong, flag, quoted, whole};

/// A host that jobs may fetch from; without a port, any port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// As URLs are normalised: lower case, IDNA, an IPv6 address without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl AllowedHost {
    pub fn parse(text: &str) -> Result<AllowedHost, String> {
        let wrong = || format!("{} is not a host, nor host:port", quoted(text));
        let bracketed = text.rsplit_once(']').map_or(text, |(_, after)| after);
        let (host, port) = match bracketed.rsplit_once(':') {
            None => (text, None),
            Some((_, port)) => {
                let number = port.parse::<u16>().ok().filter(|port| *port > 0);
                let host = &text[..text.len() - port.len() - 1];
                (host, Some(number.ok_or_else(wrong)?))
            }
        };
        let parsed = Host::parse(host).map_err(|_| wrong())?;
        Ok(AllowedHost {
            host: bare(&parsed),
            port,
        })
    }

    fn text(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        self.port
            .map_or(host.clone(), |port| format!("{host}:{port}"))
    }
}

/// A host as it is compared: an IPv6 address without its brackets.
pub fn bare<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    }
}

/// `http://host[:port]/render`, without a slash at its end.
fn render_address(text: &str) -> Result<String, String> {
    let wrong = |what: &str| Err(format!("{} {what}", quoted(text)));
    let Ok(url) = Url::parse(text) else {
        return wrong("is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("does not start with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it holds a password.
        return Err("a user and password are not in this version yet".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("has a ? or #; the query is added");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn hosts(given: &Given) -> Result<Vec<AllowedHost>, Wrong> {
    let Given::List(items) = given else {
        return Err(Wrong::Kind);
    };
    let one = |item: &Given| AllowedHost::parse(item.text()?).map_err(Wrong::Said);
    items.iter().map(one).collect()
}

pub const GRAPHITE: Setting = Setting {
    section: "populate",
    key: "graphite",
    help: "Graphite's render API, asked for the last timestamp of a metric that the last store does not know: http://host[:port]/render.",
    why: "without it such a metric counts as new, and its whole history is fetched and sent.",
    kind: Kind::Other {
        expected: "an address that starts with http:// or https://",
        example: "\"http://graphite.example/render\"",
    },
    secret: true,
    read: |given, config| {
        let address = render_address(given.text()?).map_err(Wrong::Said)?;
        config.populate.graphite = Some(address);
        Ok(())
    },
    show: |config| match &config.populate.graphite {
        Some(address) => Shown::Value(quoted(address)),
        None => Shown::Unset,
    },
};

pub const CONCURRENCY: Setting = whole!(
    populate.concurrency,
    1..=64,
    "Jobs that run at the same time, never two of one metric; each has a thread and up to response_bytes_max in memory.",
    "a slow remote holds up only its own jobs, and a few are enough to keep one core busy."
);

pub const CONNECT_TIMEOUT_MS: Setting = whole!(
    populate.connect_timeout_ms,
    100..=600_000,
    "Milliseconds to connect to a remote, its TLS handshake included; as long again to resolve its name.",
    "Skyline's 5 seconds."
);

pub const READ_TIMEOUT_MS: Setting = whole!(
    populate.read_timeout_ms,
    100..=600_000,
    "Milliseconds a remote may be silent before and within its answer.",
    "Skyline's 10 seconds."
);

pub const TOTAL_TIMEOUT_MS: Setting = whole!(
    populate.total_timeout_ms,
    100..=3_600_000,
    "Milliseconds one fetch may take from its start to its last byte, redirects included.",
    "90 days of a point a minute are under 3 MB; this ends a remote that drips bytes."
);

pub const RESPONSE_BYTES_MAX: Setting = whole!(
    populate.response_bytes_max,
    65_536..=1_073_741_824,
    "Bytes of one answer, inflated; a larger one is given up and counted.",
    "three million points in Graphite's form: 90 days at a point in three seconds."
);

pub const CA_FILE: Setting = Setting {
    section: "populate",
    key: "ca_file",
    help: "A PEM file with the authorities that https remotes are checked against, in place of Mozilla's list.",
    why: "for remotes with a private authority; the system's own list is /etc/ssl/certs/ca-certificates.crt on Debian.",
    kind: Kind::Other {
        expected: "a path",
        example: "\"/etc/ssl/certs/ca-certificates.crt\"",
    },
    secret: false,
    read: |given, config| {
        config.populate.ca_file = Some(path(given)?);
        Ok(())
    },
    show: |config| match &config.populate.ca_file {
        Some(path) => Shown::Value(path_text(path)),
        None => Shown::Unset,
    },
};

pub const JOBS_MAX: Setting = whole!(
    populate.jobs_max,
    1..=1_000_000,
    "Jobs accepted and not yet done (429 above); all together take at most 64 MiB.",
    "Vista posts one job for each new metric, and most are about 1 KB."
);

pub const SUBMIT_CURRENT_MINUTE: Setting = flag!(
    populate.submit_current_minute,
    "Whether points of the minute that has not ended are sent too.",
    "VISTA_DO_NOT_SUBMIT_CURRENT_MINUTE's default (its opposite): the mean of a minute needs the whole of it."
);

pub const RESAMPLE_SECONDS: Setting = whole!(
    populate.resample_seconds,
    1..=86_400,
    "Seconds whose points become one, their mean, at the start of these seconds.",
    "Skyline's minute."
);

pub const POINTS_PER_SECOND_MAX: Setting = whole!(
    populate.points_per_second_max,
    100..=100_000_000,
    "Points of all jobs together handed over in a second; a job that is ahead waits.",
    "a carbon-cache takes 150,000 a second, live ones included; 90 days at a point a minute take 1.3 seconds."
);

pub const ALLOWED_HOSTS: Setting = Setting {
    section: "populate",
    key: "allowed_hosts",
    help: "Hosts that jobs may fetch from, each with or without a port, redirects included; empty: any host.",
    why: "whoever holds the service's own key chooses what is fetched; name your remotes where this host reaches more than they should.",
    kind: Kind::Other {
        expected: "a list of hosts",
        example: "[\"graphite.example\", \"prometheus.example:9090\"]",
    },
    secret: false,
    read: |given, config| {
        config.populate.allowed_hosts = hosts(given)?;
        Ok(())
    },
    show: |config| {
        let hosts = config.populate.allowed_hosts.iter();
        let texts: Vec<String> = hosts.map(|host| quoted(&host.text())).collect();
        Shown::Value(format!("[{}]", texts.join(", ")))
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_taken_as_urls_normalise_it_and_shown_so_that_it_is_read_back() {
        for (text, host, port) in [
            ("Graphite.Example", "graphite.example", None),
            ("graphite.example:8080", "graphite.example", Some(8080)),
            ("10.0.0.1:9090", "10.0.0.1", Some(9090)),
            ("[::1]", "::1", None),
            ("[FE80::1]:443", "fe80::1", Some(443)),
            ("bücher.example", "xn--bcher-kva.example", None),
        ] {
            let read = AllowedHost::parse(text).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port), "{text}");
            assert_eq!(AllowedHost::parse(&read.text()), Ok(read));
        }
        for text in ["", ":80", "a:0", "a:b", "http://a", "a/b", "::1", "a b"] {
            assert!(AllowedHost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_render_address_is_one_to_which_a_query_can_be_added() {
        for text in ["http://g/render", "http://g/render/"] {
            assert_eq!(render_address(text), Ok("http://g/render".into()));
        }
        assert_eq!(
            render_address("https://g:8443/"),
            Ok("https://g:8443".into())
        );
        for text in [
            "g/render",
            "ftp://g/render",
            "http://g/render?x=1",
            "http://g/#a",
            "http://",
        ] {
            assert!(render_address(text).is_err(), "{text}");
        }
        let said = render_address("http://me:sesame@g/render").unwrap_err();
        assert!(!said.contains("sesame"));
    }
}
