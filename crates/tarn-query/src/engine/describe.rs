//! What a statement gives, told without running it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use datafusion::logical_expr::DescribeTable;

use super::explain::explain_schema;
use super::output::OutputTypes;
use super::parameters::parameter_types;
use super::session::{Prepared, Session};
use super::upkeep::show_create_schema;
use super::write::rows_schema;
use crate::QueryError;
use crate::encode::field_type_name;
use crate::sql::{Action, Diagnosis, Parsed, WriteStatement, parse};

impl Session {
    pub(super) async fn described(&self, sql: &str) -> Result<Prepared, QueryError> {
        let parsed = parse(sql)?;
        let statement = match parsed.action.clone() {
            Action::Query(statement) | Action::Show(statement) => statement,
            Action::Write(write) => return self.described_change(&write, &parsed, false).await,
            Action::ExplainWrite { write, .. } => return self.described_change(&write, &parsed, true).await,
            Action::Upkeep(_) => {
                let schema = Arc::new(Schema::empty());
                return Ok(Prepared { schema, parameters: Vec::new(), is_command: true });
            }
            Action::ShowCreate(_) => {
                let schema = show_create_schema();
                return Ok(Prepared { schema, parameters: Vec::new(), is_command: false });
            }
            Action::Export(_) | Action::Load(_) => {
                return Ok(Prepared { schema: rows_schema(), parameters: Vec::new(), is_command: true });
            }
            Action::Set { .. } => {
                let schema = Arc::new(Schema::empty());
                return Ok(Prepared { schema, parameters: Vec::new(), is_command: false });
            }
        };
        let catalog = self.catalog(Arc::default());
        let state = self.state(&catalog);
        let diagnosis = Diagnosis::new(parsed.text.clone(), "prepare");
        let planning = self.logical_plan(&state, &catalog, statement, &diagnosis);
        let (plan, names) = Box::pin(planning).await?;
        let parameters = parameter_types(&plan).map_err(|error| diagnosis.explain(error))?;
        let zone = state.config_options().execution.time_zone.clone();
        let schema = OutputTypes::of(plan.schema().as_arrow(), zone.as_deref(), &names).schema();
        Ok(Prepared { schema, parameters, is_command: false })
    }

    async fn described_change(
        &self,
        write: &WriteStatement,
        parsed: &Parsed,
        is_explained: bool,
    ) -> Result<Prepared, QueryError> {
        let diagnosis = Diagnosis::new(parsed.text.clone(), "prepare");
        let planned = Box::pin(self.planned_change(write, &diagnosis)).await?;
        let Some(planned) = planned else {
            let schema = if is_explained { explain_schema() } else { Arc::new(Schema::empty()) };
            return Ok(Prepared { schema, parameters: Vec::new(), is_command: !is_explained });
        };
        let explain = |error| diagnosis.explain(error);
        let mut parameters = parameter_types(&planned.plan).map_err(explain)?;
        if is_explained {
            return Ok(Prepared { schema: explain_schema(), parameters, is_command: false });
        }
        let Some((returning, names)) = planned.returning else {
            return Ok(Prepared { schema: rows_schema(), parameters, is_command: true });
        };
        for parameter in parameter_types(&returning).map_err(explain)? {
            if !parameters.iter().any(|(name, _)| *name == parameter.0) {
                parameters.push(parameter);
            }
        }
        let zone = self.settings.read().config.options().execution.time_zone.clone();
        let schema = OutputTypes::of(returning.schema().as_arrow(), zone.as_deref(), &names).schema();
        Ok(Prepared { schema, parameters, is_command: false })
    }
}

/// The rows of `DESCRIBE t`: the columns, their types as people write them, and whether they may be null.
pub(super) fn columns_of(described: &DescribeTable) -> Result<RecordBatch, QueryError> {
    let fields = described.schema.fields();
    let names: StringArray = fields.iter().map(|field| Some(field.name())).collect();
    let types: StringArray = fields.iter().map(|field| Some(field_type_name(field))).collect();
    let nullable: StringArray =
        fields.iter().map(|field| Some(if field.is_nullable() { "YES" } else { "NO" })).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(types), Arc::new(nullable)];
    RecordBatch::try_new(Arc::clone(described.output_schema.inner()), columns)
        .map_err(|error| QueryError::Internal { message: error.to_string() })
}
