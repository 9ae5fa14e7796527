//! Results: a table on the screen, JSON in a folder.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Failure, io_failure};

/// The machine and the build that a figure belongs to.
pub fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, m)| m.trim()));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kb: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0);
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    json!({
        "cores": cores, "cpu": model.unwrap_or("unknown"), "memory_gb": memory_kb / (1 << 20),
        "profile": profile, "version": env!("CARGO_PKG_VERSION"),
    })
}

/// How a measured quantity is spread.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// How many were measured.
    pub count: usize,
    /// Half are at most this.
    pub p50: f64,
    /// 90 of 100 are at most this.
    pub p90: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// 999 of 1,000 are at most this.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// How many are at most so much, and above the bound before; the last bound is the largest value.
    pub histogram: Vec<(f64, usize)>,
}

/// Upper bounds of a histogram of milliseconds.
const BOUNDS: &[f64] = &[2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0];
/// Characters of the longest bar.
const BAR: usize = 40;

impl Spread {
    /// Of values in any order; zeros if there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * values.len() as f64).ceil() as usize;
            values.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        let max = at(1.0);
        let bounds = BOUNDS.iter().copied().filter(|bound| *bound < max).chain([max]);
        let mut below = 0;
        let histogram = bounds
            .map(|bound| {
                let until = values.partition_point(|value| *value <= bound);
                let inside = until - below;
                below = until;
                (bound, inside)
            })
            .collect();
        Self {
            count: values.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max,
            histogram,
        }
    }

    /// Prints a line with the shares and a bar for each range.
    pub fn print(&self, what: &str) {
        println!(
            "    {what}: {:.0} ms median, {:.0} p90, {:.0} p99, {:.0} p99.9, {:.0} at most, of {}",
            self.p50, self.p90, self.p99, self.p999, self.max, self.count
        );
        let most = self.histogram.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        for (bound, count) in self.histogram.iter().filter(|(_, count)| *count > 0) {
            let bar = "#".repeat((count * BAR).div_ceil(most));
            println!("      <= {bound:>6.0} ms {count:>7} {bar}");
        }
    }
}

/// Prints the machine; says so when the build is not one to measure.
pub fn announce(title: &str) {
    let machine = machine();
    println!("{title}");
    println!(
        "  {} cores, {}, {} GB, {} build {}",
        machine["cores"],
        machine["cpu"].as_str().unwrap_or(""),
        machine["memory_gb"],
        machine["profile"].as_str().unwrap_or(""),
        env!("CARGO_PKG_VERSION")
    );
    if cfg!(debug_assertions) {
        println!("  this is a build without optimisation: its figures say nothing");
    }
}

/// Keeps a result as `<out>/<name>.json`.
pub fn keep(out: &Path, name: &str, result: &impl Serialize) -> Result<(), Failure> {
    let internal = |error: serde_json::Error| Failure::internal(error.to_string());
    let result = serde_json::to_value(result).map_err(internal)?;
    let text =
        serde_json::to_string_pretty(&json!({ "bench": name, "machine": machine(), "result": result }));
    std::fs::create_dir_all(out).map_err(|error| io_failure("make", out, &error))?;
    let path = out.join(format!("{name}.json"));
    std::fs::write(&path, text.map_err(internal)? + "\n")
        .map_err(|error| io_failure("write", &path, &error))?;
    println!("  kept in {}\n", path.display());
    Ok(())
}
