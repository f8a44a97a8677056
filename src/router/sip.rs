//! SipHash-1-3 of a whole text, 128 bits wide (Aumasson and Bernstein, 2012): what the crate `siphasher` computes, in
//! one function for the one case that every point needs. There the state passes through memory between the text's
//! words and its end, and the end is put together from a 4, a 2 and a 1.

/// The state before the first word: the key, and the paper's constants for 128 bits.
#[derive(Clone, Copy, Debug)]
pub struct Sip13([u64; 4]);

impl Sip13 {
    pub fn new(key: [u8; 16]) -> Sip13 {
        let key = u128::from_le_bytes(key);
        let (k0, k1) = (key as u64, (key >> 64) as u64);
        Sip13([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f83,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline(always)]
    pub fn hash(&self, text: &[u8]) -> u128 {
        let Sip13(mut state) = *self;
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            absorb(&mut state, u64::from_le_bytes(*word));
        }
        let rest = match text.last_chunk::<8>() {
            // The rest ends the last eight bytes: the others are shifted out, all of them where there is no rest.
            Some(last) => u64::from_le_bytes(*last).unbounded_shr(64 - 8 * rest.len() as u32),
            None => {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(word)
            }
        };
        // Of the length one byte counts.
        absorb(&mut state, (text.len() as u64) << 56 | rest);
        state[2] ^= 0xee;
        let low = squeeze(&mut state);
        state[1] ^= 0xdd;
        let high = squeeze(&mut state);
        u128::from(high) << 64 | u128::from(low)
    }
}

#[inline(always)]
fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

#[inline(always)]
fn squeeze(state: &mut [u64; 4]) -> u64 {
    round(state);
    round(state);
    round(state);
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v3);
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.wrapping_add(*v3);
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip128::SipHasher13;

    fn assert_as_the_crate(key: [u8; 16], text: &[u8]) {
        let expected = SipHasher13::new_with_key(&key).hash(text).as_u128();
        assert_eq!(Sip13::new(key).hash(text), expected, "{text:?}");
    }

    #[test]
    fn it_is_what_the_crate_computes_at_every_length() {
        let text: Vec<u8> = (0..600).map(|n| (n * 7 + n / 256) as u8).collect();
        for len in 0..text.len() {
            assert_as_the_crate([len as u8; 16], &text[..len]);
            assert_as_the_crate([0xa5; 16], &text[text.len() - len..]);
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_crate_computes(
            key in any::<[u8; 16]>(), text in proptest::collection::vec(any::<u8>(), 0..4200)
        ) {
            assert_as_the_crate(key, &text);
        }
    }
}
