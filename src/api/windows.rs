//! Texts of the length that most names have, looked at in windows of a fixed size without a branch in them: the compiler
//! makes vector instructions of these.

/// In one window.
pub const BYTES: usize = 32;

/// The longest text that two windows cover, with a byte behind each of theirs.
pub const TWO_MAX: usize = 2 * BYTES + 1;

/// Bytes, and those behind them one by one.
pub type Window<'t> = (&'t [u8; BYTES], &'t [u8; BYTES]);

/// All of a text of more than [`BYTES`] and at most [`TWO_MAX`] bytes; the second one may lie over the first.
#[inline(always)]
pub fn two(text: &[u8]) -> Option<[Window<'_>; 2]> {
    debug_assert!((BYTES + 1..=TWO_MAX).contains(&text.len()));
    let (_, here) = text.split_last()?;
    let (_, next) = text.split_first()?;
    let first = (here.first_chunk()?, next.first_chunk()?);
    let last = (here.last_chunk()?, next.last_chunk()?);
    Some([first, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_stands_before_the_one_behind_it_and_none_is_left_out() {
        let text: Vec<u8> = (0..TWO_MAX as u8).collect();
        for length in BYTES + 1..=TWO_MAX {
            let windows = two(&text[..length]).expect("of that length");
            let mut seen = vec![false; length - 1];
            for (here, next) in windows {
                for (byte, behind) in here.iter().zip(next) {
                    assert_eq!(byte + 1, *behind);
                    seen[usize::from(*byte)] = true;
                }
            }
            assert!(seen.iter().all(|seen| *seen), "{length}");
        }
    }
}
