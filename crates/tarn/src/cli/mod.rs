//! Commands: what is typed, and what is printed.

mod access;
mod client;
mod doctor;
mod failure;
mod import;
mod init;
mod nouns;
mod output;
mod reference;
mod resource;
mod serve;
mod sql;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use failure::{Failure, io_failure};

/// From a change in a database to a governed, AI-ready answer: one program that collects, transforms, stores and
/// answers.
///
/// Try `tarn demo` first. For a project of your own: `tarn init shop && cd shop && tarn up`.
#[derive(Debug, Parser)]
#[command(name = "tarn", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Address of a running Tarn, for commands that ask one [default: the one that runs on this project].
    #[arg(long, global = true, env = "TARN_URL", value_name = "URL", help_heading = "Global options")]
    server: Option<String>,
    /// User to log in as, instead of with a key; the password is asked for, or taken from TARN_PASSWORD.
    #[arg(long, global = true, env = "TARN_USER", value_name = "NAME", help_heading = "Global options")]
    user: Option<String>,
    /// API key for that address, made by `tarn access key create`.
    #[arg(
        long,
        global = true,
        env = "TARN_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Global options"
    )]
    key: Option<String>,
    /// Project folder: the one with `tarn.toml` and `resources/`.
    #[arg(long, global = true, value_name = "DIR", default_value = ".", help_heading = "Global options")]
    project: PathBuf,
    /// Folder for everything that is stored [default: `.tarn` in the project folder].
    #[arg(long, global = true, env = "TARN_DATA", value_name = "DIR", help_heading = "Global options")]
    data: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// Console and HTTP API; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// PostgreSQL wire protocol, for psql and BI tools [default: 127.0.0.1:15432].
    #[arg(long, value_name = "ADDR")]
    pgwire: Option<String>,
    /// Arrow Flight SQL, for ADBC and JDBC [default: 127.0.0.1:15433].
    #[arg(long, value_name = "ADDR")]
    flight: Option<String>,
    /// Do not open the console in a browser.
    #[arg(long)]
    no_browser: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay the flights that left New York in 2013 as a live stream, with console and SQL
    Demo(DemoArgs),
    /// Start Tarn on a project folder and follow its resources
    Up(Listen),
    /// Make a new project folder
    Init(init::InitArgs),
    /// Show what `apply` would change
    Plan(resource::PlanArgs),
    /// Make the running Tarn follow the resources of the project folder
    Apply(resource::ApplyArgs),
    /// Go back to the resources of an earlier revision
    Rollback(resource::RollbackArgs),
    /// Print the resources of the running Tarn as YAML
    Export(resource::ExportArgs),
    /// Make a table of files: CSV, JSON, Parquet
    Import(import::Import),
    /// Run a query and print its rows
    Sql(sql::SqlArgs),
    /// Look for what is wrong with this installation and say how to mend it
    Doctor(doctor::DoctorArgs),
    /// Measure this build on this machine, beside the peers it is compared with
    Bench(crate::bench::BenchArgs),
    /// Sources: list, look at, test, pause, resume, restart
    #[command(subcommand)]
    Ingest(nouns::Ingest),
    /// Topics: list, look at, read rows
    #[command(subcommand)]
    Eventlog(nouns::Eventlog),
    /// Tables: list, look at, compact
    #[command(subcommand)]
    Lakehouse(nouns::Lakehouse),
    /// Queries: list, cancel
    #[command(subcommand)]
    Query(nouns::Query),
    /// Revisions of the resources
    #[command(subcommand)]
    Resource(resource::Revisions),
    /// Users, API keys and secrets
    #[command(subcommand)]
    Access(access::Access),
    /// Print a completion script for a shell, such as `source <(tarn completions bash)`
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the reference pages of this version
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Options of `tarn demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    listen: Listen,
    /// Simulated seconds per second, or `max`.
    #[arg(long, value_name = "N", default_value = "3600")]
    speed: String,
}

/// Stack of the threads that plan: views on views, nested queries.
const STACK_BYTES: usize = 32 << 20;

/// Runs a command and prints its failure.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.global.json;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Planning goes as deep as queries and views are nested. Memory that is not touched costs nothing.
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|error| Failure::internal(format!("could not start: {error}")))
        .and_then(|runtime| runtime.block_on(dispatch(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(json),
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Demo(args) => serve::demo(&global, args).await,
        Command::Up(listen) => serve::up(&global, listen).await,
        Command::Init(args) => init::run(&args),
        Command::Plan(args) => resource::plan(&global, args).await,
        Command::Apply(args) => resource::apply(&global, args).await,
        Command::Rollback(args) => resource::rollback(&global, args).await,
        Command::Export(args) => resource::export(&global, args).await,
        Command::Import(args) => import::run(&global, args).await,
        Command::Sql(args) => sql::run(&global, args).await,
        Command::Doctor(args) => doctor::run(&global, args).await,
        Command::Bench(args) => crate::bench::run(args, global.json).await,
        Command::Ingest(command) => nouns::ingest(&global, command).await,
        Command::Eventlog(command) => nouns::eventlog(&global, command).await,
        Command::Lakehouse(command) => nouns::lakehouse(&global, command).await,
        Command::Query(command) => nouns::query(&global, command).await,
        Command::Resource(command) => resource::revisions(&global, command).await,
        Command::Access(command) => access::run(&global, command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tarn", &mut script);
            output::print_bytes(&script);
            Ok(())
        }
        Command::Reference(args) => reference::run(&args),
    }
}
