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
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of values in any order; zeros if there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * values.len() as f64).ceil() as usize;
            values.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { count: values.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
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
