//! The queue's order and bounds, and the file against a model that folds its records one by one.

use proptest::prelude::*;

use super::*;
use crate::populate::job::Remote;

const LIMITS: Limits = Limits {
    jobs_max: 1000,
    bytes_max: JOBS_BYTES_MAX,
};

fn job(metric: &str, url: &str) -> Job {
    Job {
        metric: metric.to_owned(),
        remote: Remote::Graphite,
        target: "t".to_owned(),
        urls: vec![url.to_owned()],
    }
}

fn accept(jobs: &mut Jobs, metric: &str, url: &str) -> u64 {
    match jobs.accept(job(metric, url), Start::Unknown, 5) {
        Ok(Posted::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn started(jobs: &mut Jobs) -> Option<u64> {
    jobs.start().map(|accepted| accepted.id)
}

fn ended(newest: u32, skipped: u16) -> Ended {
    Ended {
        newest: Some(newest),
        skipped,
    }
}

#[test]
fn the_oldest_job_runs_first_and_never_two_of_one_metric() {
    let mut jobs = Jobs::new(LIMITS);
    let ids = [("a", "1"), ("a", "2"), ("b", "1")].map(|(m, u)| accept(&mut jobs, m, u));
    assert_eq!(started(&mut jobs), Some(ids[0]));
    assert_eq!(started(&mut jobs), Some(ids[2]), "a runs already");
    assert_eq!(started(&mut jobs), None);
    assert_eq!((jobs.queued(), jobs.running()), (1, 2));
    jobs.failed(ids[0], Cause::Timeout, 9);
    assert_eq!(started(&mut jobs), Some(ids[1]));
    jobs.done(ids[1], ended(7, 0));
    jobs.done(ids[2], Ended::default());
    assert_eq!(
        (jobs.queued(), jobs.running(), jobs.held_bytes().0),
        (0, 0, 0)
    );
    assert_eq!((jobs.counts.accepted, jobs.counts.done), (3, 2));
    assert_eq!(jobs.counts.failed.iter().sum::<u64>(), 1);
    let failures: Vec<_> = jobs
        .failures()
        .map(|f| (f.metric.as_str(), f.cause, f.at))
        .collect();
    assert_eq!(failures, [("a", Cause::Timeout, 9)]);
    jobs.done(ids[1], ended(8, 0));
    assert_eq!(jobs.counts.done, 2, "a job ends once");
}

#[test]
fn the_same_job_posted_again_while_it_waits_is_one_job() {
    let mut jobs = Jobs::new(LIMITS);
    let id = accept(&mut jobs, "a", "1");
    let again = |jobs: &mut Jobs| jobs.accept(job("a", "1"), Start::Unknown, 6);
    assert_eq!(again(&mut jobs), Ok(Posted::Waiting(id)));
    accept(&mut jobs, "a", "2");
    assert_eq!(started(&mut jobs), Some(id));
    // It runs: what it asked may be older than this post.
    assert!(matches!(again(&mut jobs), Ok(Posted::New(_))));
    assert_eq!((jobs.counts.accepted, jobs.counts.repeated), (3, 1));
}

#[test]
fn what_a_whole_job_delivered_the_next_ones_of_its_metric_do_not_send_again() {
    let mut jobs = Jobs::new(LIMITS);
    let ids = ["1", "2", "3"].map(|url| accept(&mut jobs, "a", url));
    let other = accept(&mut jobs, "b", "1");
    jobs.found(ids[2], Some(80));
    jobs.done(ids[0], ended(50, 1));
    assert_eq!(
        jobs.get(ids[1]).unwrap().start,
        Start::Unknown,
        "a URL was skipped"
    );
    jobs.done(ids[1], ended(60, 0));
    assert_eq!(
        jobs.get(ids[2]).unwrap().start,
        Start::Graphite(Some(80)),
        "it knows better"
    );
    assert_eq!(jobs.get(other).unwrap().start, Start::Unknown);
    let last = accept(&mut jobs, "a", "4");
    jobs.done(ids[2], ended(90, 0));
    assert_eq!(jobs.get(last).unwrap().start, Start::Stored(90));
}

#[test]
fn both_bounds_refuse_and_a_job_that_ends_makes_room() {
    let mut jobs = Jobs::new(Limits {
        jobs_max: 2,
        ..LIMITS
    });
    let id = accept(&mut jobs, "a", "1");
    accept(&mut jobs, "b", "1");
    assert_eq!(jobs.accept(job("c", "1"), Start::Unknown, 5), Err(Full));
    assert_eq!(
        jobs.accept(job("a", "1"), Start::Unknown, 5),
        Ok(Posted::Waiting(id))
    );
    jobs.failed(id, Cause::Refused, 6);
    accept(&mut jobs, "c", "1");
    let mut jobs = Jobs::new(Limits {
        bytes_max: 1,
        ..LIMITS
    });
    accept(&mut jobs, "a", "1");
    assert!(!jobs.has_room());
}

#[test]
fn only_the_last_failures_are_remembered() {
    let mut jobs = Jobs::new(LIMITS);
    for n in 0..100 {
        let id = accept(&mut jobs, &n.to_string(), "1");
        jobs.failed(id, Cause::Status, n);
    }
    assert_eq!(jobs.failures().count(), FAILURES_KEPT);
    assert_eq!(jobs.failures().next().unwrap().at, 99);
}

#[test]
fn a_file_that_cannot_be_written_takes_no_job_until_a_snapshot_is() {
    let mut jobs = Jobs::new(LIMITS);
    let id = accept(&mut jobs, "a", "1");
    let lost = jobs.take_unwritten().unwrap();
    jobs.write_failed();
    assert!(jobs.wants_snapshot() && !jobs.has_room());
    assert_eq!(jobs.accept(job("b", "1"), Start::Unknown, 5), Err(Full));
    jobs.found(id, Some(3));
    assert_eq!(jobs.take_unwritten(), None);
    let file = jobs.snapshot();
    assert!(jobs.has_room() && !jobs.wants_snapshot());
    let (read, damage) = Jobs::load(LIMITS, &file).unwrap();
    assert_eq!(read.get(id), jobs.get(id));
    assert_eq!(damage, Damage::default());
    assert!(file.len() > lost.len());
}

#[test]
fn a_file_of_jobs_that_are_done_is_compacted_and_ids_are_never_used_twice() {
    let mut jobs = Jobs::new(LIMITS);
    let url = "u".repeat(1000);
    let mut written = 0;
    while !jobs.wants_snapshot() {
        let id = accept(&mut jobs, "a", &url);
        jobs.done(id, ended(1, 0));
        written += jobs.take_unwritten().unwrap().len();
        assert!(written < 2 * COMPACTION_BYTES_MIN, "never compacted");
    }
    // What is still needed is no reason to write it again.
    let mut needed = Jobs::new(LIMITS);
    for n in 0..900 {
        accept(&mut needed, &n.to_string(), &url.repeat(2));
        needed.take_unwritten();
    }
    assert!(needed.held_bytes().1 > COMPACTION_BYTES_MIN && !needed.wants_snapshot());
    let last = jobs.next_id;
    let file = jobs.snapshot();
    assert_eq!(file.len(), FILE_HEADER_BYTES);
    let (mut read, _) = Jobs::load(LIMITS, &file).unwrap();
    assert_eq!(accept(&mut read, "a", "1"), last);
}

/// What a file says, by the plainest reading of its records.
fn fold<'e>(records: impl IntoIterator<Item = &'e (u64, Entry)>) -> BTreeMap<u64, Accepted> {
    let mut jobs: BTreeMap<u64, Accepted> = BTreeMap::new();
    for (id, entry) in records {
        match entry {
            Entry::Accepted(accepted) => {
                jobs.insert(*id, accepted.clone());
            }
            Entry::Found(mark) => {
                if let Some(job) = jobs.get_mut(id).filter(|job| job.start == Start::Unknown) {
                    job.start = Start::Graphite(*mark);
                }
            }
            Entry::Live(from) => {
                if let Some(job) = jobs.get_mut(id) {
                    job.live = Some(job.live.unwrap_or(u32::MAX).min(*from));
                }
            }
            Entry::Failed(_) => drop(jobs.remove(id)),
            Entry::Done(ended) => {
                let gone = jobs.remove(id);
                let (Some(gone), Some(newest), 0) = (gone, ended.newest, ended.skipped) else {
                    continue;
                };
                for job in jobs
                    .values_mut()
                    .filter(|job| job.job.metric == gone.job.metric)
                {
                    let known = match job.start {
                        Start::Stored(mark) | Start::Graphite(Some(mark)) => mark,
                        _ => 0,
                    };
                    if known <= newest || matches!(job.start, Start::Stored(_)) {
                        job.start = Start::Stored(newest.max(known));
                    }
                }
            }
        }
    }
    jobs
}

/// Where a record ends, and what it is.
type Ends = (usize, (u64, Entry));

/// Random work; returns the file and its records with where each ends.
fn work(steps: &[(u8, u8, u32)]) -> (Jobs, Vec<u8>, Vec<Ends>) {
    let mut jobs = Jobs::new(LIMITS);
    let mut file = jobs.snapshot();
    for &(what, which, number) in steps {
        let ids: Vec<u64> = jobs.slots.keys().copied().collect();
        let id = ids
            .get(usize::from(which) % ids.len().max(1))
            .copied()
            .unwrap_or(0);
        match what % 8 {
            0..3 => {
                let start = [Start::Unknown, Start::Stored(number)][usize::from(what % 2)];
                let metric = format!("m{}", which % 3);
                let posted = jobs.accept(job(&metric, &number.to_string()), start, number);
                assert!(posted.is_ok());
            }
            3 => jobs.found(id, (number % 2 == 0).then_some(number)),
            4 => jobs.live(id, number),
            5 => jobs.done(id, ended(number, u16::from(which % 2))),
            6 => jobs.failed(
                id,
                Cause::ALL[usize::from(which) % Cause::ALL.len()],
                number,
            ),
            _ => drop(jobs.start()),
        }
        file.extend(jobs.take_unwritten().unwrap_or_default());
    }
    let mut records = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while at < file.len() {
        let Read::Record(id, entry, length) = record::read(&file[at..]) else {
            panic!("a record that was appended");
        };
        at += length;
        records.push((at, (id, entry)));
    }
    (jobs, file, records)
}

fn loaded(file: &[u8]) -> (BTreeMap<u64, Accepted>, Damage) {
    let (mut jobs, damage) = Jobs::load(LIMITS, file).unwrap();
    let all: BTreeMap<u64, Accepted> = jobs
        .slots
        .iter()
        .map(|(id, slot)| (*id, slot.accepted.clone()))
        .collect();
    assert_eq!((jobs.queued(), jobs.running()), (all.len(), 0));
    let (again, none) = Jobs::load(LIMITS, &jobs.snapshot()).unwrap();
    assert_eq!(again.slots.len(), all.len());
    assert!(
        again
            .slots
            .iter()
            .all(|(id, slot)| all[id] == slot.accepted)
    );
    assert_eq!((none, again.next_id), (Damage::default(), jobs.next_id));
    (all, damage)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_cut_of_the_file_gives_what_its_whole_records_say(
        steps in proptest::collection::vec((any::<u8>(), any::<u8>(), 0u32..200), 1..12)
    ) {
        let (jobs, file, records) = work(&steps);
        let (all, damage) = loaded(&file);
        prop_assert_eq!(damage, Damage::default());
        prop_assert!(jobs.slots.iter().all(|(id, slot)| all[id] == slot.accepted));
        prop_assert_eq!(all.len(), jobs.slots.len());
        for cut in 0..file.len() {
            let whole = records.iter().take_while(|(end, _)| *end <= cut).map(|(_, record)| record);
            let (all, damage) = loaded(&file[..cut]);
            prop_assert_eq!(all, fold(whole), "cut at {}", cut);
            let end = records.iter().map(|(end, _)| *end).rfind(|end| *end <= cut);
            let torn = cut - end.unwrap_or(if cut < FILE_HEADER_BYTES { 0 } else { FILE_HEADER_BYTES });
            prop_assert_eq!(damage, Damage { records: 0, bytes: torn as u64 });
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_own_record_and_no_other(
        steps in proptest::collection::vec((any::<u8>(), any::<u8>(), 0u32..200), 1..12),
        bits in proptest::collection::vec(any::<prop::sample::Index>(), 20)
    ) {
        let (_, file, records) = work(&steps);
        for bit in bits {
            let bit = bit.index(file.len() * 8);
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let hit = records.iter().position(|(end, _)| bit / 8 < *end && bit / 8 >= FILE_HEADER_BYTES);
            let others = records.iter().enumerate().filter(|(at, _)| Some(*at) != hit);
            let (all, damage) = loaded(&damaged);
            prop_assert_eq!(all, fold(others.map(|(_, (_, record))| record)), "bit {}", bit);
            prop_assert!(damage != Damage::default());
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Jobs::load(LIMITS, &bytes).is_ok());
    }
}
