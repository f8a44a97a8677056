//! A reload: the main thread reads the configuration again and judges it, the populate core hands it to every
//! shard through the mesh, and each switches between two turns. It counts when all have.

use super::SWEEP;
use super::control::Control;
use super::mesh::{Mesh, Parcel};
use super::recipe::Recipe;
use crate::api::Api;
use crate::config::{self, Config};
use crate::telemetry::log::Logger;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

/// A shard switches within a sweep or two; one that has not by then has stopped.
const SWITCH_DEADLINE: Duration = Duration::from_secs(5);

/// What every executor is given anew.
#[derive(Debug)]
pub struct Live {
    pub api: Arc<Api>,
    pub http: config::Http,
    pub line: config::Line,
}

/// The main thread waits for one before it sends another.
pub fn channel() -> (SyncSender<Arc<Live>>, Reloads) {
    let (sender, inbox) = mpsc::sync_channel(1);
    let waiting = Cell::new(0);
    (sender, Reloads { inbox, waiting })
}

/// The populate core's side.
pub struct Reloads {
    inbox: Receiver<Arc<Live>>,
    /// Shards that have not switched yet.
    waiting: Cell<usize>,
}

impl Reloads {
    pub fn next(&self) -> Option<Arc<Live>> {
        self.inbox.try_recv().ok()
    }

    pub fn hand_out(&self, mesh: &Mesh, live: &Arc<Live>) {
        let shards = mesh.members() - 1;
        self.waiting.set(self.waiting.get() + shards);
        for shard in 0..shards {
            mesh.send(shard, Parcel::Switch(live.clone()));
        }
    }

    /// A shard has switched. True when it was the last.
    pub fn switched(&self) -> bool {
        self.waiting.set(self.waiting.get() - 1);
        self.waiting.get() == 0
    }
}

/// The main thread's side.
pub struct Reloader {
    running: Config,
    api: Arc<Api>,
    sender: SyncSender<Arc<Live>>,
    control: Arc<Control>,
    logger: Logger,
}

impl Reloader {
    pub fn new(config: &Config, recipe: &Recipe, logger: Logger) -> Reloader {
        Reloader {
            running: config.clone(),
            api: recipe.api.clone(),
            sender: recipe.reloads.clone(),
            control: recipe.control.clone(),
            logger,
        }
    }

    /// What is in effect.
    pub fn running(&self) -> &Config {
        &self.running
    }

    /// All of it or nothing.
    pub fn reload(&mut self, read: Result<Config, Vec<String>>) {
        match read.and_then(|read| self.switch(&read)) {
            Ok(line) => {
                self.logger.info(format_args!("{line}"));
                self.logger.set_level(self.running.log.level);
            }
            Err(reasons) => {
                self.control.refused_reload();
                for reason in reasons {
                    self.logger.error(format_args!(
                        "reload refused, the running configuration stays: {reason}"
                    ));
                }
            }
        }
    }

    fn switch(&mut self, read: &Config) -> Result<String, Vec<String>> {
        let reloaded = config::reload(&self.running, read);
        let reloaded = reloaded.map_err(|problems| {
            let problem = |problem: &config::Problem| {
                format!("{problem} (with what changes at a restart only)")
            };
            problems.0.iter().map(problem).collect::<Vec<_>>()
        })?;
        let api = self.api.after(&reloaded.config);
        self.api = Arc::new(api.map_err(|why| vec![why.to_string()])?);
        let before = self.control.reloads().ok;
        let live = Live {
            api: self.api.clone(),
            http: reloaded.config.http.clone(),
            line: reloaded.config.line.clone(),
        };
        // The core takes it on its next sweep; it outlives this thread's loop.
        let _ = self.sender.send(Arc::new(live));
        // The line about it is told by the more talkative of both levels.
        let level = self.running.log.level.max(reloaded.config.log.level);
        self.logger.set_level(level);
        self.running = reloaded.config;
        let until = Instant::now() + SWITCH_DEADLINE;
        while self.control.reloads().ok == before {
            if Instant::now() >= until {
                let late = format!("a shard has not switched within {SWITCH_DEADLINE:?}");
                self.logger.error(format_args!("reload: {late}"));
                break;
            }
            std::thread::sleep(SWEEP);
        }
        Ok(told(&reloaded.changed, &reloaded.restart))
    }
}

fn told(changed: &[String], restart: &[String]) -> String {
    let mut line = match changed {
        [] => "reloaded: nothing has changed".to_owned(),
        changed => format!("reloaded: {}", changed.join(", ")),
    };
    if !restart.is_empty() {
        let restart = restart.join(", ");
        line.push_str(&format!("; at the next restart only: {restart}"));
    }
    line
}
