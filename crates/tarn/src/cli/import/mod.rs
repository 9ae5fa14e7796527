//! `tarn import`: files of others become tables.

mod args;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tarn_core::{Env, FaultKind};

use super::client::{Client, part};
use super::output::{bytes, items, new_table, print_items, print_json, print_line, text};
use super::{Failure, Global};
use args::{RunArgs, request};

/// How often a running import is looked at.
const POLL: Duration = Duration::from_millis(300);

/// Files become a table: CSV, JSON (lines or arrays), Parquet; a folder with `year=2024/` folders too; Delta and Iceberg tables.
///
/// `tarn import sales.csv --into shop.sale --dry-run` shows what was found out, and does nothing.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Import {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Box<RunArgs>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All imports, newest first
    List,
    /// One import: state, report
    Show {
        /// Its identifier.
        id: String,
    },
    /// Records that became no rows
    Problems {
        /// Its identifier.
        id: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Stop an import; what was committed stays
    Cancel {
        /// Its identifier.
        id: String,
    },
    /// Compare all rows of files with all rows of a table; nothing is changed
    Verify(Box<RunArgs>),
    /// Take the last files of the old place, compare both sides, and copy registered files into the table
    Cutover {
        /// The table: `namespace.table`.
        table: String,
        /// Return once it began; `tarn import show` tells how far it is.
        #[arg(long)]
        no_wait: bool,
    },
    /// Go on with an import that failed or was cancelled
    Resume {
        /// Its identifier.
        id: String,
    },
}

/// `tarn import`.
pub async fn run(global: &Global, args: Import) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let at = |id: &str, what: &str| format!("/api/v1/imports/{}{what}", part(id));
    match args.command {
        None if args.run.follow => follow(global, &client, &args.run).await,
        None => import(global, &client, &args.run).await,
        Some(Command::Verify(run)) => verify(global, &client, &run).await,
        Some(Command::List) => {
            let answer = client.get("/api/v1/imports").await?;
            let columns = [
                ("ID", "id"),
                ("STATE", "state"),
                ("INTO", "into"),
                ("ROWS", "progress.rows"),
                ("PROBLEMS", "progress.problems"),
                ("FROM", "path"),
            ];
            match global.json {
                true => print_json(&answer),
                false => print_items(&items(&answer), &columns, "no imports yet"),
            }
            Ok(())
        }
        Some(Command::Show { id }) => finish(global, &client.get(&at(&id, "")).await?),
        Some(Command::Problems { id, limit }) => {
            let answer = client.get(&at(&id, &format!("/problems?limit={limit}"))).await?;
            let columns = [("FILE", "file"), ("LINE", "line"), ("REASON", "reason"), ("RECORD", "record")];
            match global.json {
                true => print_json(&answer),
                false => print_items(&items(&answer), &columns, "no problems"),
            }
            Ok(())
        }
        Some(Command::Cancel { id }) => {
            finish(global, &client.post(&at(&id, "/cancel"), &Value::Null).await?)
        }
        Some(Command::Cutover { table, no_wait }) => {
            let begun = client.post("/api/v1/imports/cutover", &json!({ "into": table })).await?;
            match no_wait {
                true => finish(global, &begun),
                false => wait(global, &client, &text(&begun["id"])).await,
            }
        }
        Some(Command::Resume { id }) => {
            client.post(&at(&id, "/resume"), &Value::Null).await?;
            wait(global, &client, &id).await
        }
    }
}

/// The request of the options, with where the server finds the files.
async fn named_request(client: &Client, args: &RunArgs) -> Result<Map<String, Value>, Failure> {
    let missing = |what: &str| {
        Failure::invalid(format!("{what} is missing"), "such as `tarn import sales.csv --into shop.sale`")
    };
    let path = args.path.as_deref().ok_or_else(|| missing("the path"))?;
    let into = args.into.as_deref().ok_or_else(|| missing("--into"))?;
    let mut body = request(args, into)?;
    // With a catalog it is the table's name there.
    let path = match args.lake.iceberg_catalog {
        Some(_) => path.to_string(),
        None => place(client, args, path).await?,
    };
    body.insert("path".into(), json!(path));
    Ok(body)
}

async fn import(global: &Global, client: &Client, args: &RunArgs) -> Result<(), Failure> {
    let mut body = named_request(client, args).await?;
    body.insert("dry_run".into(), json!(args.dry_run));
    let answer = client.post("/api/v1/imports", &Value::Object(body)).await?;
    if args.dry_run {
        match global.json {
            true => print_json(&answer),
            false => print_plan(&answer["plan"]),
        }
        return Ok(());
    }
    let id = text(&answer["id"]);
    if args.no_wait {
        return finish(global, &answer);
    }
    wait(global, client, &id).await
}

/// Takes what is new, again and again.
async fn follow(global: &Global, client: &Client, args: &RunArgs) -> Result<(), Failure> {
    let body = named_request(client, args).await?;
    let clock = Env::system().clock;
    let mut told = Vec::new();
    loop {
        let mut asked = body.clone();
        asked.insert("mode".into(), json!(if args.register { "register" } else { "append" }));
        asked.insert("only_new".into(), json!(true));
        asked.insert("dry_run".into(), json!(true));
        let answer = client.post("/api/v1/imports", &Value::Object(asked.clone())).await;
        let plan = match answer {
            Ok(answer) => answer["plan"].clone(),
            // A folder may still be empty.
            Err(failure) if failure.kind() == FaultKind::NotFound => json!({ "files": 0 }),
            Err(failure) => return Err(failure),
        };
        for warning in plan["warnings"].as_array().into_iter().flatten() {
            if !told.contains(warning) {
                super::output::warn(text(warning));
                told.push(warning.clone());
            }
        }
        if plan["files"].as_u64().is_some_and(|files| files > 0) {
            asked.insert("dry_run".into(), json!(false));
            let begun = client.post("/api/v1/imports", &Value::Object(asked)).await?;
            wait(global, client, &text(&begun["id"])).await?;
        }
        clock.sleep(Duration::from_secs(args.every.max(1))).await;
    }
}

async fn verify(global: &Global, client: &Client, args: &RunArgs) -> Result<(), Failure> {
    let body = named_request(client, args).await?;
    let report = client.post("/api/v1/imports/compare", &Value::Object(body)).await?;
    if global.json {
        print_json(&report);
    }
    if report["verified"] == true {
        if !global.json {
            print_line(text(&report["detail"]));
        }
        return Ok(());
    }
    let differ = report["columns"].as_array().into_iter().flatten().filter(|column| column["equal"] == false);
    let differ: Vec<String> = differ.map(|column| text(&column["name"])).collect();
    let hint = (!differ.is_empty()).then(|| format!("columns that differ: {}", differ.join(", ")));
    Err(Failure::new(FaultKind::Conflict, text(&report["detail"]), hint))
}

/// Where the server finds the files: where they lie if it runs here, else where they were sent.
async fn place(client: &Client, args: &RunArgs, path: &str) -> Result<String, Failure> {
    if path.contains("://") {
        return Ok(path.to_string());
    }
    let file = Path::new(path);
    let is_file = file.is_file();
    if client.is_local() && !args.upload {
        // The server's folder may be another one than ours.
        let is_ours = is_file || file.is_dir() || path.contains(['*', '?', '[']);
        let full = std::path::absolute(file).ok().filter(|_| is_ours);
        return Ok(full.map_or_else(|| path.to_string(), |full| full.display().to_string()));
    }
    if !is_file {
        return match file.is_dir() {
            true => Err(Failure::invalid(
                format!("`{path}` is a folder, and the server runs elsewhere"),
                "send single files, or name a path that the server can read, such as s3://…",
            )),
            // A path on the server.
            false => Ok(path.to_string()),
        };
    }
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let answer = client.upload(&format!("/api/v1/imports/uploads?name={}", part(&name)), file).await?;
    Ok(text(&answer["path"]))
}

async fn wait(global: &Global, client: &Client, id: &str) -> Result<(), Failure> {
    let clock = Env::system().clock;
    let bar = match std::io::stderr().is_terminal() && !global.json {
        true => ProgressBar::new(1),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        let import = client.get(&format!("/api/v1/imports/{}", part(id))).await?;
        let progress = &import["progress"];
        bar.set_length(progress["bytes_total"].as_u64().unwrap_or(1));
        bar.set_position(progress["bytes_done"].as_u64().unwrap_or(0));
        let state = text(&import["state"]);
        bar.set_message(format!("{} rows, {state}", text(&progress["rows"])));
        if !matches!(state.as_str(), "running" | "verifying") {
            bar.finish_and_clear();
            return finish(global, &import);
        }
        clock.sleep(POLL).await;
    }
}

fn fault_kind(error: &Value) -> FaultKind {
    serde_json::from_value(error["kind"].clone()).unwrap_or(FaultKind::Internal)
}

/// Prints an import. Errors: it failed, or the table does not hold what was read.
fn finish(global: &Global, import: &Value) -> Result<(), Failure> {
    if global.json {
        print_json(import);
    }
    let (id, into) = (text(&import["id"]), text(&import["into"]));
    let state = text(&import["state"]);
    if state == "failed" {
        let error = &import["error"];
        let message = format!("import {id} into {into}: {}", text(&error["message"]));
        return Err(Failure::new(fault_kind(error), message, error["hint"].as_str().map(str::to_string)));
    }
    let report = &import["report"];
    if report["verified"] == false {
        let message = format!("import {id} into {into}: {}", text(&report["detail"]));
        let hint = "look at the table before using it; the report names the columns that differ";
        return Err(Failure::new(FaultKind::Corrupt, message, Some(hint.to_string())));
    }
    if global.json {
        return Ok(());
    }
    let problems = import["progress"]["problems"].as_u64().unwrap_or(0);
    match report.is_object() {
        true if report["version"].is_string() => print_line(format_args!(
            "{id}: {into}, version {} of the table, {}",
            text(&report["version"]),
            text(&report["detail"])
        )),
        true => print_line(format_args!("{id}: {into}, {}", text(&report["detail"]))),
        false => {
            print_line(format_args!("{id}: {into}, {state}, {} rows", text(&import["progress"]["rows"])))
        }
    }
    if problems > 0 {
        print_line(format_args!("{problems} records were left out; `tarn import problems {id}` shows them"));
    }
    Ok(())
}

fn print_plan(plan: &Value) {
    let size = bytes(plan["bytes"].as_u64().unwrap_or(0));
    let table = &plan["table"];
    let there = if table["exists"] == true { "" } else { " (new)" };
    print_line(format_args!(
        "{} {} of {size}, into {}{there}; {} rows looked at",
        text(&plan["files"]),
        text(&plan["format"]),
        text(&table["name"]),
        text(&plan["rows_seen"]),
    ));
    if plan["version"].is_string() {
        print_line(format_args!("version {} of the table is read", text(&plan["version"])));
    }
    if let Some(csv) = plan["csv"].as_object() {
        let header = if csv["header"] == true { "header" } else { "no header" };
        print_line(format_args!(
            "delimiter {}, quote {}, {header}, {}",
            csv["delimiter"],
            csv["quote"],
            text(&csv["encoding"]),
        ));
    }
    if let Some(excel) = plan["excel"].as_object() {
        let header = if excel["header"] == true { "header" } else { "no header" };
        print_line(format_args!(
            "sheet {}, cells {}, {header}",
            text(&excel["sheet"]),
            text(&excel["range"])
        ));
        print_line(format_args!("the workbook has {}", text(&excel["sheets"])));
    }
    for (title, key) in [("partitioned by", "partition_by"), ("key", "key")] {
        if table[key].as_array().is_some_and(|list| !list.is_empty()) {
            print_line(format_args!("{title} {}", text(&table[key])));
        }
    }
    let mut columns = new_table();
    columns.set_header(["COLUMN", "TYPE", "NULLS", "SAMPLES", "WHY"]);
    for column in plan["columns"].as_array().into_iter().flatten() {
        let why = column["reason"].as_str().unwrap_or_default();
        let nulls = text(&column["nulls"]);
        columns.add_row([
            text(&column["name"]),
            text(&column["type"]),
            nulls,
            text(&column["samples"]),
            why.into(),
        ]);
    }
    print_line(columns);
    for warning in plan["warnings"].as_array().into_iter().flatten() {
        print_line(format_args!("warning: {}", text(warning)));
    }
    print_line("nothing was imported; leave --dry-run out to do it");
}
