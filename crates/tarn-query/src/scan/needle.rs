//! Whether filters are evaluated while decoding, so that other columns of dropped rows are never decoded.
//!
//! That pays where hardly a row remains: where one in ten does, skipping between rows costs more than it saves.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::table::LakeTable;

/// Values of an `IN` list that still look for a needle.
const NEEDLES_MAX: usize = 64;
/// A column of which a row takes this many bits in the files holds thousands of different values, as no code of fewer
/// values needs as many.
const BITS_PER_ROW_MIN: u64 = 12;
/// The same for whole numbers, by their bounds.
const SPAN_MIN: i128 = 4_096;

/// Whether some filter of a conjunction asks for single values of a column with many. `files`: positions in the view.
pub(super) fn looks_for_needle(table: &LakeTable, filters: &[Expr], files: &[usize]) -> bool {
    filters.iter().filter_map(sought).any(|column| has_many_values(table, column, files))
}

/// The column that a filter compares with a few constants.
fn sought(filter: &Expr) -> Option<&str> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => {
                    Some(&column.name)
                }
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            sought(left).or_else(|| sought(right))
        }
        Expr::InList(list) if !list.negated && list.list.len() <= NEEDLES_MAX => match list.expr.as_ref() {
            Expr::Column(column) if list.list.iter().all(|value| matches!(value, Expr::Literal(..))) => {
                Some(&column.name)
            }
            _ => None,
        },
        _ => None,
    }
}

fn has_many_values(table: &LakeTable, column: &str, files: &[usize]) -> bool {
    let Ok(column) = table.schema.index_of(column) else { return false };
    let Some(id) = table.field_ids[column] else { return false };
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    let mut range: Option<(i128, i128)> = None;
    for position in files {
        let file = &table.view.files[*position].file;
        rows = rows.saturating_add(file.record_count());
        bytes = bytes.saturating_add(file.column_sizes().get(&id).copied().unwrap_or_default());
        let bounds = table.index.bounds(*position, column);
        let whole = |bound: &Option<ScalarValue>| bound.as_ref().and_then(whole_number);
        if let (Some(lower), Some(upper)) = (whole(&bounds.lower), whole(&bounds.upper)) {
            let (least, most) = range.unwrap_or((lower, upper));
            range = Some((least.min(lower), most.max(upper)));
        }
    }
    let is_spread = range.is_some_and(|(least, most)| most - least >= SPAN_MIN);
    is_spread || bytes.saturating_mul(8) >= rows.saturating_mul(BITS_PER_ROW_MIN).max(1)
}

fn whole_number(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Int32(value) => value.map(i128::from),
        ScalarValue::Int64(value) | ScalarValue::TimestampMicrosecond(value, _) => value.map(i128::from),
        _ => None,
    }
}
