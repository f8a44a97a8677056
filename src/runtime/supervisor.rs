//! What a service manager is told (systemd's `Type=notify`): ready, reloading, stopping, and that everything still
//! turns. Says nothing where nobody asked (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).

use super::control::Control;
use crate::telemetry::log::Logger;
use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Signs of life within the time after which the manager would kill us.
const BEATS_PER_DEADLINE: u32 = 4;
/// How long the main thread sleeps when nobody asks for signs of life.
const UNWATCHED: Duration = Duration::from_secs(3600);

pub struct Supervisor {
    logger: Logger,
    /// Between two signs of life; `None`: nobody asks for any.
    period: Option<Duration>,
    told: Instant,
    /// How far every executor's sweep was then.
    sweeps: Vec<u64>,
}

impl Supervisor {
    pub fn new(control: &Control, logger: Logger) -> Supervisor {
        Supervisor {
            logger,
            period: sd_notify::watchdog_enabled().map(|time| time / BEATS_PER_DEADLINE),
            told: Instant::now(),
            sweeps: control.sweeps(),
        }
    }

    /// How long the main thread may sleep.
    pub fn period(&self) -> Duration {
        self.period.unwrap_or(UNWATCHED)
    }

    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// To be followed by [`ready`](Self::ready), whatever came of it.
    pub fn reloading(&self) {
        // The clock is there; without its time the manager would take an older signal for this one.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    pub fn stopping(&self) {
        let status = NotifyState::Status("draining: answering what is in flight");
        self.tell(&[NotifyState::Stopping, status]);
    }

    /// Tells that all is well, when it is time to and every sweep has turned since the last time. A shard that
    /// stands still so ends the process, and the next one finds everything that was promised.
    pub fn beat(&mut self, control: &Control) {
        if self
            .period
            .is_none_or(|period| self.told.elapsed() < period)
        {
            return;
        }
        let now = control.sweeps();
        if !all_turn(&self.sweeps, &now) {
            return;
        }
        self.tell(&[NotifyState::Watchdog]);
        self.sweeps = now;
        self.told = Instant::now();
    }

    fn tell(&self, states: &[NotifyState]) {
        if let Err(error) = sd_notify::notify(states) {
            self.logger
                .error(format_args!("the service manager is not told: {error}"));
        }
    }
}

fn all_turn(before: &[u64], now: &[u64]) -> bool {
    before.iter().zip(now).all(|(before, now)| before != now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shard_that_stands_still_is_enough() {
        assert!(all_turn(&[3, 4], &[4, 9]));
        assert!(!all_turn(&[3, 4], &[9, 4]));
    }
}
