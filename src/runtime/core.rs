//! The populate core: a member of the mesh beside the shards, on a CPU of its own where there is one. The
//! admin listener, the replay of what earlier runs have left and the populate worker live here.

use super::admin::{self, Admin};
use super::control::Phase;
use super::journal::hand_out;
use super::journal::replay::{self, Replays};
use super::journal::survey::Found;
use super::mail;
use super::mesh::{Mesh, Parcel};
use super::own_series::{self, OwnSeries};
use super::plan::ShardPlan;
use super::populate::{self, Populate, PopulatePlan};
use super::quota_file::QuotaFile;
use super::reload::Reloads;
use super::shard::Shard;
use super::{SWEEP, sweep};
use crate::budget::Budgets;
use crate::dedup::table::Table;
use crate::outputs::points_file::PointsFile;
use crate::router::NameHasher;
use crate::telemetry::Process;
use std::cell::Cell;
use std::rc::Rc;

/// Whether carbon is there is told twice a second at the most.
const HEALTH_EVERY_MS: u64 = 500;
/// A crash forgets the new metrics of that time, and their next points make them known again.
const QUOTAS_EVERY_MS: u64 = 1000;

/// What the populate core starts with.
pub struct CorePlan {
    /// It is a member of the mesh, with a connection to carbon of its own.
    pub shard: ShardPlan,
    pub points_file: Option<PointsFile>,
    /// Those of the shards.
    pub budgets: Budgets,
    pub hasher: NameHasher,
    pub process: Process,
    pub quotas: QuotaFile,
    pub found: Found,
    pub populate: PopulatePlan,
    pub own_series: Option<OwnSeries>,
    pub listener: std::net::TcpListener,
    pub reloads: Reloads,
}

/// Everything that lives here.
struct Core {
    shard: Rc<Shard>,
    admin: Rc<Admin>,
    replays: Rc<Replays>,
    populate: Rc<Populate>,
    reloads: Reloads,
    /// The replay has saved how far it has come.
    replays_kept: Cell<bool>,
}

pub async fn serve(plan: CorePlan, mesh: Mesh) {
    let mesh = Rc::new(mesh);
    // It owns no metric: the smallest table will do.
    let shard = plan.shard.shard(Table::new(1), mesh.clone());
    sweep::guard(&shard);
    plan.shard.spawn_link(&shard, plan.points_file);
    let control = shard.control.clone();
    let replays = Replays::new(
        plan.found,
        control.clone(),
        plan.budgets.clone(),
        plan.hasher,
        shard.logger,
    );
    let populate = Populate::new(plan.populate, shard.clone());
    let admin = Admin::new(
        control.clone(),
        plan.budgets,
        plan.process,
        mesh.clone(),
        replays.clone(),
        populate.clone(),
    );
    let core = Rc::new(Core {
        shard,
        admin: Rc::new(admin),
        replays: replays.clone(),
        populate: populate.clone(),
        reloads: plan.reloads,
        replays_kept: Cell::new(false),
    });
    let open = {
        let core = core.clone();
        move |parcel| open(&core, parcel)
    };
    glommio::spawn_local(mail::receive(core.shard.clone(), open)).detach();
    populate.recover().await;
    glommio::spawn_local(admin::accept(core.admin.clone(), plan.listener)).detach();
    control.meet();
    while control.phase() < Phase::Serving {
        glommio::timer::sleep(SWEEP).await;
    }
    populate::spawn(&populate);
    if let Some(own) = plan.own_series {
        let task = own_series::run(own, core.shard.clone(), core.admin.clone());
        glommio::spawn_local(task).detach();
    }
    glommio::spawn_local(hand_out::run(replays, mesh.clone())).detach();
    glommio::spawn_local(keep_replays(core.clone())).detach();
    run(&core, plan.quotas).await;
}

async fn keep_replays(core: Rc<Core>) {
    replay::keep(core.replays.clone()).await;
    core.replays_kept.set(true);
}

impl Core {
    /// Nothing is under way. A reload or a stop may begin as much later as a lull takes.
    fn is_idle(&self) -> bool {
        sweep::is_idle(&self.shard) && self.replays.are_handed_out() && !self.populate.has_jobs()
    }
}

/// Sweeps until the service has stopped.
async fn run(core: &Core, mut quotas: QuotaFile) {
    let shard = &core.shard;
    let mut met = Phase::Serving;
    let (mut health_due_ms, mut quotas_due_ms) = (0, 0);
    loop {
        match core.is_idle() {
            true => shard.lull.wait().await,
            false => glommio::timer::sleep(SWEEP).await,
        }
        shard.control.swept(shard.index);
        core.replays.ring();
        shard.turn(|pipeline, now| {
            pipeline.tick(now);
            if pipeline.outbound.is_due(now.ms()) || pipeline.outbound.wants_confirmation() {
                shard.link.ring();
            }
        });
        if let Some(live) = core.reloads.next() {
            core.admin.switch(live.api.keys.namespaces());
            quotas.switch(live.api.clone());
            shard.switch(&live);
            core.reloads.hand_out(&shard.mesh, &live);
        }
        core.populate.tick();
        core.populate.ring();
        let now = shard.clock.now();
        if now.ms() >= health_due_ms {
            health_due_ms = now.ms() + HEALTH_EVERY_MS;
            let seconds = now.unix_seconds;
            shard.carbon.report(shard.logger, &shard.name(), seconds);
        }
        if now.ms() >= quotas_due_ms {
            quotas_due_ms = now.ms() + QUOTAS_EVERY_MS;
            quotas.save();
        }
        let phase = shard.control.phase();
        let done = match phase {
            Phase::Starting | Phase::Serving => continue,
            Phase::Draining => core.populate.is_quiet(),
            Phase::Flushing => {
                shard.turn(|pipeline, _| pipeline.flush());
                shard.link.ring();
                // A job is durable: what carbon does not take now is fetched again.
                shard.pipeline.borrow().outbound.is_empty() || !shard.carbon.is_up()
            }
            Phase::Keeping => core.replays_kept.get() && core.populate.is_settled(),
            Phase::Stopped => break,
        };
        if done && met < phase {
            met = phase;
            if phase == Phase::Flushing {
                core.populate.leave_no_more();
            }
            shard.control.meet();
        }
    }
    quotas.save();
}

/// What the shards send.
fn open(core: &Core, parcel: Parcel) {
    match parcel {
        Parcel::Observed { from, snapshot } => core.admin.observed(from, *snapshot),
        Parcel::Report { from, report, last } => core.replays.report(from, &report, last),
        Parcel::Job { from, posted } => {
            core.populate.posted(from, posted);
            core.shard.lull.end();
        }
        Parcel::ToCore(message) => core.populate.told(message),
        Parcel::Switched => {
            if core.reloads.switched() {
                core.shard.control.reloaded();
            }
        }
        Parcel::Group(_)
        | Parcel::Reply(_)
        | Parcel::Recovered(_)
        | Parcel::JobAnswered { .. }
        | Parcel::ToOwner(_)
        | Parcel::LastLeave
        | Parcel::Switch(_)
        | Parcel::Observe { .. } => {}
    }
}
