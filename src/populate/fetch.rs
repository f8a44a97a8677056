//! Fetches one answer over http or https. An edge: it connects, waits and reads a clock; how many at a time
//! is the caller's business, one thread for each.
//!
//! Every wait has a deadline and every size a bound. Redirects are followed here and not by the client, so
//! that each host on the way is checked. No proxy is used, whatever the environment says: what may be
//! reached is what `allowed_hosts` says.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ureq::http::header::LOCATION;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error, http};

use super::address::{Address, Hosts};
use super::cause::Cause;
use super::work::Ask;
use crate::config;

/// A request that is sent on and on is going in a circle.
const REDIRECTS_MAX: usize = 5;
/// A response's head: what servers send at their worst.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// An idle connection is kept this long, for the next URL of the same job.
const IDLE_SECONDS: u64 = 15;
/// What a body's buffer starts with, and grows by while it is small.
const BODY_BYTES: usize = 64 * 1024;

/// Why there is no answer: the cause to count, and words for a log. They hold nothing of the URL.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{cause} ({detail})")]
pub struct Failure {
    pub cause: Cause,
    pub detail: String,
}

impl Failure {
    fn new(cause: Cause, detail: impl Into<String>) -> Failure {
        let detail = detail.into();
        Failure { cause, detail }
    }
}

/// `populate.ca_file` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("populate.ca_file: {path} {what}; name a PEM file with certificates", path = path.display())]
pub struct CaFile {
    path: PathBuf,
    what: String,
}

/// Cheap to clone; clones share their idle connections.
#[derive(Clone)]
pub struct Fetcher {
    agent: Agent,
    hosts: Hosts,
    total: Duration,
    response_bytes_max: usize,
}

impl Fetcher {
    pub fn new(settings: &config::Populate) -> Result<Fetcher, CaFile> {
        let millis = |ms: u32| Duration::from_millis(ms.into());
        let connect = Some(millis(settings.connect_timeout_ms));
        let silence = Some(millis(settings.read_timeout_ms));
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.ca_file {
            tls = tls.root_certs(authorities(path)?);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("skyline-flux/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(connect)
            .timeout_connect(connect)
            .timeout_per_read(silence)
            .timeout_per_write(silence)
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(settings.concurrency)
            .max_idle_connections_per_host(settings.concurrency)
            .max_idle_age(Duration::from_secs(IDLE_SECONDS))
            .tls_config(tls.build())
            .build();
        Ok(Fetcher {
            agent: Agent::new_with_config(config),
            hosts: Hosts(settings.allowed_hosts.clone()),
            total: millis(settings.total_timeout_ms),
            response_bytes_max: settings.response_bytes_max,
        })
    }

    /// The body of a 200, inflated. Blocks for `total_timeout_ms` at most.
    pub fn get(&self, ask: &Ask) -> Result<Vec<u8>, Failure> {
        let end = Instant::now() + self.total;
        let mut address = ask.address.clone();
        for _ in 0..=REDIRECTS_MAX {
            let is_local = ask.local && address.same_place(&ask.address);
            if !is_local && !self.hosts.allow(&address) {
                return Err(Failure::new(Cause::HostNotAllowed, address.host()));
            }
            let response = self.ask(&address, end).map_err(|why| failure(&why))?;
            match response.status().as_u16() {
                200 => return self.body(response),
                301 | 302 | 303 | 307 | 308 => address = target(&address, &response)?,
                status => return Err(Failure::new(Cause::Status, status.to_string())),
            }
        }
        let detail = format!("more than {REDIRECTS_MAX} redirects");
        Err(Failure::new(Cause::Redirect, detail))
    }

    fn ask(&self, address: &Address, end: Instant) -> Result<http::Response<Body>, Error> {
        let left = end.saturating_duration_since(Instant::now());
        let request = self.agent.get(address.url()).config();
        request.timeout_global(Some(left)).build().call()
    }

    fn body(&self, mut response: http::Response<Body>) -> Result<Vec<u8>, Failure> {
        let most = self.response_bytes_max;
        let too_large = || Failure::new(Cause::TooLarge, format!("more than {most} bytes"));
        let announced = response.body().content_length();
        if announced.is_some_and(|length| length > most as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let mut reader = response.body_mut().as_reader();
        loop {
            let read = body.len();
            if read > most {
                return Err(too_large());
            }
            // Grows as fast as the body comes, and no further than its bound and one byte.
            let room = read.clamp(BODY_BYTES, 16 * BODY_BYTES).min(most + 1 - read);
            body.resize(read + room, 0);
            match reader.read(&mut body[read..]) {
                Ok(0) => {
                    body.truncate(read);
                    return Ok(body);
                }
                Ok(count) => body.truncate(read + count),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => body.truncate(read),
                Err(why) => return Err(failure(&Error::from(why))),
            }
        }
    }
}

fn authorities(path: &Path) -> Result<RootCerts, CaFile> {
    let said = |what: String| CaFile {
        path: path.to_owned(),
        what,
    };
    let pem = std::fs::read(path).map_err(|why| said(format!("cannot be read ({why})")))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(why) => return Err(said(format!("is not PEM ({why})"))),
        }
    }
    if certificates.is_empty() {
        return Err(said("holds no certificate".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn target(from: &Address, response: &http::Response<Body>) -> Result<Address, Failure> {
    let nowhere = |why: &str| Failure::new(Cause::Redirect, why);
    let location = response.headers().get(LOCATION);
    let location = location.ok_or_else(|| nowhere("no Location"))?;
    let location = location
        .to_str()
        .map_err(|_| nowhere("an unreadable Location"))?;
    from.join(location).map_err(|why| nowhere(&why.to_string()))
}

fn failure(why: &Error) -> Failure {
    let cause = match why {
        Error::Timeout(_) => Cause::Timeout,
        Error::HostNotFound | Error::ConnectionFailed => Cause::Refused,
        Error::Tls(_) | Error::Pem(_) | Error::Rustls(_) | Error::TlsRequired => Cause::Tls,
        Error::BodyExceedsLimit(_) => Cause::TooLarge,
        Error::Io(why) => match why.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Cause::Timeout,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => Cause::Lost,
            // How rustls says that it does not trust the peer, or cannot read it.
            io::ErrorKind::InvalidData => Cause::Tls,
            _ => Cause::Refused,
        },
        Error::Protocol(_)
        | Error::Decompress(..)
        | Error::LargeResponseHeader(..)
        | Error::Http(_)
        | Error::BadUri(_)
        | Error::BodyStalled => Cause::Decode,
        _ => Cause::Lost,
    };
    let detail = match why {
        // It repeats the URL.
        Error::BadUri(_) => "not a URL".to_owned(),
        _ => why.to_string(),
    };
    Failure::new(cause, detail)
}

#[cfg(test)]
#[path = "tests/fetch.rs"]
mod tests;
