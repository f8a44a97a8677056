//! Accepted points as statsd counters, `<metric>:<value>|c`, several in a datagram. Pure: the runtime owns
//! the socket.
//!
//! A colon in a metric's name becomes `_`: statsd ends the name at the first one, and would count the point under
//! another's name. Other characters go as they are, UTF-8 beyond ASCII included.

use crate::last::text::python_float;
use std::collections::VecDeque;

/// A point may wait this long for others to share its datagram: statsd adds up over ten seconds, so nobody
/// sees a tenth of one.
const WAIT_MS: u64 = 100;
/// Datagrams that wait for the socket, of each shard, 6 MiB of them: a tenth of a second of the fastest shard. The
/// socket takes them far quicker than that, or not at all.
const DATAGRAMS_MAX: usize = 4096;
/// Buffers kept for their memory: what a sweep usually sends.
const SPARES_MAX: usize = 256;

#[derive(Debug, Default)]
struct Datagram {
    bytes: Vec<u8>,
    points: u64,
}

#[derive(Debug)]
pub struct Datagrams {
    bytes_max: usize,
    open: Datagram,
    opened_ms: u64,
    waiting: VecDeque<Datagram>,
    spares: Vec<Vec<u8>>,
    line: Vec<u8>,
    pub datagrams_sent: u64,
    pub points_sent: u64,
    pub points_dropped: u64,
}

impl Datagrams {
    /// `bytes_max`: of a datagram, its own headers left out. Only a single line is ever longer: it goes alone.
    pub fn new(bytes_max: usize) -> Datagrams {
        Datagrams {
            bytes_max,
            open: Datagram::default(),
            opened_ms: 0,
            waiting: VecDeque::new(),
            spares: Vec::new(),
            line: Vec::new(),
            datagrams_sent: 0,
            points_sent: 0,
            points_dropped: 0,
        }
    }

    pub fn push(&mut self, name: &str, value: f64, now_ms: u64) {
        self.line.clear();
        self.line.extend(name.bytes().map(|byte| match byte {
            b':' => b'_',
            other => other,
        }));
        self.line.push(b':');
        python_float(&mut self.line, value);
        self.line.extend_from_slice(b"|c");
        // With the line feed between.
        if self.open.points > 0 && self.open.bytes.len() + 1 + self.line.len() > self.bytes_max {
            self.seal();
        }
        match self.open.points {
            0 => self.opened_ms = now_ms,
            _ => self.open.bytes.push(b'\n'),
        }
        self.open.bytes.extend_from_slice(&self.line);
        self.open.points += 1;
    }

    pub fn tick(&mut self, now_ms: u64) {
        if now_ms >= self.opened_ms + WAIT_MS {
            self.seal();
        }
    }

    /// What there is may leave now.
    pub fn seal(&mut self) {
        if self.open.points == 0 {
            return;
        }
        let bytes = self.spares.pop().unwrap_or_default();
        let sealed = std::mem::replace(&mut self.open, Datagram { bytes, points: 0 });
        if self.waiting.len() < DATAGRAMS_MAX {
            self.waiting.push_back(sealed);
        } else {
            self.points_dropped += sealed.points;
            self.recycle(sealed.bytes);
        }
    }

    /// The next one to send.
    pub fn front(&self) -> Option<&[u8]> {
        self.waiting
            .front()
            .map(|datagram| datagram.bytes.as_slice())
    }

    /// The kernel has taken the front one.
    pub fn sent(&mut self) {
        if let Some(datagram) = self.waiting.pop_front() {
            self.datagrams_sent += 1;
            self.points_sent += datagram.points;
            self.recycle(datagram.bytes);
        }
    }

    /// The front one cannot be sent.
    pub fn give_up(&mut self) {
        if let Some(datagram) = self.waiting.pop_front() {
            self.points_dropped += datagram.points;
            self.recycle(datagram.bytes);
        }
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spares.len() < SPARES_MAX && bytes.capacity() <= 2 * self.bytes_max {
            bytes.clear();
            self.spares.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(datagrams: &mut Datagrams) -> Vec<String> {
        datagrams.seal();
        let mut texts = Vec::new();
        while let Some(bytes) = datagrams.front() {
            texts.push(String::from_utf8(bytes.to_vec()).unwrap());
            datagrams.sent();
        }
        texts
    }

    #[test]
    fn a_line_is_a_name_a_float_as_python_writes_it_and_the_type() {
        let mut datagrams = Datagrams::new(1432);
        for (name, value) in [
            ("a.b", 2.5),
            ("whole", 1.0),
            ("large", 1e16),
            ("small", 1e-5),
            ("minus", -0.0),
            ("café", -3.25),
            ("a:b:1", 1.0),
        ] {
            datagrams.push(name, value, 0);
        }
        let expected = "a.b:2.5|c\nwhole:1.0|c\nlarge:1e+16|c\nsmall:1e-05|c\nminus:-0.0|c\ncafé:-3.25|c\na_b_1:1.0|c";
        assert_eq!(texts(&mut datagrams), [expected]);
        assert_eq!((datagrams.datagrams_sent, datagrams.points_sent), (1, 7));
    }

    #[test]
    fn a_point_waits_for_company_and_not_for_long() {
        let mut datagrams = Datagrams::new(1432);
        datagrams.push("a", 1.0, 1000);
        datagrams.push("b", 1.0, 1090);
        datagrams.tick(1099);
        assert_eq!(datagrams.front(), None);
        datagrams.tick(1100);
        assert_eq!(datagrams.front(), Some(&b"a:1.0|c\nb:1.0|c"[..]));
    }

    #[test]
    fn a_full_queue_drops_what_is_newest_and_counts_points() {
        let mut datagrams = Datagrams::new(20);
        let points = DATAGRAMS_MAX as u64 * 2 + 10;
        for _ in 0..points {
            datagrams.push("a", 1.0, 0);
        }
        datagrams.seal();
        assert_eq!(datagrams.points_dropped, 10);
        datagrams.give_up();
        assert_eq!(datagrams.points_dropped, 12);
        texts(&mut datagrams);
        assert_eq!(datagrams.points_sent + datagrams.points_dropped, points);
        assert!(datagrams.spares.len() <= SPARES_MAX);
    }

    proptest! {
        #[test]
        fn datagrams_keep_their_size_and_every_point_stands_in_one_in_order(
            bytes_max in 64usize..2000,
            points in prop::collection::vec(("[a-z.é/_-]{1,300}", any::<f64>()), 0..200),
        ) {
            let points: Vec<_> = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
            let mut datagrams = Datagrams::new(bytes_max);
            for (name, value) in &points {
                datagrams.push(name, *value, 0);
            }
            let texts = texts(&mut datagrams);
            let mut read = Vec::new();
            for text in &texts {
                prop_assert!(text.len() <= bytes_max || !text.contains('\n'), "{}", text.len());
                for line in text.split('\n') {
                    let (name, rest) = line.split_once(':').unwrap();
                    let value: f64 = rest.strip_suffix("|c").unwrap().parse().unwrap();
                    read.push((name.to_owned(), value.to_bits()));
                }
            }
            // None could have held the next one's first line.
            for pair in texts.windows(2) {
                let first = pair[1].split('\n').next().unwrap();
                prop_assert!(pair[0].len() + 1 + first.len() > bytes_max);
            }
            let sent: Vec<_> = points.into_iter().map(|(name, value)| (name, value.to_bits())).collect();
            prop_assert_eq!(read, sent);
        }
    }
}
