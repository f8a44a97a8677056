//! Lines about starting, stopping and changes of state, on standard error. The data plane counts; it
//! does not log per request.
//!
//! Of our own and not the `log` or `tracing` crate: their global logger would also print what the
//! dependencies say (nobody has checked those texts for keys), and forty lines are all we need.
//!
//! An edge: [`Logger::say`] reads the clock and writes. Everything else takes the time as an argument.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    pub fn label(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Where lines go and which are written; passed by value, there is no global one.
#[derive(Clone, Copy, Debug)]
pub struct Logger {
    /// All copies share it, so that a reload reaches them.
    level: &'static AtomicU8,
    format: Format,
}

impl Logger {
    /// One for the life of the process: its level is never freed.
    pub fn new(level: Level, format: Format) -> Logger {
        Logger {
            level: Box::leak(Box::new(AtomicU8::new(level as u8))),
            format,
        }
    }

    /// For this one and all its copies.
    pub fn set_level(self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    pub fn say(self, level: Level, message: fmt::Arguments<'_>) {
        if level as u8 > self.level.load(Ordering::Relaxed) {
            return;
        }
        // A clock before 1970 shows as 1970: the line matters more than its time.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let text = line(
            self.format,
            level,
            now.as_millis() as u64,
            &message.to_string(),
        );
        // One write, so lines of two threads do not mix. Where standard error is closed there is no
        // other place to say so.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    pub fn error(self, message: fmt::Arguments<'_>) {
        self.say(Level::Error, message);
    }

    pub fn warn(self, message: fmt::Arguments<'_>) {
        self.say(Level::Warn, message);
    }

    pub fn info(self, message: fmt::Arguments<'_>) {
        self.say(Level::Info, message);
    }

    pub fn debug(self, message: fmt::Arguments<'_>) {
        self.say(Level::Debug, message);
    }
}

/// One whole line. A message may quote what a peer said, so control characters are escaped: one message
/// is one line, and cannot pass for two.
fn line(format: Format, level: Level, unix_ms: u64, message: &str) -> String {
    let mut out = String::with_capacity(64 + message.len());
    match format {
        Format::Text => {
            push_rfc3339(&mut out, unix_ms);
            out.push(' ');
            out.push_str(level.label());
            out.push(' ');
            for c in message.chars() {
                if c.is_control() {
                    out.extend(c.escape_default());
                } else {
                    out.push(c);
                }
            }
        }
        Format::Json => {
            out.push_str("{\"time\":\"");
            push_rfc3339(&mut out, unix_ms);
            out.push_str("\",\"level\":\"");
            out.push_str(level.label());
            out.push_str("\",\"message\":");
            out.push_str(&serde_json::Value::from(message).to_string());
            out.push('}');
        }
    }
    out.push('\n');
    out
}

/// `2016-11-01T17:35:00.000Z`.
fn push_rfc3339(out: &mut String, unix_ms: u64) {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let written = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    );
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

/// Year, month and day of a number of days since 1970. Years are counted from March, so that the leap
/// day comes last, and in eras of 400 years (146,097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// At most one line about a state in this long, however often it flips.
const QUIET_SECONDS: u64 = 10;

/// Decides when a change of state (carbon up or down, the last store up or down) is worth a line.
#[derive(Clone, Debug)]
pub struct Watch<T> {
    state: T,
    changes: u32,
    quiet_until_seconds: u64,
}

impl<T: PartialEq> Watch<T> {
    /// The state a reader of the log takes for granted: only a change from it is worth a line.
    pub fn new(state: T) -> Watch<T> {
        Watch {
            state,
            changes: 0,
            quiet_until_seconds: 0,
        }
    }

    /// To be told the state on every tick, changed or not. `Some(n)`: a line is due about this state;
    /// n is how often it changed since the last line (1, unless it flipped while we kept quiet).
    pub fn observe(&mut self, state: T, now_seconds: u64) -> Option<u32> {
        if state != self.state {
            self.state = state;
            self.changes = self.changes.saturating_add(1);
        }
        if self.changes == 0 || now_seconds < self.quiet_until_seconds {
            return None;
        }
        self.quiet_until_seconds = now_seconds + QUIET_SECONDS;
        Some(std::mem::take(&mut self.changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_its_time_and_stays_one_line() {
        assert_eq!(
            line(
                Format::Text,
                Level::Warn,
                1_478_021_700_042,
                "carbon \"a\"\r\nis down é"
            ),
            "2016-11-01T17:35:00.042Z warn carbon \"a\"\\r\\nis down é\n"
        );
        let json = line(Format::Json, Level::Info, 0, "a \"quote\"\nand more");
        assert_eq!(
            json,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"message\":\"a \\\"quote\\\"\\nand more\"}\n"
        );
        let back: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
        assert_eq!(back["message"], "a \"quote\"\nand more");
    }

    #[test]
    fn days_become_dates_over_leap_years_and_centuries() {
        let at = |days: u64| civil(days);
        assert_eq!(at(0), (1970, 1, 1));
        assert_eq!(at(11_016), (2000, 2, 29));
        assert_eq!(at(11_017), (2000, 3, 1));
        assert_eq!(at(19_722), (2023, 12, 31));
        assert_eq!(at(19_723), (2024, 1, 1));
        assert_eq!(at(47_540), (2100, 2, 28));
        assert_eq!(at(47_541), (2100, 3, 1));
        // Every day follows the one before it.
        let mut before = at(0);
        for days in 1..60_000 {
            let (year, month, day) = at(days);
            let next_day = (year, month, day) == (before.0, before.1, before.2 + 1);
            let next_month = day == 1 && (year, month) == (before.0, before.1 + 1);
            let next_year = (year, month, day) == (before.0 + 1, 1, 1) && before.1 == 12;
            assert!(next_day || next_month || next_year, "day {days}");
            before = (year, month, day);
        }
    }

    #[test]
    fn a_change_is_told_once_and_flapping_is_told_in_sum() {
        let mut carbon = Watch::new(true);
        assert_eq!(carbon.observe(true, 100), None);
        assert_eq!(carbon.observe(false, 101), Some(1));
        assert_eq!(carbon.observe(false, 102), None);
        for n in 0..5 {
            assert_eq!(carbon.observe(n % 2 == 0, 103 + n), None);
        }
        // The last one said "up" (n = 4): told when the quiet time is over.
        assert_eq!(carbon.observe(true, 110), None);
        assert_eq!(carbon.observe(true, 111), Some(5));
        assert_eq!(carbon.observe(true, 200), None);
        assert_eq!(carbon.observe(false, 200), Some(1));
    }
}
