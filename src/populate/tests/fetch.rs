//! The fetcher against a small server that misbehaves.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flate2::{Compression, write::GzEncoder};
use rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::config::populate::AllowedHost;

/// Ends with the test's process; each connection has a thread, which ends when its client has gone.
struct Server {
    at: SocketAddr,
    written: Arc<AtomicU64>,
}

impl Server {
    /// `answer` writes to the connection what it likes once a request's head is read; it is given the path.
    fn start(
        answer: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        Server::with_tls(None, answer)
    }

    fn with_tls(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let written = Arc::new(AtomicU64::new(0));
        let (count, answer) = (Arc::clone(&written), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (count, answer, tls) = (Arc::clone(&count), Arc::clone(&answer), tls.clone());
                thread::spawn(move || {
                    let mut counted = Counted(stream?, count);
                    let Some(tls) = tls else {
                        let path = request(&mut counted)?;
                        return answer(&path, &mut counted);
                    };
                    let session = rustls::ServerConnection::new(tls).map_err(io::Error::other)?;
                    let mut stream = rustls::StreamOwned::new(session, counted);
                    let path = request(&mut stream)?;
                    answer(&path, &mut stream)?;
                    stream.conn.send_close_notify();
                    stream.flush()
                });
            }
        });
        Server { at, written }
    }

    fn ask(&self, path: &str) -> Ask {
        ask(&format!("http://{}{path}", self.at))
    }
}

struct Counted(TcpStream, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The path of a request, once its head is there.
fn request(stream: &mut dyn Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn ok(out: &mut dyn Write, headers: &str, body: &[u8]) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    )?;
    out.write_all(body)
}

fn ask(url: &str) -> Ask {
    Ask {
        address: Address::parse(url).unwrap(),
        local: false,
    }
}

fn settings() -> config::Populate {
    config::Populate {
        connect_timeout_ms: 2000,
        read_timeout_ms: 500,
        total_timeout_ms: 1500,
        response_bytes_max: 1024 * 1024,
        ..config::Config::default().populate
    }
}

fn get(ask: &Ask) -> Result<Vec<u8>, Failure> {
    Fetcher::new(&settings()).unwrap().get(ask)
}

fn cause(ask: &Ask) -> Cause {
    get(ask).expect_err("it fails").cause
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_body_comes_back_plain_inflated_or_in_chunks() {
    let server = Server::start(|path, out| match path {
        "/plain?a=%5B1%5D" => ok(out, "", b"[1]"),
        "/gzip" => ok(out, "content-encoding: gzip\r\n", &gzip(b"[2]")),
        "/empty" => ok(out, "", b""),
        _ => out.write_all(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[3\r\n1\r\n]\r\n0\r\n\r\n",
        ),
    });
    assert_eq!(get(&server.ask("/plain?a=[1]")).unwrap(), b"[1]");
    assert_eq!(get(&server.ask("/gzip")).unwrap(), b"[2]");
    assert_eq!(get(&server.ask("/chunks")).unwrap(), b"[3]");
    assert_eq!(get(&server.ask("/empty")).unwrap(), b"");
}

#[test]
fn nobody_there_is_refused_and_so_is_a_name_nobody_has() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(cause(&ask(&format!("http://{at}/"))), Cause::Refused);
    let unknown = cause(&ask("http://nobody.invalid/"));
    // Where no name server answers it is the deadline that ends it.
    assert!(
        matches!(unknown, Cause::Refused | Cause::Timeout),
        "{unknown}"
    );
}

#[test]
fn another_status_is_told_and_only_200_has_an_answer() {
    let server = Server::start(|path, out| {
        let status = path.trim_start_matches('/');
        write!(
            out,
            "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]"
        )
    });
    for status in ["201", "204", "400", "404", "500", "503"] {
        let failure = get(&server.ask(&format!("/{status}"))).unwrap_err();
        assert_eq!(
            (failure.cause, failure.detail.as_str()),
            (Cause::Status, status)
        );
    }
}

#[test]
fn silence_and_a_slow_drip_end_at_their_deadlines() {
    let server = Server::start(|path, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
        // Until the client has gone: a byte in 100 ms is never silence for 500.
        let pause = if path == "/drip" { 100 } else { 20_000 };
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(pause));
            out.write_all(b" ")?;
        }
        Ok(())
    });
    let patient = config::Populate {
        total_timeout_ms: 60_000,
        ..settings()
    };
    let patient = Fetcher::new(&patient).unwrap();
    let started = Instant::now();
    let failure = patient.get(&server.ask("/silent")).unwrap_err();
    let silent = started.elapsed();
    assert_eq!(failure.cause, Cause::Timeout);
    assert!(silent >= Duration::from_millis(500), "{silent:?}");
    assert!(
        silent < Duration::from_millis(15_000),
        "before the first byte, after {silent:?}"
    );
    let started = Instant::now();
    assert_eq!(cause(&server.ask("/drip")), Cause::Timeout);
    let dripped = started.elapsed();
    assert!(
        dripped >= Duration::from_millis(1400),
        "the total ended it, after {dripped:?}"
    );
    assert!(dripped < Duration::from_secs(8), "{dripped:?}");
}

#[test]
fn a_body_without_end_is_given_up_at_the_bound_inflated_too() {
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    let exact = vec![b' '; 1024 * 1024];
    let server = Server::start(move |path, out| match path {
        "/announced" => write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n"),
        "/bomb" => ok(out, "content-encoding: gzip\r\n", &bomb),
        "/exact" => ok(out, "", &exact),
        "/one%20more" => ok(out, "", &[&exact[..], b" "].concat()),
        _ => {
            out.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            // 1 GB, if anybody wants it.
            let piece = vec![b' '; 1024 * 1024];
            (0..1000).try_for_each(|_| out.write_all(&piece))
        }
    });
    for path in ["/announced", "/bomb", "/one more", "/endless"] {
        assert_eq!(cause(&server.ask(path)), Cause::TooLarge, "{path}");
    }
    assert_eq!(get(&server.ask("/exact")).unwrap().len(), 1024 * 1024);
    // What the sockets' buffers hold beside the bound.
    let written = server.written.load(Ordering::Relaxed);
    assert!(written < 64 * 1024 * 1024, "{written}");
}

#[test]
fn what_is_no_http_and_what_breaks_off_are_told_apart() {
    let server = Server::start(|path, out| match path {
        "/garbage" => out.write_all(b"220 mail.example ESMTP\r\n\r\n"),
        "/gzip" => ok(out, "content-encoding: gzip\r\n", b"no gzip at all"),
        "/cut" => out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[1"),
        _ => Ok(()),
    });
    assert_eq!(cause(&server.ask("/garbage")), Cause::Decode);
    assert_eq!(cause(&server.ask("/gzip")), Cause::Decode);
    assert_eq!(cause(&server.ask("/cut")), Cause::Lost);
    assert_eq!(cause(&server.ask("/nothing")), Cause::Lost);
}

fn redirect(out: &mut dyn Write, to: &str) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 302 Found\r\n{to}content-length: 0\r\nconnection: close\r\n\r\n"
    )
}

#[test]
fn redirects_are_followed_so_far_and_no_further() {
    let server = Server::start(|path, out| match path {
        "/0" => ok(out, "", b"[0]"),
        "/loop" => redirect(out, "location: /loop\r\n"),
        "/nowhere" => redirect(out, ""),
        "/file" => redirect(out, "location: file:///etc/passwd\r\n"),
        _ => {
            let left: u32 = path[1..].parse().unwrap();
            redirect(out, &format!("location: {}\r\n", left - 1))
        }
    });
    assert_eq!(get(&server.ask("/5")).unwrap(), b"[0]");
    for path in ["/6", "/loop", "/nowhere", "/file"] {
        assert_eq!(cause(&server.ask(path)), Cause::Redirect, "{path}");
    }
}

#[test]
fn a_redirect_to_a_host_that_is_not_allowed_is_not_followed() {
    let inside = Server::start(|_, out| ok(out, "", b"secret"));
    let to = format!("location: http://{}/\r\n", inside.at);
    let outside = Server::start(move |path, out| match path {
        "/away" => redirect(out, &to),
        "/home" => redirect(out, "location: /\r\n"),
        _ => ok(out, "", b"[]"),
    });
    let allowed = AllowedHost {
        host: "127.0.0.1".to_owned(),
        port: Some(outside.at.port()),
    };
    let fetcher = Fetcher::new(&config::Populate {
        allowed_hosts: vec![allowed],
        ..settings()
    });
    let fetcher = fetcher.unwrap();
    assert_eq!(fetcher.get(&outside.ask("/home")).unwrap(), b"[]");
    let cause = |ask: &Ask| fetcher.get(ask).unwrap_err().cause;
    assert_eq!(cause(&outside.ask("/away")), Cause::HostNotAllowed);
    assert_eq!(cause(&inside.ask("/")), Cause::HostNotAllowed);
    assert_eq!(
        inside.written.load(Ordering::Relaxed),
        0,
        "it was never asked"
    );
    // Our own Graphite is exempt, what it redirects to is not.
    let local = |ask: Ask| Ask { local: true, ..ask };
    assert_eq!(fetcher.get(&local(inside.ask("/"))).unwrap(), b"secret");
    let deny_all = Fetcher::new(&config::Populate {
        allowed_hosts: vec![AllowedHost {
            host: "g".to_owned(),
            port: None,
        }],
        ..settings()
    });
    let deny_all = deny_all.unwrap();
    assert_eq!(deny_all.get(&local(outside.ask("/home"))).unwrap(), b"[]");
    let away = deny_all.get(&local(outside.ask("/away"))).unwrap_err();
    assert_eq!(away.cause, Cause::HostNotAllowed);
}

/// An authority made here, and a server with a certificate of it for 127.0.0.1.
fn private() -> (String, Arc<rustls::ServerConfig>) {
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    (certificate.pem(), Arc::new(config.unwrap()))
}

#[test]
fn https_is_trusted_only_by_the_authority_in_the_file() {
    let (pem, tls) = private();
    let server = Server::with_tls(Some(tls), |_, out| ok(out, "", b"[1]"));
    let directory = tempfile::tempdir().unwrap();
    let with = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Fetcher::new(&config::Populate {
            ca_file: Some(path),
            ..settings()
        })
    };
    let url = |host: &str| ask(&format!("https://{host}:{}/", server.at.port()));
    let trusting = with("ca.pem", &pem).unwrap();
    assert_eq!(trusting.get(&url("127.0.0.1")).unwrap(), b"[1]");
    let other_name = trusting.get(&url("localhost")).unwrap_err();
    assert_eq!(other_name.cause, Cause::Tls, "{other_name}");
    assert_eq!(
        cause(&url("127.0.0.1")),
        Cause::Tls,
        "Mozilla does not know it"
    );
    let stranger = with("other.pem", &private().0).unwrap();
    assert_eq!(
        stranger.get(&url("127.0.0.1")).unwrap_err().cause,
        Cause::Tls
    );
    for (name, text) in [("empty.pem", ""), ("text.pem", "not a certificate")] {
        let said = with(name, text).err().expect("no certificate").to_string();
        assert!(
            said.starts_with("populate.ca_file: ") && said.contains(name),
            "{said}"
        );
    }
    // What a plain HTTP server says to a handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = ask(&format!("https://{}/", listener.local_addr().unwrap()));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // Until the client has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(cause(&plain), Cause::Tls);
    server.join().unwrap();
}

#[test]
fn a_failure_does_not_repeat_the_url() {
    let server = Server::start(|_, out| write!(out, "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"));
    let url = format!("http://me:sesame@{}/?token=sesame", server.at);
    let said = get(&ask(&url)).unwrap_err().to_string();
    assert!(!said.contains("sesame"), "{said}");
}
