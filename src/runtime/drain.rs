//! How the connections of a shard end when the service stops: one that is kept alive has a while for its next
//! request, whose answer tells it to close; what is under way is answered. Pure.

use super::control::Phase;

/// The drain is over when there was no connection for this many sweeps: one that was just accepted is counted
/// only when its task has run for the first time.
const EMPTY_SWEEPS: u32 = 2;

#[derive(Debug, Default)]
pub struct Drain {
    idle_until_ms: Option<u64>,
    empty_sweeps: u32,
}

impl Drain {
    /// From when on idle connections give way, if that is before their own deadline. `full`: their places are
    /// wanted; `grace_ms`: how long they are kept in a drain.
    pub fn idle_until_ms(&mut self, phase: Phase, full: bool, now_ms: u64, grace_ms: u64) -> u64 {
        match phase {
            Phase::Starting | Phase::Serving => match full {
                true => now_ms,
                false => u64::MAX,
            },
            Phase::Draining => *self.idle_until_ms.get_or_insert(now_ms + grace_ms),
            Phase::Flushing | Phase::Keeping | Phase::Stopped => now_ms,
        }
    }

    /// Asked once a sweep: whether everybody has an answer and is gone.
    pub fn is_over(&mut self, connections: usize) -> bool {
        match connections {
            0 => self.empty_sweeps += 1,
            _ => self.empty_sweeps = 0,
        }
        self.empty_sweeps >= EMPTY_SWEEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_have_a_while_from_the_beginning_of_the_drain() {
        let mut drain = Drain::default();
        let mut until = |phase, full, now| drain.idle_until_ms(phase, full, now, 100);
        assert_eq!(until(Phase::Serving, false, 5), u64::MAX);
        assert_eq!(until(Phase::Serving, true, 6), 6);
        assert_eq!(until(Phase::Draining, true, 10), 110);
        assert_eq!(until(Phase::Draining, false, 50), 110);
        assert_eq!(until(Phase::Flushing, false, 60), 60);
    }

    #[test]
    fn a_connection_that_is_not_counted_yet_is_waited_for() {
        let mut drain = Drain::default();
        let seen = [1, 0, 1, 0, 0].map(|connections| drain.is_over(connections));
        assert_eq!(seen, [false, false, false, false, true]);
    }
}
