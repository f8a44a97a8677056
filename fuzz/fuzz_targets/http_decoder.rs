//! However a stream is cut, the decoder makes the same messages and refusals of it, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skyline_flux::http::{Decoded, Decoder, Limits};

const LIMITS: Limits = Limits {
    head_bytes_max: 256,
    body_bytes_max: 64,
};

fn outcomes<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut decoder, mut buffer, mut seen) = (Decoder::new(LIMITS), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let taken = match decoder.next(&mut buffer) {
                Decoded::Incomplete { .. } => break,
                Decoded::Refused(refusal) => {
                    seen.push(format!("{refusal:?}"));
                    return seen;
                }
                Decoded::Message { message, consumed } => {
                    seen.push(format!("{message:?}"));
                    consumed
                }
            };
            buffer.drain(..taken);
        }
        assert!(buffer.len() < LIMITS.buffer_bytes_max());
    }
    seen
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, wire) = input;
    let whole = outcomes([wire]);
    assert_eq!(outcomes(wire.chunks(usize::from(size) + 1)), whole);
    assert_eq!(outcomes(wire.chunks(1)), whole);
});
