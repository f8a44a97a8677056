//! An address to ask: checked once, so that what is compared with `allowed_hosts` is what is connected to.
//!
//! The authority is normalised by the one parser and written out anew; path and query keep their text, with
//! what may not stand in a request percent-encoded as Python's requests does it: brackets and blanks are
//! encoded, `( ) * , : /` stay.

use std::fmt;

use url::{Host, Url};

use crate::config::populate::{AllowedHost, bare};

/// Longest URL of a job. Graphite's targets can be long; the servers in front of it take 4 to 8 KiB.
pub const URL_BYTES_MAX: usize = 8192;

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it does not start with http:// or https://")]
    Scheme,
    #[error("its host cannot be read")]
    Host,
    #[error("it is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: String,
    host: String,
    port: u16,
    /// Scheme, host and path: what may be shown.
    shown: String,
}

impl Address {
    pub fn parse(text: &str) -> Result<Address, Unusable> {
        let (scheme, rest) = text
            .trim_start()
            .split_once("://")
            .ok_or(Unusable::Scheme)?;
        let scheme = match () {
            () if scheme.eq_ignore_ascii_case("http") => "http",
            () if scheme.eq_ignore_ascii_case("https") => "https",
            () => return Err(Unusable::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // The rest of ASCII is where parsers differ about where an authority ends.
        let plain = |c: char| {
            !c.is_ascii() || c.is_ascii_alphanumeric() || ":@[]-._~%!$&'()*+,;=".contains(c)
        };
        if !authority.chars().all(plain) {
            return Err(Unusable::Host);
        }
        let base = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| Unusable::Host)?;
        let host = base.host().ok_or(Unusable::Host)?;
        // A host is decoded: what could not stand there as it is may not come in as %22 either.
        if !bare(&host).chars().all(plain) {
            return Err(Unusable::Host);
        }
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let mut tail = String::from(if path.is_empty() { "/" } else { "" });
        encode(path, &mut tail);
        let mut shown = format!("{scheme}://{}", named(&host, base.port()));
        shown.push_str(&tail);
        encode(query, &mut tail);
        Ok(Address {
            url: format!("{}{tail}", base.as_str().trim_end_matches('/')),
            host: bare(&host),
            port: base.port_or_known_default().ok_or(Unusable::Host)?,
            shown,
        })
    }

    /// Where a redirect leads.
    pub fn join(&self, location: &str) -> Result<Address, Unusable> {
        let base = Url::parse(&self.url).map_err(|_| Unusable::Host)?;
        let url = base.join(location).map_err(|_| Unusable::Host)?;
        Address::parse(url.as_str())
    }

    /// What is asked for; it may hold a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn same_place(&self, other: &Address) -> bool {
        self.host == other.host && self.port == other.port
    }
}

fn named(host: &Host<&str>, port: Option<u16>) -> String {
    port.map_or(host.to_string(), |port| format!("{host}:{port}"))
}

/// Without user, password and query, which may hold secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.shown)
    }
}

/// Which hosts may be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosts(pub Vec<AllowedHost>);

impl Hosts {
    /// Empty allows all.
    pub fn allow(&self, address: &Address) -> bool {
        let matches = |allowed: &AllowedHost| {
            allowed.host == address.host && allowed.port.is_none_or(|port| port == address.port)
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Percent-encodes what may not stand in a path or a query. Escapes that are there stay; where one `%` is no
/// escape none is, and all of them are encoded.
pub fn encode(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let escape = |at: usize| {
        let hex = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16));
        Some((hex(at + 1)? * 16 + hex(at + 2)?) as u8)
    };
    let escaped = memchr::memchr_iter(b'%', bytes).all(|at| escape(at).is_some());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' if escaped => {
                let byte = escape(at - 1).unwrap_or(b'%');
                push(byte, is_unreserved(byte), out);
                at += 2;
            }
            _ => push(
                byte,
                is_unreserved(byte) || b"!$&'()*+,;=:@/?".contains(&byte),
                out,
            ),
        }
    }
}

/// A parameter's value: everything but what means nothing anywhere is encoded, `/` and `:` excepted.
pub fn encode_value(text: &str, out: &mut String) {
    for &byte in text.as_bytes() {
        push(byte, is_unreserved(byte) || b"/:".contains(&byte), out);
    }
}

fn push(byte: u8, plain: bool, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if plain {
        out.push(byte as char);
    } else {
        let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        out.extend(['%', digits[0] as char, digits[1] as char]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> String {
        Address::parse(text)
            .unwrap_or_else(|why| panic!("{text}: {why}"))
            .url
    }

    #[test]
    fn a_url_goes_out_as_pythons_requests_sends_it() {
        for (text, sent) in [
            (
                "http://p:9090/api/v1/query?query=x%7Ba%3D%22b%22%7D[15d]",
                "http://p:9090/api/v1/query?query=x%7Ba%3D%22b%22%7D%5B15d%5D",
            ),
            (
                "https://g/render/?target=sumSeries(a.*.{b,c},'d e')&from=-6hours",
                "https://g/render/?target=sumSeries(a.*.%7Bb,c%7D,'d%20e')&from=-6hours",
            ),
            (
                "http://g/?a=\"b\"|c^d`e\\f<g>",
                "http://g/?a=%22b%22%7Cc%5Ed%60e%5Cf%3Cg%3E",
            ),
            ("http://g/?a=é%c3%a9\n", "http://g/?a=%C3%A9%C3%A9%0A"),
            ("http://g/?a=%41%2d%2F", "http://g/?a=A-%2F"),
            ("http://g/?a=50%&b=%2F", "http://g/?a=50%25&b=%252F"),
            ("HTTP://G.Example:80", "http://g.example/"),
            ("http://g?a=1#f", "http://g/?a=1"),
            (
                " https://me:pa%20ss@g:8443/x",
                "https://me:pa%20ss@g:8443/x",
            ),
            ("http://[FE80::1]:81/?a=//b", "http://[fe80::1]:81/?a=//b"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
        ] {
            assert_eq!(url(text), sent, "{text}");
        }
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for text in [
            "",
            "a",
            "ftp://g/",
            "file:///etc/passwd",
            "//g/",
            "http:/g",
            "javascript:x",
            "gopher://g",
        ] {
            assert_eq!(Address::parse(text), Err(Unusable::Scheme), "{text}");
        }
        for text in [
            "http://",
            "http:///x",
            "http://a b/",
            "http://a\\@b/",
            "http://a:x/",
            "http://[::1/",
            "http://a\tb/",
            "http://a:99999/",
            "http://?x",
            "http://\u{0}/",
        ] {
            assert_eq!(Address::parse(text), Err(Unusable::Host), "{text:?}");
        }
    }

    #[test]
    fn only_a_named_host_and_port_is_allowed_and_nothing_named_allows_all() {
        let hosts = Hosts(
            ["g.example", "p.example:9090", "[::1]"]
                .map(|text| AllowedHost::parse(text).unwrap())
                .into(),
        );
        let allowed = |text: &str| hosts.allow(&Address::parse(text).unwrap());
        for text in [
            "http://g.example/",
            "https://G.EXAMPLE:8443/?x",
            "http://p.example:9090/",
            "http://[0:0::1]/",
            "http://me:pw@g.example/",
        ] {
            assert!(allowed(text), "{text}");
        }
        for text in [
            "http://h.example/",
            "http://g.example.evil/",
            "http://g.example@evil/",
            "http://p.example/",
            "https://p.example/",
            "http://evil/g.example",
            "http://evil?g.example",
        ] {
            assert!(!allowed(text), "{text}");
        }
        assert!(Hosts::default().allow(&Address::parse("http://any/").unwrap()));
    }

    #[test]
    fn a_redirect_is_resolved_against_where_it_came_from_and_takes_no_password_along() {
        let from = Address::parse("http://me:pw@g/a/b?c=[d]").unwrap();
        for (location, to) in [
            ("/x?y", "http://me:pw@g/x?y"),
            ("e", "http://me:pw@g/a/e"),
            ("//h/x", "http://h/x"),
            ("https://h:1/", "https://h:1/"),
        ] {
            assert_eq!(from.join(location).unwrap().url, to, "{location}");
        }
        assert_eq!(from.join("ftp://h/"), Err(Unusable::Scheme));
    }

    #[test]
    fn what_is_shown_of_it_holds_no_secret() {
        let address = Address::parse("http://me:sesame@g:81/render?token=sesame").unwrap();
        for shown in [address.to_string(), format!("{address:?}")] {
            assert!(
                shown.contains("http://g:81/render") && !shown.contains("sesame"),
                "{shown}"
            );
        }
    }

    proptest! {
        /// Where the connection goes is what was compared: the client's parser must agree.
        #[test]
        fn what_was_checked_is_what_another_parser_reads(text in "http://[a-c.@:\\[\\]%\\\\é/?#0-9 ]{0,20}") {
            if let Ok(address) = Address::parse(&text) {
                let uri: ureq::http::Uri = address.url.parse().expect("it was normalised");
                let host = uri.host().expect("it has one").trim_matches(['[', ']']);
                prop_assert_eq!(host, &address.host);
                let port = uri.port_u16().unwrap_or(80);
                prop_assert_eq!(port, address.port);
            }
        }

        #[test]
        fn what_goes_out_is_read_as_itself(text in "http://[a-c@:%]{1,6}[/?%0-9A-Fa-f=+ é\\[#]{0,20}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.url), Ok(address));
            }
        }
    }
}
