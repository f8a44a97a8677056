//! A shard that has warmed up allocates nothing between the bytes of a read and the bytes of its answers. The long
//! form, with instructions, is `make bench`.

#[path = "../benches/core/case.rs"]
mod case;
#[path = "../benches/core/rig.rs"]
mod rig;

use case::{CASES, Points, Run};

#[test]
fn a_request_in_the_steady_state_allocates_nothing() {
    let steady = |case: &&case::Case| case.points != Points::NewMetric;
    let mut allocating = Vec::new();
    for case in CASES.iter().filter(steady) {
        let mut run = Run::new(*case);
        let mut allocations = 0;
        for _ in 0..64 {
            run.turn(|rig, reads| {
                let counted = allocation_counter::measure(|| rig.read_to_answers(reads));
                allocations += counted.count_total;
            });
            run.deliver(rig::Rig::frames_to_marks);
        }
        run.finish();
        if allocations > 0 {
            allocating.push(format!("{}: {allocations} in 64 reads", case.name));
        }
    }
    assert!(allocating.is_empty(), "{}", allocating.join("\n"));
}
