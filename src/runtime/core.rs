//! The populate core: a member of the mesh beside the shards. Today the admin listener and the replay of what
//! earlier runs have left run on it; it is also the place of the populate worker.

use super::admin::Admin;
use super::control::{Control, Phase};
use super::journal::hand_out;
use super::journal::replay::{self, Replays};
use super::mesh::{Ends, Parcel};
use super::{SWEEP, admin, sweep};
use crate::budget::Budgets;
use crate::router::NameHasher;
use crate::telemetry::Process;
use crate::telemetry::log::Logger;
use glommio::channels::shared_channel::ConnectedReceiver;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// What the populate core starts with.
pub struct CorePlan {
    pub control: Arc<Control>,
    pub budgets: Budgets,
    pub hasher: NameHasher,
    pub process: Process,
    pub logger: Logger,
    pub found: super::journal::survey::Found,
    pub listener: std::net::TcpListener,
}

pub async fn serve(plan: CorePlan, ends: Ends) {
    let (mesh, receivers) = sweep::connect(ends).await;
    let mesh = Rc::new(mesh);
    let CorePlan {
        control, budgets, ..
    } = plan;
    let replays = Replays::new(
        plan.found,
        control.clone(),
        budgets.clone(),
        plan.hasher,
        plan.logger,
    );
    let admin = Rc::new(Admin::new(
        control.clone(),
        budgets,
        plan.process,
        mesh.clone(),
        replays.clone(),
        receivers.len(),
    ));
    for receiver in receivers {
        glommio::spawn_local(receive(admin.clone(), replays.clone(), receiver)).detach();
    }
    glommio::spawn_local(admin::accept(admin, plan.listener)).detach();
    control.meet();
    while control.phase() < Phase::Serving {
        glommio::timer::sleep(SWEEP).await;
    }
    glommio::spawn_local(hand_out::run(replays.clone(), mesh.clone())).detach();
    let kept = Rc::new(Cell::new(false));
    glommio::spawn_local({
        let (replays, kept) = (replays.clone(), kept.clone());
        async move {
            replay::keep(replays).await;
            kept.set(true);
        }
    })
    .detach();
    let mut met = Phase::Serving;
    while control.phase() < Phase::Stopped {
        glommio::timer::sleep(SWEEP).await;
        mesh.flush();
        replays.ring();
        let phase = control.phase();
        if phase > met && (phase != Phase::Keeping || kept.get()) {
            met = phase;
            control.meet();
        }
    }
    mesh.close();
}

async fn receive(admin: Rc<Admin>, replays: Rc<Replays>, receiver: ConnectedReceiver<Parcel>) {
    while let Some(parcel) = receiver.recv().await {
        match parcel {
            Parcel::Observed { from, snapshot } => admin.observed(from, *snapshot),
            Parcel::Report { from, report, last } => replays.report(from, &report, last),
            Parcel::Group(_)
            | Parcel::Reply(_)
            | Parcel::Recovered(_)
            | Parcel::Nudge
            | Parcel::Observe { .. } => {}
        }
    }
}
