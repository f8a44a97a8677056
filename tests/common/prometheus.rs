//! A real Prometheus (Debian's package) that scrapes what it is told to, with a history made before.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::http::Client;
use super::process::Daemon;
use super::{free_port, wait_until};

pub struct Prometheus {
    _daemon: Daemon,
    _dir: TempDir,
    pub port: u16,
}

impl Prometheus {
    /// Scrapes `/metrics` on a port once a second. `history` is in OpenMetrics text, with timestamps.
    pub fn scraping(port_scraped: u16, history: Option<&str>) -> Prometheus {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: flux\n  static_configs:\n  - targets: ['127.0.0.1:{port_scraped}']\n"
        );
        fs::write(path.join("prometheus.yml"), config).expect("a file of our own");
        if let Some(history) = history {
            fs::write(path.join("history.om"), history).expect("a file of our own");
            let made = Command::new("/usr/bin/promtool")
                .args(["tsdb", "create-blocks-from", "openmetrics"])
                .args(["--max-block-duration=384h", "history.om", "data"])
                .current_dir(path)
                .output()
                .expect("promtool runs");
            assert!(made.status.success(), "{made:?}");
        }
        let port = free_port();
        let mut command = Command::new("/usr/bin/prometheus");
        command
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(path);
        let mut daemon = Daemon::spawn("prometheus", &mut command);
        wait_until("prometheus is ready", || {
            assert!(daemon.exited().is_none(), "{}", daemon.said());
            let client = Client::try_connect(port);
            client.is_ok_and(|mut client| client.get("/-/ready").status == 200)
        });
        Prometheus {
            _daemon: daemon,
            _dir: dir,
            port,
        }
    }

    /// What an instant query finds; fails where Prometheus refuses it.
    pub fn instant(&self, query: &str) -> Vec<Value> {
        let address = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let answer = Command::new("curl")
            .args(["-sS", "-G", &address, "--data-urlencode"])
            .arg(format!("query={query}"))
            .output()
            .expect("curl runs");
        let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let found = answer["data"]["result"].as_array().cloned();
        found.unwrap_or_default()
    }

    /// The samples of the first series of a query with a range: milliseconds and values.
    pub fn samples(&self, query: &str) -> BTreeMap<u64, f64> {
        // Prometheus sends long answers in chunks.
        let address = format!("http://127.0.0.1:{}/api/v1/query?query={query}", self.port);
        let answer = Command::new("curl")
            .args(["-fsSg", &address])
            .output()
            .expect("curl runs");
        assert!(answer.status.success(), "{answer:?}");
        let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
        let Some(values) = answer["data"]["result"][0]["values"].as_array() else {
            return BTreeMap::new();
        };
        let sample = |pair: &Value| {
            let milliseconds = (pair[0].as_f64().expect("a time") * 1e3).round() as u64;
            let value = pair[1].as_str().expect("text");
            (milliseconds, value.parse().expect("a number"))
        };
        values.iter().map(sample).collect()
    }
}
