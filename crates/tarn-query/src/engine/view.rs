//! Makes views: the query is planned as it will be read, its stars are written out, its columns are kept.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use tarn_core::TableName;
use tarn_lakehouse::table_schema;

use super::catalog::QueryCatalog;
use super::parameters::parameter_types;
use super::session::Session;
use super::stream::Command;
use super::write::Change;
use crate::QueryError;
use crate::sql::{Action, Diagnosis, parse};
use crate::tables::TableChange;
use crate::views::{NewView, ViewDefinition, broken_view, expand};

fn refuse(message: String, hint: &str) -> QueryError {
    QueryError::plan(message, None, Some(hint.to_string()))
}

/// The error of a statement that changes the rows of a view.
pub(super) fn not_of_view(name: &TableName) -> QueryError {
    QueryError::coded("42809", format!("`{name}` is a view, whose rows cannot be changed"))
        .with_hint("change the rows of the tables that it reads; \\d+ in psql shows its query")
}

/// `ALTER VIEW`, read as `ALTER TABLE`. Errors: what cannot be done to views.
pub(super) fn of_view(change: TableChange) -> Result<TableChange, QueryError> {
    match change {
        TableChange::RenameTable { from, to } => Ok(TableChange::RenameView { from, to, if_exists: false }),
        _ => Err(refuse(
            "views are only renamed".to_string(),
            "write `ALTER VIEW v RENAME TO w`, or `CREATE OR REPLACE VIEW v AS ...` for another query",
        )),
    }
}

impl Session {
    /// Runs `CREATE VIEW`. Errors: those of its query; columns that tables cannot have.
    pub(super) async fn create_view(
        &self,
        change: &Change<'_>,
        definition: ViewDefinition,
    ) -> Result<Command, QueryError> {
        let command = Command { tag: "CREATE VIEW", rows: None, returns: false };
        if definition.if_not_exists {
            // As in other databases, the query is not looked at where the view is there.
            let name = &definition.name;
            if self.tables().sql_view(self.context(), name).await?.is_some() {
                return Ok(command);
            }
        }
        let catalog = QueryCatalog::defining(self.core(), self.context(), &definition.name);
        let state = self.state(&catalog);
        let query = Statement::Query(Box::new(definition.query.clone()));
        let statement = DfStatement::Statement(Box::new(query));
        let planned = Box::pin(self.logical_plan(&state, &catalog, statement, change.diagnosis)).await;
        let (plan, shown) = planned?;
        if let Some(error) = broken_view(&plan) {
            return Err(error);
        }
        if !parameter_types(&plan).map_err(|error| change.diagnosis.explain(error))?.is_empty() {
            return Err(refuse("a view has no parameters".to_string(), "write the values into its query"));
        }
        let given: Vec<String> = plan
            .schema()
            .fields()
            .iter()
            .map(|field| shown.get(field.name()).unwrap_or(field.name()).clone())
            .collect();
        let columns = columns(&definition, plan.schema().as_arrow(), given)?;
        let made = table_schema(&definition.name.to_string(), &columns, &[]);
        let (schema, _) = made.map_err(|error| QueryError::from_fault(&error))?;
        let sql = expand(&state, &definition.sql).await?;
        if sql != definition.sql {
            self.check_expanded(&sql, &definition, plan.schema().as_arrow()).await?;
        }
        let view = Box::new(NewView {
            name: definition.name,
            sql,
            namespace: self.namespace(),
            schema,
            comment: definition.comment,
            at_ms: self.core().env.clock.now_ms(),
        });
        let (or_replace, if_not_exists) = (definition.or_replace, definition.if_not_exists);
        let change = TableChange::CreateView { view, or_replace, if_not_exists };
        self.tables().change(self.context(), change).await?;
        Ok(command)
    }

    /// Whether the query with its stars written out still gives the same columns. Errors: it does not.
    async fn check_expanded(
        &self,
        sql: &str,
        definition: &ViewDefinition,
        before: &Schema,
    ) -> Result<(), QueryError> {
        let differs = || {
            refuse(
                "the `*` of this view cannot be written out as columns".to_string(),
                "name the columns in the query",
            )
        };
        let parsed = parse(sql)?;
        let Action::Query(statement) = parsed.action.clone() else { return Err(differs()) };
        let catalog = QueryCatalog::defining(self.core(), self.context(), &definition.name);
        let state = self.state(&catalog);
        let diagnosis = Diagnosis::new(parsed.text.clone(), "view");
        let planned = Box::pin(self.logical_plan(&state, &catalog, statement, &diagnosis)).await;
        let (after, _) = planned.map_err(|_| differs())?;
        let same =
            |(a, b): (&Arc<Field>, &Arc<Field>)| a.name() == b.name() && a.data_type() == b.data_type();
        let (before, after) = (before.fields(), after.schema().fields());
        match before.len() == after.len() && before.iter().zip(after.iter()).all(same) {
            true => Ok(()),
            false => Err(differs()),
        }
    }
}

/// The columns of a view: those of its query under the names that it gives them. Errors: too many names, equal names.
fn columns(definition: &ViewDefinition, schema: &Schema, given: Vec<String>) -> Result<Schema, QueryError> {
    let mut names = given;
    if definition.columns.len() > names.len() {
        return Err(refuse(
            format!(
                "the view names {} columns and its query gives {}",
                definition.columns.len(),
                names.len()
            ),
            "name as many columns as the query gives",
        ));
    }
    for (name, own) in names.iter_mut().zip(&definition.columns) {
        name.clone_from(own);
    }
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|before| before == name) {
            return Err(refuse(
                format!("two columns are named `{name}`"),
                "give one of them another name with AS, or name the columns: `CREATE VIEW v (a, b) AS ...`",
            ));
        }
    }
    let fields = schema.fields().iter().zip(names);
    let plain =
        |(field, name): (&Arc<Field>, String)| field.as_ref().clone().with_name(name).with_nullable(true);
    Ok(Schema::new(fields.map(plain).collect::<Vec<_>>()))
}
