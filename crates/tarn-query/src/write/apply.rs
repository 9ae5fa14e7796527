//! Rows that say what becomes of them, brought to a table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::kernels::numeric::rem;
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use tarn_lakehouse::TableWriter;

use super::returned::Returned;
use super::rewrite::{DELETE, INSERT, UPDATE};
use crate::QueryError;
use crate::sql::Diagnosis;

/// Columns before those of the table.
pub(crate) const HEAD: usize = 3;

/// Applies all rows of a stream, and keeps them for `RETURNING`. Returns how many rows were inserted, updated or deleted.
/// Errors: those of the stream; a value that does not fit its column; a row that is changed twice.
pub(crate) async fn apply(
    mut rows: SendableRecordBatchStream,
    writer: &mut TableWriter,
    diagnosis: &Diagnosis,
    mut returned: Option<&mut Returned>,
) -> Result<u64, QueryError> {
    let mut changed = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| diagnosis.explain(error))?;
        let actions = arrow::compute::cast(batch.column(2), &DataType::Int64).map_err(odd)?;
        let actions = actions.as_primitive::<Int64Type>();
        let (gone, count) = places(&batch, actions, writer)?;
        changed += count;
        if let Some(returned) = returned.as_deref_mut()
            && gone.true_count() > 0
        {
            let (gone_rows, gone_actions) = filtered(&batch, actions, &gone)?;
            returned.add(&gone_rows, &gone_rows.columns()[HEAD..], &gone_actions, None)?;
        }
        let comes: BooleanArray =
            actions.iter().map(|action| Some(matches!(action, Some(INSERT | UPDATE)))).collect();
        if batch.num_columns() == HEAD || comes.true_count() == 0 {
            continue;
        }
        let (coming, coming_actions) = filtered(&batch, actions, &comes)?;
        let inserted = coming_actions.iter().filter(|action| *action == Some(INSERT)).count() as u64;
        let conformed = conformed(&coming, writer.schema())?;
        let appended =
            writer.append(conformed.clone()).await.map_err(|error| QueryError::from_fault(&error))?;
        // Of new rows with one key the writer may leave some out.
        changed += inserted - (coming.num_rows() as u64 - appended.rows);
        if let Some(returned) = returned.as_deref_mut() {
            returned.add(&coming, conformed.columns(), &coming_actions, appended.kept.as_ref())?;
        }
    }
    Ok(changed)
}

fn filtered(
    batch: &RecordBatch,
    actions: &Int64Array,
    which: &BooleanArray,
) -> Result<(RecordBatch, Int64Array), QueryError> {
    let rows = filter_record_batch(batch, which).map_err(odd)?;
    let actions = arrow::compute::filter(actions, which).map_err(odd)?;
    Ok((rows, actions.as_primitive::<Int64Type>().clone()))
}

fn odd(error: ArrowError) -> QueryError {
    QueryError::Internal { message: format!("rows of a statement are not as planned: {error}") }
}

/// Takes the rows that go out of the table. Returns which of them are deleted, and how many are updated or deleted.
fn places(
    batch: &RecordBatch,
    actions: &Int64Array,
    writer: &mut TableWriter,
) -> Result<(BooleanArray, u64), QueryError> {
    let goes = |action: Option<i64>| matches!(action, Some(UPDATE | DELETE));
    if !actions.iter().any(goes) {
        return Ok((BooleanArray::from(vec![false; batch.num_rows()]), 0));
    }
    let files = batch.column(0).as_primitive_opt::<Int32Type>();
    let positions = batch.column(1).as_primitive_opt::<Int64Type>();
    let (Some(files), Some(positions)) = (files, positions) else {
        return Err(QueryError::Internal { message: "rows of a statement have no places".into() });
    };
    let mut changed = 0;
    let mut deleted = vec![false; batch.num_rows()];
    for (row, is_deleted) in deleted.iter_mut().enumerate() {
        let action = actions.is_valid(row).then(|| actions.value(row));
        if !goes(action) || files.is_null(row) {
            continue;
        }
        let (file, position) = (files.value(row), positions.value(row));
        let (Ok(file), Ok(position)) = (usize::try_from(file), u64::try_from(position)) else { continue };
        if writer.delete(file, position) {
            changed += 1;
            *is_deleted = action == Some(DELETE);
        } else if action == Some(UPDATE) {
            return Err(QueryError::Execution {
                message: "a row of the table would be changed twice".into(),
                hint: Some(
                    "several rows of the source match it: make them one, such as by GROUP BY or DISTINCT ON"
                        .into(),
                ),
            });
        }
    }
    Ok((BooleanArray::from(deleted), changed))
}

/// The rows that come, as the table has them.
fn conformed(batch: &RecordBatch, table: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let columns: Result<Vec<ArrayRef>, QueryError> = table
        .fields()
        .iter()
        .zip(&batch.columns()[HEAD..])
        .map(|(field, column)| {
            let value = value_as(column, field)?;
            if !field.is_nullable() && value.null_count() > 0 {
                return Err(QueryError::Execution {
                    message: format!(
                        "column `{}` is never null, but a row has no value for it",
                        field.name()
                    ),
                    hint: Some("give a value, such as by `coalesce(...)`, or leave such rows out".into()),
                });
            }
            Ok(value)
        })
        .collect();
    RecordBatch::try_new(Arc::clone(table), columns?).map_err(odd)
}

fn value_as(column: &ArrayRef, field: &Field) -> Result<ArrayRef, QueryError> {
    let (from, to) = (column.data_type(), field.data_type());
    if from == to {
        return Ok(Arc::clone(column));
    }
    if *from == DataType::Null {
        return Ok(new_null_array(to, column.len()));
    }
    let failed = |error: ArrowError| QueryError::Execution {
        message: format!("a value does not fit column `{}`: {}", field.name(), told(&error)),
        hint: Some(
            "convert or leave out such rows; `TRY_CAST(x AS type)` gives null where it does not fit".into(),
        ),
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if is_uuid(field) && matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return uuids(column).map_err(failed);
    }
    if from.is_floating() && to.is_integer() {
        let floats = cast_with_options(column, &DataType::Float64, &strict).map_err(failed)?;
        check_whole(&floats, field)?;
        return cast_with_options(&floats, to, &strict).map_err(failed);
    }
    if let (DataType::Decimal128(_, scale), true) = (from, to.is_integer())
        && *scale > 0
    {
        let one = arrow::array::Decimal128Array::from_value(10_i128.pow(u32::from(scale.unsigned_abs())), 1)
            .with_data_type(from.clone());
        let rest = rem(column, &arrow::array::Scalar::new(one)).map_err(failed)?;
        let rest = rest.as_primitive::<arrow::datatypes::Decimal128Type>();
        if rest.iter().flatten().any(|rest| rest != 0) {
            return Err(not_whole(field));
        }
    }
    cast_with_options(column, to, &strict).map_err(failed)
}

fn check_whole(floats: &ArrayRef, field: &Field) -> Result<(), QueryError> {
    let values = floats.as_primitive::<Float64Type>();
    match values.iter().flatten().any(|value| value.fract() != 0.0) {
        true => Err(not_whole(field)),
        false => Ok(()),
    }
}

fn not_whole(field: &Field) -> QueryError {
    QueryError::Execution {
        message: format!("a value for column `{}` is no whole number", field.name()),
        hint: Some("say how it becomes one: `round(x)`, `trunc(x)` or `CAST(x AS BIGINT)`".into()),
    }
}

fn is_uuid(field: &Field) -> bool {
    *field.data_type() == DataType::FixedSizeBinary(16)
}

fn uuids(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let text = arrow::compute::cast(column, &DataType::Utf8)?;
    let parse = |text: &str| {
        uuid::Uuid::parse_str(text).map_err(|_| ArrowError::CastError(format!("'{text}' is no UUID")))
    };
    let mut values = arrow::array::FixedSizeBinaryBuilder::with_capacity(text.len(), 16);
    for text in text.as_string::<i32>() {
        match text {
            Some(text) => values.append_value(parse(text)?.as_bytes())?,
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// What Arrow says, without the name of its error.
fn told(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(what)
        | ArrowError::ParseError(what)
        | ArrowError::InvalidArgumentError(what)
        | ArrowError::ComputeError(what) => what.clone(),
        other => other.to_string(),
    }
}
