//! `VACUUM`, `ANALYZE`, `SHOW CREATE TABLE` and `SHOW CREATE VIEW`.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::ObjectName;
use tarn_core::TableName;
use tarn_lakehouse::Optimize;

use super::session::Session;
use super::stream::Command;
use crate::QueryError;
use crate::sql::{Diagnosis, Parsed, Upkeep};
use crate::tables::TableChange;
use crate::write::{create_statement, create_view_statement, table_name, table_of_parts};

/// The columns of `SHOW CREATE TABLE` and `SHOW CREATE VIEW`.
pub(super) fn show_create_schema() -> SchemaRef {
    let column = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![column("table_name"), column("statement")]))
}

impl Session {
    /// Looks after tables: files are rewritten, old snapshots and orphans go; different values are counted. Errors: a table that is not there, those of the rewriting.
    pub(super) async fn look_after(
        &self,
        upkeep: &Upkeep,
        parsed: &Parsed,
        diagnosis: &Diagnosis,
    ) -> Result<Command, QueryError> {
        self.check_editor(parsed)?;
        let mut names: Vec<TableName> = Vec::new();
        for parts in &upkeep.tables {
            let name = table_of_parts(parts, &self.namespace())?;
            if self.tables().view(self.context(), &name).await?.is_none() {
                return Err(self.no_such(&name, diagnosis).await?);
            }
            names.push(name);
        }
        if upkeep.tables.is_empty() {
            for namespace in self.tables().namespaces(self.context()).await? {
                names.extend(self.tables().tables(self.context(), &namespace).await?);
            }
        }
        for name in names {
            if upkeep.is_vacuum {
                let (name, optimize) = (name.clone(), Optimize::default());
                self.tables().change(self.context(), TableChange::Optimize { name, optimize }).await?;
            }
            if upkeep.is_analyze {
                self.tables().change(self.context(), TableChange::Analyze { name }).await?;
            }
        }
        let tag = if upkeep.is_vacuum { "VACUUM" } else { "ANALYZE" };
        Ok(Command { tag, rows: None, returns: false })
    }

    /// The statement that would make a table or a view. Errors: there is neither.
    pub(super) async fn show_create(
        &self,
        name: &ObjectName,
        diagnosis: &Diagnosis,
    ) -> Result<RecordBatch, QueryError> {
        let name = table_name(name, &self.namespace())?;
        let statement = match self.tables().view(self.context(), &name).await? {
            Some(table) => create_statement(&table),
            None => match self.tables().sql_view(self.context(), &name).await? {
                Some(view) => create_view_statement(&view),
                None => return Err(self.no_such(&name, diagnosis).await?),
            },
        };
        let names = StringArray::from(vec![name.to_string()]);
        let statements = StringArray::from(vec![statement]);
        RecordBatch::try_new(show_create_schema(), vec![Arc::new(names), Arc::new(statements)])
            .map_err(|error| QueryError::Internal { message: error.to_string() })
    }
}
