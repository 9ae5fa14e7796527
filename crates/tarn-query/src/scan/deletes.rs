//! Deleted positions as row selections.

use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringTreemap;

/// Which rows of each row group to read: all but `deleted` (row numbers within the file).
pub(super) fn access_plan(footer: &ParquetMetaData, deleted: &RoaringTreemap) -> ParquetAccessPlan {
    let counts: Vec<u64> =
        footer.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or_default()).collect();
    ParquetAccessPlan::new(row_group_access(&counts, deleted))
}

/// The rows of a file that are not `deleted`.
pub(super) fn live_rows(footer: &ParquetMetaData, deleted: &RoaringTreemap) -> RowSelection {
    let total = u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default();
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0_u64;
    for position in deleted.iter().take_while(|position| *position < total) {
        push(&mut selectors, position - next, false);
        push(&mut selectors, 1, true);
        next = position + 1;
    }
    push(&mut selectors, total - next, false);
    RowSelection::from(selectors)
}

fn row_group_access(row_counts: &[u64], deleted: &RoaringTreemap) -> Vec<RowGroupAccess> {
    let mut positions = deleted.iter().peekable();
    let mut start = 0_u64;
    let groups = row_counts.iter().map(|rows| {
        let end = start + rows;
        let mut selectors: Vec<RowSelector> = Vec::new();
        let mut next = start;
        while let Some(position) = positions.next_if(|position| *position < end) {
            push(&mut selectors, position - next, false);
            push(&mut selectors, 1, true);
            next = position + 1;
        }
        push(&mut selectors, end - next, false);
        start = end;
        match selectors.as_slice() {
            [] => RowGroupAccess::Scan,
            [only] if only.skip => RowGroupAccess::Skip,
            [_] => RowGroupAccess::Scan,
            _ => RowGroupAccess::Selection(RowSelection::from(selectors)),
        }
    });
    groups.collect()
}

fn push(selectors: &mut Vec<RowSelector>, rows: u64, skip: bool) {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    match selectors.last_mut() {
        _ if rows == 0 => {}
        Some(last) if last.skip == skip => last.row_count += rows,
        _ => selectors.push(if skip { RowSelector::skip(rows) } else { RowSelector::select(rows) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_fall_into_the_row_groups_that_hold_them() {
        let deleted: RoaringTreemap = [0, 1, 5, 10, 11, 12, 13, 14].into_iter().collect();
        let access = row_group_access(&[5, 5, 5, 5, 0], &deleted);
        let selection = |parts: &[(usize, bool)]| {
            let selectors = parts.iter().map(|(rows, skip)| match skip {
                true => RowSelector::skip(*rows),
                false => RowSelector::select(*rows),
            });
            RowGroupAccess::Selection(RowSelection::from(selectors.collect::<Vec<_>>()))
        };
        assert_eq!(access[0], selection(&[(2, true), (3, false)]));
        assert_eq!(access[1], selection(&[(1, true), (4, false)]));
        assert_eq!(access[2], RowGroupAccess::Skip);
        assert_eq!(access[3], RowGroupAccess::Scan);
        assert_eq!(access[4], RowGroupAccess::Scan);
    }

    #[test]
    fn positions_beyond_the_file_delete_nothing() {
        let deleted: RoaringTreemap = [7, 1_000_000].into_iter().collect();
        assert_eq!(row_group_access(&[5], &deleted), [RowGroupAccess::Scan]);
    }
}
