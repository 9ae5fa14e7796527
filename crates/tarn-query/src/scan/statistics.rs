//! What the planner is told of files and table: exact only where it is exact.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use tarn_lakehouse::DataFileView;

use super::bounds::{is_cut_short, is_float};
use super::index::{FileBounds, FileIndex};
use super::table::LakeTable;

/// Bounds of text shorter than this were not cut: writers cut at 16 characters unless told otherwise.
const UNCUT_LENGTH_MAX: usize = 15;
/// Variable-length values take about this much more memory than file space.
const EXPANSION: usize = 3;

/// Statistics of one file for the columns `columns`; the others are unknown.
pub(super) fn file_statistics(
    index: &FileIndex,
    schema: &SchemaRef,
    position: usize,
    view: &DataFileView,
    columns: &[usize],
    field_ids: &[Option<i32>],
) -> Arc<Statistics> {
    let rows = usize::try_from(view.live_rows()).unwrap_or(usize::MAX);
    let whole = view.deletes.is_none();
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(rows);
    let mut total_bytes = 0_usize;
    for column in columns {
        let data_type = schema.field(*column).data_type();
        let bounds = index.bounds(position, *column);
        let bytes = match data_type.primitive_width() {
            Some(width) => width * rows,
            None => {
                let size = field_ids[*column].and_then(|id| view.file.column_sizes().get(&id).copied());
                usize::try_from(size.unwrap_or_default()).unwrap_or_default().saturating_mul(EXPANSION)
            }
        };
        total_bytes = total_bytes.saturating_add(bytes);
        let exact = !is_float(data_type) && (!is_cut_short(data_type) || uncut(&bounds));
        statistics.column_statistics[*column] = column_statistics(bounds, whole, exact, rows, bytes);
    }
    statistics.total_byte_size = Precision::Inexact(total_bytes);
    Arc::new(statistics)
}

/// Adds how many different values columns have, as the table's own statistics say.
pub(super) fn add_distinct(statistics: &mut Statistics, table: &LakeTable, columns: &[usize]) {
    let known = tarn_lakehouse::distinct_values(&table.view.metadata, table.view.snapshot_id);
    let rows = statistics.num_rows.get_value().copied();
    for column in columns {
        let count = table.field_ids[*column].and_then(|id| known.get(&id));
        let (Some(count), Some(own)) = (count, statistics.column_statistics.get_mut(*column)) else {
            continue;
        };
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        // Of files that a filter left out some values go too; how many is not known.
        own.distinct_count = Precision::Inexact(rows.map_or(count, |rows| count.min(rows)));
    }
}

fn column_statistics(
    bounds: FileBounds,
    whole: bool,
    exact: bool,
    rows: usize,
    bytes: usize,
) -> ColumnStatistics {
    let value = |value: Option<ScalarValue>| match value {
        None => Precision::Absent,
        // A constant stays the constant whichever rows are deleted; a bound may have lost its row.
        Some(value) if bounds.constant || (exact && whole) => Precision::Exact(value),
        Some(value) => Precision::Inexact(value),
    };
    let nulls = bounds.nulls.and_then(|nulls| usize::try_from(nulls).ok());
    let all_null = bounds.constant && bounds.lower.is_none();
    let null_count = match nulls {
        None => Precision::Absent,
        Some(_) if all_null => Precision::Exact(rows),
        Some(0) => Precision::Exact(0),
        Some(nulls) if whole => Precision::Exact(nulls),
        Some(nulls) => Precision::Inexact(nulls.min(rows)),
    };
    let mut statistics = ColumnStatistics::new_unknown();
    statistics.null_count = null_count;
    statistics.min_value = value(bounds.lower.clone());
    statistics.max_value = value(bounds.upper.clone());
    statistics.byte_size = Precision::Inexact(bytes);
    statistics
}

/// Whether both bounds are short enough to be whole values. Equal bounds of any length would say the same, but not
/// every writer rounds a cut upper bound up.
fn uncut(bounds: &FileBounds) -> bool {
    let short = |value: &Option<ScalarValue>| match value {
        Some(ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text))) => {
            text.chars().count() <= UNCUT_LENGTH_MAX
        }
        _ => false,
    };
    // A writer may cut at fewer characters; only equal short bounds prove that nothing was cut.
    short(&bounds.lower) && short(&bounds.upper) && bounds.lower == bounds.upper
}
