//! A real graphite-web (Debian's package) without a web server in front: its WSGI application under
//! Debian's python3, over http or https, with settings of its own. And whisper files made for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::carbon::CarbonCache;
use super::http::Client;
use super::process::Daemon;
use super::{free_port, wait_until};

/// The standard library's server around graphite's application; every request has a thread.
const RUNNER: &str = r#"
import os, ssl, sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
os.environ['DJANGO_SETTINGS_MODULE'] = 'graphite.settings'
os.environ['GRAPHITE_SETTINGS_MODULE'] = 'test_settings'
sys.path.insert(0, os.getcwd())
from graphite.wsgi import application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
class Quiet(WSGIRequestHandler):
    def log_message(self, *_): pass
server = make_server('127.0.0.1', int(sys.argv[1]), application, Server, Quiet)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

pub struct GraphiteWeb {
    _daemon: Daemon,
    dir: TempDir,
    pub port: u16,
}

impl GraphiteWeb {
    /// Over a carbon-cache's files and what it has not written yet.
    pub fn of(carbon: &CarbonCache) -> GraphiteWeb {
        let link = format!("['127.0.0.1:{}']", carbon.query_port);
        GraphiteWeb::launch(&carbon.whisper_dir(), &link, None)
    }

    /// Over whisper files alone.
    pub fn over(whisper: &Path) -> GraphiteWeb {
        GraphiteWeb::launch(whisper, "[]", None)
    }

    /// The same, over https.
    pub fn over_tls(whisper: &Path, authority: &Authority) -> GraphiteWeb {
        GraphiteWeb::launch(whisper, "[]", Some(authority))
    }

    fn launch(whisper: &Path, carbonlink: &str, tls: Option<&Authority>) -> GraphiteWeb {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (path, whisper) = (dir.path(), whisper.display());
        // No cache: what is asked twice is read twice.
        let settings = format!(
            "SECRET_KEY = 'test'\nALLOWED_HOSTS = ['*']\nTIME_ZONE = 'UTC'\n\
             STORAGE_DIR = CONF_DIR = LOG_DIR = STATIC_ROOT = {0:?}\n\
             WHISPER_DIR = '{whisper}'\nSTANDARD_DIRS = ['{whisper}']\n\
             CARBONLINK_HOSTS = {carbonlink}\nCLUSTER_SERVERS = []\n\
             DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}}}\n\
             CACHES = {{'default': {{'BACKEND': 'django.core.cache.backends.dummy.DummyCache'}}}}\n",
            path.display().to_string()
        );
        fs::write(path.join("test_settings.py"), settings).expect("a file of our own");
        let port = free_port();
        let mut command = Command::new("/usr/bin/python3");
        command
            .args(["-c", RUNNER, &port.to_string()])
            .current_dir(path);
        if let Some(tls) = tls {
            command.args([tls.certificate(), tls.key()]);
        }
        let mut daemon = Daemon::spawn("graphite-web", &mut command);
        wait_until("graphite-web listens", || {
            assert!(daemon.exited().is_none(), "{}", daemon.said());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        GraphiteWeb {
            _daemon: daemon,
            dir,
            port,
        }
    }

    /// As `populate.graphite` wants it.
    pub fn render_address(&self) -> String {
        format!("http://127.0.0.1:{}/render", self.port)
    }

    /// What the render API has of a target after `from` and up to `until`: every step, null or not.
    pub fn render(&self, target: &str, from: u32, until: u32) -> BTreeMap<u32, Option<f64>> {
        let query = format!("/render/?from={from}&until={until}&format=json&target={target}");
        let answer = Client::connect(self.port).get(&query);
        assert_eq!(answer.status, 200, "{answer:?}");
        let series: Value = serde_json::from_str(&answer.body).expect("JSON");
        let Some(points) = series[0]["datapoints"].as_array() else {
            return BTreeMap::new();
        };
        let pair = |pair: &Value| (pair[1].as_u64().expect("a time") as u32, pair[0].as_f64());
        points.iter().map(pair).collect()
    }

    /// The steps that have a value.
    pub fn values(&self, target: &str, from: u32, until: u32) -> BTreeMap<u32, f64> {
        let all = self.render(target, from, until);
        all.into_iter()
            .filter_map(|(at, value)| Some((at, value?)))
            .collect()
    }
}

/// A whisper file: archives as (seconds, points), and its history.
pub fn whisper(
    folder: &Path,
    metric: &str,
    archives: &[(u32, u32)],
    points: impl IntoIterator<Item = (u32, f64)>,
) {
    let file = folder.join(format!("{}.wsp", metric.replace('.', "/")));
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder of our own");
    let script = "import sys, whisper\n\
        archives = [tuple(map(int, a.split(':'))) for a in sys.argv[2:]]\n\
        whisper.create(sys.argv[1], archives, xFilesFactor=0.0, aggregationMethod='average')\n\
        points = [(int(a), float(b)) for a, b in (line.split() for line in sys.stdin)]\n\
        if points: whisper.update_many(sys.argv[1], points)\n";
    let archives = archives
        .iter()
        .map(|(step, count)| format!("{step}:{count}"));
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .arg(&file)
        .args(archives)
        .stdin(Stdio::piped())
        .spawn()
        .expect("/usr/bin/python3 runs");
    let lines: String = points
        .into_iter()
        .map(|(at, value)| format!("{at} {value:?}\n"))
        .collect();
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("our own child").success(), "whisper");
}

/// An authority of our own, and a certificate of it for some names.
pub struct Authority(TempDir);

impl Authority {
    pub fn for_names(names: &[&str]) -> Authority {
        let own = "a key and names of our own";
        let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).expect(own);
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().expect(own);
        let root = authority.self_signed(&authority_key).expect(own);
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().expect(own);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = rcgen::CertificateParams::new(names).expect(own);
        let leaf = leaf.signed_by(&key, &issuer).expect(own);
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [
            ("ca.pem", root.pem()),
            ("leaf.pem", leaf.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            fs::write(dir.path().join(name), text).expect("a file of our own");
        }
        Authority(dir)
    }

    /// As `populate.ca_file` wants it.
    pub fn file(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("leaf.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}
