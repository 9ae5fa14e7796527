//! Small batches of a topic as fewer larger ones: a table that catches up has thousands of them, and each costs a look
//! into every file from which it takes values that the source did not send.

use arrow::compute::concat_batches;
use tarn_eventlog::LogBatch;

/// Rows that one batch has at most when it is put together of others.
const ROWS_MAX: usize = 16 * 1024;

/// Puts batches together that follow each other, have one schema and end with their source transactions.
pub(super) fn gathered(batches: Vec<LogBatch>) -> Vec<LogBatch> {
    let mut groups: Vec<Vec<LogBatch>> = Vec::new();
    let mut rows = 0;
    for batch in batches {
        let fits = groups.last().and_then(|group| group.last()).is_some_and(|last| {
            !last.transaction_open
                && !batch.transaction_open
                && last.batch.schema_ref() == batch.batch.schema_ref()
                && rows + batch.batch.num_rows() <= ROWS_MAX
        });
        rows = if fits { rows + batch.batch.num_rows() } else { batch.batch.num_rows() };
        match groups.last_mut() {
            Some(group) if fits => group.push(batch),
            _ => groups.push(vec![batch]),
        }
    }
    groups.into_iter().flat_map(joined).collect()
}

fn joined(group: Vec<LogBatch>) -> Vec<LogBatch> {
    let [first, .., _] = group.as_slice() else { return group };
    let all = concat_batches(first.batch.schema_ref(), group.iter().map(|one| &one.batch));
    match all {
        Ok(batch) => vec![LogBatch { batch, ..first.clone() }],
        // More text than a column can hold: as they came.
        Err(_) => group,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;

    fn batch(first_offset: u64, column: &str, rows: i64, transaction_open: bool) -> LogBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([(column, numbers)]).unwrap();
        LogBatch { first_offset, appended_ms: 7, batch, transaction_open }
    }

    #[test]
    fn neither_schemas_nor_unfinished_transactions_are_mixed() {
        let found = gathered(vec![
            batch(0, "a", 3, false),
            batch(3, "a", 2, false),
            batch(5, "a", 1, true),
            batch(6, "a", 1, false),
            batch(7, "b", 4, false),
            batch(11, "b", ROWS_MAX as i64 - 4, false),
            batch(99, "b", 1, false),
        ]);
        let found: Vec<_> =
            found.iter().map(|one| (one.first_offset, one.batch.num_rows(), one.transaction_open)).collect();
        let expected = [(0, 5, false), (5, 1, true), (6, 1, false), (7, ROWS_MAX, false), (99, 1, false)];
        assert_eq!(found, expected);
    }
}
