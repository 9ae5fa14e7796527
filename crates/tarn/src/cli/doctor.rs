//! `tarn doctor`: looks for what is wrong with an installation and says how to mend it.

use std::path::Path;

use clap::Args;
use serde_json::json;
use tarn_core::config::UnknownVariable;
use tarn_core::{ByteSize, FaultKind};

use super::client::Client;
use super::output::{bytes, print_json, print_line};
use super::{Failure, Global};
use crate::config;
use crate::project::{DataFolder, RunningServer};

/// Options of `tarn doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

/// Free disk below this is a warning.
const DISK_LOW: ByteSize = ByteSize(2 << 30);
/// Open files that a server with many tables wants.
const FILES_MIN: u64 = 4_096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Wrong,
}

struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
    advice: Option<String>,
}

fn finding(what: &'static str, verdict: Verdict, detail: impl Into<String>, advice: Option<&str>) -> Finding {
    Finding { what, verdict, detail: detail.into(), advice: advice.map(str::to_string) }
}

/// `tarn doctor`.
pub async fn run(global: &Global, _args: DoctorArgs) -> Result<(), Failure> {
    let data = DataFolder::of(&global.project, global.data.as_deref());
    let mut findings = vec![machine(), open_files()];
    findings.push(project(&global.project));
    findings.extend(config::unknown_variables().iter().map(variable));
    findings.extend(folder(&data));
    findings.push(resources(&global.project));
    findings.extend(server(global, &data).await);
    print(global, &findings);
    match findings.iter().filter(|f| f.verdict == Verdict::Wrong).count() {
        0 => Ok(()),
        1 => Err(Failure::new(FaultKind::Invalid, "one thing is wrong", None)),
        n => Err(Failure::new(FaultKind::Invalid, format!("{n} things are wrong"), None)),
    }
}

fn print(global: &Global, findings: &[Finding]) {
    let word = |verdict| match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Wrong => "wrong",
    };
    if global.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "verdict": word(f.verdict), "detail": f.detail, "advice": f.advice }))
            .collect();
        return print_json(&json!({ "items": list }));
    }
    for finding in findings {
        print_line(format_args!("{:8} {:18} {}", word(finding.verdict), finding.what, finding.detail));
        if let Some(advice) = &finding.advice {
            print_line(format_args!("{:27} -> {advice}", ""));
        }
    }
}

fn machine() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let memory = total.map_or(0, |kb: u64| kb * 1024);
    let detail = format!("{cores} cores, {} of memory", bytes(memory));
    match memory > 0 && memory < (2 << 30) {
        true => finding(
            "machine",
            Verdict::Warning,
            detail,
            Some("lower [query] memory in tarn.toml below a third of it"),
        ),
        false => finding("machine", Verdict::Ok, detail, None),
    }
}

fn open_files() -> Finding {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = text.lines().find(|line| line.starts_with("Max open files"));
    let soft = limit.and_then(|line| line.split_whitespace().nth(3)).and_then(|n| n.parse::<u64>().ok());
    match soft {
        Some(limit) if limit < FILES_MIN => finding(
            "open files",
            Verdict::Warning,
            format!("at most {limit}"),
            Some("raise the limit: ulimit -n 65536, or LimitNOFILE in the service file"),
        ),
        Some(limit) => finding("open files", Verdict::Ok, format!("at most {limit}"), None),
        None => finding("open files", Verdict::Ok, "no limit is known", None),
    }
}

fn project(project: &Path) -> Finding {
    match config::load(project) {
        Ok(_) => {
            let found = project.join("tarn.toml").is_file();
            finding(
                "configuration",
                Verdict::Ok,
                if found { "tarn.toml is understood" } else { "defaults: no tarn.toml here" },
                None,
            )
        }
        Err(failure) => Finding {
            what: "configuration",
            verdict: Verdict::Wrong,
            detail: failure.message().to_string(),
            advice: failure.hint().map(str::to_string),
        },
    }
}

fn variable(unknown: &UnknownVariable) -> Finding {
    let detail = format!("`{}` is unknown and changes nothing", unknown.name);
    let advice = unknown.similar.as_ref().map(|similar| format!("did you mean `{similar}`?"));
    finding("environment", Verdict::Warning, detail, advice.as_deref())
}

fn folder(data: &DataFolder) -> Vec<Finding> {
    let path = data.path();
    let shown = path.display().to_string();
    if !path.exists() {
        return vec![finding(
            "data folder",
            Verdict::Ok,
            format!("{shown} is made at the first start"),
            None,
        )];
    }
    let probe = path.join(".tarn-doctor");
    let writable = std::fs::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe));
    let mut findings = vec![match writable {
        Ok(()) => finding("data folder", Verdict::Ok, format!("{shown} can be written"), None),
        Err(error) => Finding {
            what: "data folder",
            verdict: Verdict::Wrong,
            detail: format!("{shown} cannot be written: {error}"),
            advice: Some("give this user write access, or choose another folder with --data".into()),
        },
    }];
    if let Ok(space) = tarn_observe::disk_space(path) {
        let detail = format!("{} free", bytes(space.free_bytes));
        findings.push(match space.free_bytes < DISK_LOW.0 {
            true => finding(
                "disk",
                Verdict::Warning,
                detail,
                Some("free space, or set a retention for large topics"),
            ),
            false => finding("disk", Verdict::Ok, detail, None),
        });
    }
    findings
}

fn resources(project: &Path) -> Finding {
    let kinds = crate::platform::kinds();
    match tarn_meta::load_folder(project, &kinds).and_then(|parsed| parsed.checked(&kinds)) {
        Ok(documents) => {
            finding("resources", Verdict::Ok, format!("{} in resources/", documents.len()), None)
        }
        Err(error) => Finding {
            what: "resources",
            verdict: Verdict::Wrong,
            detail: tarn_core::chain_text(&error),
            advice: tarn_core::Fault::hint(&error),
        },
    }
}

async fn server(global: &Global, data: &DataFolder) -> Vec<Finding> {
    if global.server.is_none() && RunningServer::read(data).is_none() {
        return vec![finding(
            "server",
            Verdict::Ok,
            "none runs on this project",
            Some("start it with `tarn up`"),
        )];
    }
    let client = match Client::new(global) {
        Ok(client) => client,
        Err(failure) => return vec![finding("server", Verdict::Wrong, failure.message(), failure.hint())],
    };
    let overview = match client.get("/api/v1/overview").await {
        Ok(overview) => overview,
        Err(failure) => return vec![finding("server", Verdict::Wrong, failure.message(), failure.hint())],
    };
    let mut findings = vec![finding("server", Verdict::Ok, format!("answers at {}", client.base()), None)];
    for fault in overview["faults"].as_array().into_iter().flatten() {
        let text = |key: &str| fault[key].as_str().unwrap_or("").to_string();
        findings.push(Finding {
            what: "running",
            verdict: if fault["severity"] == "error" { Verdict::Wrong } else { Verdict::Warning },
            detail: format!("{} `{}`: {}", text("subject_kind"), text("subject"), text("message")),
            advice: fault["hint"].as_str().map(str::to_string),
        });
    }
    findings
}
