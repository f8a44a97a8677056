//! What the live page shows beside the numbers of `/metrics`: the last refused points and the last jobs. For
//! people; names in it were chosen by clients.

use crate::telemetry::refused::Refusal;
use crate::telemetry::{Process, Snapshot};
use serde_json::{Value, json};

/// Refusals shown, of all shards together.
const SHOWN: usize = 24;

pub fn render(
    readiness: Result<(), &str>,
    process: &Process,
    shards: &[Snapshot],
    jobs: Vec<Value>,
) -> String {
    let by_shard = shards.iter().enumerate();
    let mut refused: Vec<(usize, &Refusal)> = by_shard
        .flat_map(|(shard, snapshot)| snapshot.refused.iter().map(move |refusal| (shard, refusal)))
        .collect();
    refused.sort_by_key(|(_, refusal)| std::cmp::Reverse(refusal.at));
    refused.truncate(SHOWN);
    let refused: Vec<Value> = refused
        .into_iter()
        .map(|(shard, refusal)| {
            let namespace = refusal.namespace.map(usize::from);
            let namespace = namespace.and_then(|index| process.namespaces.get(index));
            json!({
                "at": refusal.at, "shard": shard, "reason": refusal.cause.label(),
                "namespace": namespace, "points": refusal.points, "told": refusal.told,
            })
        })
        .collect();
    let answer = json!({
        "ready": readiness.is_ok(), "why": readiness.err(), "refused": refused, "jobs": jobs,
    });
    format!("{answer}\n")
}
