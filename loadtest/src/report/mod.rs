//! The report: tables on the terminal, and a page with them and with pictures, in `target/load`. The page needs
//! nothing from outside; each picture is a file too.

mod bars;
mod latency;
mod page;
mod svg;
mod table;

use std::path::Path;

use crate::Result;
use crate::experiment::Chart;
use crate::results::{self, Results};

pub fn write() -> Result<()> {
    let folder = results::folder();
    let all = results::all(&folder)?;
    print!("{}", table::text(&all));
    let charts = charts(&all);
    for (name, chart) in &charts {
        save(&folder.join(format!("{name}.svg")), &svg::file(chart))?;
    }
    let page = folder.join("report.html");
    save(&page, &page::html(&all, &charts))?;
    println!("\nload: the page: {}", page.display());
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A picture of all bars, which is the one in the README, and one of each experiment that asks for it.
fn charts(all: &[Results]) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    let compared = ["single", "pipelined", "get", "batch"];
    let compared: Vec<&Results> = all
        .iter()
        .filter(|results| compared.contains(&results.name.as_str()))
        .collect();
    if !compared.is_empty() {
        charts.push((
            "cpu".to_owned(),
            bars::chart("CPU time of the server, less is better", &compared),
        ));
    }
    for results in all {
        for chart in &results.experiment.charts {
            match chart {
                Chart::Latency => charts.push((results.name.clone(), latency::chart(results))),
                // Those stand in the first picture.
                Chart::Bars { .. } if compared.iter().any(|other| other.name == results.name) => {}
                Chart::Bars { .. } => {
                    charts.push((
                        results.name.clone(),
                        bars::chart(&results.experiment.title, &[results]),
                    ));
                }
            }
        }
    }
    charts
}
