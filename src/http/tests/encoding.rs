//! What encoders write is read back, whatever the slices; what is cut off or damaged is refused; a bomb costs
//! what the bound says.

use std::io::Write;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use crate::http::ContentEncoding::{self, Deflate, Gzip};
use crate::http::encoding::{Fault, Inflater, SLICE_BYTES};

const BYTES_MAX: usize = 1 << 20;

fn inflate(encoding: ContentEncoding, body: &[u8], slice: usize) -> Result<Vec<u8>, Fault> {
    let mut inflater = Inflater::new(encoding, BYTES_MAX).unwrap();
    // Every turn does something: so many are enough for any body.
    for _ in 0..=3 * (body.len() + BYTES_MAX) {
        if inflater.advance(body, &mut slice.clone())? {
            return Ok(inflater.decoded().to_vec());
        }
        assert!(inflater.held_bytes() <= BYTES_MAX + 1 + 48 * 1024);
    }
    panic!("it goes on for ever");
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A header with everything that may stand in one.
fn adorned(data: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new()
        .mtime(1_478_021_700)
        .extra(b"extra\0field".to_vec())
        .filename("a name")
        .comment("a comment");
    let mut encoder = builder.write(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    let mut wire = encoder.finish().unwrap();
    // A checksum of the header, which nobody looks at: flag, and two bytes after the comment.
    wire[3] |= 2;
    let comment = b"a comment\0";
    let end = wire
        .windows(comment.len())
        .position(|w| w == comment)
        .unwrap()
        + comment.len();
    wire.splice(end..end, [0, 0]);
    wire
}

fn text(bytes: usize) -> Vec<u8> {
    let item = |i: usize| format!("{{\"metric\":\"a.b.{i}\",\"value\":{}}},", i * 7919 % 1000);
    let text: String = (0..bytes / 20).map(item).collect();
    text.into_bytes()[..bytes].to_vec()
}

#[test]
fn only_what_can_be_undone_has_an_inflater() {
    assert!(Inflater::new(ContentEncoding::Identity, 1).is_none());
    assert!(Inflater::new(ContentEncoding::Unknown, 1).is_none());
}

#[test]
fn members_follow_each_other_and_zeros_may_follow_the_last() {
    let (a, b) = (text(70_000), text(333));
    let members = [gzip(&a), gzip(b""), adorned(&b), vec![0; 512]].concat();
    for slice in [1, 1000, SLICE_BYTES] {
        let whole = inflate(Gzip, &members, slice);
        assert!(whole == Ok([a.as_slice(), &b].concat()), "slice {slice}");
    }
    let garbage = [gzip(&a), b"x".to_vec()].concat();
    assert_eq!(inflate(Gzip, &garbage, 1000), Err(Fault::Damaged("gzip")));
}

#[test]
fn deflate_is_read_with_its_wrapper_and_without() {
    for data in [&b""[..], b"{}", &text(100_000)] {
        assert!(inflate(Deflate, &zlib(data), 777).as_deref() == Ok(data));
        for level in [0, 1, 9] {
            assert!(inflate(Deflate, &raw(data, level), 777).as_deref() == Ok(data));
        }
    }
    for stream in [zlib(b"abc"), raw(b"abc", 6)] {
        let more = [stream, b"x".to_vec()].concat();
        assert_eq!(inflate(Deflate, &more, 99), Err(Fault::Damaged("deflate")));
    }
}

#[test]
fn cut_off_anywhere_it_is_refused() {
    let data = text(3000);
    let streams = [
        (Gzip, gzip(&data), "gzip"),
        (Gzip, adorned(&data), "gzip"),
        (Deflate, zlib(&data), "deflate"),
        (Deflate, raw(&data, 6), "deflate"),
    ];
    for (encoding, stream, name) in streams {
        for cut in 0..stream.len() {
            let result = inflate(encoding, &stream[..cut], SLICE_BYTES);
            assert_eq!(result, Err(Fault::Truncated(name)), "{name} at {cut}");
        }
    }
}

#[test]
fn a_damaged_byte_is_noticed_wherever_it_counts() {
    let data = text(3000);
    let stream = gzip(&data);
    for at in 0..stream.len() {
        for flip in [0x01, 0x80] {
            let mut stream = stream.clone();
            stream[at] ^= flip;
            match inflate(Gzip, &stream, SLICE_BYTES) {
                // The flag for a text, the time, the level and the system in a header mean nothing to us;
                // neither do the bits that fill up the last byte of the data.
                Ok(same) => assert!(
                    same == data && ((3..10).contains(&at) || at + 9 == stream.len()),
                    "{at}"
                ),
                Err(fault) => assert!(!fault.is_bound(), "{at}: {fault}"),
            }
        }
    }
    // What is no gzip at all.
    for body in [&b"{\"metric\""[..], b"\x1f\x8b\x07", b"\x1f\x8c"] {
        let padded = [body, &[0; 20]].concat();
        assert_eq!(inflate(Gzip, &padded, 99), Err(Fault::Damaged("gzip")));
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_bound() {
    let bytes_max = 100_000;
    let bombs = [
        gzip(&vec![b' '; 4 << 20]),
        zlib(&vec![b' '; 4 << 20]),
        vec![gzip(&[b' '; 60_000]); 40].concat(),
    ];
    for (bomb, encoding) in bombs.iter().zip([Gzip, Deflate, Gzip]) {
        let mut inflater = Inflater::new(encoding, bytes_max).unwrap();
        let result = inflater.advance(bomb, &mut { usize::MAX });
        assert_eq!(result, Err(Fault::TooLarge { bytes_max }));
        assert!(inflater.held_bytes() <= bytes_max + 1 + 48 * 1024);
    }
    // One that would fit swells too much all the same.
    let mut inflater = Inflater::new(Gzip, 1 << 30).unwrap();
    let bomb = gzip(&vec![0; 32 << 20]);
    assert_eq!(
        inflater.advance(&bomb, &mut { usize::MAX }),
        Err(Fault::Swells)
    );
    assert!(inflater.decoded().len() < (2 << 20) + 200 * bomb.len());
    // And exactly the bound is no bomb.
    let mut inflater = Inflater::new(Gzip, bytes_max).unwrap();
    let fits = gzip(&text(bytes_max));
    assert_eq!(inflater.advance(&fits, &mut { usize::MAX }), Ok(true));
}

#[test]
fn a_slice_bounds_what_one_turn_does() {
    let data = text(900_000);
    let empty_blocks = [0, 0, 0, 0xff, 0xff].repeat(20_000);
    let bodies = [(Gzip, gzip(&data)), (Deflate, empty_blocks)];
    for (encoding, body) in bodies {
        let mut inflater = Inflater::new(encoding, BYTES_MAX).unwrap();
        let mut turns = 0;
        loop {
            let before = inflater.decoded().len();
            let more = inflater.advance(&body, &mut { 50_000 });
            assert!(inflater.decoded().len() - before <= 50_000 + 16 * 1024);
            turns += 1;
            if more != Ok(false) {
                break;
            }
        }
        assert!(turns >= 2, "{encoding:?}: {turns}");
    }
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back_however_it_is_sliced(
        data in prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..5000),
        level in 0u32..10,
        slice in 1usize..6000,
    ) {
        prop_assert_eq!(inflate(Gzip, &gzip(&data), slice), Ok(data.clone()));
        prop_assert_eq!(inflate(Deflate, &zlib(&data), slice), Ok(data.clone()));
        prop_assert_eq!(inflate(Deflate, &raw(&data, level), slice), Ok(data));
    }

    #[test]
    fn noise_is_refused_or_read_alike_whatever_the_slices(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        header in any::<bool>(),
        slice in 1usize..100,
    ) {
        let start: &[u8] = if header { &gzip(b"")[..10] } else { b"" };
        let body = [start, &noise].concat();
        for encoding in [Gzip, Deflate] {
            prop_assert_eq!(inflate(encoding, &body, slice), inflate(encoding, &body, SLICE_BYTES));
        }
    }
}
