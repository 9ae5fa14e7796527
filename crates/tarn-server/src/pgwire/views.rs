//! Views in the system catalog: their texts by number, and `pg_views`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use tarn_core::{RequestContext, TableName};
use tarn_query::{QueryError, SqlView, Tables};

use super::catalog::DATABASE;

/// The columns of a table or of a view as it was made.
pub(super) async fn columns_of(
    tables: &dyn Tables,
    ctx: &RequestContext,
    name: &TableName,
) -> Result<Option<SchemaRef>, QueryError> {
    if let Some(view) = tables.view(ctx, name).await? {
        return Ok(Some(Arc::clone(&view.schema)));
    }
    Ok(tables.sql_view(ctx, name).await?.map(|view| view.columns))
}

/// All views of the caller's tenant.
pub(super) async fn all(tables: &dyn Tables, ctx: &RequestContext) -> Result<Vec<SqlView>, QueryError> {
    let mut all = Vec::new();
    for namespace in tables.namespaces(ctx).await? {
        for name in tables.views(ctx, &namespace).await? {
            all.extend(tables.sql_view(ctx, &name).await?);
        }
    }
    Ok(all)
}

/// Texts of views by the numbers that the emulated catalog has for them.
pub(super) async fn texts(
    tables: &dyn Tables,
    ctx: &RequestContext,
    numbers: &[(i32, TableName)],
) -> Result<HashMap<i32, String>, QueryError> {
    let views = all(tables, ctx).await?;
    let texts: HashMap<&TableName, &String> = views.iter().map(|view| (&view.name, &view.sql)).collect();
    let found = numbers.iter().filter_map(|(number, name)| Some((*number, (*texts.get(name)?).clone())));
    Ok(found.collect())
}

/// `pg_views`.
pub(super) fn pg_views(views: &[SqlView]) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let text = |of: &dyn Fn(&SqlView) -> String| -> ArrayRef {
        Arc::new(views.iter().map(|view| Some(of(view))).collect::<StringArray>())
    };
    let columns: [(&str, ArrayRef); 4] = [
        ("schemaname", text(&|view| view.name.namespace().to_string())),
        ("viewname", text(&|view| view.name.name().to_string())),
        ("viewowner", text(&|_| DATABASE.to_string())),
        ("definition", text(&|view| view.sql.clone())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, array)| array).collect())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// `pg_get_viewdef(number [, pretty])`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ViewText {
    signature: Signature,
    texts: HashMap<i32, String>,
}

impl std::hash::Hash for ViewText {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.signature.hash(state);
    }
}

impl ViewText {
    /// Knows the texts of views by the number of the view.
    pub(super) fn function(texts: HashMap<i32, String>) -> ScalarUDF {
        let one_or_two = vec![TypeSignature::Any(1), TypeSignature::Any(2)];
        let signature = Signature::one_of(one_or_two, Volatility::Stable);
        ScalarUDF::new_from_impl(Self { signature, texts })
    }
}

impl ScalarUDFImpl for ViewText {
    fn name(&self) -> &'static str {
        "pg_get_viewdef"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(numbers) = arrays.first() else {
            return Err(DataFusionError::Plan("pg_get_viewdef takes the number of a view".to_string()));
        };
        let numbers = cast(numbers, &DataType::Int32)?;
        let texts: StringArray = numbers
            .as_primitive::<Int32Type>()
            .iter()
            .map(|number| number.and_then(|number| self.texts.get(&number)).map(|sql| format!("{sql};")))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}
