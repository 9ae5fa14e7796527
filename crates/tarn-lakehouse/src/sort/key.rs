//! Keys of rows: bytes that compare as the rows are to be ordered.

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};

use super::RowOrder;
use super::zorder::Curve;
use crate::error::LakehouseError;

/// Makes keys of rows of one schema.
pub(crate) enum KeyMaker {
    /// The row format of Arrow.
    Columns { columns: Vec<usize>, converter: RowConverter },
    /// Interleaved bits.
    Zorder(Curve),
}

impl KeyMaker {
    /// By columns. Errors: a column that is not there, or has no order.
    pub(crate) fn columns(
        table: &str,
        schema: &arrow::datatypes::Schema,
        order: &RowOrder,
    ) -> Result<Self, LakehouseError> {
        let RowOrder::Columns(order) = order else {
            return Err(LakehouseError::Invalid {
                what: format!("rows of table `{table}` lie along a curve"),
            });
        };
        let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
        let mut columns = Vec::with_capacity(order.len());
        let mut fields = Vec::with_capacity(order.len());
        for column in order {
            let at = position(table, schema, &column.name)?;
            let options = SortOptions { descending: column.descending, nulls_first: column.nulls_first };
            columns.push(at);
            fields.push(SortField::new_with_options(schema.field(at).data_type().clone(), options));
        }
        Ok(Self::Columns { columns, converter: RowConverter::new(fields).map_err(arrow)? })
    }

    /// One key per row.
    pub(crate) fn keys(&self, table: &str, rows: &RecordBatch) -> Result<BinaryArray, LakehouseError> {
        let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
        match self {
            Self::Columns { columns, converter } => {
                let values: Vec<ArrayRef> = columns.iter().map(|at| rows.column(*at).clone()).collect();
                let keys = converter.convert_columns(&values).map_err(arrow)?;
                Ok(BinaryArray::from_iter_values(keys.iter().map(|key| key.data().to_vec())))
            }
            Self::Zorder(curve) => curve.keys(table, rows),
        }
    }
}

/// Where a column stands. Errors: it is not there, with the nearest name.
pub(super) fn position(
    table: &str,
    schema: &arrow::datatypes::Schema,
    name: &str,
) -> Result<usize, LakehouseError> {
    schema.index_of(name).map_err(|_| {
        let near = tarn_core::nearest(name, schema.fields().iter().map(|field| field.name().as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        LakehouseError::Invalid { what: format!("table `{table}` has no column `{name}` to sort by{near}") }
    })
}
