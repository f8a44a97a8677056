//! A command to Redis, an array of bulk strings, written straight into the bytes to send: each word is copied
//! once, where an argument list in between would copy it twice.

/// The array's header and the command's name; this many words follow.
pub fn start(out: &mut Vec<u8>, name: &str, words: usize) {
    header(out, b'*', 1 + words);
    word(out, name, "");
}

/// A word in two parts.
#[inline]
pub fn word(out: &mut Vec<u8>, first: &str, second: &str) {
    header(out, b'$', first.len() + second.len());
    out.extend_from_slice(first.as_bytes());
    out.extend_from_slice(second.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A word of at most 99 bytes, whose length is known once it is written.
#[inline]
pub fn short_word(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"$00\r\n");
    let start = out.len();
    write(out);
    let len = out.len() - start;
    debug_assert!(len < 100);
    out.extend_from_slice(b"\r\n");
    out[start - 4..start - 2].copy_from_slice(&[b'0' + (len / 10) as u8, b'0' + (len % 10) as u8]);
    if len < 10 {
        // Redis reads no number with a zero in front.
        out.remove(start - 4);
    }
}

#[inline]
fn header(out: &mut Vec<u8>, kind: u8, count: usize) {
    match count {
        // Most are: a name and its prefix.
        10..100 => {
            let [tens, ones] = [count / 10, count % 10].map(|digit| b'0' + digit as u8);
            out.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        }
        _ => {
            out.push(kind);
            out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::{Cmd, RedisWrite};

    use super::*;

    proptest! {
        #[test]
        fn a_command_is_what_the_redis_crate_writes(
            words in proptest::collection::vec(("[ -~]{0,120}", 0usize..=120, any::<bool>()), 0..120),
        ) {
            let (mut oracle, mut out) = (Cmd::new(), Vec::new());
            oracle.write_arg(b"MSET");
            start(&mut out, "MSET", words.len());
            for (text, cut, short) in &words {
                oracle.write_arg(text.as_bytes());
                match *short && text.len() < 100 {
                    true => short_word(&mut out, |out| out.extend_from_slice(text.as_bytes())),
                    false => {
                        let (first, second) = text.split_at(*cut.min(&text.len()));
                        word(&mut out, first, second);
                    }
                }
            }
            prop_assert_eq!(out, oracle.get_packed_command());
        }
    }
}
