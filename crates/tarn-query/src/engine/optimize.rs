//! `OPTIMIZE`: which files are rewritten, and in which order their rows come.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName};
use tarn_core::TableName;
use tarn_lakehouse::{Optimize, RowOrder};

use super::session::Session;
use super::stream::Command;
use super::write::Change;
use crate::QueryError;
use crate::scan::LakeTable;
use crate::tables::TableChange;
use crate::write::table_name;

impl Session {
    /// Rewrites files of a table. `only`: only those that may hold rows satisfying it.
    pub(super) async fn optimize(
        &self,
        change: &Change<'_>,
        name: &ObjectName,
        only: Option<&Expr>,
        zorder: Option<&[Expr]>,
    ) -> Result<Command, QueryError> {
        let name = table_name(name, &self.namespace())?;
        let order = match (zorder, &change.parsed.ordered_by) {
            (Some(_), Some(_)) => {
                let hint = "keep one of ORDER BY and ZORDER BY".to_string();
                return Err(QueryError::plan("rows have one order", None, Some(hint)));
            }
            (Some(columns), None) => {
                Some(RowOrder::Zorder(columns.iter().map(column).collect::<Result<_, _>>()?))
            }
            (None, Some(columns)) => Some(RowOrder::Columns(columns.clone())),
            (None, None) => None,
        };
        let only = match only {
            Some(only) => Some(Arc::new(self.files_with(change, &name, only).await?)),
            None => None,
        };
        let optimize = Optimize { order, only, adopts: false };
        self.core().tables.change(self.context(), TableChange::Optimize { name, optimize }).await?;
        Ok(Command { tag: "OPTIMIZE", rows: None, returns: false })
    }

    /// Locations of the files that may hold rows satisfying `only`.
    async fn files_with(
        &self,
        change: &Change<'_>,
        name: &TableName,
        only: &Expr,
    ) -> Result<HashSet<String>, QueryError> {
        let view = self.core().tables.view(self.context(), name).await?;
        let Some(view) = view else { return Err(self.no_such(name, change.diagnosis).await?) };
        let table = LakeTable::new(view, Arc::clone(&self.core().scan), Arc::clone(change.counters))?;
        let explain = |error| change.diagnosis.explain(error);
        let state = self.state(&self.catalog(Arc::clone(change.counters)));
        let schema = datafusion::catalog::TableProvider::schema(&table);
        let schema = DFSchema::try_from(schema).map_err(explain)?;
        let only = state.create_logical_expr(&only.to_string(), &schema).map_err(explain)?;
        let files = table.files_for(&state, &[only]).map_err(explain)?;
        let path = |at: usize| table.view().files.get(at).map(|file| file.file.file_path().to_string());
        Ok(files.into_iter().filter_map(path).collect())
    }
}

fn column(expr: &Expr) -> Result<String, QueryError> {
    match expr {
        Expr::Identifier(ident) => Ok(crate::write::name_of(ident)),
        other => {
            let hint = "name columns of the table: `ZORDER BY (a, b)`".to_string();
            Err(QueryError::plan(format!("rows cannot lie along a curve over `{other}`"), None, Some(hint)))
        }
    }
}
