//! How an executor comes to what others send it, and what a shard does with it.

use super::bell;
use super::mesh::{Parcel, Rest};
use super::shard::Shard;
use futures_lite::future;
use std::rc::Rc;

/// Whether something had come.
pub fn take(shard: &Shard) -> bool {
    shard.mesh.take(|parcel| open(shard, parcel))
}

/// For life, where no ring of ours looks into the letter box: hands everything to `open`.
pub async fn receive(shard: Rc<Shard>, open: impl Fn(Parcel)) {
    let (mesh, door) = (&shard.mesh, &shard.driver);
    let heard = bell::listen(mesh.bell(Rest::Asleep).clone(), door.clone());
    glommio::spawn_local(heard).detach();
    loop {
        if mesh.take(&open) || !mesh.rest(Rest::Asleep) {
            future::yield_now().await;
            continue;
        }
        door.wait().await;
        mesh.wake();
    }
}

pub fn open(shard: &Shard, parcel: Parcel) {
    match parcel {
        Parcel::Group(group) => shard.turn(|pipeline, now| pipeline.group(group, now)),
        Parcel::Reply(reply) => {
            shard.owed.replied(reply.owner);
            shard.turn(|pipeline, now| pipeline.reply(reply, now));
        }
        Parcel::Observe { to } => {
            // An interval that is over ends now, however late the sweep that ends it is.
            shard.turn(|pipeline, now| pipeline.beside.tick(now.unix_seconds, now.ms()));
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
