//! Statistics of a table: how many different values each column has, as Trino and Spark write and read them (Puffin files with
//! theta sketches, registered in the metadata).

mod analyze;
mod theta;
mod value;

use std::collections::HashMap;

use arrow::array::ArrayRef;
use iceberg::spec::TableMetadata;

pub(crate) use analyze::{Analyzed, statistics_need};

/// Calls `take` with the bytes of each value that is not null (Iceberg specification, "Binary single-value serialization").
pub(crate) fn each_value(column: &ArrayRef, take: impl FnMut(&[u8])) {
    value::each(column, |_| true, take);
}

/// Property of a sketch that says how many different values there are (Puffin specification, blob type
/// `apache-datasketches-theta-v1`).
const NDV: &str = "ndv";

/// Different values of columns, by field id, as the newest statistics of the state at `snapshot_id` or before say.
pub fn distinct_values(metadata: &TableMetadata, snapshot_id: Option<i64>) -> HashMap<i32, u64> {
    let sequence = |id: i64| metadata.snapshot_by_id(id).map(|snapshot| snapshot.sequence_number());
    let Some(until) = snapshot_id.and_then(sequence) else { return HashMap::new() };
    let known = metadata.statistics_iter().filter_map(|file| Some((sequence(file.snapshot_id)?, file)));
    let newest = known.filter(|(at, _)| *at <= until).max_by_key(|(at, _)| *at);
    let blobs = newest.into_iter().flat_map(|(_, file)| &file.blob_metadata);
    let counts = blobs.filter_map(|blob| match blob.fields.as_slice() {
        [field] => Some((*field, blob.properties.get(NDV)?.parse().ok()?)),
        _ => None,
    });
    counts.collect()
}
