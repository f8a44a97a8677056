//! The wrapper of a gzip member (RFC 1952): what stands before and after its compressed data.

use super::encoding::Fault;

const TRUNCATED: Fault = Fault::Truncated("gzip");
const DAMAGED: Fault = Fault::Damaged("gzip");

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const FIXED_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// How long the header is that `rest` starts with.
pub(super) fn header_bytes(rest: &[u8]) -> Result<usize, Fault> {
    let known = rest.len().min(MAGIC.len());
    if rest[..known] != MAGIC[..known] {
        return Err(DAMAGED);
    }
    let fixed = rest.get(..FIXED_BYTES).ok_or(TRUNCATED)?;
    let (method, flags) = (fixed[2], fixed[3]);
    if method != DEFLATE || flags & RESERVED != 0 {
        return Err(DAMAGED);
    }
    let mut at = FIXED_BYTES;
    if flags & EXTRA != 0 {
        let length = rest.get(at..at + 2).ok_or(TRUNCATED)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let rest = rest.get(at..).ok_or(TRUNCATED)?;
            at += memchr::memchr(0, rest).ok_or(TRUNCATED)? + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        at += 2;
    }
    if at > rest.len() {
        return Err(TRUNCATED);
    }
    Ok(at)
}

/// How long the trailer is, if it says what was decoded: its checksum, and its length.
pub(super) fn trailer_bytes(rest: &[u8], crc: u32, length: u32) -> Result<usize, Fault> {
    let trailer = rest.get(..TRAILER_BYTES).ok_or(TRUNCATED)?;
    let expected = [crc.to_le_bytes(), length.to_le_bytes()].concat();
    if trailer != expected {
        return Err(DAMAGED);
    }
    Ok(TRAILER_BYTES)
}
