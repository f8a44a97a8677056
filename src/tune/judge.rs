//! How the items that are only reported are judged: where a number counts for what it has led to, and not for
//! its size. Pure.

use super::host::Host;
use super::needs::{self, Fault};
use super::{Judged, Status, Wishes};

/// A round that ended with packets left over is no sign of trouble now and then.
const SQUEEZES_PER_MILLION_MAX: u64 = 100;
/// With this share of all packets on one CPU, it is the first to be full.
const BUSIEST_CPU_PERCENT_MAX: u64 = 80;
/// Fewer packets than this since the start of the host say nothing.
const PACKETS_MIN: u64 = 1_000_000;
/// A wake-up that takes longer than this shows in a request's latency.
const WAKE_UP_US_MAX: u64 = 200;
/// Each of these costs a system call or more to read.
const SLOW_CLOCKS: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];

fn judged(current: impl Into<String>, required: impl Into<String>, good: bool) -> Judged {
    Judged {
        current: current.into(),
        required: required.into(),
        status: if good { Status::Ok } else { Status::Wrong },
        because: None,
    }
}

fn missing(required: impl Into<String>) -> Judged {
    Judged {
        status: Status::Unsupported,
        ..judged("", required, false)
    }
}

fn needed(current: String, required: String, met: Result<(), Fault>) -> Judged {
    Judged {
        because: met.as_ref().err().map(Fault::to_string),
        ..judged(current, required, met.is_ok())
    }
}

pub fn kernel(host: &Host, wishes: &Wishes) -> Judged {
    let (release, version) = host.release();
    let met = needs::kernel(host, wishes);
    let judged = needed(release, "at least 5.8".to_owned(), met);
    match version {
        Some(_) => judged,
        None => Judged {
            status: Status::Unknown,
            ..judged
        },
    }
}

pub fn io_uring_group(host: &Host, _: &Wishes) -> Judged {
    let required = "a group of the service's user";
    match host.value("/proc/sys/kernel/io_uring_group") {
        None => missing(required),
        Some(group) => {
            let set = group != "-1";
            judged(group, required, set)
        }
    }
}

pub fn seccomp(host: &Host, wishes: &Wishes) -> Judged {
    let filter = match host.filtered() {
        true => "a filter",
        false => "no filter",
    };
    let (ring, status) = match host.ring {
        Some(Ok(())) => ("a ring was set up", Status::Ok),
        Some(Err(_)) => ("no ring", Status::Wrong),
        None if host.filtered() => ("a ring was not tried", Status::Unknown),
        None => ("a ring was not tried", Status::Ok),
    };
    let met = needs::ring(host, wishes);
    let judged = needed(format!("{filter}, {ring}"), "io_uring".to_owned(), met);
    Judged { status, ..judged }
}

fn limit(limit: Option<u64>) -> String {
    match limit {
        Some(u64::MAX) => "unlimited".to_owned(),
        Some(number) => number.to_string(),
        None => String::new(),
    }
}

fn limited(found: Option<u64>, needed_at_least: u64, met: Result<(), Fault>) -> Judged {
    let judged = needed(limit(found), format!("at least {needed_at_least}"), met);
    match found {
        Some(_) => judged,
        None => Judged {
            status: Status::Unknown,
            ..judged
        },
    }
}

pub fn memlock(host: &Host, wishes: &Wishes) -> Judged {
    let least = needs::memlock_bytes(host, wishes);
    let met = needs::memlock(host, wishes);
    limited(host.limit(needs::MEMLOCK), least, met)
}

pub fn nofile(host: &Host, wishes: &Wishes) -> Judged {
    let met = needs::nofile(host, wishes);
    limited(host.limit(needs::NOFILE), needs::files(wishes), met)
}

/// /proc/net/netstat has pairs of lines: names, then numbers.
fn tcp_ext(host: &Host, name: &str) -> Option<u64> {
    let text = host.text("/proc/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|given| given == name)?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

pub fn listen_overflows(host: &Host, _: &Wishes) -> Judged {
    match tcp_ext(host, "ListenOverflows") {
        Some(count) => judged(count.to_string(), "0", count == 0),
        None => missing("0"),
    }
}

pub fn tcp_mem(host: &Host, _: &Wishes) -> Judged {
    let required = "use below the second number";
    let sockstat = host.text("/proc/net/sockstat").unwrap_or_default();
    let used: Option<u64> = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))
        .and_then(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
            words.nth(1)?.parse().ok()
        });
    let bounds = host.value("/proc/sys/net/ipv4/tcp_mem");
    let (Some(used), Some(bounds)) = (used, bounds) else {
        return missing(required);
    };
    let pressure = bounds.split(' ').nth(1).and_then(|word| word.parse().ok());
    let pressures = tcp_ext(host, "TCPMemoryPressures").unwrap_or(0);
    let good = pressure.is_none_or(|pressure: u64| used < pressure) && pressures == 0;
    let current = format!("{used} pages of {bounds}, {pressures} times under pressure");
    judged(current, required, good)
}

pub fn busy_poll(host: &Host, _: &Wishes) -> Judged {
    let read = host.value("/proc/sys/net/core/busy_read");
    let poll = host.value("/proc/sys/net/core/busy_poll");
    let (Some(read), Some(poll)) = (read, poll) else {
        return missing("read 0, poll 0");
    };
    let good = read == "0" && poll == "0";
    judged(format!("read {read}, poll {poll}"), "read 0, poll 0", good)
}

/// A column of /proc/net/softnet_stat, all CPUs together.
fn softnet(host: &Host, column: usize) -> Option<u64> {
    let mut sum = 0u64;
    for line in host.text("/proc/net/softnet_stat")?.lines() {
        let word = line.split_whitespace().nth(column)?;
        sum += u64::from_str_radix(word, 16).ok()?;
    }
    Some(sum)
}

pub fn netdev_max_backlog(host: &Host, _: &Wishes) -> Judged {
    let Some(dropped) = softnet(host, 1) else {
        return missing("0 dropped");
    };
    let knob = host.value("/proc/sys/net/core/netdev_max_backlog");
    let knob = knob.map_or(String::new(), |value| format!(" at {value}"));
    judged(
        format!("{dropped} dropped{knob}"),
        "0 dropped",
        dropped == 0,
    )
}

pub fn netdev_budget(host: &Host, _: &Wishes) -> Judged {
    let required = format!("at most {SQUEEZES_PER_MILLION_MAX} in a million packets");
    let (Some(packets), Some(squeezed)) = (softnet(host, 0), softnet(host, 2)) else {
        return missing(required);
    };
    let knob = |name: &str| host.value(&format!("/proc/sys/net/core/{name}"));
    let knobs = match (knob("netdev_budget"), knob("netdev_budget_usecs")) {
        (Some(budget), Some(us)) => format!(" at {budget} packets, {us} us"),
        _ => String::new(),
    };
    let bound = packets.max(PACKETS_MIN) / 1_000_000 * SQUEEZES_PER_MILLION_MAX;
    judged(
        format!("{squeezed} left over{knobs}"),
        required,
        squeezed <= bound,
    )
}

/// Cards, not loopback, tunnels and bridges: they have a device underneath.
fn cards(host: &Host) -> Vec<String> {
    host.matching("/sys/class/net/*/device/uevent")
        .filter_map(|(path, _)| path.split('/').nth(4))
        .map(str::to_owned)
        .collect()
}

fn queues<'a>(host: &'a Host, card: &str, file: &str) -> Vec<&'a str> {
    let pattern = format!("/sys/class/net/{card}/queues/{file}");
    let found = host.texts(&pattern);
    found.map(|(_, text)| text).collect::<Vec<_>>()
}

/// A mask of CPUs that has one.
fn has_cpus(mask: &str) -> bool {
    mask.contains(|c: char| c.is_ascii_hexdigit() && c != '0')
}

pub fn rps_is_on(host: &Host) -> bool {
    let mut masks = host.texts("/sys/class/net/*/queues/rx-*/rps_cpus");
    masks.any(|(_, mask)| has_cpus(mask))
}

pub fn rps(host: &Host, _: &Wishes) -> Judged {
    let required = "a queue per CPU, or RPS";
    let cpus = host.listed("/sys/devices/system/cpu/online").unwrap_or(1);
    let mut said = Vec::new();
    let mut good = true;
    for card in cards(host) {
        let masks = queues(host, &card, "rx-*/rps_cpus");
        if masks.is_empty() {
            continue;
        }
        let on = masks.iter().any(|mask| has_cpus(mask));
        // RPS beside a queue for every CPU costs and brings nothing.
        good &= on != (masks.len() >= cpus);
        let word = if on { "on" } else { "off" };
        said.push(format!(
            "{card}: {} for {cpus} CPUs, RPS {word}",
            masks.len()
        ));
    }
    match said.is_empty() {
        true => missing(required),
        false => judged(said.join("; "), required, good),
    }
}

pub fn rfs(host: &Host, _: &Wishes) -> Judged {
    let required = "entries and flows set";
    let Some(entries) = host.number("/proc/sys/net/core/rps_sock_flow_entries") else {
        return missing(required);
    };
    let mut flows = host.texts("/sys/class/net/*/queues/rx-*/rps_flow_cnt");
    let flows = flows.any(|(_, count)| count.trim() != "0");
    let word = if flows { "set" } else { "0" };
    let current = format!("{entries} entries, flows {word}");
    judged(current, required, entries > 0 && flows)
}

pub fn has_several_tx_queues(host: &Host) -> bool {
    let several = |card: &String| queues(host, card, "tx-*/xps_cpus").len() > 1;
    cards(host).iter().any(several)
}

pub fn xps(host: &Host, _: &Wishes) -> Judged {
    let mut said = Vec::new();
    let mut good = true;
    for card in cards(host) {
        let masks = queues(host, &card, "tx-*/xps_cpus");
        if masks.len() > 1 {
            let mapped = masks.iter().filter(|mask| has_cpus(mask)).count();
            good &= mapped == masks.len();
            said.push(format!(
                "{card}: {mapped} of {} queues have CPUs",
                masks.len()
            ));
        }
    }
    judged(said.join("; "), "each queue has CPUs", good)
}

pub fn irq_affinity(host: &Host, _: &Wishes) -> Judged {
    let required = format!("at most {BUSIEST_CPU_PERCENT_MAX} % on one CPU");
    let softirqs = host.text("/proc/softirqs").unwrap_or_default();
    let line = softirqs
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("NET_RX:"));
    let Some(line) = line else {
        return missing(required);
    };
    let counts: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let (all, most) = (counts.iter().sum::<u64>(), counts.iter().max());
    let percent = most.copied().unwrap_or(0).saturating_mul(100) / all.max(1);
    let good = all < PACKETS_MIN || percent <= BUSIEST_CPU_PERCENT_MAX;
    judged(format!("{percent} % on the busiest"), required, good)
}

pub fn irqbalance(host: &Host, _: &Wishes) -> Judged {
    let runs = host
        .texts("/proc/*/comm")
        .any(|(_, name)| name.trim() == "irqbalance");
    let isolated = host.boot_word("isolcpus").is_some();
    let current = if runs { "runs" } else { "does not run" };
    judged(current, "not beside isolated CPUs", !(runs && isolated))
}

fn boot_word(host: &Host, word: &str, required: &str, good: fn(&Host) -> bool) -> Judged {
    match (host.text("/proc/cmdline"), host.boot_word(word)) {
        (None, _) => missing(required),
        (_, None) => judged("not set", required, true),
        (_, Some(value)) => judged(value, required, good(host)),
    }
}

pub fn isolcpus(host: &Host, _: &Wishes) -> Judged {
    boot_word(host, "isolcpus", "not set", |_| false)
}

pub fn nohz_full(host: &Host, _: &Wishes) -> Judged {
    boot_word(host, "nohz_full", "not set", |_| false)
}

pub fn rcu_nocbs(host: &Host, _: &Wishes) -> Judged {
    boot_word(host, "rcu_nocbs", "only with isolcpus", |host| {
        host.boot_word("isolcpus").is_some()
    })
}

pub fn cstates(host: &Host, _: &Wishes) -> Judged {
    let required = format!("at most {WAKE_UP_US_MAX} us");
    let mut deepest = None;
    for (path, latency) in host.texts("/sys/devices/system/cpu/cpu*/cpuidle/state*/latency") {
        let disable = path.replace("/latency", "/disable");
        if host.number(&disable).unwrap_or(0) == 0 {
            deepest = deepest.max(latency.trim().parse::<u64>().ok());
        }
    }
    match deepest {
        Some(us) => judged(format!("{us} us"), required, us <= WAKE_UP_US_MAX),
        None => missing(required),
    }
}

pub fn clocksource(host: &Host, _: &Wishes) -> Judged {
    let required = "tsc, or a paravirtual one";
    let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match host.value(clock) {
        Some(clock) => {
            let good = !SLOW_CLOCKS.contains(&clock.as_str());
            judged(clock, required, good)
        }
        None => missing(required),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Reading;
    use super::*;

    fn status(judge: fn(&Host, &Wishes) -> Judged, files: &[(&str, &str)]) -> Status {
        let mut host = Host::default();
        for (path, text) in files {
            host.put((*path).to_owned(), Reading::Text((*text).to_owned()));
        }
        judge(&host, &Wishes::default()).status
    }

    #[test]
    fn the_queues_are_judged_by_what_was_lost_and_not_by_their_size() {
        let knob = ("/proc/sys/net/core/netdev_max_backlog", "10\n");
        let stat = |text| ("/proc/net/softnet_stat", text);
        let quiet = "00ec74c7 00000000 00000006\n00dae3ea 00000000 00000006\n";
        let drops = "00ec74c7 00000000 00000006\n00dae3ea 0000000a 00000006\n";
        let squeezed = "000f4240 00000000 00000065\n";
        assert_eq!(status(netdev_max_backlog, &[stat(quiet), knob]), Status::Ok);
        assert_eq!(status(netdev_max_backlog, &[stat(drops)]), Status::Wrong);
        assert_eq!(status(netdev_max_backlog, &[knob]), Status::Unsupported);
        assert_eq!(status(netdev_budget, &[stat(quiet)]), Status::Ok);
        assert_eq!(status(netdev_budget, &[stat(squeezed)]), Status::Wrong);
    }

    #[test]
    fn rps_is_for_cards_with_fewer_queues_than_cpus() {
        let files = |mask: &'static str, cpus: &'static str| {
            vec![
                ("/sys/class/net/eth0/device/uevent", ""),
                ("/sys/class/net/eth0/queues/rx-0/rps_cpus", mask),
                ("/sys/class/net/lo/queues/rx-0/rps_cpus", "0\n"),
                ("/sys/devices/system/cpu/online", cpus),
            ]
        };
        for (mask, cpus, expected) in [
            ("00\n", "0-3\n", Status::Wrong),
            ("0000,0000000f\n", "0-3\n", Status::Ok),
            ("0\n", "0\n", Status::Ok),
            ("1\n", "0\n", Status::Wrong),
        ] {
            assert_eq!(status(rps, &files(mask, cpus)), expected, "{mask} {cpus}");
        }
        assert_eq!(status(rps, &[]), Status::Unsupported);
    }

    #[test]
    fn the_counters_of_tcp_are_found_by_their_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 7 3 4\n\
                    IpExt: ListenOverflows\nIpExt: 9\n";
        let netstat = ("/proc/net/netstat", text);
        assert_eq!(status(listen_overflows, &[netstat]), Status::Wrong);
        let calm = text.replace("7 3 4", "7 0 4");
        let calm = [("/proc/net/netstat", calm.as_str())];
        assert_eq!(status(listen_overflows, &calm), Status::Ok);
        assert_eq!(status(listen_overflows, &[]), Status::Unsupported);
    }

    #[test]
    fn the_deepest_idle_state_that_is_enabled_counts() {
        let base = "/sys/devices/system/cpu/cpu0/cpuidle/state";
        let paths = [
            format!("{base}0/latency"),
            format!("{base}1/latency"),
            format!("{base}1/disable"),
        ];
        let files = |disable| {
            [
                (paths[0].as_str(), "2\n"),
                (paths[1].as_str(), "890\n"),
                (paths[2].as_str(), disable),
            ]
        };
        assert_eq!(status(cstates, &files("0\n")), Status::Wrong);
        assert_eq!(status(cstates, &files("1\n")), Status::Ok);
    }

    #[test]
    fn tcp_is_under_pressure_past_the_second_number() {
        let files = |used| {
            [
                ("/proc/net/sockstat", used),
                ("/proc/sys/net/ipv4/tcp_mem", "100\t200\t300\n"),
            ]
        };
        let calm = "sockets: used 5\nTCP: inuse 4 orphan 0 tw 0 alloc 4 mem 199\n";
        let full = "TCP: inuse 4 orphan 0 tw 0 alloc 4 mem 200\n";
        assert_eq!(status(tcp_mem, &files(calm)), Status::Ok);
        assert_eq!(status(tcp_mem, &files(full)), Status::Wrong);
    }
}
