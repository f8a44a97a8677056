//! The clock, read once per turn; the calendar's less often than that.

use crate::http::response::http_date;
use crate::pipeline::Now;
use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How old the wall clock's second may be: nothing is decided by less, and reading it costs as much as reading
/// the other one.
const WALL_US: u64 = 1000;

pub struct Clock {
    start: Instant,
    /// Microseconds since the start when they were read last.
    recent: Cell<u64>,
    /// The wall clock's second, and when it was read.
    wall: Cell<(u32, u64)>,
    /// The text of the current second, for the `Date` field.
    date: Cell<(u32, [u8; 29])>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            start: Instant::now(),
            recent: Cell::new(0),
            wall: Cell::new((unix_seconds(), 0)),
            date: Cell::new((0, http_date(0))),
        }
    }
}

impl Clock {
    pub fn now(&self) -> Now {
        let us = self.start.elapsed().as_micros() as u64;
        self.recent.set(us);
        let (mut unix_seconds, read_us) = self.wall.get();
        if us - read_us >= WALL_US {
            unix_seconds = self::unix_seconds();
            self.wall.set((unix_seconds, us));
        }
        Now { unix_seconds, us }
    }

    /// As it was in the last turn of whoever asks: near enough for a deadline.
    pub fn recent_ms(&self) -> u64 {
        self.recent.get() / 1000
    }

    pub fn date(&self, now: Now) -> [u8; 29] {
        let (second, date) = self.date.get();
        if second == now.unix_seconds {
            return date;
        }
        let date = http_date(u64::from(now.unix_seconds));
        self.date.set((now.unix_seconds, date));
        date
    }
}

/// Milliseconds since 1970; 0 before.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

/// Saturates in 2106 and before 1970 rather than failing.
pub fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX))
}
