//! `tarn up` and `tarn demo`: the server.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tarn_observe::Metric;
use tarn_server::{Installation, Listen as ListenOn, RunningServer as Serving, Server};
use tokio::signal::unix::{SignalKind, signal};

use super::output::{announce_line, warn};
use super::{DemoArgs, Failure, Global, Listen};
use crate::config::{self, Config};
use crate::platform::Platform;
use crate::project::{DataFolder, RunningServer};

/// Exit code of a process that Ctrl-C ended, as shells give it.
const INTERRUPTED: i32 = 130;

/// `tarn up`.
pub async fn up(global: &Global, listen: Listen) -> Result<(), Failure> {
    if !global.project.join("resources").is_dir() && !global.project.join("tarn.toml").is_file() {
        return Err(Failure::invalid(
            format!(
                "`{}` is not a project folder: it has no tarn.toml and no resources/",
                global.project.display()
            ),
            "make one with `tarn init shop`, or try `tarn demo`",
        ));
    }
    let config = config::load(&global.project)?;
    let data = DataFolder::of(&global.project, global.data.as_deref());
    serve(config, &data, &global.project, &listen, false).await
}

/// `tarn demo`.
pub async fn demo(global: &Global, args: DemoArgs) -> Result<(), Failure> {
    let home = global.data.clone().unwrap_or_else(crate::demo::folder);
    let project = home.join("project");
    crate::demo::unpack(&project, &args.speed)?;
    let mut config = config::load(&project)?;
    if std::env::var_os("TARN_LOG").is_none() && std::env::var_os("RUST_LOG").is_none() {
        // A visitor looks at the screen, not at log lines.
        config.log.level = "warn".into();
    }
    config.query.default_namespace = "nyc".into();
    let data = DataFolder::of(&project, Some(&home.join("data")));
    serve(config, &data, &project, &args.listen, true).await
}

fn listen_as_asked(config: &mut Config, listen: &Listen) {
    let server = &mut config.server;
    for (asked, own) in [
        (&listen.http, &mut server.http.listen),
        (&listen.pgwire, &mut server.pgwire.listen),
        (&listen.flight, &mut server.flight.listen),
    ] {
        if let Some(address) = asked {
            *own = ListenOn::at(address.clone());
        }
    }
}

async fn serve(
    mut config: Config,
    data: &DataFolder,
    project: &Path,
    listen: &Listen,
    is_demo: bool,
) -> Result<(), Failure> {
    for unknown in config::unknown_variables() {
        warn(unknown);
    }
    tarn_observe::init_logging(&config.log)?;
    listen_as_asked(&mut config, listen);
    let platform = Platform::open(&config, data, project).await?;
    // From before anybody can see that it is ready: who stops it then is heard as well.
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let started = tokio::select! {
        started = start(&platform, &config, data, is_demo) => started,
        () = &mut stop => {
            platform.stop().await;
            RunningServer::remove(data);
            announce_line("stopped before it was ready");
            return Ok(());
        }
    };
    let serving = match started {
        Ok(serving) => serving,
        Err(failure) => {
            platform.stop().await;
            return Err(failure);
        }
    };
    announce(&serving, project, is_demo);
    if is_demo && !listen.no_browser && std::io::stdout().is_terminal() {
        open_browser(&serving);
    }
    watch(&platform, is_demo, stop).await;
    let second = interrupt()?;
    announce_line("\nstopping ... (Ctrl-C again stops at once)");
    let stopping = async {
        serving.shutdown().await;
        platform.stop().await;
        RunningServer::remove(data);
    };
    tokio::select! {
        () = stopping => announce_line("stopped; the next start goes on from here"),
        () = second => {
            announce_line("stopped at once; what was acknowledged is safe");
            // Leaving `main` would wait for work that blocks.
            std::process::exit(INTERRUPTED);
        }
    }
    Ok(())
}

async fn start(
    platform: &Platform,
    config: &Config,
    data: &DataFolder,
    is_demo: bool,
) -> Result<Serving, Failure> {
    let (state, env) = (platform.state.clone(), platform.env.clone());
    let serving =
        Server::start(config.server.clone(), installation(platform, config, is_demo), state, env).await?;
    let outcome = async {
        platform.apply_project().await?;
        let text = |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string());
        let running = RunningServer {
            pid: std::process::id(),
            http: text(serving.http_addr),
            pgwire: text(serving.pgwire_addr),
            flight: text(serving.flight_addr),
            tls: config.server.tls.is_some(),
        };
        running.write(data)
    };
    match outcome.await {
        Ok(()) => {
            platform.follow(config).await;
            Ok(serving)
        }
        Err(failure) => {
            serving.shutdown().await;
            Err(failure)
        }
    }
}

fn installation(platform: &Platform, config: &Config, is_demo: bool) -> Installation {
    let project = std::path::absolute(&platform.state.project).ok();
    let name = project.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let mut iceberg_client = BTreeMap::new();
    if let Some(storage) = &config.lakehouse.storage {
        for (key, value) in [("s3.endpoint", &storage.endpoint), ("s3.region", &storage.region)] {
            if let Some(value) = value {
                iceberg_client.insert(key.to_string(), value.clone());
            }
        }
        if storage.endpoint.is_some() && !storage.virtual_hosted {
            iceberg_client.insert("s3.path-style-access".into(), "true".into());
        }
    }
    Installation {
        version: env!("CARGO_PKG_VERSION").to_string(),
        project: if is_demo { "flights".into() } else { name.unwrap_or_default() },
        demo: is_demo,
        read_only: false,
        started_ms: platform.env.clock.now_ms(),
        iceberg_client,
        delegation: config.lakehouse.delegation.clone(),
    }
}

fn scheme(serving: &Serving) -> &'static str {
    if serving.is_secure { "https" } else { "http" }
}

fn announce(serving: &Serving, project: &Path, is_demo: bool) {
    announce_line(format_args!("Tarn {} on {}\n", env!("CARGO_PKG_VERSION"), project.display()));
    if let Some(http) = serving.http_addr {
        announce_line(format_args!("  console      {}://{http}/", scheme(serving)));
        announce_line(format_args!("  Iceberg REST {}://{http}/iceberg", scheme(serving)));
    }
    if let Some(pgwire) = serving.pgwire_addr {
        announce_line(format_args!(
            "  PostgreSQL   psql -h {} -p {} -U tarn tarn",
            pgwire.ip(),
            pgwire.port()
        ));
    }
    if let Some(flight) = serving.flight_addr {
        announce_line(format_args!("  Flight SQL   grpc://{flight}"));
    }
    if is_demo {
        announce_line("\nThe flights that left New York in 2013 happen again. Three things to try:");
        announce_line("  1. open the console and watch rows arrive");
        let port = serving.pgwire_addr.map_or(15432, |address| address.port());
        announce_line(format_args!(
            "  2. psql -h 127.0.0.1 -p {port} -U tarn tarn -c \"select carrier, count(*), avg(dep_delay) from \
             nyc.flights group by 1 order by 2 desc\""
        ));
        announce_line("  3. tarn init shop && cd shop: point a source at your own PostgreSQL");
    }
    announce_line("\nCtrl-C stops.\n");
}

fn open_browser(serving: &Serving) {
    let Some(http) = serving.http_addr else { return };
    if std::env::var_os("DISPLAY").is_none() && std::env::var_os("WAYLAND_DISPLAY").is_none() {
        return;
    }
    let url = format!("{}://{http}/", scheme(serving));
    if let Err(error) = std::process::Command::new("xdg-open").arg(url).spawn() {
        tracing::debug!(%error, "no browser was opened");
    }
}

/// Shows how it goes until the process is asked to stop.
async fn watch(platform: &Platform, is_demo: bool, mut stop: Pin<&mut impl Future<Output = ()>>) {
    let bar = (is_demo && std::io::stdout().is_terminal()).then(|| {
        let bar = ProgressBar::new(1000);
        let style = ProgressStyle::with_template("  {bar:30.cyan/dim} {percent:>3} %  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    });
    let clock = platform.env.clock.clone();
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = clock.sleep(Duration::from_millis(500)) => {}
        }
        if let Some(bar) = &bar {
            show(platform, bar);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn show(platform: &Platform, bar: &ProgressBar) {
    let sources = platform.state.ingest.statuses(&platform.ctx);
    let share = |source: &tarn_ingest::SourceSummary| {
        let snapshot = source.snapshot.as_ref()?;
        Some(snapshot.rows_done as f64 / snapshot.rows_estimated?.max(1) as f64)
    };
    bar.set_position((sources.iter().find_map(share).unwrap_or(0.0) * 1000.0) as u64);
    let at = sources.iter().find_map(|source| source.message.clone());
    let rate = platform.state.metrics.per_second(Metric::IngestRows);
    let rows: u64 = platform.state.metrics.total(Metric::IngestRows);
    let at = at.map(|at| format!("{at}  ")).unwrap_or_default();
    bar.set_message(format!("{at}{rows} changes, {rate:.0} per second"));
}

fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let (terminated, interrupted) = (next(SignalKind::terminate())?, interrupt()?);
    Ok(async move {
        tokio::select! {
            () = terminated => {}
            () = interrupted => {}
        }
    })
}

/// Completes at the next Ctrl-C.
fn interrupt() -> Result<impl Future<Output = ()>, Failure> {
    next(SignalKind::interrupt())
}

fn next(kind: SignalKind) -> Result<impl Future<Output = ()>, Failure> {
    let mut stream =
        signal(kind).map_err(|error| Failure::internal(format!("could not listen for signals: {error}")))?;
    Ok(async move {
        stream.recv().await;
    })
}
