//! The clock, read once per turn.

use crate::http::response::http_date;
use crate::pipeline::Now;
use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub struct Clock {
    start: Instant,
    /// The text of the current second, for the `Date` field.
    date: Cell<(u32, [u8; 29])>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            start: Instant::now(),
            date: Cell::new((0, http_date(0))),
        }
    }
}

impl Clock {
    pub fn now(&self) -> Now {
        Now {
            unix_seconds: unix_seconds(),
            us: self.start.elapsed().as_micros() as u64,
        }
    }

    pub fn date(&self) -> [u8; 29] {
        let now = unix_seconds();
        let (second, date) = self.date.get();
        if second == now {
            return date;
        }
        let date = http_date(u64::from(now));
        self.date.set((now, date));
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
