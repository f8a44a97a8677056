//! A real headless Chromium (Debian's package), driven by its DevTools protocol over a pipe.

use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Daemon;
use super::wait_for;

/// A browser's first start on a busy machine takes longer than a daemon's.
const PATIENCE: Duration = Duration::from_secs(40);
/// Above any descriptor that a test has open when it starts a browser.
const APART: libc::c_int = 900;

pub struct Browser {
    to: PipeWriter,
    from: Receiver<Value>,
    next: u64,
    events: Vec<Value>,
    daemon: Daemon,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let (theirs, to) = pipe().expect("a pipe");
        let (from, theirs_out) = pipe().expect("a pipe");
        let mut command = Command::new("chromium");
        command
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-breakpad"])
            .args(["--disable-extensions", "--disable-component-update"])
            // What a page draws looks the same on every machine.
            .args(["--force-device-scale-factor=1", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        let (input, output) = (theirs.as_raw_fd(), theirs_out.as_raw_fd());
        // SAFETY: system calls only. The browser reads from descriptor 3 and writes to 4, and either of our
        // ends may have one of these numbers: so first both go out of the way.
        unsafe {
            command.pre_exec(move || {
                let apart = [input, output].map(|fd| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, APART));
                if libc::dup2(apart[0], 3) < 0 || libc::dup2(apart[1], 4) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let daemon = Daemon::spawn("chromium", &mut command);
        drop((theirs, theirs_out));
        let (heard, messages) = channel();
        // Ends with the browser.
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
                if heard.send(message).is_err() {
                    return;
                }
            }
        });
        Browser {
            to,
            from: messages,
            next: 0,
            events: Vec::new(),
            daemon,
            _profile: profile,
        }
    }

    /// A page of its own, this wide and high.
    pub fn open(&mut self, url: &str, width: u32, height: u32) -> Page<'_> {
        let target = self.ask("", "Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.ask("", "Target.attachToTarget", attach);
        let session = attached["sessionId"].as_str().expect("a session");
        let mut page = Page {
            session: session.to_owned(),
            browser: self,
        };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.ask(domain, json!({}));
        }
        page.resize(width, height);
        page.ask("Page.navigate", json!({"url": url}));
        page.wait("document.readyState === 'complete'");
        page
    }

    fn ask(&mut self, session: &str, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !session.is_empty() {
            message["sessionId"] = json!(session);
        }
        let sent = self.to.write_all(format!("{message}\0").as_bytes());
        assert!(sent.is_ok(), "{}", self.daemon.said());
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let heard = self.from.recv_timeout(left);
            let heard = heard.unwrap_or_else(|_| panic!("{method}: {}", self.daemon.said()));
            if heard["id"] == self.next {
                assert!(heard["error"].is_null(), "{method}: {heard}");
                return heard["result"].clone();
            }
            self.events.push(heard);
        }
    }
}

impl Drop for Browser {
    /// By itself, so that its helpers go with it.
    fn drop(&mut self) {
        let close = json!({"id": u64::MAX, "method": "Browser.close"});
        let _ = self.to.write_all(format!("{close}\0").as_bytes());
        let until = Instant::now() + Duration::from_secs(5);
        while self.daemon.exited().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub struct Page<'b> {
    browser: &'b mut Browser,
    session: String,
}

impl Page<'_> {
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.browser.ask(&self.session, method, params)
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// What `prefers-color-scheme` says.
    pub fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The value of an expression of the page's own language.
    pub fn eval(&mut self, expression: &str) -> Value {
        let what = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", what);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    pub fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!(
            "document.querySelector({selector:?})?.textContent ?? ''"
        ));
        text.as_str().expect("a text").to_owned()
    }

    /// Until the expression is true.
    pub fn wait(&mut self, expression: &str) {
        wait_for(expression, PATIENCE, || {
            (self.eval(expression) == true).then_some(())
        });
    }

    /// The whole page, however high, as PNG.
    pub fn screenshot(&mut self, file: &Path) {
        let what = json!({"captureBeyondViewport": true, "format": "png"});
        let answer = self.ask("Page.captureScreenshot", what);
        let data = answer["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data);
        std::fs::write(file, bytes.expect("base64")).expect("a file of our own");
    }

    /// Pixels that the page is wider than its window.
    pub fn overflow(&mut self) -> i64 {
        let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.eval(over).as_i64().expect("a number")
    }

    /// What went wrong in any page since it was last asked: exceptions, console errors and warnings, and
    /// what the browser itself complains of (blocked by a policy, not loaded).
    pub fn troubles(&mut self) -> Vec<String> {
        // An answer comes behind the events before it.
        self.eval("0");
        let events = std::mem::take(&mut self.browser.events);
        let bad = events.into_iter().filter(|event| {
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => {
                    params["type"] == "error" || params["type"] == "warning"
                }
                Some("Log.entryAdded") => {
                    params["entry"]["level"] == "error" || params["entry"]["level"] == "warning"
                }
                _ => false,
            }
        });
        bad.map(|event| event.to_string()).collect()
    }
}
