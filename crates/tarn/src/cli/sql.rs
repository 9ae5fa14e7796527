//! `tarn sql`: runs a query and prints its rows.

use std::io::{IsTerminal, Read};

use clap::{Args, ValueEnum};
use futures::StreamExt;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{new_table, print_bytes, print_line, text};
use super::{Failure, Global};

/// Options of `tarn sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The query; read from standard input if left out.
    query: Option<String>,
    /// How rows are printed.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// At most this many rows of a table.
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// Give up after this time, such as `30s`.
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

fn query_text(args: &SqlArgs) -> Result<String, Failure> {
    if let Some(query) = &args.query {
        return Ok(query.clone());
    }
    if std::io::stdin().is_terminal() {
        return Err(Failure::invalid(
            "no query",
            "write it behind the command, such as `tarn sql \"select 1\"`",
        ));
    }
    let mut query = String::new();
    std::io::stdin()
        .take(16 << 20)
        .read_to_string(&mut query)
        .map_err(|error| Failure::internal(format!("could not read standard input: {error}")))?;
    Ok(query)
}

/// `tarn sql`.
pub async fn run(global: &Global, args: SqlArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let sql = query_text(&args)?;
    let format = if global.json { Format::Json } else { args.format };
    let name = match format {
        Format::Table | Format::Json => "json",
        Format::Csv => "csv",
        Format::Arrow => "arrow",
    };
    let mut body = json!({ "sql": sql, "format": name, "timeout": args.timeout });
    if name == "json" {
        body["limit"] = json!(args.limit);
    }
    let response = client.post_stream("/api/v1/query", &body).await?;
    let lost = |error: reqwest::Error| {
        Failure::new(tarn_core::FaultKind::Unavailable, format!("the answer broke off: {error}"), None)
    };
    if format != Format::Table {
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            print_bytes(&chunk.map_err(lost)?);
        }
        if format == Format::Json {
            print_line("");
        }
        return Ok(());
    }
    let answer: Value = response.json().await.map_err(lost)?;
    print_table(&answer, args.limit);
    Ok(())
}

fn print_table(answer: &Value, limit: u32) {
    let mut table = new_table();
    let columns = answer["columns"].as_array().cloned().unwrap_or_default();
    table.set_header(columns.iter().map(|column| text(&column["name"])));
    for row in answer["rows"].as_array().into_iter().flatten() {
        let cells = row.as_array().into_iter().flatten();
        table.add_row(cells.map(|value| if value.is_null() { "NULL".to_string() } else { text(value) }));
    }
    print_line(table);
    let rows = answer["row_count"].as_u64().unwrap_or(0);
    let more = if answer["truncated"] == true {
        format!(" (the first {limit}; more with --limit)")
    } else {
        String::new()
    };
    print_line(format_args!("{rows} rows{more}, {} ms", text(&answer["elapsed_ms"])));
}
