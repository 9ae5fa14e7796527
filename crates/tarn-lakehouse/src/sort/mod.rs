//! Sorting of more rows than fit in memory: by columns, or along a Z-curve over them.

mod external;
mod key;
mod moved;
mod zorder;

use iceberg::spec::{NullOrder, SchemaRef, SortDirection, SortField, SortOrder, TableMetadata, Transform};

use crate::error::LakehouseError;

pub(crate) use external::{SortedRows, Sorter};
pub(crate) use key::KeyMaker;
pub(crate) use moved::MovedRows;
pub(crate) use zorder::Sampler;

/// A column that rows are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderColumn {
    /// Its name.
    pub name: String,
    /// From large to small.
    pub descending: bool,
    /// Nulls come before all values.
    pub nulls_first: bool,
}

/// The order of rows in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// By columns, one after the other.
    Columns(Vec<OrderColumn>),
    /// Along a Z-curve: rows that are close in all of these columns are close.
    Zorder(Vec<String>),
}

/// The order that a table declares; of one with transforms, the columns before the first one are a part of it.
pub(crate) fn declared(metadata: &TableMetadata) -> Option<RowOrder> {
    let schema = metadata.current_schema();
    let columns = metadata.default_sort_order().fields.iter().map(|field| {
        let name =
            schema.name_by_field_id(field.source_id).filter(|_| field.transform == Transform::Identity)?;
        Some(OrderColumn {
            name: name.to_string(),
            descending: field.direction == SortDirection::Descending,
            nulls_first: field.null_order == NullOrder::First,
        })
    });
    let columns: Vec<OrderColumn> = columns.map_while(|column| column).collect();
    (!columns.is_empty()).then_some(RowOrder::Columns(columns))
}

/// The table's number of an order, if it is the declared one, whole.
pub(crate) fn order_id(metadata: &TableMetadata, order: &RowOrder) -> Option<i32> {
    let own = metadata.default_sort_order();
    let is_whole = matches!(order, RowOrder::Columns(columns) if columns.len() == own.fields.len());
    (is_whole && declared(metadata).as_ref() == Some(order))
        .then(|| i32::try_from(own.order_id).ok())
        .flatten()
}

/// An order as Iceberg has it. No columns: none. Errors: a column that the table has not, or that has no order.
pub(crate) fn sort_order(
    table: &str,
    schema: &SchemaRef,
    columns: &[OrderColumn],
) -> Result<SortOrder, LakehouseError> {
    let refuse = |what: String| LakehouseError::Invalid { what: format!("table `{table}` {what}") };
    let mut builder = SortOrder::builder();
    for (at, column) in columns.iter().enumerate() {
        let field = schema.field_by_name(&column.name).ok_or_else(|| {
            let names = schema.as_struct().fields().iter().map(|field| field.name.as_str());
            let near = tarn_core::nearest(&column.name, names);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            refuse(format!("has no column `{}` to sort by{near}", column.name))
        })?;
        if !field.field_type.is_primitive() {
            return Err(refuse(format!(
                "cannot be sorted by `{}`: {} has no order",
                column.name, field.field_type
            )));
        }
        if columns[..at].iter().any(|before| before.name == column.name) {
            return Err(refuse(format!("is sorted by `{}` already", column.name)));
        }
        let (direction, null_order) = (
            if column.descending { SortDirection::Descending } else { SortDirection::Ascending },
            if column.nulls_first { NullOrder::First } else { NullOrder::Last },
        );
        builder.with_sort_field(SortField {
            source_id: field.id,
            transform: Transform::Identity,
            direction,
            null_order,
        });
    }
    builder.build(schema).map_err(|error| refuse(format!("cannot be sorted so: {}", error.message())))
}
