//! `COPY … FROM 'file'` of files that bring the names of their columns: rows into a table, by name, in one commit.

use std::sync::Arc;

use serde_json::json;

use super::session::{QueryOptions, Session};
use super::write::{Change, Done};
use crate::QueryError;
use crate::scan::ScanCounters;
use crate::sql::{Action, CopyPlace, CopyStatement, CopySubject, Diagnosis, parse};

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Session {
    /// Takes the rows of files into a table. Errors: files that cannot be read, columns that the table does not have, and
    /// those of `INSERT`; then nothing has changed.
    pub(super) async fn load(
        &self,
        copy: &CopyStatement,
        options: &QueryOptions,
        counters: &Arc<ScanCounters>,
        query_id: &str,
    ) -> Result<Done, QueryError> {
        // Places in the text made here are none in the client's.
        let unplaced = |error: QueryError| error.unplaced();
        let sql = self.insertion(copy).await?;
        let parsed = parse(&sql).map_err(unplaced)?;
        let Action::Write(write) = &parsed.action else {
            return Err(QueryError::Internal { message: "COPY became no INSERT".to_string() });
        };
        let diagnosis = Diagnosis::new(parsed.text.clone(), query_id);
        let change = Change { write, parsed: &parsed, options, counters, diagnosis: &diagnosis };
        let mut done = Box::pin(self.change(&change)).await.map_err(unplaced)?;
        done.command.tag = "COPY";
        Ok(done)
    }

    /// The `INSERT` that means the same.
    async fn insertion(&self, copy: &CopyStatement) -> Result<String, QueryError> {
        let (CopySubject::Table { name, columns }, CopyPlace::File(path)) = (&copy.subject, &copy.place)
        else {
            return Err(QueryError::coded("42601", "COPY FROM takes rows into a table"));
        };
        let format = copy.files_format()?.unwrap_or_default();
        let function = match format.as_str() {
            "parquet" | "avro" | "orc" | "json" => format!("read_{format}"),
            "ndjson" => "read_json".to_string(),
            other => {
                let error = QueryError::coded("22023", format!("COPY format \"{other}\" not recognized"));
                return Err(
                    error.with_hint("files are read as text, csv, binary, json, parquet, avro or orc")
                );
            }
        };
        if let Some(option) = copy.options.iter().find(|option| option.name != "format") {
            return Err(option.unknown("files of this format have no other options than FORMAT"));
        }
        let reader = self.core().tables.files();
        let reader = reader.ok_or_else(|| QueryError::coded("0A000", "no files are read here"))?;
        let asked = json!({ "path": path, "format": function.trim_start_matches("read_") });
        let plan = reader.plan(self.context(), &asked).await;
        let plan = plan.map_err(|fault| QueryError::from_fault(&fault))?;
        let found = || plan.schema.fields().iter().map(|field| field.name().as_str());
        if let Some(missing) = columns.iter().find(|column| found().all(|name| name != column.as_str())) {
            let error = QueryError::coded("42703", format!("column \"{missing}\" is not in the files"));
            let names: Vec<&str> = found().collect();
            return Err(error.with_hint(&format!("they have {}", names.join(", "))));
        }
        let names: Vec<String> = match columns.is_empty() {
            true => found().map(quoted).collect(),
            false => columns.iter().map(|column| quoted(column)).collect(),
        };
        let (table, names) = (name.iter().map(|part| quoted(part)).collect::<Vec<_>>(), names.join(", "));
        let path = path.replace('\'', "''");
        Ok(format!("INSERT INTO {} ({names}) SELECT {names} FROM {function}('{path}')", table.join(".")))
    }
}
