//! The files of a log, in order.

use std::collections::BTreeMap;

use object_store::ObjectMeta;
use object_store::path::Path;
use tarn_core::files::FilesFault;

use crate::files::lake::{Place, damaged};

/// Digits of a version in a file's name.
const DIGITS: usize = 20;

/// A checkpoint: all its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) version: u64,
    pub(super) parts: Vec<Path>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) path: Path,
    /// When its file was written, milliseconds since 1970 UTC.
    pub(super) modified_ms: i64,
}

/// What a log holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) commits: BTreeMap<u64, Commit>,
    /// Whole ones, oldest first.
    pub(super) checkpoints: Vec<Checkpoint>,
}

#[derive(Debug, PartialEq, Eq)]
enum Named {
    Commit(u64),
    Checkpoint(u64),
    Part(u64, u32, u32),
}

fn named(name: &str) -> Option<Named> {
    let (digits, rest) = name.split_once('.')?;
    if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let version: u64 = digits.parse().ok()?;
    match rest.split('.').collect::<Vec<_>>().as_slice() {
        ["json"] => Some(Named::Commit(version)),
        ["checkpoint", "parquet"] => Some(Named::Checkpoint(version)),
        ["checkpoint", id, "json" | "parquet"] if id.len() == 36 => Some(Named::Checkpoint(version)),
        ["checkpoint", part, parts, "parquet"] => {
            Some(Named::Part(version, part.parse().ok()?, parts.parse().ok()?))
        }
        _ => None,
    }
}

/// Orders files of a log.
pub(super) fn ordered(metas: Vec<ObjectMeta>) -> Log {
    let mut log = Log::default();
    let mut parts: BTreeMap<(u64, u32), BTreeMap<u32, Path>> = BTreeMap::new();
    for meta in metas {
        match meta.location.filename().and_then(named) {
            Some(Named::Commit(version)) => {
                let modified_ms = meta.last_modified.timestamp_millis();
                log.commits.insert(version, Commit { path: meta.location, modified_ms });
            }
            Some(Named::Checkpoint(version)) => {
                log.checkpoints.push(Checkpoint { version, parts: vec![meta.location] });
            }
            Some(Named::Part(version, part, of)) => {
                parts.entry((version, of)).or_default().insert(part, meta.location);
            }
            None => {}
        }
    }
    let whole = parts.into_iter().filter(|((_, of), parts)| {
        u32::try_from(parts.len()) == Ok(*of) && parts.keys().copied().eq(1..=*of)
    });
    let whole =
        whole.map(|((version, _), parts)| Checkpoint { version, parts: parts.into_values().collect() });
    log.checkpoints.extend(whole);
    log.checkpoints.sort_by_key(|checkpoint| checkpoint.version);
    log
}

/// Lists the log of a table.
pub(super) async fn log_of(place: &Place) -> Result<Log, FilesFault> {
    let log = ordered(place.files_in("_delta_log").await?);
    if log.commits.is_empty() && log.checkpoints.is_empty() {
        return Err(damaged(format!("`{}/_delta_log` holds no commit and no checkpoint", place.location())));
    }
    Ok(log)
}

impl Log {
    /// The newest version.
    pub(super) fn newest(&self) -> u64 {
        let commit = self.commits.keys().next_back().copied().unwrap_or(0);
        commit.max(self.checkpoints.last().map_or(0, |checkpoint| checkpoint.version))
    }

    /// The checkpoint and the commits that make a version. Errors: it is not there any more, or never was; a commit is missing.
    pub(super) fn of(&self, version: u64) -> Result<(Option<&Checkpoint>, Vec<&Commit>), FilesFault> {
        if version > self.newest() {
            return Err(FilesFault::invalid(
                format!("the table has no version {version} yet; its newest is {}", self.newest()),
                "name an earlier one, or none for the newest",
            ));
        }
        let checkpoint = self.checkpoints.iter().rfind(|checkpoint| checkpoint.version <= version);
        let from = checkpoint.map_or(0, |checkpoint| checkpoint.version + 1);
        let commit = |version: u64| {
            self.commits.get(&version).ok_or_else(|| match self.oldest() {
                Some(oldest) if version < oldest => FilesFault::invalid(
                    format!(
                        "the table's log does not reach back so far; its oldest version left is {oldest}"
                    ),
                    "name a later version, or none for the newest",
                ),
                _ => damaged(format!("the table's log lacks the commit of version {version}")),
            })
        };
        Ok((checkpoint, (from..=version).map(commit).collect::<Result<_, _>>()?))
    }

    /// The oldest version that can be made.
    fn oldest(&self) -> Option<u64> {
        match self.commits.contains_key(&0) {
            true => Some(0),
            false => self.checkpoints.first().map(|checkpoint| checkpoint.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(names: &[&str]) -> Log {
        let meta = |name: &&str| ObjectMeta {
            location: Path::parse(format!("t/_delta_log/{name}")).expect("a path"),
            last_modified: Default::default(),
            size: 1,
            e_tag: None,
            version: None,
        };
        ordered(names.iter().map(meta).collect())
    }

    fn name(version: u64, rest: &str) -> String {
        format!("{version:020}.{rest}")
    }

    #[test]
    fn the_log_is_ordered_and_says_what_it_lacks() {
        let id = "80a083e8-7026-4e79-81be-64bd76c43a11";
        let names = [
            name(3, "json"),
            name(4, "json"),
            name(6, "json"),
            name(3, "checkpoint.parquet"),
            name(4, "checkpoint.0000000001.0000000002.parquet"),
            name(6, &format!("checkpoint.{id}.json")),
            name(5, "checkpoint.0000000001.0000000002.parquet"),
            name(5, "checkpoint.0000000002.0000000002.parquet"),
            name(3, "crc"),
            "00000000000000000001.00000000000000000003.compacted.json".to_string(),
            "_last_checkpoint".to_string(),
        ];
        let log = log(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let checkpoints: Vec<(u64, usize)> =
            log.checkpoints.iter().map(|c| (c.version, c.parts.len())).collect();
        assert_eq!(checkpoints, [(3, 1), (5, 2), (6, 1)]);
        assert_eq!(log.newest(), 6);
        let (checkpoint, commits) = log.of(4).expect("there");
        assert_eq!((checkpoint.map(|c| c.version), commits.len()), (Some(3), 1));
        assert_eq!(log.of(6).expect("there").1.len(), 0);
        assert!(log.of(7).expect_err("too new").to_string().contains("newest is 6"));
        assert!(log.of(2).expect_err("too old").to_string().contains("oldest version left is 3"));
    }

    #[test]
    fn a_missing_commit_is_told() {
        let names = [name(0, "json"), name(1, "json"), name(3, "json")];
        let log = log(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(log.of(3).expect_err("a gap").to_string().contains("version 2"));
        assert_eq!(log.of(1).expect("there").1.len(), 2);
    }
}
