//! Decides what to do with a listed file.

use object_store::path::Path;

use super::config::{Compression, FileConfig, FileFormat};
use super::ledger::Mark;
use super::listing::FileInfo;

/// A local file whose last line is not finished is waited for this long after its last change.
const SETTLE_US: i64 = 10_000_000;

/// What to do with a listed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing new.
    Leave,
    /// Read it, or read it on.
    Read,
}

/// Format and compression of a file. Errors: the reason, for people.
pub(super) fn format_of(config: &FileConfig, path: &Path) -> Result<(FileFormat, Compression), String> {
    let name = path.filename().unwrap_or_default().to_lowercase();
    let (stem, compression) = match name.strip_suffix(".gz") {
        Some(stem) => (stem, Compression::Gzip),
        None => (name.as_str(), Compression::None),
    };
    let compression = config.compression.unwrap_or(compression);
    let by_name = match stem.rsplit('.').next() {
        Some("csv" | "tsv" | "txt") => Some(FileFormat::Csv),
        Some("ndjson" | "jsonl" | "json") => Some(FileFormat::Ndjson),
        Some("parquet" | "pq") => Some(FileFormat::Parquet),
        _ => None,
    };
    match config.format.or(by_name) {
        Some(FileFormat::Parquet) => Ok((FileFormat::Parquet, Compression::None)),
        Some(format) => Ok((format, compression)),
        None => Err("its ending does not tell its format; set `format`".to_string()),
    }
}

/// Whether an unfinished last line is a record: objects of a bucket are whole, and a local file that nobody writes.
pub(super) fn takes_last(config: &FileConfig, file: &FileInfo, now_us: i64, is_local: bool) -> bool {
    !config.watch || !is_local || now_us - file.modified_us >= SETTLE_US
}

/// What to do with a file that was read as `mark` says.
pub(super) fn decide(
    config: &FileConfig,
    file: &FileInfo,
    mark: Option<Mark>,
    now_us: i64,
    is_local: bool,
) -> Decision {
    let Some(mark) = mark else { return Decision::Read };
    if mark.partial || mark.tag != file.tag {
        return Decision::Read;
    }
    let plain_text = match format_of(config, &file.path) {
        Ok((FileFormat::Csv | FileFormat::Ndjson, Compression::None)) => true,
        Ok(_) | Err(_) => false,
    };
    // The unfinished last line of a text file, once it has settled.
    if plain_text && mark.read < file.size && takes_last(config, file, now_us, is_local) {
        return Decision::Read;
    }
    Decision::Leave
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> FileConfig {
        let value: serde_json::Value = serde_yaml_ng::from_str(text).expect("YAML");
        tarn_component::parse(value).expect("a configuration")
    }

    #[test]
    fn the_ending_tells_the_format() {
        let any = config("path: x");
        let format = |name: &str| format_of(&any, &Path::from(name));
        assert_eq!(format("a/b.CSV"), Ok((FileFormat::Csv, Compression::None)));
        assert_eq!(format("b.jsonl.gz"), Ok((FileFormat::Ndjson, Compression::Gzip)));
        assert_eq!(format("b.parquet"), Ok((FileFormat::Parquet, Compression::None)));
        assert!(format("README").is_err());
        let csv = config("{path: x, format: csv, compression: gzip}");
        assert_eq!(format_of(&csv, &Path::from("README")), Ok((FileFormat::Csv, Compression::Gzip)));
    }

    #[test]
    fn an_unfinished_line_waits_until_the_file_settles() {
        let config = config("path: x.csv");
        let file = FileInfo { path: Path::from("x.csv"), size: 10, modified_us: 0, tag: 1, e_tag: None };
        let mark = Mark { path: 0, read: 8, tag: 1, tail: 0, lines: 1, partial: false };
        let decide = |now_us, mark| decide(&config, &file, mark, now_us, true);
        assert_eq!(decide(1_000_000, Some(mark)), Decision::Leave);
        assert_eq!(decide(SETTLE_US, Some(mark)), Decision::Read);
        assert_eq!(decide(SETTLE_US, Some(Mark { read: 10, ..mark })), Decision::Leave);
        assert_eq!(decide(0, Some(Mark { tag: 2, read: 10, ..mark })), Decision::Read);
        assert_eq!(decide(0, Some(Mark { partial: true, read: 10, ..mark })), Decision::Read);
        assert_eq!(decide(0, None), Decision::Read);
    }
}
