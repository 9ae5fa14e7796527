//! `tarn ingest`, `tarn eventlog`, `tarn lakehouse`, `tarn query`: what runs, and the few things to do about it.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, part};
use super::output::{items, print_items, print_json, print_line, text};
use super::{Failure, Global};

/// Sources.
#[derive(Debug, Subcommand)]
pub enum Ingest {
    /// All sources with their states
    List,
    /// One source: state, tables, history
    Show {
        /// The source.
        name: String,
    },
    /// Types of sources and what they take
    Types {
        /// One type in full, such as `postgres_cdc`.
        name: Option<String>,
    },
    /// Test the connection of a source
    Check {
        /// The source.
        name: String,
    },
    /// Stop and start a source
    Restart {
        /// The source.
        name: String,
    },
    /// Stop a source; it goes on where it stopped after `resume`
    Pause {
        /// The source.
        name: String,
    },
    /// Let a paused source go on
    Resume {
        /// The source.
        name: String,
    },
    /// Records that could not be used, newest first
    DeadLetters {
        /// The source.
        name: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// Topics.
#[derive(Debug, Subcommand)]
pub enum Eventlog {
    /// All topics
    List,
    /// One topic: schema, partitions, consumers
    Show {
        /// The topic.
        name: String,
    },
    /// Rows of a topic, newest first unless an offset is given
    Rows {
        /// The topic.
        name: String,
        /// Where to start.
        #[arg(long)]
        offset: Option<u64>,
        /// Which partition.
        #[arg(long, default_value_t = 0)]
        partition: u32,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// Tables.
#[derive(Debug, Subcommand)]
pub enum Lakehouse {
    /// All tables
    List,
    /// One table: columns, snapshots
    Show {
        /// `namespace.table`.
        name: String,
    },
    /// Files of a table
    Files {
        /// `namespace.table`.
        name: String,
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Commit rows that are only in memory now, so that other engines see them
    Flush {
        /// `namespace.table`.
        name: String,
    },
    /// Rewrite small files and files with deleted rows now
    Compact {
        /// `namespace.table`.
        name: String,
    },
}

/// Queries.
#[derive(Debug, Subcommand)]
pub enum Query {
    /// Running and recent queries
    List,
    /// Stop a running query
    Cancel {
        /// The query's identifier.
        id: String,
    },
}

const SOURCE_COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("TYPE", "type"),
    ("STATE", "state"),
    ("ROWS/S", "rows_per_s"),
    ("ROWS", "rows_total"),
    ("LAG ms", "lag_ms"),
    ("DEAD", "dead_letters"),
    ("MESSAGE", "message"),
];
const TOPIC_COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("ROWS", "rows"),
    ("SIZE", "bytes"),
    ("ROWS/S", "rows_per_s"),
    ("LAST", "last_append_at"),
];
const TABLE_COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("ROWS", "rows"),
    ("FILES", "files"),
    ("DELETE FILES", "delete_files"),
    ("SIZE", "bytes"),
    ("FRESH ms", "freshness_ms"),
    ("STATE", "state"),
    ("MESSAGE", "message"),
];

fn list(global: &Global, answer: &Value, columns: &[(&str, &str)], empty: &str) {
    if global.json {
        print_json(answer);
    } else {
        print_items(&items(answer), columns, empty);
    }
}

/// Prints the plain fields of an object, then its lists of objects as tables.
fn show(global: &Global, answer: &Value) {
    if global.json {
        return print_json(answer);
    }
    let Some(object) = answer.as_object() else { return print_json(answer) };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    let is_list = |value: &Value| value.as_array().is_some_and(|a| a.first().is_some_and(Value::is_object));
    for (key, value) in object.iter().filter(|(_, value)| !is_list(value)) {
        print_line(format_args!("{key:width$}  {}", text(value)));
    }
    for (key, value) in object.iter().filter(|(_, value)| is_list(value)) {
        let rows = value.as_array().cloned().unwrap_or_default();
        let keys: Vec<String> = rows
            .first()
            .and_then(Value::as_object)
            .map(|row| row.keys().cloned().collect())
            .unwrap_or_default();
        let columns: Vec<(&str, &str)> =
            keys.iter().filter(|k| *k != "summary").map(|key| (key.as_str(), key.as_str())).collect();
        print_line(format_args!("\n{key}"));
        print_items(&rows, &columns, "");
    }
}

/// `tarn ingest`.
pub async fn ingest(global: &Global, command: Ingest) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let act = |name: &str, what: &str| format!("/api/v1/ingest/{}/{what}", part(name));
    match command {
        Ingest::List => {
            let answer = client.get("/api/v1/ingest").await?;
            let empty = "no sources yet; `tarn ingest types` shows what can be read";
            list(global, &answer, SOURCE_COLUMNS, empty);
        }
        Ingest::Show { name } => show(global, &client.get(&format!("/api/v1/ingest/{}", part(&name))).await?),
        Ingest::Types { name } => types(global, &client, name.as_deref()).await?,
        Ingest::Check { name } => check(global, &client, &name).await?,
        Ingest::Restart { name } => drop(client.post(&act(&name, "restart"), &Value::Null).await?),
        Ingest::Pause { name } => drop(client.post(&act(&name, "pause"), &Value::Null).await?),
        Ingest::Resume { name } => drop(client.post(&act(&name, "resume"), &Value::Null).await?),
        Ingest::DeadLetters { name, limit } => {
            let answer = client.get(&format!("{}?limit={limit}", act(&name, "dead-letters"))).await?;
            let columns = [("AT", "at"), ("PLACE", "place"), ("REASON", "reason"), ("RECORD", "record")];
            list(global, &answer, &columns, "no dead letters");
        }
    }
    Ok(())
}

async fn types(global: &Global, client: &Client, name: Option<&str>) -> Result<(), Failure> {
    let answer = client.get("/api/v1/ingest/types").await?;
    let Some(name) = name else {
        let columns =
            [("NAME", "name"), ("CATEGORY", "category"), ("STABILITY", "stability"), ("WHAT", "summary")];
        list(global, &answer, &columns, "no types");
        return Ok(());
    };
    let all = items(&answer);
    let names = || all.iter().filter_map(|t| t.get("name")?.as_str());
    let found = all.iter().find(|t| t.get("name").and_then(Value::as_str) == Some(name));
    let Some(found) = found else {
        let near = tarn_core::nearest(name, names()).map(|near| format!("did you mean `{near}`?"));
        return Err(Failure::new(
            tarn_core::FaultKind::NotFound,
            format!("source type `{name}` not found"),
            near,
        ));
    };
    if global.json {
        print_json(found);
        return Ok(());
    }
    print_line(format_args!("{}\n\n{}\n", text(&found["title"]), text(&found["summary"])));
    for example in found["examples"].as_array().into_iter().flatten() {
        print_line(format_args!("# {}\n{}", text(&example["title"]), text(&example["config"])));
    }
    print_line(text(&found["docs"]));
    Ok(())
}

async fn check(global: &Global, client: &Client, name: &str) -> Result<(), Failure> {
    let source = client.get(&format!("/api/v1/ingest/{}", part(name))).await?;
    let mut config = source.get("spec").cloned().unwrap_or(Value::Null);
    let kind = config.get("type").cloned().unwrap_or(Value::Null);
    if let Some(config) = config.as_object_mut() {
        for own in ["type", "into", "paused"] {
            config.remove(own);
        }
    }
    let asked = json!({ "name": name, "type": kind, "config": config });
    let answer = client.post("/api/v1/ingest/check", &asked).await?;
    if global.json {
        print_json(&answer);
    }
    for step in answer["steps"].as_array().into_iter().flatten().filter(|_| !global.json) {
        let mark = if step["ok"] == true { "ok  " } else { "FAIL" };
        print_line(format_args!("{mark}  {}: {}", text(&step["name"]), text(&step["detail"])));
    }
    if answer["ok"] == true {
        return Ok(());
    }
    Err(Failure::invalid(format!("source `{name}` cannot run"), "mend the step that failed and check again"))
}

/// `tarn eventlog`.
pub async fn eventlog(global: &Global, command: Eventlog) -> Result<(), Failure> {
    let client = Client::new(global)?;
    match command {
        Eventlog::List => {
            let answer = client.get("/api/v1/eventlog").await?;
            list(global, &answer, TOPIC_COLUMNS, "no topics yet; a source makes one for each of its tables");
        }
        Eventlog::Show { name } => {
            show(global, &client.get(&format!("/api/v1/eventlog/{}", part(&name))).await?)
        }
        Eventlog::Rows { name, offset, partition, limit } => {
            let from = offset.map(|offset| format!("&offset={offset}")).unwrap_or_default();
            let path =
                format!("/api/v1/eventlog/{}/rows?partition={partition}&limit={limit}{from}", part(&name));
            let answer = client.get(&path).await?;
            if global.json {
                print_json(&answer);
                return Ok(());
            }
            let rows = answer["rows"].as_array().cloned().unwrap_or_default();
            let names: Vec<String> =
                answer["columns"].as_array().into_iter().flatten().map(|c| text(&c["name"])).collect();
            let paths: Vec<(String, String)> =
                names.iter().map(|n| (n.clone(), format!("values.{n}"))).collect();
            let mut columns = vec![("OFFSET", "offset"), ("KIND", "kind")];
            columns.extend(paths.iter().map(|(name, path)| (name.as_str(), path.as_str())));
            print_items(&rows, &columns, "no rows");
        }
    }
    Ok(())
}

fn table_path(name: &str) -> Result<String, Failure> {
    let name = tarn_core::TableName::parse(name)?;
    Ok(format!("/api/v1/lakehouse/{}/{}", part(name.namespace()), part(name.name())))
}

/// `tarn lakehouse`.
pub async fn lakehouse(global: &Global, command: Lakehouse) -> Result<(), Failure> {
    let client = Client::new(global)?;
    match command {
        Lakehouse::List => {
            let answer = client.get("/api/v1/lakehouse").await?;
            list(global, &answer, TABLE_COLUMNS, "no tables yet; each table of a source becomes one");
        }
        Lakehouse::Show { name } => show(global, &client.get(&table_path(&name)?).await?),
        Lakehouse::Files { name, limit } => {
            let answer = client.get(&format!("{}/files?limit={limit}", table_path(&name)?)).await?;
            let columns = [
                ("CONTENT", "content"),
                ("ROWS", "rows"),
                ("DELETED", "deleted_rows"),
                ("SIZE", "bytes"),
                ("PATH", "path"),
            ];
            list(global, &answer, &columns, "no files");
        }
        Lakehouse::Flush { name } => {
            let answer = client.post(&format!("{}/flush", table_path(&name)?), &json!({})).await?;
            show(global, &answer);
        }
        Lakehouse::Compact { name } => {
            let answer = client.post(&format!("{}/compact", table_path(&name)?), &json!({})).await?;
            show(global, &answer);
        }
    }
    Ok(())
}

/// `tarn query`.
pub async fn query(global: &Global, command: Query) -> Result<(), Failure> {
    let client = Client::new(global)?;
    match command {
        Query::List => {
            let answer = client.get("/api/v1/query").await?;
            let columns = [
                ("ID", "query_id"),
                ("STATE", "state"),
                ("BY", "principal"),
                ("MS", "elapsed_ms"),
                ("ROWS", "rows"),
                ("SQL", "sql"),
            ];
            list(global, &answer, &columns, "no queries yet");
        }
        Query::Cancel { id } => drop(client.delete(&format!("/api/v1/query/{}", part(&id))).await?),
    }
    Ok(())
}
