//! Without a carbon: the shard's frames of lines are appended to the points file, off the shard.

use super::control::Phase;
use super::shard::Shard;
use crate::outputs::points_file::PointsFile;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of one append at the most: everything that waits leaves in one write, up to this.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A full file or disk is tried again this often: it recovers by itself when there is room.
const RETRY: Duration = Duration::from_millis(500);

pub async fn run(shard: Rc<Shard>, mut file: PointsFile) {
    shard.turn(|pipeline, _| pipeline.outbound.connected());
    shard.carbon.up();
    while shard.control.phase() < Phase::Keeping {
        let lines = gather(&shard);
        if lines.is_empty() {
            shard.link.wait().await;
            continue;
        }
        file = append(&shard, file, lines).await;
        shard.turn(|pipeline, now| pipeline.sink_confirmed(now));
    }
}

fn gather(shard: &Shard) -> Vec<u8> {
    let mut lines = Vec::new();
    while lines.len() < APPEND_BYTES_MAX {
        match shard.turn(|pipeline, now| pipeline.outbound.next_due(now.ms())) {
            Some(frame) => lines.extend_from_slice(&frame.bytes),
            None => break,
        }
    }
    lines
}

/// Appends, and tries again until it succeeds: what is accepted waits, and new requests meet their bound.
async fn append(shard: &Shard, file: PointsFile, lines: Vec<u8>) -> PointsFile {
    let (mut file, mut lines) = (file, lines);
    loop {
        let (file_back, lines_back, result) = glommio::executor()
            .spawn_blocking(move || {
                let result = file.append(&lines);
                (file, lines, result)
            })
            .await;
        (file, lines) = (file_back, lines_back);
        match result {
            Ok(()) => {
                shard.carbon.recovered();
                return file;
            }
            Err(error) => {
                shard.carbon.down(error);
            }
        }
        glommio::timer::sleep(RETRY).await;
    }
}
