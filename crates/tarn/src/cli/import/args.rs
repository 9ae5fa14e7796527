//! Options of `tarn import`, and the request that they make.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::Failure;

/// Options of an import.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A file, a folder, a path with `*`, `?` and `**`, or a Delta or Iceberg table; `s3://bucket/folder/` too.
    pub(super) path: Option<String>,
    /// The table: `namespace.table`.
    #[arg(long, value_name = "TABLE")]
    pub(super) into: Option<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Add rows to a table that is there.
    #[arg(long, conflicts_with = "replace")]
    pub(super) append: bool,
    /// Replace all rows of a table that is there.
    #[arg(long)]
    pub(super) replace: bool,
    /// Leave Parquet files where they lie: they become files of the table, which is made if it is missing.
    #[arg(long, conflicts_with_all = ["append", "replace", "upload"])]
    pub(super) register: bool,
    /// Format of the files [default: by their ending].
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// Character between fields of CSV [default: found out].
    #[arg(long, value_name = "CHAR")]
    pub(super) delimiter: Option<String>,
    /// Character around fields of CSV.
    #[arg(long, value_name = "CHAR")]
    pub(super) quote: Option<String>,
    /// Sheet of Excel workbooks [default: the first one that is not hidden].
    #[arg(long, value_name = "NAME")]
    pub(super) sheet: Option<String>,
    /// Cells of Excel workbooks: `A1:F20`, `A:F`, or `B3` for all from there on.
    #[arg(long, value_name = "CELLS")]
    pub(super) range: Option<String>,
    /// Whether the first line of CSV, or row of Excel, names the columns [default: found out].
    #[arg(long, value_name = "BOOL")]
    pub(super) header: Option<bool>,
    /// A text that stands for null, besides an empty field; may be given several times.
    #[arg(long = "null", value_name = "TEXT")]
    pub(super) nulls: Vec<String>,
    /// Encoding, such as `gb18030` or `utf-16le` [default: found out].
    #[arg(long, value_name = "NAME")]
    pub(super) encoding: Option<String>,
    /// Type of a column, such as `zip=string` or `price=decimal(18,2)`; may be given several times.
    #[arg(long = "column", value_name = "NAME=TYPE")]
    pub(super) columns: Vec<String>,
    /// Rows looked at in each file to find types; 0 looks at all rows of all files.
    #[arg(long, value_name = "ROWS")]
    pub(super) infer_rows: Option<u32>,
    /// Whether folders such as `year=2024` are columns [default: if all files lie in such].
    #[arg(long, value_name = "BOOL")]
    pub(super) hive: Option<bool>,
    /// How a new table is partitioned, such as `region,day(at)` [default: by the folders].
    #[arg(long, value_name = "TERMS")]
    pub(super) partition_by: Option<String>,
    /// Key columns of a new table.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(super) key: Vec<String>,
    /// What becomes of records that are no rows.
    #[arg(long, value_enum, default_value_t = OnError::Fail)]
    pub(super) on_error: OnError,
    /// More such records than this fail the import.
    #[arg(long, value_name = "COUNT")]
    pub(super) errors_max: Option<u64>,
    /// Address of an S3-compatible server.
    #[arg(long, value_name = "URL")]
    pub(super) s3_endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, value_name = "NAME")]
    pub(super) s3_region: Option<String>,
    /// Access key of the bucket [default: the server's].
    #[arg(long, value_name = "ID")]
    pub(super) s3_key: Option<String>,
    /// Name of the secret that holds the key's secret (`tarn access secret set`).
    #[arg(long, value_name = "SECRET")]
    pub(super) s3_secret: Option<String>,
    #[command(flatten)]
    pub(super) lake: LakeArgs,
    /// Leave out files that came to the table before.
    #[arg(long, conflicts_with = "replace")]
    pub(super) only_new: bool,
    /// Go on with new files as they come, until interrupted; `tarn import verify` compares before the cut-over.
    #[arg(long, conflicts_with_all = ["replace", "dry_run", "no_wait", "upload"])]
    pub(super) follow: bool,
    /// Time between two looks for new files, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "follow")]
    pub(super) every: u64,
    /// Send local files to the server, even if it runs on this project.
    #[arg(long)]
    pub(super) upload: bool,
    /// Return once it began; `tarn import show` tells how far it is.
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// A format.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Csv,
    Json,
    Parquet,
    Avro,
    Orc,
    Excel,
    Delta,
    Iceberg,
}

/// Which state of a table of another lake is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delta and Iceberg tables")]
pub(super) struct LakeArgs {
    /// Version of a Delta table [default: the newest].
    #[arg(long, value_name = "NUMBER")]
    pub(super) delta_version: Option<u64>,
    /// The last version of a Delta table at this time, such as `2024-05-01T10:00:00Z`.
    #[arg(long, value_name = "TIME", conflicts_with = "delta_version")]
    pub(super) delta_timestamp: Option<String>,
    /// Snapshot of an Iceberg table [default: the current one].
    #[arg(long, value_name = "ID")]
    pub(super) iceberg_snapshot: Option<String>,
    /// Branch or tag of an Iceberg table.
    #[arg(long, value_name = "NAME", conflicts_with = "iceberg_snapshot")]
    pub(super) iceberg_ref: Option<String>,
    /// The snapshot of an Iceberg table that was current at this time.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["iceberg_snapshot", "iceberg_ref"])]
    pub(super) iceberg_timestamp: Option<String>,
    /// A REST catalog; PATH is then the table's name there: `namespace.table`.
    #[arg(long, value_name = "URL")]
    pub(super) iceberg_catalog: Option<String>,
    /// The catalog's warehouse, if it has several.
    #[arg(long, value_name = "NAME", requires = "iceberg_catalog")]
    pub(super) iceberg_warehouse: Option<String>,
    /// Name of the secret that holds the catalog's token.
    #[arg(long, value_name = "SECRET", requires = "iceberg_catalog")]
    pub(super) iceberg_token: Option<String>,
    /// Client of the catalog (OAuth2).
    #[arg(long, value_name = "ID", requires = "iceberg_client_secret", conflicts_with = "iceberg_token")]
    pub(super) iceberg_client: Option<String>,
    /// Name of the secret that holds the client's secret.
    #[arg(long, value_name = "SECRET", requires_all = ["iceberg_catalog", "iceberg_client"])]
    pub(super) iceberg_client_secret: Option<String>,
    /// A folder beside the table's own in which files of it may lie; may be given several times.
    #[arg(long = "location", value_name = "FOLDER")]
    pub(super) locations: Vec<String>,
}

impl LakeArgs {
    fn iceberg(&self) -> Map<String, Value> {
        let given = |fields: &[(&str, Option<Value>)]| {
            let given = fields.iter().filter_map(|(name, value)| Some((name.to_string(), value.clone()?)));
            given.collect::<Map<String, Value>>()
        };
        let text = |value: &Option<String>| value.as_ref().map(|value| json!(value));
        let secret = |name: &Option<String>| name.as_ref().map(|name| json!({ "secret": name }));
        let catalog = given(&[
            ("url", text(&self.iceberg_catalog)),
            ("warehouse", text(&self.iceberg_warehouse)),
            ("token", secret(&self.iceberg_token)),
            ("client_id", text(&self.iceberg_client)),
            ("client_secret", secret(&self.iceberg_client_secret)),
        ]);
        given(&[
            ("snapshot", text(&self.iceberg_snapshot)),
            ("ref", text(&self.iceberg_ref)),
            ("timestamp", text(&self.iceberg_timestamp)),
            ("catalog", (!catalog.is_empty()).then_some(Value::Object(catalog))),
        ])
    }

    fn put(&self, body: &mut Map<String, Value>) {
        let mut delta = Map::new();
        if let Some(version) = self.delta_version {
            delta.insert("version".into(), json!(version));
        }
        if let Some(timestamp) = &self.delta_timestamp {
            delta.insert("timestamp".into(), json!(timestamp));
        }
        if !delta.is_empty() {
            body.insert("delta".into(), Value::Object(delta));
        }
        let iceberg = self.iceberg();
        if !iceberg.is_empty() {
            body.insert("iceberg".into(), Value::Object(iceberg));
        }
        if !self.locations.is_empty() {
            body.insert("locations".into(), json!(self.locations));
        }
    }
}

/// What becomes of records that are no rows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OnError {
    /// Nothing is imported.
    Fail,
    /// They are left out.
    Skip,
    /// They are left out and all kept, see `tarn import problems`.
    Quarantine,
}

fn excel(args: &RunArgs) -> Map<String, Value> {
    let given = [("sheet", &args.sheet), ("range", &args.range)];
    given.into_iter().filter_map(|(name, text)| Some((name.to_string(), json!(text.as_ref()?)))).collect()
}

/// What the options ask for, without the path.
pub(super) fn request(args: &RunArgs, into: &str) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    body.insert("into".into(), json!(into));
    let mode = match (args.append, args.replace, args.register) {
        (true, ..) => "append",
        (_, true, _) => "replace",
        (_, _, true) => "register",
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
    let excel = excel(args);
    if !excel.is_empty() {
        body.insert("excel".into(), Value::Object(excel));
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
    put("only_new", args.only_new.then(|| json!(true)));
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
    args.lake.put(&mut body);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_split_outside_of_parentheses() {
        assert_eq!(split_terms("region, bucket(16, id),day(at)"), ["region", "bucket(16, id)", "day(at)"]);
    }
}
