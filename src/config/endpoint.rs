//! Addresses as people write them: where to listen, `host:port`, and the last store's URL.
//! Pure; a message never repeats a URL's user or password.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use url::Url;

use super::{LastStore, Listen, RedisAt};

/// Linux: `sun_path` holds 108 bytes with its closing zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

const REDIS_PORT: u16 = 6379;

/// `127.0.0.1:8000`, `[::1]:8000` or `unix:/run/flux.sock`. Names are not resolved: what a listener
/// is bound to must not depend on a name server.
pub fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(Listen::Unix);
    }
    text.parse::<SocketAddr>()
        .map(Listen::Tcp)
        .map_err(|_| format!("\"{text}\" is not an IP address and a port, nor unix:/path"))
}

pub fn listen_text(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err("a unix socket needs an absolute path".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "a unix socket's path has at most {UNIX_PATH_BYTES_MAX} bytes, this one {}",
            path.len()
        ));
    }
    Ok(PathBuf::from(path))
}

/// `graphite.example:2004` or `[::1]:2004`; the host comes back without brackets.
pub fn host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("\"{text}\" has no port"))?;
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => return Err(format!("\"{port}\" is not a port from 1 to 65535")),
    };
    let bare = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inside) => {
            inside
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| format!("\"{host}\" is not an IPv6 address"))?;
            inside
        }
        None if host.contains(':') => {
            return Err(format!(
                "an IPv6 address stands in brackets: [{host}]:{port}"
            ));
        }
        None => host,
    };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host == bare && (bare.is_empty() || !bare.chars().all(named)) {
        return Err(format!("\"{host}\" is not a host name"));
    }
    Ok((bare.to_owned(), port))
}

pub fn host_port_text(host: &str, port: u16) -> String {
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// `embedded`, `redis://[user:password@]host[:port][/db]` or
/// `redis+unix:///path[?db=N&username=…&password=…]`.
pub fn last_store(text: &str) -> Result<LastStore, String> {
    if text == "embedded" {
        return Ok(LastStore::Embedded);
    }
    if text.starts_with("rediss://") {
        return Err("Redis over TLS is not in this version yet".to_owned());
    }
    let url = Url::parse(text).map_err(|why| format!("it is not a URL ({why})"))?;
    match url.scheme() {
        "redis" => redis_tcp(&url),
        "redis+unix" => redis_unix(&url),
        _ => Err("it is not \"embedded\", redis://… or redis+unix://…".to_owned()),
    }
}

fn redis_tcp(url: &Url) -> Result<LastStore, String> {
    if url.query().is_some() || url.fragment().is_some() {
        return Err("redis:// takes no ?query and no #fragment".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let (host, port) = host_port(&format!("{host}:{}", url.port().unwrap_or(REDIS_PORT)))?;
    let database = match url.path().trim_start_matches('/') {
        "" => 0,
        number => database(number)?,
    };
    Ok(LastStore::Redis {
        at: RedisAt::Tcp(host, port),
        username: some(percent_decoded(url.username())?),
        password: some(percent_decoded(url.password().unwrap_or_default())?),
        database,
    })
}

fn redis_unix(url: &Url) -> Result<LastStore, String> {
    let (mut username, mut password, mut number) = (None, None, 0);
    if url.has_host() && url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err("redis+unix takes three slashes and a path: redis+unix:///path".to_owned());
    }
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => number = database(&value)?,
            "username" => username = some(value.into_owned()),
            "password" => password = some(value.into_owned()),
            _ => return Err("after ? it takes db, username and password only".to_owned()),
        }
    }
    Ok(LastStore::Redis {
        at: RedisAt::Unix(unix_path(&percent_decoded(url.path())?)?),
        username,
        password,
        database: number,
    })
}

fn database(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| "the database is not a whole number".to_owned())
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let hex = |digit: Option<&u8>| digit.and_then(|d| (*d as char).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            decoded.push(byte);
            at += 1;
            continue;
        }
        let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) else {
            return Err("a % is not followed by two hexadecimal digits".to_owned());
        };
        decoded.push((high * 16 + low) as u8);
        at += 3;
    }
    String::from_utf8(decoded).map_err(|_| "a %xx escape is not UTF-8".to_owned())
}

/// The store as text, and whether something in it was hidden.
pub fn last_store_text(store: &LastStore) -> (String, bool) {
    let LastStore::Redis {
        at,
        username,
        password,
        database,
    } = store
    else {
        return ("embedded".to_owned(), false);
    };
    let hidden = username.is_some() || password.is_some();
    let text = match at {
        RedisAt::Tcp(host, port) => {
            let user = if hidden { "(hidden)@" } else { "" };
            format!("redis://{user}{}/{database}", host_port_text(host, *port))
        }
        RedisAt::Unix(path) => {
            let user = if hidden { "&password=(hidden)" } else { "" };
            format!("redis+unix://{}?db={database}{user}", path.display())
        }
    };
    (text, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(at: RedisAt, username: &str, password: &str, database: u32) -> LastStore {
        LastStore::Redis {
            at,
            username: some(username.to_owned()),
            password: some(password.to_owned()),
            database,
        }
    }

    #[test]
    fn a_listen_address_is_an_ip_with_a_port_or_a_unix_path() {
        assert_eq!(
            listen("[::1]:8000"),
            Ok(Listen::Tcp("[::1]:8000".parse().unwrap()))
        );
        assert_eq!(
            listen("unix:/run/f.sock"),
            Ok(Listen::Unix("/run/f.sock".into()))
        );
        for bad in [
            "8000",
            "localhost:8000",
            "unix:run/f",
            "127.0.0.1:65536",
            "",
        ] {
            assert!(listen(bad).is_err(), "{bad}");
        }
        assert!(listen(&format!("unix:/{}", "x".repeat(106))).is_ok());
        assert!(listen(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn a_host_and_port_come_apart_and_go_back_together() {
        for (text, host) in [
            ("graphite.example:2004", "graphite.example"),
            ("[::1]:2004", "::1"),
        ] {
            let parsed = host_port(text).unwrap();
            assert_eq!(parsed, (host.to_owned(), 2004));
            assert_eq!(host_port_text(&parsed.0, parsed.1), text);
        }
        for bad in [
            "graphite",
            "graphite:0",
            "graphite:x",
            ":2004",
            "::1:2004",
            "a b:1",
            "[x]:1",
        ] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_form_of_the_last_store_is_understood() {
        let tcp = |host: &str, port| RedisAt::Tcp(host.to_owned(), port);
        let unix = |path: &str| RedisAt::Unix(path.into());
        for (text, store) in [
            ("embedded", LastStore::Embedded),
            ("redis://r", redis(tcp("r", 6379), "", "", 0)),
            ("redis://r:1/3", redis(tcp("r", 1), "", "", 3)),
            ("redis://:p%40ss@r/1", redis(tcp("r", 6379), "", "p@ss", 1)),
            ("redis://u:p@[::1]:7/", redis(tcp("::1", 7), "u", "p", 0)),
            (
                "redis+unix:///tmp/r.sock",
                redis(unix("/tmp/r.sock"), "", "", 0),
            ),
            (
                "redis+unix:///tmp/a%20b?db=2&password=x%26y",
                redis(unix("/tmp/a b"), "", "x&y", 2),
            ),
        ] {
            let parsed = last_store(text).unwrap();
            // Debug hides the password, so the values are compared as such.
            assert!(parsed == store, "{text}: {parsed:?}");
        }
    }

    #[test]
    fn a_wrong_store_is_refused_and_its_password_is_not_repeated() {
        for bad in [
            "redis://u:sesame@r/x",
            "redis://u:sesame@r?db=1",
            "redis+unix://tmp/r?password=sesame",
            "redis+unix:///tmp/r?pass=sesame",
            "rediss://u:sesame@r",
            "http://u:sesame@r",
            "redis://u:sesame%zz@r",
            "redis://u:sesame@",
            "sesame",
        ] {
            let Err(message) = last_store(bad) else {
                panic!("{bad} was taken");
            };
            assert!(!message.contains("sesame"), "{bad}: {message}");
        }
        let (text, hidden) = last_store_text(&last_store("redis://u:sesame@r/1").unwrap());
        assert_eq!((text.as_str(), hidden), ("redis://(hidden)@r:6379/1", true));
    }
}
