//! Columns in the names of folders: `year=2024/month=05/a.csv`.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use tarn_core::files::{FilesFault, FoundColumn, ListedFile};

use crate::records::{Cell, ColumnConfig, ColumnType, RowBuilder, cell_of_text, type_of_text};

/// What stands for null in a folder's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Text with `%3A` and the like made plain.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = text
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_string())
}

/// The columns that the folders of a path hold.
pub(crate) fn values_of(relative: &str) -> Vec<(String, Option<String>)> {
    let folders = relative.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders.split('/').filter_map(|folder| folder.split_once('='));
    let pairs = pairs.filter(|(name, _)| !name.is_empty());
    pairs.map(|(name, value)| (decoded(name), Some(decoded(value)).filter(|value| value != NULL))).collect()
}

/// Whether folders are columns: as `wanted`, or where all files lie in folders of the same names. Errors: they are wanted
/// and differ.
pub(crate) fn is_hive(files: &[ListedFile], wanted: Option<bool>) -> Result<bool, FilesFault> {
    if wanted == Some(false) {
        return Ok(false);
    }
    let names = |file: &ListedFile| file.partition.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let first = files.first().map(names).unwrap_or_default();
    let other = files.iter().find(|file| names(file) != first);
    match (first.is_empty() && other.is_none(), other, wanted) {
        (false, None, _) => Ok(true),
        (_, Some(other), Some(true)) => Err(FilesFault::invalid(
            format!("`{}` does not lie in folders `{}`", other.location, first.join("=…/")),
            "narrow the path to files of one layout, or turn `hive` off",
        )),
        (true, None, Some(true)) => {
            Err(FilesFault::invalid("no folder is named like `year=2024`", "turn `hive` off"))
        }
        _ => Ok(false),
    }
}

/// The types of these columns, from the values of all files.
pub(crate) fn columns_of(files: &[ListedFile], chosen: &[ColumnConfig]) -> Vec<(ColumnConfig, FoundColumn)> {
    let names =
        files.first().map(|file| file.partition.iter().map(|(name, _)| name.clone())).into_iter().flatten();
    let column = |(at, name): (usize, String)| {
        let values = || files.iter().filter_map(|file| file.partition.get(at)?.1.as_deref());
        // `month=05` is a number; a longer one with zeros in front is a code.
        let kind_of = |text: &str| match text.len() <= 2 && text.parse::<u8>().is_ok() {
            true => ColumnType::Int64,
            false => type_of_text(text),
        };
        let kind = values().map(kind_of).reduce(ColumnType::widen).unwrap_or(ColumnType::String);
        let fits = values().all(|text| text.parse::<i32>().is_ok());
        let kind = if kind == ColumnType::Int64 && fits { ColumnType::Int32 } else { kind };
        let kind = chosen.iter().find(|column| column.name == name).map_or(kind, |column| column.column_type);
        let mut samples: Vec<String> = values().map(str::to_string).collect();
        samples.sort();
        samples.dedup();
        samples.truncate(5);
        let values = values().count() as u64;
        let found = FoundColumn {
            name: name.clone(),
            type_name: kind.to_string(),
            from_path: true,
            values,
            nulls: files.len() as u64 - values,
            samples,
            reason: Some("named by folders".to_string()),
        };
        (ColumnConfig { name, column_type: kind }, found)
    };
    names.enumerate().map(column).collect()
}

/// The one value of a column in a file, as an array of one row. Errors: it does not fit the column.
pub(crate) fn constant(file: &ListedFile, column: &ColumnConfig) -> Result<ArrayRef, FilesFault> {
    let text =
        file.partition.iter().find(|(name, _)| *name == column.name).and_then(|(_, value)| value.as_deref());
    let wrong = |why: String| {
        FilesFault::invalid(
            format!("`{}`: column `{}` of its folder: {why}", file.location, column.name),
            "give the column another type with `columns`, or turn `hive` off",
        )
    };
    let cell = text.map_or(Ok(Cell::Null), |text| cell_of_text(column.column_type, text)).map_err(wrong)?;
    let mut builder = RowBuilder::new(std::slice::from_ref(column));
    builder.append(&[cell]);
    let mut arrays = builder.finish().map_err(|error| wrong(error.to_string()))?;
    arrays.pop().ok_or_else(|| wrong("it has no value".to_string()))
}

/// A value for each of `rows` rows.
pub(crate) fn repeated(value: &ArrayRef, rows: usize) -> Result<ArrayRef, ArrowError> {
    take(value.as_ref(), &UInt32Array::from(vec![0; rows]), None).map(|array| Arc::clone(&array))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_columns() {
        let file = |path: &str| ListedFile {
            location: format!("file:///d/{path}"),
            bytes: 1,
            tag: 1,
            partition: values_of(path),
            detail: None,
        };
        let files = [file("year=2024/month=05/zip=01234/a.csv"), file("year=2023/month=12/zip=99999/b.csv")];
        assert!(is_hive(&files, None).expect("alike"));
        let kinds: Vec<String> =
            columns_of(&files, &[]).iter().map(|(c, _)| format!("{} {}", c.name, c.column_type)).collect();
        assert_eq!(kinds, ["year int32", "month int32", "zip string"]);
        assert_eq!(
            values_of("a=x%2Fy/b=__HIVE_DEFAULT_PARTITION__/f"),
            [("a".to_string(), Some("x/y".to_string())), ("b".to_string(), None)]
        );
        let mixed = [file("year=2024/a.csv"), file("b.csv")];
        assert!(!is_hive(&mixed, None).expect("not alike"));
        assert!(is_hive(&mixed, Some(true)).is_err());
        assert!(!is_hive(&[file("a.csv")], None).expect("none"));
    }
}
