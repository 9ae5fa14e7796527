//! Which files may hold a key that comes, by the bounds of their first key column.

use arrow::datatypes::SchemaRef;
use iceberg::spec::{DataFile, Datum, Schema};

use crate::sink::KeyHasher;
use crate::view::DataFileView;

/// The range of the first key column in the rows that come, by their files' bounds.
pub(crate) struct KeyBounds {
    id: Option<i32>,
    range: Option<(Datum, Datum)>,
}

impl KeyBounds {
    /// Of the files that come.
    pub(crate) fn of(added: &[DataFile], schema: &Schema, hasher: &KeyHasher, columns: &SchemaRef) -> Self {
        let name = hasher.columns().first().map(|at| columns.field(*at).name().clone());
        let id = name.and_then(|name| schema.field_id_by_name(&name));
        let range = id.and_then(|id| {
            let bounds: Option<Vec<_>> = added
                .iter()
                .map(|file| {
                    Some((file.lower_bounds().get(&id)?.clone(), file.upper_bounds().get(&id)?.clone()))
                })
                .collect();
            bounds?.into_iter().reduce(|(low, high), (next_low, next_high)| {
                let low = if next_low < low { next_low } else { low };
                (low, if next_high > high { next_high } else { high })
            })
        });
        Self { id, range }
    }

    /// Whether a file may hold one of the keys.
    pub(crate) fn meets(&self, file: &DataFileView) -> bool {
        let (Some(id), Some((low, high))) = (self.id, &self.range) else { return true };
        match (file.lower_bound(id), file.upper_bound(id)) {
            (Some(lower), Some(upper)) => !(high < lower || upper < low),
            _ => true,
        }
    }
}
