//! Pickle frames: 4-byte big-endian length, then pickle protocol 2 of a list of
//! `(name, (timestamp, value))`. A point is encoded once, as its tuple; a frame is header + tuples + trailer.
//! Source of the shape: carbon's `MetricPickleReceiver`, reference section 10.2.
//!
//! Tuples do not refer to each other (no memo), so any run of them makes a frame, in any order and
//! any number of times. How many go into one frame is the caller's business: at most 500 points
//! (Graphite's MAX_DATAPOINTS_PER_MESSAGE) and well under carbon's 1 MiB.

/// The length goes here when the frame is closed.
const LENGTH: [u8; 4] = [0; 4];
/// Protocol 2, an empty list, a mark. Some relays look for `80 02 5d`.
const PROLOGUE: [u8; 4] = [0x80, 0x02, b']', b'('];
/// Append everything since the mark to the list; stop.
const TRAILER: [u8; 2] = [b'e', b'.'];

/// What a frame costs beside its tuples.
pub const FRAME_OVERHEAD_BYTES: usize = LENGTH.len() + PROLOGUE.len() + TRAILER.len();
/// What a tuple costs at most beside its name: 21 bytes, two more for a timestamp past 2^31-1.
pub const TUPLE_OVERHEAD_BYTES_MAX: usize = 23;

/// Where the name stands in a tuple: after its opcode and its length.
pub const NAME_OFFSET: usize = 5;

const BINUNICODE: u8 = b'X';
const BININT: u8 = b'J';
const LONG1: u8 = 0x8a;
const BINFLOAT: u8 = b'G';
const TUPLE2: u8 = 0x86;

/// Appends one point as its tuple.
#[inline]
pub fn push_tuple(out: &mut Vec<u8>, name: &str, timestamp: u32, value: f64) {
    // A name is at most 4,096 bytes (api::validate), so its length fits.
    let [a, b, c, d] = (name.len() as u32).to_le_bytes();
    push(
        out,
        &[BINUNICODE, a, b, c, d],
        name.as_bytes(),
        timestamp,
        value,
    );
}

/// The same behind a byte of the caller's own.
#[inline]
pub fn push_tuple_behind(out: &mut Vec<u8>, first: u8, name: &[u8], timestamp: u32, value: f64) {
    let [a, b, c, d] = (name.len() as u32).to_le_bytes();
    push(
        out,
        &[first, BINUNICODE, a, b, c, d],
        name,
        timestamp,
        value,
    );
}

#[inline(always)]
fn push(out: &mut Vec<u8>, head: &[u8], name: &[u8], timestamp: u32, value: f64) {
    out.extend_from_slice(head);
    out.extend_from_slice(name);
    // Few appends of fixed size: what makes this worth writing by hand.
    if timestamp <= i32::MAX as u32 {
        let mut tail = [
            BININT, 0, 0, 0, 0, BINFLOAT, 0, 0, 0, 0, 0, 0, 0, 0, TUPLE2, TUPLE2,
        ];
        tail[1..5].copy_from_slice(&timestamp.to_le_bytes());
        tail[6..14].copy_from_slice(&value.to_be_bytes());
        out.extend_from_slice(&tail);
    } else {
        // As a signed 32-bit integer it would read as negative: a long of five bytes, the last one zero.
        out.extend_from_slice(&[LONG1, 5]);
        out.extend_from_slice(&timestamp.to_le_bytes());
        out.extend_from_slice(&[0, BINFLOAT]);
        out.extend_from_slice(&value.to_be_bytes());
        out.extend_from_slice(&[TUPLE2, TUPLE2]);
    }
}

/// What a tuple is long.
#[inline]
pub fn tuple_bytes(name_bytes: usize, timestamp: u32) -> usize {
    let long = timestamp > i32::MAX as u32;
    name_bytes + TUPLE_OVERHEAD_BYTES_MAX - if long { 0 } else { 2 }
}

/// Tuples as another has encoded them: each behind a gap, bytes of its own.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    pub bytes: &'a [u8],
    pub gap: usize,
}

/// Reads back what [`push_tuple`] wrote: name, timestamp, value, and the tuple's length. Knows no other pickle.
#[must_use]
pub fn read_tuple(bytes: &[u8]) -> Option<(&str, u32, f64, usize)> {
    let (head, rest) = bytes.split_first_chunk::<NAME_OFFSET>()?;
    let len = u32::from_le_bytes(head[1..].try_into().ok()?) as usize;
    if head[0] != BINUNICODE || rest.len() < len {
        return None;
    }
    let (name, rest) = rest.split_at(len);
    let (timestamp, rest) = match rest {
        [BININT, rest @ ..] => {
            let (timestamp, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*timestamp), rest)
        }
        [LONG1, 5, rest @ ..] => {
            let (timestamp, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*timestamp), rest.strip_prefix(&[0])?)
        }
        _ => return None,
    };
    let (value, rest) = rest.strip_prefix(&[BINFLOAT])?.split_first_chunk()?;
    let rest = rest.strip_prefix(&[TUPLE2, TUPLE2])?;
    let name = std::str::from_utf8(name).ok()?;
    Some((
        name,
        timestamp,
        f64::from_be_bytes(*value),
        bytes.len() - rest.len(),
    ))
}

/// The name of a tuple in a frame, by where it begins.
#[inline]
pub fn name_at(frame: &[u8], at: usize) -> &[u8] {
    let (before, name) = frame.split_at(at);
    let length = before.last_chunk().expect("a tuple begins before its name");
    &name[..u32::from_le_bytes(*length) as usize]
}

/// Starts a frame at the end of `out`; give what it returns to [`close`] after the tuples.
#[must_use]
pub fn open(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&LENGTH);
    out.extend_from_slice(&PROLOGUE);
    start
}

/// Ends the frame that [`open`] started and fills in its length.
pub fn close(out: &mut Vec<u8>, start: usize) {
    out.extend_from_slice(&TRAILER);
    let body = start + LENGTH.len();
    // Frames are bounded by `frame_bytes_max`, far below 4 GiB.
    let len = (out.len() - body) as u32;
    out[start..body].copy_from_slice(&len.to_be_bytes());
}

/// The tuples of a frame that [`open`] started, closed or not; what follows the last one is its trailer.
#[must_use]
pub fn tuples(frame: &[u8]) -> &[u8] {
    &frame[LENGTH.len() + PROLOGUE.len()..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::last::text::tests::python;

    type Row = (String, (u32, f64));

    fn frame(rows: &[Row]) -> Vec<u8> {
        let mut out = Vec::new();
        let start = open(&mut out);
        for (name, (timestamp, value)) in rows {
            push_tuple(&mut out, name, *timestamp, *value);
        }
        close(&mut out, start);
        out
    }

    fn rows(count: usize) -> Vec<Row> {
        let name = |n: usize| match n % 3 {
            0 => format!("vista.café.{n}"),
            1 => "a".to_owned(),
            _ => format!("collectd.node-{n}.cpu.user"),
        };
        let timestamp = |n: usize| match n % 5 {
            0 => n as u32,
            1 => i32::MAX as u32,
            2 => i32::MAX as u32 + 1,
            3 => u32::MAX,
            _ => 1_478_021_700,
        };
        let values = [0.1, -0.0, f64::MAX, 5e-324, 1e16];
        (0..count)
            .map(|n| (name(n), (timestamp(n), values[n % values.len()])))
            .collect()
    }

    #[test]
    fn one_point_is_these_bytes() {
        let row = ("a.b".to_owned(), (1_478_021_700, 1.0));
        let expected = b"\x00\x00\x00\x1e\x80\x02](X\x03\x00\x00\x00a.bJ\x44\xd2\x18\x58G\x3f\xf0\0\0\0\0\0\0\x86\x86e.";
        assert_eq!(frame(&[row]), expected);
        assert_eq!(expected.len(), FRAME_OVERHEAD_BYTES + 3 + 21);
    }

    #[test]
    fn a_full_frame_stays_far_below_what_carbon_accepts() {
        let frame = frame(&rows(500));
        assert_eq!(frame[4..7], [0x80, 0x02, b']']);
        assert!(frame.len() < 1024 * 1024 / 8);
        let names: usize = rows(500).iter().map(|(name, _)| name.len()).sum();
        assert!(frame.len() <= FRAME_OVERHEAD_BYTES + names + 500 * TUPLE_OVERHEAD_BYTES_MAX);
    }

    /// Reads frames from its input and prints one line per point: name in hex, timestamp, value's bits.
    const PRINT_POINTS: &str = "
import struct, sys
def points(loads):
    data = sys.stdin.buffer.read()
    while data:
        (size,) = struct.unpack('>I', data[:4])
        frame, data = data[4:4 + size], data[4 + size:]
        assert len(frame) == size
        for name, (ts, value) in loads(frame):
            assert type(name) is str and type(ts) is int and type(value) is float
            print(name.encode('utf-8').hex(), ts, struct.pack('>d', value).hex())
";

    fn assert_python_reads_every_frame(interpreter: &str, loads: &str) {
        let counts = [1, 499, 500, 501];
        let input = counts
            .iter()
            .flat_map(|&count| frame(&rows(count)))
            .collect();
        let script = format!("{PRINT_POINTS}{loads}");
        let Some(output) = python(interpreter, &script, input) else {
            return;
        };
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let expected: String = counts
            .iter()
            .flat_map(|&count| rows(count))
            .map(|(name, (timestamp, value))| {
                let bits = value.to_bits();
                format!("{} {timestamp} {bits:016x}\n", hex(name.as_bytes()))
            })
            .collect();
        assert!(String::from_utf8(output).expect("ASCII") == expected);
    }

    #[test]
    fn cpython_reads_every_frame_to_the_bit() {
        assert_python_reads_every_frame("python3", "import pickle\npoints(pickle.loads)\n");
    }

    /// Debian's package graphite-carbon belongs to Debian's own interpreter.
    #[test]
    fn carbons_safe_unpickler_reads_every_frame_to_the_bit() {
        const LOADS: &str = "
try:
    from carbon.util import get_unpickler
except ImportError:
    sys.exit(77)
points(get_unpickler(insecure=False).loads)
";
        assert_python_reads_every_frame("/usr/bin/python3", LOADS);
    }

    proptest! {
        #[test]
        fn a_tuple_reads_back_and_a_piece_of_one_does_not(
            name in "\\PC{0,20}", timestamp in any::<u32>(), value in any::<f64>(), cut in any::<usize>()
        ) {
            let mut tuple = Vec::new();
            push_tuple(&mut tuple, &name, timestamp, value);
            let len = tuple.len();
            prop_assert_eq!(len, tuple_bytes(name.len(), timestamp));
            let mut behind = vec![1];
            push_tuple_behind(&mut behind, 2, name.as_bytes(), timestamp, value);
            prop_assert_eq!(&behind[..2], [1, 2]);
            prop_assert_eq!(&behind[2..], &tuple);
            prop_assert_eq!(read_tuple(&tuple[..cut % len]), None);
            tuple.push(b'e');
            let (n, t, v, l) = read_tuple(&tuple).expect("it was written here");
            prop_assert_eq!((n, t, v.to_bits(), l), (name.as_str(), timestamp, value.to_bits(), len));
        }

        #[test]
        fn serde_pickle_reads_back_what_was_written(
            rows in proptest::collection::vec(
                ("\\PC{0,20}", (any::<u32>(), any::<f64>())), 0..40)
        ) {
            let frame = frame(&rows);
            prop_assert_eq!(frame.len() - 4, u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize);
            let read: Vec<Row> =
                serde_pickle::from_slice(&frame[4..], serde_pickle::DeOptions::new()).unwrap();
            prop_assert_eq!(read.len(), rows.len());
            for (a, b) in read.iter().zip(&rows) {
                prop_assert_eq!((&a.0, a.1.0, a.1.1.to_bits()), (&b.0, b.1.0, b.1.1.to_bits()));
            }
        }
    }
}
