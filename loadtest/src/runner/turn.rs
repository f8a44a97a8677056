//! One turn of one target: the load, and what it cost until all of its work was done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::generator::{Form, Offered, Plan};
use crate::hiccups::{Hiccups, Watch};
use crate::process::ourselves;
use crate::results::quantile;
use crate::target::{LOAD_CPU, Target};
use crate::{Result, blackhole, http};

/// Marks follow `carbon.redo_window_ms` after the delivery; VictoriaMetrics writes what it has each second.
const SETTLE: Duration = Duration::from_millis(1_200);
const SETTLE_MAX: Duration = Duration::from_secs(20);

pub type Measures = BTreeMap<String, f64>;

/// Our generator in a process of its own, on the load's CPU.
pub fn generate(plan: &Plan) -> Result<Offered> {
    let output = ourselves(LOAD_CPU, "generate")
        .args(plan.arguments())
        .output();
    let output = output.map_err(|error| format!("generator: {error}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("generator: {}", String::from_utf8_lossy(&output.stderr)))
}

struct Before {
    cpu: f64,
    sink_cpu: f64,
    sunk: u64,
    scrape: String,
}

fn look(target: &Target) -> Result<Before> {
    let (mut sink_cpu, mut sunk) = (0.0, 0);
    if let Some(blackhole) = &target.blackhole {
        sunk = blackhole::totals(blackhole.report)?.0;
        sink_cpu = blackhole.program.cpu_micros()?;
    }
    Ok(Before {
        scrape: if target.counts() {
            target.scrape()?
        } else {
            String::new()
        },
        cpu: target.program.cpu_micros()?,
        sink_cpu,
        sunk,
    })
}

/// `points`: of one request, where the target does not count them itself.
pub fn measure(
    target: &mut Target,
    points: f64,
    load: impl FnOnce(&Target) -> Result<Offered>,
) -> Result<(Measures, Offered)> {
    let before = look(target)?;
    let offered = load(target)?;
    target.timestamp = offered.until + 1;
    if offered.refused + offered.errors > 0 || offered.requests == 0 {
        let (refused, errors) = (offered.refused, offered.errors);
        return Err(format!(
            "{}: {refused} of {} answers were not 2xx, {errors} socket errors: {}",
            target.name,
            offered.requests,
            target.program.said()
        ));
    }
    settle(target, &before)?;
    let after = look(target)?;
    let mut measures = latencies(&offered);
    let grown = |name: &str| http::metric(&after.scrape, name) - http::metric(&before.scrape, name);
    let taken = match target.form {
        Form::Opentsdb => grown("vm_rows_inserted_total"),
        Form::Flux if target.blackhole.is_some() => grown("flux_points_received_total"),
        Form::Flux => offered.requests as f64 * points,
    };
    let cpu = after.cpu - before.cpu;
    let seconds = offered.seconds;
    let mut set = |name: &str, value: f64| _ = measures.insert(name.to_owned(), value);
    set("cpu_us_per_request", cpu / offered.requests as f64);
    set("cpu_us_per_point", cpu / taken);
    set("cpu_percent", cpu / seconds / 1e4);
    set("requests_per_second", offered.requests as f64 / seconds);
    set("points_per_second", taken / seconds);
    if target.blackhole.is_some() {
        let sink_cpu = after.sink_cpu - before.sink_cpu;
        set(
            "duplicates_percent",
            100.0 * grown("flux_points_duplicate_total") / taken,
        );
        set("blackhole_cpu_percent", sink_cpu / seconds / 1e4);
        // How many times as many points it could decode with that CPU to itself.
        set("blackhole_headroom", seconds * 1e6 / sink_cpu.max(1e4));
        let marks = grown("flux_last_marks_written_total");
        set("marks_per_point", marks / taken);
    }
    Ok((measures, offered))
}

/// The same, with a look at the machine: what a request took that met none of its hiccups. Of those that the generator
/// tells one by one.
pub fn measure_watched(
    target: &mut Target,
    points: f64,
    load: impl FnOnce(&Target) -> Result<Offered>,
) -> Result<(Measures, Offered)> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let watch = Watch::start(dir.path())?;
    let (mut measures, offered) = measure(target, points, load)?;
    if let Some(hiccups) = watch.end() {
        measures.extend(beside_hiccups(&offered.each, &hiccups));
    }
    Ok((measures, offered))
}

fn beside_hiccups(each: &[(u64, u64)], hiccups: &Hiccups) -> Measures {
    let mut quiet: Vec<u64> = each
        .iter()
        .filter(|(due, took)| !hiccups.met_by(*due, due + took))
        .map(|(_, took)| *took)
        .collect();
    quiet.sort_unstable();
    let due = each.iter().map(|(due, _)| *due);
    let (from, until) = (due.clone().min(), due.max());
    let percent = hiccups.percent(from.unwrap_or(0), until.unwrap_or(0));
    let p99 = quiet.get(quiet.len() * 99 / 100).copied();
    Measures::from([
        ("quiet_p99_us".to_owned(), p99.unwrap_or(0) as f64),
        ("hiccup_percent".to_owned(), percent),
    ])
}

/// For the line of a round.
pub fn p99(measures: &Measures) -> String {
    let all = format!("p99 {:.2} ms", measures["p99_us"] / 1e3);
    let watched = measures
        .get("quiet_p99_us")
        .zip(measures.get("hiccup_percent"));
    match watched {
        Some((p99, percent)) => {
            let p99 = p99 / 1e3;
            format!("{all}, {p99:.2} without {percent:.0} % of hiccups")
        }
        None => all,
    }
}

/// Waits until what was accepted is delivered and remembered. Its CPU counts.
fn settle(target: &Target, before: &Before) -> Result<()> {
    let Some(blackhole) = &target.blackhole else {
        if target.form == Form::Opentsdb {
            std::thread::sleep(SETTLE);
        }
        return Ok(());
    };
    let until = Instant::now() + SETTLE_MAX;
    let accepted = |scrape: &str| http::metric(scrape, "flux_points_accepted_total");
    // wrk hangs up on what is under way, so the count is taken when it has been decided.
    std::thread::sleep(Duration::from_millis(50));
    let expected = accepted(&target.scrape()?) - accepted(&before.scrape);
    loop {
        let (sunk, _, faults) = blackhole::totals(blackhole.report)?;
        if faults > 0 {
            return Err(format!(
                "the blackhole met a stream that is not frames: {}",
                blackhole.program.said()
            ));
        }
        if (sunk - before.sunk) as f64 == expected {
            break;
        }
        if Instant::now() > until {
            let got = sunk - before.sunk;
            return Err(format!(
                "{}: accepted {expected} points, the blackhole has {got}",
                target.name
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(SETTLE);
    while http::metric(&target.scrape()?, "flux_last_marks_pending") > 0.0 {
        if Instant::now() > until {
            return Err(format!("{}: marks are not written", target.name));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

pub fn latencies(offered: &Offered) -> Measures {
    let micros: BTreeMap<u64, u64> = offered.micros.iter().copied().collect();
    let quantiles = [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)];
    let quantiles = quantiles.map(|(name, share)| (name.to_owned(), quantile(&micros, share)));
    let mut measures = BTreeMap::from(quantiles);
    measures.insert("waited_percent".into(), 100.0 * offered.waited);
    measures
}
