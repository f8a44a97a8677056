//! The disk full, failing, or without power.

use std::time::Duration;

use crate::common::blackhole::Blackhole;
use crate::common::disk::SmallDisk;
use crate::common::flux::Flux;
use crate::common::ledger::{Ledger, reconcile};
use crate::common::load::Load;
use crate::table::{Row, pick, skipped};

const DRAIN: Duration = Duration::from_secs(30);

#[test]
fn full_for_the_embedded_store() {
    let scenario = "disk full for the embedded last store, then freed";
    let disk = match SmallDisk::mount(8 * 1024 * 1024) {
        Ok(disk) => disk,
        Err(why) => return skipped(scenario, &why),
    };
    let blackhole = Blackhole::start();
    let data = disk.path().join("data");
    let flux = Flux::builder()
        .shards(2)
        .set_text("data_dir", &data.display().to_string())
        .set_text("journal.durability", "memory")
        .carbon(&blackhole.endpoint())
        .start();
    let ledger = Ledger::default();
    let some = || {
        let load = Load {
            requests_max: pick(100, 1_000),
            ..Load::default()
        };
        load.start(&ledger, flux.port).wait();
    };
    some();
    disk.fill();
    some();
    let refused = ledger.answers().iter().filter(|a| a.status != 204).count();
    assert_eq!(refused, 0, "the store's disk is no reason to refuse");
    ledger.settle(&blackhole, DRAIN);
    disk.free();
    some();
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    assert_eq!(tally.acked, tally.delivered, "{tally:?}");
    flux.wait_metric("flux_last_marks_pending", 0.0);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}
