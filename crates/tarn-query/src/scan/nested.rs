//! Nested values of old files in the shape that the table has now, matched by field id at every depth.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use tarn_lakehouse::reshape;

/// The Iceberg id that an Arrow field carries.
pub(super) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok())
}

/// Gives `inner`, a value of a file's field, as a value of the table's field.
#[derive(Debug, Eq)]
pub(super) struct Reshape {
    pub(super) inner: Arc<dyn PhysicalExpr>,
    pub(super) from: FieldRef,
    pub(super) to: FieldRef,
}

impl PartialEq for Reshape {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && self.from == other.from && self.to == other.to
    }
}

impl Hash for Reshape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for Reshape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reshape({})", self.inner)
    }
}

impl PhysicalExpr for Reshape {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, _: &Schema) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let array = self.inner.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(reshape(&array, &self.from, &self.to)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, from: Arc::clone(&self.from), to: Arc::clone(&self.to) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// Whether a value of `from` is a value of `to` as it is.
pub(super) fn same_shape(from: &Field, to: &Field) -> bool {
    let ids_differ = matches!((field_id(from), field_id(to)), (Some(a), Some(b)) if a != b);
    if ids_differ || from.name() != to.name() || from.is_nullable() != to.is_nullable() {
        return false;
    }
    match (from.data_type(), to.data_type()) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            // Fields without ids are others to those who compare types.
            let same =
                |(from, to): (&FieldRef, &FieldRef)| field_id(from) == field_id(to) && same_shape(from, to);
            from.len() == to.len() && from.iter().zip(to).all(same)
        }
        (DataType::List(from), DataType::List(to))
        | (DataType::LargeList(from), DataType::LargeList(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => from == to && same_shape(from, to),
        (from, to) => from == to,
    }
}
