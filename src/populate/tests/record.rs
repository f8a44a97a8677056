//! Records survive their bytes; pieces and damage are recognised for what they are.

use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,30}"
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        any::<u32>().prop_map(Start::Stored),
        Just(Start::Unknown),
        any::<Option<u32>>().prop_map(Start::Graphite),
    ]
}

pub fn accepted() -> impl Strategy<Value = Accepted> {
    let job = (
        text(),
        any::<bool>(),
        text(),
        proptest::collection::vec(text(), 0..6),
    )
        .prop_map(|(metric, graphite, target, urls)| Job {
            metric,
            remote: if graphite {
                Remote::Graphite
            } else {
                Remote::Prometheus
            },
            target,
            urls,
        });
    (
        any::<u64>(),
        any::<u32>(),
        start(),
        any::<Option<u32>>(),
        job,
    )
        .prop_map(|(id, accepted, start, live, job)| Accepted {
            id,
            accepted,
            start,
            live,
            job,
        })
}

fn entry() -> impl Strategy<Value = (u64, Entry)> {
    let cause = (0..Cause::ALL.len()).prop_map(|index| Cause::ALL[index]);
    prop_oneof![
        accepted().prop_map(|accepted| (accepted.id, Entry::Accepted(accepted))),
        any::<(u64, Option<u32>)>().prop_map(|(id, mark)| (id, Entry::Found(mark))),
        any::<(u64, u32)>().prop_map(|(id, from)| (id, Entry::Live(from))),
        any::<(u64, Option<u32>, u16)>()
            .prop_map(|(id, newest, skipped)| (id, Entry::Done(Ended { newest, skipped }))),
        (any::<u64>(), cause).prop_map(|(id, cause)| (id, Entry::Failed(cause))),
    ]
}

fn bytes_of(id: u64, entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, id, entry);
    bytes
}

#[test]
fn the_largest_job_fits_a_record() {
    use super::super::address::URL_BYTES_MAX;
    let accepted = Accepted {
        id: u64::MAX,
        accepted: u32::MAX,
        start: Start::Stored(1),
        live: Some(1),
        job: Job {
            metric: "m".repeat(4096),
            remote: Remote::Prometheus,
            target: "t".repeat(super::super::job::TARGET_BYTES_MAX),
            urls: vec!["u".repeat(URL_BYTES_MAX); URLS_MAX],
        },
    };
    let entry = Entry::Accepted(accepted);
    let bytes = bytes_of(u64::MAX, &entry);
    assert!(bytes.len() < 600 * 1024);
    assert_eq!(read(&bytes), Read::Record(u64::MAX, entry, bytes.len()));
}

#[test]
fn another_versions_file_is_left_alone_and_a_damaged_header_is_none() {
    let mut header = file_header(7);
    assert_eq!(read_file_header(&header), Ok(Some(7)));
    for cut in 0..FILE_HEADER_BYTES {
        assert_eq!(read_file_header(&header[..cut]), Ok(None));
    }
    header[4] = 2;
    assert_eq!(read_file_header(&header), Ok(None), "the checksum is older");
    let crc = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(read_file_header(&header), Err(OtherVersion(2)));
}

proptest! {
    #[test]
    fn a_record_reads_back_and_every_piece_of_it_is_torn((id, entry) in entry(), tail: u8) {
        let mut bytes = bytes_of(id, &entry);
        let length = bytes.len();
        for cut in 0..length {
            prop_assert_eq!(read(&bytes[..cut]), Read::Torn, "{} of {}", cut, length);
        }
        bytes.push(tail);
        prop_assert_eq!(read(&bytes), Read::Record(id, entry, length));
    }

    #[test]
    fn a_flipped_bit_is_never_another_record((id, entry) in entry(), bit: prop::sample::Index) {
        let mut bytes = bytes_of(id, &entry);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = read(&bytes);
        let length = bytes.len();
        if bit / 8 < RECORD_HEADER_BYTES {
            prop_assert_eq!(read, Read::Nothing(length));
        } else {
            prop_assert_eq!(read, Read::Damaged(length));
        }
    }
}
