//! Whatever the slices, an encoded body comes to the same, and never to more than its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skyline_flux::http::ContentEncoding::{Deflate, Gzip};
use skyline_flux::http::encoding::{Fault, Inflater};

const BYTES_MAX: usize = 1 << 16;

fn outcome(gzip: bool, body: &[u8], slice: usize) -> Result<Vec<u8>, Fault> {
    let encoding = if gzip { Gzip } else { Deflate };
    let mut inflater = Inflater::new(encoding, BYTES_MAX).expect("one of ours");
    while !inflater.advance(body, &mut slice.clone())? {
        assert!(inflater.decoded().len() <= BYTES_MAX);
    }
    Ok(inflater.decoded().to_vec())
}

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (gzip, slice, body) = input;
    let whole = outcome(gzip, body, usize::MAX);
    assert_eq!(outcome(gzip, body, usize::from(slice) + 1), whole);
});
