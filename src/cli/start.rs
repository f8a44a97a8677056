//! The paragraph a start prints: everything one asks first about a running service. Pure.

use std::fmt::Write;

use crate::config::endpoint::{host_port_text, last_store_text, listen_text};
use crate::config::{Config, Durability, LastStore, Protocol, even_unit};
use crate::preflight::Placement;

/// `activated`: how many of the sockets were handed to us. `key_made`: this start made `DATA/key`. The key itself
/// is never part of it.
pub fn paragraph(
    config: &Config,
    placement: &Placement,
    kernel: &str,
    activated: usize,
    key_made: bool,
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "flux {} on Linux {kernel}: {}; {}",
        env!("CARGO_PKG_VERSION"),
        shards(placement),
        populate(placement),
    );
    let listen: Vec<String> = config.http.listen.iter().map(listen_text).collect();
    let lines = match config.line.listen.as_slice() {
        [] => String::new(),
        listen => {
            let listen: Vec<String> = listen.iter().map(listen_text).collect();
            format!("; lines, without a key, on {}", listen.join(", "))
        }
    };
    let _ = writeln!(
        out,
        "  listening on {}{}{lines}; admin on {}",
        listen.join(", "),
        held(activated),
        config.admin.listen
    );
    let _ = writeln!(out, "  {}", points(config));
    let _ = writeln!(out, "  last store: {}", last(config));
    let _ = writeln!(
        out,
        "  durability {}",
        durability(config, placement.shards.len())
    );
    if key_made {
        let path = config.data_dir.join("key");
        let _ = writeln!(out, "  a new API key is in {}", path.display());
    }
    out
}

fn held(sockets: usize) -> String {
    match sockets {
        0 => String::new(),
        1 => " (1 socket of the service manager)".to_owned(),
        _ => format!(" ({sockets} sockets of the service manager)"),
    }
}

fn shards(placement: &Placement) -> String {
    let cpus: Vec<String> = placement.shards.iter().map(usize::to_string).collect();
    let plural = if cpus.len() == 1 { "" } else { "s" };
    format!(
        "{} shard{plural} on CPU{plural} {}",
        cpus.len(),
        cpus.join(",")
    )
}

fn populate(placement: &Placement) -> String {
    let shared = if placement.populate_shared {
        " (shared)"
    } else {
        ""
    };
    format!("populate core on CPU {}{shared}", placement.populate)
}

fn points(config: &Config) -> String {
    match &config.carbon.endpoint {
        Some((host, port)) => {
            let protocol = match config.carbon.protocol {
                Protocol::Pickle => "pickle",
                Protocol::Line => "line",
            };
            format!("carbon at {} ({protocol})", host_port_text(host, *port))
        }
        None => {
            let file = config.data_dir.join("points.carbon");
            let (file, limit) = (file.display(), bytes(config.carbon.file_bytes_max));
            format!(
                "no carbon is configured: points are appended to {file} (at most {limit}, then 429); \
                 replay them with: nc carbon 2003 < {file}"
            )
        }
    }
}

fn last(config: &Config) -> String {
    let place = match &config.last.store {
        LastStore::Embedded => format!("embedded in {}", config.data_dir.display()),
        redis => last_store_text(redis).0,
    };
    if config.last.check {
        place
    } else {
        format!("{place}; duplicates are recognised for vista.* only")
    }
}

fn durability(config: &Config, shards: usize) -> String {
    let promise = match config.journal.durability {
        Durability::Memory => "memory: a 204 means queued, and a crash loses what is queued",
        Durability::Journal => "journal: a 204 means written to the journal, and survives a crash",
        Durability::Fsync => "fsync: a 204 means synced to the disk, and survives a loss of power",
    };
    format!(
        "{promise}; limits: {} in flight per shard, {} of journal (then 429), {} connections, bodies of {}",
        bytes(config.budget_bytes(shards) as u64),
        bytes(config.journal.bytes_max),
        config.http.connections_max,
        bytes(config.http.body_bytes_max as u64),
    )
}

fn bytes(number: u64) -> String {
    even_unit(number).unwrap_or_else(|| format!("{number} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::endpoint::last_store;

    fn placement() -> Placement {
        Placement {
            shards: vec![0, 1],
            populate: 1,
            populate_shared: true,
            blocking: vec![0, 1],
        }
    }

    #[test]
    fn without_configuration_it_says_where_the_points_go_and_how_to_replay_them() {
        let text = paragraph(&Config::default(), &placement(), "6.18.0", 0, true);
        let expected = format!(
            "flux {} on Linux 6.18.0: 2 shards on CPUs 0,1; populate core on CPU 1 (shared)
  listening on 127.0.0.1:8000; admin on 127.0.0.1:8001
  no carbon is configured: points are appended to ./flux-data/points.carbon (at most 1 GiB, then 429); replay them with: nc carbon 2003 < ./flux-data/points.carbon
  last store: embedded in ./flux-data
  durability journal: a 204 means written to the journal, and survives a crash; limits: 384 MiB in flight per shard, 4 GiB of journal (then 429), 10000 connections, bodies of 4 MiB
  a new API key is in ./flux-data/key
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn secrets_are_not_part_of_it() {
        let mut config = Config::default();
        config.keys.self_key = Some("s".repeat(32));
        config
            .keys
            .namespaces
            .insert("n".repeat(32), "w".to_owned());
        config.last.store = last_store("redis://sesame:sesame@r").unwrap();
        config.carbon.endpoint = Some(("graphite".to_owned(), 2004));
        config.line.listen = config.http.listen.clone();
        let text = paragraph(&config, &placement(), "6.18.0", 2, false);
        assert!(!text.contains("ssss") && !text.contains("nnnn") && !text.contains("sesame"));
        assert!(text.contains(
            " (2 sockets of the service manager); lines, without a key, on 127.0.0.1:8000; admin"
        ));
        assert!(text.contains("carbon at graphite:2004 (pickle)"));
        assert!(text.contains("last store: redis://(hidden)@r:6379/0"));
    }
}
