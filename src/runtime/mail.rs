//! What a shard does with what other executors send it.

use super::mesh::{Parcel, Rest};
use super::shard::Shard;
use futures_lite::future;
use std::rc::Rc;

/// Whether something had come.
pub fn take(shard: &Shard) -> bool {
    shard.mesh.take(|parcel| open(shard, parcel))
}

/// For life, where no ring of ours looks into the letter box.
pub async fn receive(shard: Rc<Shard>) {
    loop {
        if take(&shard) || !shard.mesh.rest(Rest::Asleep) {
            future::yield_now().await;
            continue;
        }
        shard.driver.wait().await;
        shard.mesh.wake();
    }
}

fn open(shard: &Shard, parcel: Parcel) {
    match parcel {
        Parcel::Group(group) => shard.turn(|pipeline, now| pipeline.group(group, now)),
        Parcel::Reply(reply) => {
            shard.owed.replied(reply.owner);
            shard.turn(|pipeline, now| pipeline.reply(reply, now));
        }
        Parcel::Observe { to } => {
            let snapshot = Box::new(shard.snapshot());
            let from = shard.index;
            shard.mesh.send(to, Parcel::Observed { from, snapshot });
        }
        Parcel::Switch(live) => {
            shard.switch(&live);
            shard.mesh.send(shard.mesh.members() - 1, Parcel::Switched);
        }
        Parcel::Recovered(points) => {
            shard.turn(|pipeline, now| pipeline.recover(&points, now));
        }
        Parcel::JobAnswered {
            read,
            request,
            verdict,
        } => shard.turn(|pipeline, _| pipeline.job_answered(read, request, verdict)),
        Parcel::ToOwner(message) => {
            shard.turn(|pipeline, now| pipeline.to_owner(message, now));
        }
        Parcel::LastLeave => shard.left.set(true),
        Parcel::Observed { .. }
        | Parcel::Report { .. }
        | Parcel::Job { .. }
        | Parcel::Switched
        | Parcel::ToCore(_) => {}
    }
}
