//! What must hold between keys. Each rule names the keys it looks at, and is passed over while one
//! of them could not be read: a guess about a value that is wrong anyway helps nobody.

use std::net::{IpAddr, SocketAddr};

use super::endpoint::listen_text;
use super::problem::Problem;
use super::{Config, LastStore, Listen, RedisAt, budget_bytes_max};
use crate::point::POINT_COST_BYTES;

/// The smallest item of a JSON batch with the comma after it: what expands most when it becomes a
/// point.
const SMALLEST_ITEM: &str = r#"{"metric":"a","value":1},"#;

/// The smallest field of a Telegraf batch with its comma.
const SMALLEST_FIELD_BYTES: u64 = r#""a":1,"#.len() as u64;

type Rule = (&'static [&'static str], fn(&Config) -> Option<Problem>);

const RULES: &[Rule] = &[
    (
        &[
            "http.body_bytes_max",
            "points.in_flight_bytes_max",
            "points.points_per_request_max",
            "keys.namespaces",
        ],
        body_fits,
    ),
    (
        &[
            "http.inflated_bytes_max",
            "points.in_flight_bytes_max",
            "points.points_per_request_max",
            "keys.namespaces",
        ],
        inflated_fits,
    ),
    (
        &["http.inflated_bytes_max", "http.buffered_bytes_max"],
        inflated_is_kept,
    ),
    (
        &[
            "http.body_bytes_max",
            "http.inflated_bytes_max",
            "points.in_flight_bytes_max",
            "points.points_per_request_max",
            "keys.namespaces",
            "journal.bytes_max",
            "journal.segment_bytes",
            "carbon.redo_bytes",
            "cpu.shards",
        ],
        journal_fits,
    ),
    (
        &["http.listen", "line.listen", "admin.listen"],
        addresses_differ,
    ),
    (
        &[
            "http.listen",
            "line.listen",
            "admin.listen",
            "carbon.endpoint",
            "last.store",
        ],
        not_our_own_address,
    ),
    (&["keys.self", "keys.namespaces"], keys_differ),
    (
        &["last.lookup_deadline_ms", "http.request_deadline_ms"],
        lookup_ends_first,
    ),
    (
        &[
            "populate.connect_timeout_ms",
            "populate.read_timeout_ms",
            "populate.total_timeout_ms",
        ],
        fetch_ends_last,
    ),
    (
        &[
            "skyline.metrics_sent",
            "skyline.filled_metrics",
            "last.store",
        ],
        skyline_has_redis,
    ),
];

/// The problems of a configuration whose keys each were read, except those in `failed`.
pub fn check(config: &Config, failed: &[String]) -> Vec<Problem> {
    RULES
        .iter()
        .filter(|(keys, _)| !keys.iter().any(|key| failed.iter().any(|f| f == key)))
        .filter_map(|(_, rule)| rule(config))
        .collect()
}

/// What the points of a JSON body cost at worst, and the largest body that costs at most `budget`.
///
/// An item is 24 bytes (comma included) and its name; its point costs `POINT_COST_BYTES`, the prefix
/// and the same name. So every item adds the difference and the prefix to the body's own size, and
/// there are at most as many items as one request may have, and as the smallest of them fit.
struct Expansion {
    point_bytes: u64,
    item_bytes: u64,
    items_max: u64,
}

impl Expansion {
    fn of(config: &Config) -> Expansion {
        let prefixes = config.keys.namespaces.values();
        // With the dot between prefix and name.
        let prefix_bytes = prefixes.map(|p| p.len() + usize::from(!p.is_empty())).max();
        let name_bytes = 1 + prefix_bytes.unwrap_or(0);
        Expansion {
            point_bytes: (POINT_COST_BYTES + name_bytes) as u64,
            item_bytes: SMALLEST_ITEM.len() as u64,
            items_max: config.points.points_per_request_max as u64,
        }
    }

    fn grows_by(&self) -> u64 {
        self.point_bytes - self.item_bytes
    }

    fn worst_bytes(&self, body_bytes: u64) -> u64 {
        let items = self.items_max.min(body_bytes / self.item_bytes);
        body_bytes + items * self.grows_by()
    }

    /// The same for what an encoded body inflates to, and for Telegraf's form: a field of 6 bytes becomes a
    /// point with a name of its own, and all names together are bounded by the same number.
    fn worst_inflated_bytes(&self, inflated: u64) -> u64 {
        let fields = self.items_max.min(inflated / SMALLEST_FIELD_BYTES);
        let telegraf = inflated + fields * self.point_bytes;
        self.worst_bytes(inflated).max(telegraf)
    }

    /// The largest that costs at most `budget`: what is left when the points are paid for, or what all points
    /// together can be paid from.
    fn inflated_bytes_max(&self, budget: u64) -> u64 {
        let by_count = budget.saturating_sub(self.items_max * self.point_bytes);
        let by_ratio = budget * SMALLEST_FIELD_BYTES / (SMALLEST_FIELD_BYTES + self.point_bytes);
        by_count.max(by_ratio).min(self.body_bytes_max(budget))
    }

    fn body_bytes_max(&self, budget: u64) -> u64 {
        let by_count = budget.saturating_sub(self.items_max * self.grows_by());
        let by_ratio = budget * self.item_bytes / self.point_bytes;
        by_count.max(by_ratio)
    }
}

/// A request is admitted whole, and all its points may belong to one shard.
fn body_fits(config: &Config) -> Option<Problem> {
    let expansion = Expansion::of(config);
    let body_bytes = config.http.body_bytes_max as u64;
    let budget = config.points.in_flight_bytes_max as u64;
    let worst = expansion.worst_bytes(body_bytes);
    (worst > budget).then(|| {
        Problem::new(
            "http.body_bytes_max",
            format!(
                "a body of {body_bytes} bytes can become {worst} bytes of points (each {} bytes like \
                 {SMALLEST_ITEM} take {} in memory), more than one shard's points.in_flight_bytes_max \
                 = {budget}",
                expansion.item_bytes, expansion.point_bytes,
            ),
            format!(
                "write body_bytes_max = {} or less, or in_flight_bytes_max = {worst} or more",
                expansion.body_bytes_max(budget)
            ),
        )
    })
}

/// The same for what a body inflates to, and for the names that a Telegraf batch spells out.
fn inflated_fits(config: &Config) -> Option<Problem> {
    let expansion = Expansion::of(config);
    let inflated = config.http.inflated_bytes_max as u64;
    let budget = config.points.in_flight_bytes_max as u64;
    let worst = expansion.worst_inflated_bytes(inflated);
    (worst > budget).then(|| {
        Problem::new(
            "http.inflated_bytes_max",
            format!(
                "a body that inflates to {inflated} bytes can become {worst} bytes of points, more than one \
                 shard's points.in_flight_bytes_max = {budget}"
            ),
            format!(
                "write inflated_bytes_max = {} or less, or in_flight_bytes_max = {worst} or more",
                expansion.inflated_bytes_max(budget)
            ),
        )
    })
}

/// What is inflated counts as buffered until it is parsed: one body alone must not be turned away for ever.
fn inflated_is_kept(config: &Config) -> Option<Problem> {
    /// The body as it was sent, and what the decompressor needs.
    const BESIDE_BYTES: usize = 128 * 1024;
    let http = &config.http;
    let needed = http.inflated_bytes_max + http.body_bytes_max + BESIDE_BYTES;
    (needed > http.buffered_bytes_max).then(|| {
        Problem::new(
            "http.buffered_bytes_max",
            format!(
                "{} does not hold one body of http.body_bytes_max = {} while it inflates to \
                 http.inflated_bytes_max = {}",
                http.buffered_bytes_max, http.body_bytes_max, http.inflated_bytes_max
            ),
            format!("write buffered_bytes_max = {needed} or more"),
        )
    })
}

/// What is admitted is journalled, and a shard has its part of the journal.
fn journal_fits(config: &Config) -> Option<Problem> {
    let shards = config.shards_max();
    let expansion = Expansion::of(config);
    let worst = expansion
        .worst_bytes(config.http.body_bytes_max as u64)
        .max(expansion.worst_inflated_bytes(config.http.inflated_bytes_max as u64));
    let budget = config.budget_bytes(shards) as u64;
    if budget >= worst || (config.points.in_flight_bytes_max as u64) < worst {
        return None;
    }
    let segment = config.journal.segment_bytes;
    let fits = |count: &u64| {
        budget_bytes_max(count * segment, segment, config.carbon.redo_bytes as u64) >= worst
    };
    let advised = (1..u64::from(u32::MAX)).find(fits)? * segment * shards as u64;
    Some(Problem::new(
        "journal.bytes_max",
        format!(
            "{} bytes in {shards} shards hold {budget} bytes of points each, and one body can become {worst}",
            config.journal.bytes_max
        ),
        format!(
            "write bytes_max = {advised} or more, or a smaller http.body_bytes_max, inflated_bytes_max or segment_bytes"
        ),
    ))
}

/// Others look into Redis; nobody looks into the embedded store.
fn skyline_has_redis(config: &Config) -> Option<Problem> {
    let key = match config.skyline {
        skyline if skyline.metrics_sent => "skyline.metrics_sent",
        skyline if skyline.filled_metrics => "skyline.filled_metrics",
        _ => return None,
    };
    (config.last.store == LastStore::Embedded).then(|| {
        Problem::new(
            key,
            "is kept in Redis, and last.store is \"embedded\"",
            "name Skyline's Redis in last.store, or leave it out",
        )
    })
}

fn addresses_differ(config: &Config) -> Option<Problem> {
    let admin = Listen::Tcp(config.admin.listen);
    let mut all: Vec<(&str, &Listen)> = vec![("admin.listen", &admin)];
    let http = config.http.listen.iter().map(|l| ("http.listen", l));
    let line = config.line.listen.iter().map(|l| ("line.listen", l));
    for (own, listen) in http.chain(line) {
        if let Some((key, other)) = all.iter().find(|(_, other)| collide(listen, other)) {
            let (listen, other) = (listen_text(listen), listen_text(other));
            return Some(Problem::new(
                own,
                format!("{listen} collides with {other} of {key}"),
                "give each listener an address of its own",
            ));
        }
        all.push((own, listen));
    }
    None
}

fn collide(a: &Listen, b: &Listen) -> bool {
    let (Listen::Tcp(a), Listen::Tcp(b)) = (a, b) else {
        return a == b;
    };
    // Port 0 asks the kernel for a free one.
    a.port() != 0 && a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// Whether a socket bound to `wide` receives what is sent to `narrow`. `[::]` takes IPv4 too.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide == narrow || (wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4()))
}

/// Sending our points to ourselves would go round for ever.
fn not_our_own_address(config: &Config) -> Option<Problem> {
    let carbon = config.carbon.endpoint.as_ref();
    let redis = match &config.last.store {
        LastStore::Redis {
            at: RedisAt::Tcp(host, port),
            ..
        } => Some((host.as_str(), *port)),
        _ => None,
    };
    let peers = [
        (
            "carbon.endpoint",
            carbon.map(|(host, port)| (host.as_str(), *port)),
        ),
        ("last.store", redis),
    ];
    let ours: Vec<Listen> = config
        .http
        .listen
        .iter()
        .chain(&config.line.listen)
        .cloned()
        .chain([Listen::Tcp(config.admin.listen)])
        .collect();
    for (key, peer) in peers {
        let Some((host, port)) = peer else { continue };
        // Names are not resolved here; the one name everybody has is known.
        let host = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let Ok(ip) = host.parse::<IpAddr>() else {
            continue;
        };
        let peer = Listen::Tcp(SocketAddr::new(ip, port));
        if ours.iter().any(|listen| collide(listen, &peer)) {
            return Some(Problem::new(
                key,
                format!(
                    "{} is an address this service listens on itself",
                    listen_text(&peer)
                ),
                "write the other program's address",
            ));
        }
    }
    None
}

fn keys_differ(config: &Config) -> Option<Problem> {
    let own = config.keys.self_key.as_ref()?;
    config.keys.namespaces.contains_key(own).then(|| {
        Problem::new(
            "keys.namespaces",
            "the service's own key is one of them (hidden)",
            "give the namespace a key of its own",
        )
    })
}

fn lookup_ends_first(config: &Config) -> Option<Problem> {
    let (lookup, request) = (
        config.last.lookup_deadline_ms,
        config.http.request_deadline_ms,
    );
    (lookup >= request).then(|| {
        Problem::new(
            "last.lookup_deadline_ms",
            format!("{lookup} is not below http.request_deadline_ms = {request}, so a look-up could outlast its request"),
            format!("write lookup_deadline_ms = {} or less", request / 2),
        )
    })
}

/// Else the other two could never be reached, and would only seem to be in force.
fn fetch_ends_last(config: &Config) -> Option<Problem> {
    let populate = &config.populate;
    let total = populate.total_timeout_ms;
    let longest = populate.connect_timeout_ms.max(populate.read_timeout_ms);
    (longest > total).then(|| {
        Problem::new(
            "populate.total_timeout_ms",
            format!("{total} is below connect_timeout_ms or read_timeout_ms = {longest}"),
            format!("write total_timeout_ms = {longest} or more"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Block, Point};

    #[test]
    fn the_defaults_hold_together() {
        assert_eq!(check(&Config::default(), &[]), []);
    }

    #[test]
    fn the_smallest_item_costs_what_the_rule_counts() {
        let mut block = Block::default();
        let point = Point {
            name: "a",
            timestamp: 1,
            value: 1.0,
            fill: false,
        };
        block.push(0, point);
        let expansion = Expansion::of(&Config::default());
        let cost = crate::budget::cost(block.len_bytes(), block.points());
        assert_eq!(cost as u64, expansion.point_bytes);
        assert_eq!(expansion.item_bytes, 25);
    }

    #[test]
    fn the_body_that_is_advised_fits_and_one_item_more_does_not() {
        for (items_max, prefix) in [(10, ""), (50_000, ""), (10_000_000, "warehouse-1")] {
            let mut config = Config::default();
            config.points.points_per_request_max = items_max;
            config.points.in_flight_bytes_max = 1_000_000;
            config
                .keys
                .namespaces
                .insert("k".repeat(32), prefix.to_owned());
            let advised = Expansion::of(&config).body_bytes_max(1_000_000);
            config.http.body_bytes_max = advised as usize;
            assert_eq!(body_fits(&config), None, "{items_max} {prefix}");
            config.http.body_bytes_max = advised as usize + 25;
            assert!(body_fits(&config).is_some(), "{items_max} {prefix}");
        }
    }

    #[test]
    fn a_wildcard_collides_with_what_it_covers() {
        let tcp = |text: &str| Listen::Tcp(text.parse().unwrap());
        for (a, b, collides) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(collide(&tcp(a), &tcp(b)), collides, "{a} {b}");
            assert_eq!(collide(&tcp(b), &tcp(a)), collides, "{b} {a}");
        }
    }
}
