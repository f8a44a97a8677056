//! The program's own series to carbon, on the populate core: each interval every shard is asked for its numbers,
//! as for a scrape, and what they have grown by goes out on the core's own connection.

use super::admin::{self, Admin};
use super::control::Phase;
use super::shard::Shard;
use crate::config::Config;
use crate::outputs::own_series::{self, Moment};
use crate::telemetry::{Merge, Snapshot};
use std::rc::Rc;
use std::time::Duration;

/// How often the clock is looked at, and how long into a new interval the shards are asked: the clock of each shows it
/// by then (`clock::WALL_US` late at the most).
const CLOCK_LOOK: Duration = Duration::from_millis(100);

/// What is to be sent, and how often.
pub struct OwnSeries {
    prefix: String,
    interval_seconds: u32,
    has_quotas: bool,
}

impl OwnSeries {
    /// `None` where none is to be sent. Without a carbon there is nobody to draw them.
    pub fn of(config: &Config) -> Option<OwnSeries> {
        let telemetry = &config.telemetry;
        if !telemetry.to_carbon || config.carbon.endpoint.is_none() {
            return None;
        }
        let host = telemetry.host_name.clone().unwrap_or_else(kernels_name);
        Some(OwnSeries {
            prefix: own_series::prefix(&host),
            interval_seconds: telemetry.interval_seconds,
            has_quotas: !config.keys.quotas.is_empty(),
        })
    }
}

fn kernels_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    own_series::host_element(&name)
}

pub async fn run(own: OwnSeries, shard: Rc<Shard>, admin: Rc<Admin>) {
    let interval = || shard.clock.now().unix_seconds / own.interval_seconds;
    let mut sent = interval();
    let mut before = Moment::default();
    while shard.control.phase() == Phase::Serving {
        glommio::timer::sleep(CLOCK_LOOK).await;
        if interval() == sent {
            continue;
        }
        sent = interval();
        glommio::timer::sleep(CLOCK_LOOK).await;
        let now = loop {
            let (now, is_whole) = moment(&admin, own.has_quotas).await;
            // What a late shard would say of the last interval is lost with this one: it is asked again meanwhile.
            if is_whole || interval() != sent {
                break now;
            }
        };
        let series = own_series::series(&own.prefix, &before, &now);
        shard.turn(|pipeline, now| pipeline.push_own(&series, now));
        before = now;
    }
}

/// And whether every shard has answered in time.
async fn moment(admin: &Admin, has_quotas: bool) -> (Moment, bool) {
    let snapshots = admin::observe(admin).await;
    let is_whole = snapshots.iter().all(|snapshot| snapshot.gauges.up == 1);
    let mut sum = Snapshot::default();
    for snapshot in snapshots {
        sum.merge(&snapshot);
    }
    let moment = Moment {
        counters: sum.counters,
        gauges: sum.gauges,
        populate_points: admin.populate_points(),
        has_quotas,
    };
    (moment, is_whole)
}
