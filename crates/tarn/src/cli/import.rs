//! `tarn import`: files of others become tables.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tarn_core::{Env, FaultKind};

use super::client::{Client, part};
use super::output::{bytes, items, new_table, print_items, print_json, print_line, text};
use super::{Failure, Global};

/// How often a running import is looked at.
const POLL: Duration = Duration::from_millis(300);

/// Files become a table: CSV, JSON (lines or arrays), Parquet; a folder with `year=2024/` folders too.
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
    /// Go on with an import that failed or was cancelled
    Resume {
        /// Its identifier.
        id: String,
    },
}

/// Options of an import.
#[derive(Debug, Args)]
struct RunArgs {
    /// A file, a folder, or a path with `*`, `?` and `**`; `s3://bucket/folder/` too.
    path: Option<String>,
    /// The table: `namespace.table`.
    #[arg(long, value_name = "TABLE")]
    into: Option<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Add rows to a table that is there.
    #[arg(long, conflicts_with = "replace")]
    append: bool,
    /// Replace all rows of a table that is there.
    #[arg(long)]
    replace: bool,
    /// Format of the files [default: by their ending].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Character between fields of CSV [default: found out].
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<String>,
    /// Character around fields of CSV.
    #[arg(long, value_name = "CHAR")]
    quote: Option<String>,
    /// Whether the first line of CSV names the columns [default: found out].
    #[arg(long, value_name = "BOOL")]
    header: Option<bool>,
    /// A text that stands for null, besides an empty field; may be given several times.
    #[arg(long = "null", value_name = "TEXT")]
    nulls: Vec<String>,
    /// Encoding, such as `gb18030` or `utf-16le` [default: found out].
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Type of a column, such as `zip=string` or `price=decimal(18,2)`; may be given several times.
    #[arg(long = "column", value_name = "NAME=TYPE")]
    columns: Vec<String>,
    /// Rows looked at in each file to find types; 0 looks at all rows of all files.
    #[arg(long, value_name = "ROWS")]
    infer_rows: Option<u32>,
    /// Whether folders such as `year=2024` are columns [default: if all files lie in such].
    #[arg(long, value_name = "BOOL")]
    hive: Option<bool>,
    /// How a new table is partitioned, such as `region,day(at)` [default: by the folders].
    #[arg(long, value_name = "TERMS")]
    partition_by: Option<String>,
    /// Key columns of a new table.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// What becomes of records that are no rows.
    #[arg(long, value_enum, default_value_t = OnError::Fail)]
    on_error: OnError,
    /// More such records than this fail the import.
    #[arg(long, value_name = "COUNT")]
    errors_max: Option<u64>,
    /// Address of an S3-compatible server.
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, value_name = "NAME")]
    s3_region: Option<String>,
    /// Access key of the bucket [default: the server's].
    #[arg(long, value_name = "ID")]
    s3_key: Option<String>,
    /// Name of the secret that holds the key's secret (`tarn access secret set`).
    #[arg(long, value_name = "SECRET")]
    s3_secret: Option<String>,
    /// Send local files to the server, even if it runs on this project.
    #[arg(long)]
    upload: bool,
    /// Return once it began; `tarn import show` tells how far it is.
    #[arg(long)]
    no_wait: bool,
}

/// A format.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Json,
    Parquet,
}

/// What becomes of records that are no rows.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnError {
    /// Nothing is imported.
    Fail,
    /// They are left out.
    Skip,
    /// They are left out and all kept, see `tarn import problems`.
    Quarantine,
}

/// `tarn import`.
pub async fn run(global: &Global, args: Import) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let at = |id: &str, what: &str| format!("/api/v1/imports/{}{what}", part(id));
    match args.command {
        None => import(global, &client, &args.run).await,
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
        Some(Command::Resume { id }) => {
            client.post(&at(&id, "/resume"), &Value::Null).await?;
            wait(global, &client, &id).await
        }
    }
}

async fn import(global: &Global, client: &Client, args: &RunArgs) -> Result<(), Failure> {
    let missing = |what: &str| {
        Failure::invalid(format!("{what} is missing"), "such as `tarn import sales.csv --into shop.sale`")
    };
    let path = args.path.as_deref().ok_or_else(|| missing("the path"))?;
    let into = args.into.as_deref().ok_or_else(|| missing("--into"))?;
    let mut body = request(args, into)?;
    body.insert("path".into(), json!(place(client, args, path).await?));
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

fn request(args: &RunArgs, into: &str) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    body.insert("into".into(), json!(into));
    let mode = match (args.append, args.replace) {
        (true, _) => "append",
        (_, true) => "replace",
        _ => "create",
    };
    body.insert("mode".into(), json!(mode));
    let named = |value: &dyn ValueName| json!(value.name());
    body.insert("on_error".into(), named(&args.on_error));
    if let Some(format) = &args.format {
        body.insert("format".into(), named(format));
    }
    let mut csv = Map::new();
    let mut option = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            csv.insert(name.into(), value);
        }
    };
    option("header", args.header.map(|header| json!(header)));
    option("delimiter", args.delimiter.as_ref().map(|text| json!(text)));
    option("quote", args.quote.as_ref().map(|text| json!(text)));
    option("encoding", args.encoding.as_ref().map(|text| json!(text)));
    let nulls: Vec<&str> = std::iter::once("").chain(args.nulls.iter().map(String::as_str)).collect();
    option("null", (!args.nulls.is_empty()).then(|| json!(nulls)));
    if !csv.is_empty() {
        body.insert("csv".into(), Value::Object(csv));
    }
    let column = |text: &String| {
        let (name, kind) = text.split_once('=').ok_or_else(|| {
            Failure::invalid(format!("--column {text} names no type"), "such as `--column zip=string`")
        })?;
        Ok(json!({ "name": name, "type": kind }))
    };
    let columns = args.columns.iter().map(column).collect::<Result<Vec<_>, Failure>>()?;
    body.insert("columns".into(), json!(columns));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.into(), value);
        }
    };
    put("infer_rows", args.infer_rows.map(|rows| json!(rows)));
    put("hive", args.hive.map(|hive| json!(hive)));
    put("partition_by", args.partition_by.as_ref().map(|terms| json!(split_terms(terms))));
    put("key", (!args.key.is_empty()).then(|| json!(args.key)));
    put("errors_max", args.errors_max.map(|count| json!(count)));
    let mut s3 = Map::new();
    let secret = args.s3_secret.as_ref().map(|name| json!({ "secret": name }));
    let plain = args.s3_endpoint.as_ref().map(|url| json!(url.starts_with("http://")));
    for (name, value) in [
        ("endpoint", args.s3_endpoint.as_ref().map(|url| json!(url))),
        ("region", args.s3_region.as_ref().map(|name| json!(name))),
        ("access_key_id", args.s3_key.as_ref().map(|id| json!(id))),
        ("secret_access_key", secret),
        ("allow_http", plain),
    ] {
        if let Some(value) = value {
            s3.insert(name.into(), value);
        }
    }
    put("s3", (!s3.is_empty()).then(|| Value::Object(s3)));
    Ok(body)
}

/// Terms between commas that stand in no parentheses.
fn split_terms(terms: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0_u32, vec![String::new()]);
    for c in terms.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, depth) {
            (',', 0) => parts.push(String::new()),
            _ => parts.last_mut().into_iter().for_each(|last| last.push(c)),
        }
    }
    parts.iter().map(|part| part.trim().to_string()).filter(|part| !part.is_empty()).collect()
}

trait ValueName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueName for T {
    fn name(&self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }
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
    if let Some(csv) = plan["csv"].as_object() {
        let header = if csv["header"] == true { "header" } else { "no header" };
        print_line(format_args!(
            "delimiter {}, quote {}, {header}, {}",
            csv["delimiter"],
            csv["quote"],
            text(&csv["encoding"]),
        ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_split_outside_of_parentheses() {
        assert_eq!(split_terms("region, bucket(16, id),day(at)"), ["region", "bucket(16, id)", "day(at)"]);
    }
}
