//! One page with everything, which needs nothing from outside.

use super::svg::{escaped, style};
use super::table::{Verdict, details, number, verdicts};
use crate::results::{Machine, Results};

const STYLE: &str = "
:root{--ink:#1c2330;--soft:#5b6575;--line:#d9dee6;--page:#fff;--card:#f6f7f9;--yes:#1a7f45;--no:#b3372a;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b2;--line:#323a46;--page:#14181f;--card:#1b212a;--yes:#57c98a;--no:#f0877a}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:60rem;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2.5rem 0 .75rem}
p{margin:.25rem 0 .75rem;max-width:44rem}.soft{color:var(--soft)}code{font-size:.9em}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.5rem .9rem .5rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}
.yes{color:var(--yes);font-weight:600}.no{color:var(--no);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1.25rem;align-items:start}
figure{margin:0;padding:.5rem;background:var(--card);border-radius:10px}figure svg{display:block;width:100%;height:auto}
details{border-bottom:1px solid var(--line);padding:.6rem 0}summary{cursor:pointer;font-weight:600}
.wide{overflow-x:auto}.wide table{font-size:.85rem;white-space:nowrap}
@media(max-width:40rem){
 .targets thead{display:none}.targets tr{display:block;padding:.7rem 0;border-bottom:1px solid var(--line)}
 .targets td{display:block;border:0;padding:0}.targets td:first-child{font-weight:600}
 .targets td[data-is]:not(:empty)::before{content:attr(data-is) ' ';color:var(--soft);font-weight:400}
}
";

pub fn html(all: &[Results], charts: &[(String, String)]) -> String {
    let figures: String = charts
        .iter()
        .map(|(name, chart)| format!("<figure id=\"{name}\">{chart}</figure>\n"))
        .collect();
    let experiments: String = all.iter().map(experiment).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><link rel=\"icon\" href=\"data:,\">\n\
         <title>flux under load</title>\n<style>{STYLE}{}</style></head><body>\n\
         <h1>flux under load</h1>\n{}\n\
         <h2>Against the targets</h2>\n{}\n\
         <h2>In pictures</h2>\n<p class=\"soft\">A dashed mark is where the target is.</p>\n<div class=\"charts\">\n{figures}</div>\n\
         <h2>Every experiment</h2>\n{experiments}</body></html>\n",
        style(),
        machines(all),
        targets(all),
    )
}

/// Where and when; once, if all of it was one run.
fn machines(all: &[Results]) -> String {
    let Some(last) = all
        .iter()
        .map(|results| &results.machine)
        .max_by_key(|machine| &machine.date)
    else {
        return String::new();
    };
    let Machine {
        date,
        commit,
        kernel,
        cpu,
        ..
    } = last;
    format!(
        "<p class=\"soft\">{}; {}; {}; commit {}. The server alone on one CPU, the load and the blackhole on another; the \
         targets took turns in rounds, and the numbers are medians of the rounds; a ratio is the median of the rounds' own \
         ratios. CPU is user and system time of all threads of the server, \
         until everything was delivered and remembered. <code>make load</code></p>",
        escaped(date),
        escaped(kernel),
        escaped(cpu),
        escaped(commit)
    )
}

fn targets(all: &[Results]) -> String {
    let rows: String = all
        .iter()
        .flat_map(verdicts)
        .map(|verdict| target(&verdict))
        .collect();
    format!(
        "<table class=\"targets\"><thead><tr><th></th><th>measured</th><th>target</th><th>then aim for</th><th>met</th></tr></thead>\
         <tbody>\n{rows}</tbody></table>"
    )
}

fn target(verdict: &Verdict) -> String {
    let bound = |limit: Option<f64>| {
        limit.map_or(String::new(), |limit| {
            format!("≤ {} {}", number(limit), verdict.unit)
        })
    };
    let met = match verdict.met() {
        Some(true) => "<span class=\"yes\">yes</span>",
        Some(false) => "<span class=\"no\">no</span>",
        None => "",
    };
    format!(
        "<tr><td>{}</td><td>{}</td><td data-is=\"target\">{}</td><td data-is=\"then\">{}</td><td data-is=\"met:\">{met}</td></tr>\n",
        escaped(&verdict.label),
        escaped(&verdict.text),
        bound(verdict.at_most),
        bound(verdict.aim),
    )
}

fn experiment(results: &Results) -> String {
    let rows = details(results);
    let cells = |row: &Vec<String>, tag: &str| -> String {
        row.iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)))
            .collect()
    };
    let mut table = String::new();
    for (index, row) in rows.iter().enumerate() {
        table += &format!(
            "<tr>{}</tr>\n",
            cells(row, if index == 0 { "th" } else { "td" })
        );
    }
    let experiment = &results.experiment;
    format!(
        "<details><summary>{}</summary><p>{} {} rounds; {}; commit {}; <code>{}</code></p><div class=\"wide\"><table>{table}</table></div></details>\n",
        escaped(&experiment.title),
        escaped(&experiment.about),
        experiment.rounds,
        escaped(&results.machine.date),
        escaped(&results.machine.commit),
        escaped(&results.machine.command),
    )
}
