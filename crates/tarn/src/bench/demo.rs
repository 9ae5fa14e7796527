//! The demo as a visitor starts it: time to the first answer, and memory once it runs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tarn_core::Env;

use super::report;
use crate::cli::{Failure, io_failure};
use crate::project::{DataFolder, RunningServer};

const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST_QUERY: &str = r#"{"sql": "SELECT count(*) FROM nyc.airlines"}"#;

/// Options of `tarn bench demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Seconds that the demo runs before its memory is looked at for the last time.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self { seconds: 60 }
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    /// From the start of the process until the console answers, first start on an empty folder.
    ready_s: f64,
    /// Until the first query of a table of the demo is answered.
    first_answer_s: f64,
    /// The same at a second start, on the data of the first.
    second_ready_s: f64,
    second_first_answer_s: f64,
    /// Resident memory, megabytes (10^6), while the replay goes on and nobody asks.
    memory_mb: f64,
    /// The most that was seen.
    memory_mb_max: f64,
    seconds: u64,
}

/// `tarn bench demo`.
pub async fn run(args: &DemoArgs, out: &Path, json: bool) -> Result<(), Failure> {
    report::announce("demo: from the start to the first answer, and memory while it runs");
    let folder =
        tempfile::tempdir_in(".").map_err(|error| io_failure("make a folder in", Path::new("."), &error))?;
    let env = Env::system();
    let mut first = Demo::start(folder.path(), &env)?;
    let (ready_s, first_answer_s) = first.answers().await?;
    for _ in 0..args.seconds {
        env.clock.sleep(Duration::from_secs(1)).await;
        first.look_at_memory();
    }
    let (memory_mb, memory_mb_max) = (first.memory_mb, first.memory_mb_max);
    first.stop().await?;
    let mut second = Demo::start(folder.path(), &env)?;
    let (second_ready_s, second_first_answer_s) = second.answers().await?;
    second.stop().await?;
    let outcome = Outcome {
        ready_s,
        first_answer_s,
        second_ready_s,
        second_first_answer_s,
        memory_mb,
        memory_mb_max,
        seconds: args.seconds,
    };
    if !json {
        println!("\n  first start: ready after {ready_s:.2} s, a query answered after {first_answer_s:.2} s");
        println!(
            "  second start: ready after {second_ready_s:.2} s, a query answered after {second_first_answer_s:.2} s"
        );
        println!("  memory after {} s: {memory_mb:.0} MB, at most {memory_mb_max:.0} MB\n", args.seconds);
    }
    report::keep(out, "demo", &outcome)
}

/// A demo in a process of its own; killed if it is dropped.
struct Demo {
    process: Child,
    data: DataFolder,
    started: Instant,
    env: Env,
    memory_mb: f64,
    memory_mb_max: f64,
}

impl Demo {
    fn start(folder: &Path, env: &Env) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|e| io_failure("find", Path::new("tarn"), &e))?;
        let started = env.clock.instant();
        let process = Command::new(&program)
            .args(["demo", "--no-browser", "--http", "127.0.0.1:0", "--pgwire", "127.0.0.1:0"])
            .args(["--flight", "127.0.0.1:0", "--data"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| io_failure("start", &program, &error))?;
        let data = DataFolder::of(folder, Some(&folder.join("data")));
        Ok(Self { process, data, started, env: env.clone(), memory_mb: 0.0, memory_mb_max: 0.0 })
    }

    fn elapsed(&self) -> Duration {
        self.env.clock.instant().saturating_duration_since(self.started)
    }

    /// Seconds until it is ready and until it answers a query.
    async fn answers(&mut self) -> Result<(f64, f64), Failure> {
        let http = reqwest::Client::new();
        let mut ready_s = None;
        while self.elapsed() < PATIENCE {
            let running = RunningServer::read(&self.data).filter(|running| running.pid == self.process.id());
            if let Some(running) = running {
                if ready_s.is_none() && is_ok(http.get(format!("{}/readyz", running.url()))).await {
                    ready_s = Some(self.elapsed().as_secs_f64());
                }
                let query = http.post(format!("{}/api/v1/query", running.url()));
                let query = query.header("content-type", "application/json").body(FIRST_QUERY);
                if let (Some(ready_s), true) = (ready_s, is_ok(query).await) {
                    return Ok((ready_s, self.elapsed().as_secs_f64()));
                }
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(Failure::internal(format!("the demo ended with {status}; its message is above")));
            }
            self.env.clock.sleep(LOOK).await;
        }
        Err(Failure::internal(format!("the demo did not answer within {PATIENCE:?}")))
    }

    fn look_at_memory(&mut self) {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|text| text.trim().strip_suffix(" kB"))
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0.0);
        self.memory_mb = kib * 1024.0 / 1e6;
        self.memory_mb_max = self.memory_mb_max.max(self.memory_mb);
    }

    /// As Ctrl-C does.
    async fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::INT)
                .map_err(|error| Failure::internal(format!("the demo cannot be stopped: {error}")))?;
        }
        for _ in 0..3000 {
            match self.process.try_wait() {
                Ok(None) => self.env.clock.sleep(LOOK * 2).await,
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(Failure::internal(format!("the demo ended with {status}"))),
                Err(error) => {
                    return Err(Failure::internal(format!("the demo cannot be waited for: {error}")));
                }
            }
        }
        Err(Failure::internal("the demo did not stop within 30 s of SIGINT"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn is_ok(request: reqwest::RequestBuilder) -> bool {
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}
