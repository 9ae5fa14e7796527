//! How a CSV file is written, from its first bytes.

use tarn_core::files::FilesFault;

use super::config::CsvOptions;
use crate::records::{ColumnType, type_of_text};
use crate::sources::file::config::CsvConfig;
use crate::sources::file::csv::{CsvRecord, CsvSplitter};

/// Records looked at.
const RECORDS_MAX: usize = 200;
const DELIMITERS: [&str; 4] = [",", ";", "\t", "|"];

/// The first records, whole ones only. `cut`: whether the file goes on behind `text`.
fn records(text: &[u8], config: &CsvConfig, cut: bool) -> Result<Vec<Vec<String>>, FilesFault> {
    let mut splitter = CsvSplitter::new(config, 0, 0).map_err(|error| FilesFault::of(&error))?;
    let mut found = Vec::new();
    let mut take = |record: CsvRecord<'_>| {
        found.push(record.fields());
        found.len() < RECORDS_MAX
    };
    // A quote that is not closed shows when the file is read.
    let mut split = splitter.split(text, &mut take);
    if !cut && split.is_ok() {
        split = splitter.split(&[], &mut take);
    }
    drop(split);
    Ok(found)
}

/// How alike records are: their most frequent width, and how many records have it.
fn width_of(records: &[Vec<String>]) -> (usize, usize) {
    let widths: Vec<usize> = records.iter().map(Vec::len).collect();
    let count = |width: usize| widths.iter().filter(|other| **other == width).count();
    let best = widths.iter().copied().max_by_key(|width| (count(*width), *width));
    best.map_or((0, 0), |width| (width, count(width)))
}

/// Whether the first record names columns: texts, none empty, none twice, unlike the values below them.
fn has_header(records: &[Vec<String>]) -> bool {
    let Some((first, rest)) = records.split_first() else { return true };
    let named = |text: &String| !text.trim().is_empty() && type_of_text(text) == ColumnType::String;
    let mut seen = std::collections::HashSet::new();
    if !first.iter().all(|text| named(text) && seen.insert(text.trim())) {
        return false;
    }
    // All columns text: a name rarely occurs as a value of its own column.
    rest.iter().all(|record| record.iter().zip(first).any(|(value, name)| value != name))
}

/// Fills what `options` leave open. `text`: the file's first bytes, decoded.
pub(crate) fn detect(text: &[u8], cut: bool, options: &CsvOptions) -> Result<CsvOptions, FilesFault> {
    let mut known = options.clone();
    if known.delimiter.is_none() {
        let mut best = (0, 0, ",");
        for delimiter in DELIMITERS {
            let tried = CsvOptions { delimiter: Some(delimiter.to_string()), ..known.clone() };
            let found = records(text, &tried.filled(), cut)?;
            let (width, alike) = width_of(&found);
            // One field each says nothing; ragged records speak against the character.
            let score = if width > 1 && alike * 10 >= found.len() * 8 {
                (alike, width, delimiter)
            } else {
                (0, 0, "")
            };
            if (score.0, score.1) > (best.0, best.1) {
                best = score;
            }
        }
        known.delimiter = Some(best.2.to_string());
    }
    if known.header.is_none() {
        known.header = Some(has_header(&records(text, &known.filled(), cut)?));
    }
    let filled = known.filled();
    known.quote = Some(filled.quote);
    known.null = Some(filled.null);
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> (String, bool) {
        let known = detect(text.as_bytes(), false, &CsvOptions::default()).expect("detected");
        (known.delimiter.expect("one"), known.header.expect("told"))
    }

    #[test]
    fn delimiter_and_header_are_found() {
        for (text, delimiter, header) in [
            ("id,name\n1,a\n2,b\n", ",", true),
            ("id;name;price\n1;a;1,5\n2;b;2,5\n", ";", true),
            ("1\ta\n2\tb\n", "\t", false),
            ("id|name\n1|\"a,b|c\"\n", "|", true),
            ("name\nli\nwang\n", ",", true),
            ("2024-01-01,5\n2024-01-02,6\n", ",", false),
            ("编号,名称\n1,甲\n", ",", true),
            ("", ",", true),
        ] {
            assert_eq!(shape(text), (delimiter.to_string(), header), "{text}");
        }
    }
}
