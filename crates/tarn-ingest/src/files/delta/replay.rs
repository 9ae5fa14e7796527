//! The state of a table at a version: a checkpoint and the commits behind it (Delta protocol, "Action Reconciliation").

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tarn_core::files::FilesFault;

use super::actions::{Action, Add, MetaData, Protocol, of_file, of_lines};
use super::list::{Commit, Log, log_of};
use super::{DeltaOptions, decoded, found_by};
use crate::files::lake::{FoundBy, Place, damaged};

/// Commits read at a time.
const AT_ONCE: usize = 16;
/// Features of tables that readers must know, and that are known here. Columns of type variant are refused by themselves.
const FEATURES: [&str; 12] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "inCommitTimestamp",
    "variantType",
    "variantType-preview",
    "variantShredding",
    "variantShredding-preview",
];
/// Reader versions without and with named features.
const MAPPING_VERSION: i32 = 2;
const FEATURES_VERSION: i32 = 3;

/// A path, decoded, and what tells its deletion vector.
type FileKey = (String, Option<String>);

/// The state of a table.
#[derive(Debug)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) metadata: MetaData,
    pub(super) by: FoundBy,
    pub(super) files: BTreeMap<FileKey, Add>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Default)]
struct Replay {
    protocol: Option<Protocol>,
    metadata: Option<MetaData>,
    files: BTreeMap<FileKey, Add>,
}

impl Replay {
    fn take(&mut self, actions: Vec<Action>) -> Result<(), FilesFault> {
        for action in actions {
            if let Some(protocol) = action.protocol {
                self.protocol = Some(protocol);
            }
            if let Some(metadata) = action.meta_data {
                self.metadata = Some(metadata);
            }
            if let Some(remove) = action.remove {
                let vector = remove.deletion_vector.as_ref().map(super::actions::DeletionVector::id);
                self.files.remove(&(decoded(&remove.path)?, vector));
            }
            if let Some(add) = action.add {
                let vector = add.deletion_vector.as_ref().map(super::actions::DeletionVector::id);
                self.files.insert((decoded(&add.path)?, vector), add);
            }
        }
        Ok(())
    }
}

/// Errors: a table that only readers of more features read rightly.
fn check(protocol: &Protocol) -> Result<(), FilesFault> {
    let version = protocol.min_reader_version;
    if version > FEATURES_VERSION {
        return Err(FilesFault::invalid(
            format!("the table needs readers of version {version}; version {FEATURES_VERSION} is known"),
            "copy it there into a table of an older version",
        ));
    }
    let unknown: Vec<&str> = protocol
        .reader_features
        .iter()
        .flatten()
        .map(String::as_str)
        .filter(|feature| !FEATURES.contains(feature))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = unknown.iter().map(|feature| format!("`{feature}`")).collect();
    let hint = match unknown.iter().any(|feature| feature.starts_with("catalog")) {
        true => {
            "its commits are kept by a catalog; export it there, or copy it into a table that lies in its folder"
        }
        false => "drop the feature there (`ALTER TABLE … DROP FEATURE`), or copy it into a table without it",
    };
    Err(FilesFault::invalid(format!("the table uses {}, which is not supported", named.join(", ")), hint))
}

/// The state that is asked for. Errors: it is not there; a log that is damaged; features that are not known.
pub(super) async fn state(place: &Place, options: &DeltaOptions) -> Result<State, FilesFault> {
    let log = log_of(place).await?;
    let version = match (options.version, &options.timestamp) {
        (Some(_), Some(_)) => {
            return Err(FilesFault::invalid(
                "`delta` has both `version` and `timestamp`",
                "give one of them",
            ));
        }
        (Some(version), None) => version,
        (None, Some(timestamp)) => Box::pin(version_at(place, &log, timestamp)).await?,
        (None, None) => log.newest(),
    };
    at(place, &log, version).await
}

async fn at(place: &Place, log: &Log, version: u64) -> Result<State, FilesFault> {
    let (checkpoint, commits) = log.of(version)?;
    let mut replay = Replay::default();
    for part in checkpoint.iter().flat_map(|checkpoint| &checkpoint.parts) {
        let actions = of_file(place, part).await?;
        let sidecars: Vec<String> =
            actions.iter().filter_map(|action| Some(action.sidecar.as_ref()?.path.clone())).collect();
        replay.take(actions)?;
        for sidecar in sidecars {
            // They lie in one folder, however their paths are written.
            let name = decoded(&sidecar)?;
            let name = name.rsplit('/').next().unwrap_or(&name);
            let path = place.below(&format!("_delta_log/_sidecars/{name}"))?;
            replay.take(of_file(place, &path).await?)?;
        }
    }
    let read = |commit: &Commit| {
        let path = commit.path.clone();
        async move {
            let bytes = place.read(&path).await?;
            of_lines(&path, &bytes)
        }
    };
    let mut read = futures::stream::iter(commits.into_iter().map(read)).buffered(AT_ONCE);
    while let Some(actions) = read.try_next().await? {
        replay.take(actions)?;
    }
    let protocol = replay.protocol.ok_or_else(|| damaged("the table's log has no protocol"))?;
    check(&protocol)?;
    let metadata = replay.metadata.ok_or_else(|| damaged("the table's log has no metadata"))?;
    let features = protocol.reader_features.iter().flatten();
    let is_mapped = protocol.min_reader_version == MAPPING_VERSION
        || features.into_iter().any(|feature| feature == "columnMapping");
    let mode = metadata.property("delta.columnMapping.mode").filter(|_| is_mapped);
    let by = found_by(mode)?;
    Ok(State { version, by, metadata, files: replay.files, warnings: Vec::new() })
}

/// The time that a commit says of itself, milliseconds.
async fn said_time(place: &Place, commit: &Commit) -> Result<Option<i64>, FilesFault> {
    let actions = of_lines(&commit.path, &place.read(&commit.path).await?)?;
    let info = actions.into_iter().find_map(|action| action.commit_info);
    Ok(info.as_ref().and_then(|info| info.get("inCommitTimestamp")).and_then(Value::as_i64))
}

/// The last version at a time: by what commits say of themselves where the table has them do so, else by the times of their
/// files. Errors: no time; it is before all versions.
async fn version_at(place: &Place, log: &Log, timestamp: &str) -> Result<u64, FilesFault> {
    let wrong = || {
        FilesFault::invalid(
            format!("`delta.timestamp`: `{timestamp}` is no time"),
            "write it like `2024-05-01T10:00:00Z`",
        )
    };
    let asked = DateTime::parse_from_rfc3339(timestamp.trim()).map_err(|_| wrong())?.timestamp_millis();
    let newest = at(place, log, log.newest()).await?.metadata;
    let says = newest.property("delta.enableInCommitTimestamps") == Some("true");
    let since = |name: &str| newest.property(name).and_then(|text| text.parse::<i64>().ok());
    let from = since("delta.inCommitTimestampEnablementVersion").unwrap_or(0);
    let from = u64::try_from(from).unwrap_or(0);
    let enabled = since("delta.inCommitTimestampEnablementTimestamp").unwrap_or(i64::MIN);
    let mut found = None;
    let mut first = None;
    if says && asked >= enabled {
        let own: Vec<(u64, &Commit)> =
            log.commits.range(from..).map(|(version, commit)| (*version, commit)).collect();
        // They rise from commit to commit.
        let (mut low, mut high) = (0, own.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((version, commit)) = own.get(middle) else { break };
            let said = said_time(place, commit).await?;
            let said = said.ok_or_else(|| damaged(format!("version {version} does not say its time")))?;
            if middle == 0 {
                first = Some(said);
            }
            if said <= asked {
                found = Some(*version);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
    } else {
        let mut last = i64::MIN;
        for (version, commit) in log.commits.iter().take_while(|(version, _)| !says || **version < from) {
            // A clock that was set back must not change the order.
            last = commit.modified_ms.max(last.saturating_add(1));
            first = first.or(Some(last));
            if last <= asked {
                found = Some(*version);
            }
        }
    }
    found.ok_or_else(|| {
        let first = first.and_then(DateTime::<Utc>::from_timestamp_millis);
        let first = first.map(|first| first.to_rfc3339_opts(SecondsFormat::Millis, true));
        FilesFault::invalid(
            format!("the table has no version of {timestamp} or before"),
            format!("its first one left is of {}", first.unwrap_or_else(|| "another time".to_string())),
        )
    })
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    fn replayed(commits: &[&str]) -> Vec<String> {
        let mut replay = Replay::default();
        for commit in commits {
            replay.take(of_lines(&Path::from("l"), commit.as_bytes()).expect("valid")).expect("taken");
        }
        replay
            .files
            .into_keys()
            .map(|(path, vector)| format!("{path} {}", vector.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn the_last_word_about_a_file_counts() {
        let add = |path: &str| format!(r#"{{"add":{{"path":"{path}","partitionValues":{{}},"size":1}}}}"#);
        let vector =
            r#""deletionVector":{"storageType":"i","pathOrInlineDv":"x","sizeInBytes":1,"cardinality":1}"#;
        let with = format!(r#"{{"add":{{"path":"b","partitionValues":{{}},"size":1,{vector}}}}}"#);
        let first = [add("a%20x"), add("b")].join("\n");
        let second =
            format!("{}\n{}\n{}", r#"{"remove":{"path":"a x"}}"#, with, r#"{"remove":{"path":"b"}}"#);
        assert_eq!(replayed(&[&first, &second]), ["b ix"]);
        let third = format!(r#"{{"remove":{{"path":"b",{vector}}}}}"#);
        assert!(replayed(&[&first, &second, &third]).is_empty());
        assert_eq!(replayed(&[&first, &second, &third, &add("b")]), ["b "]);
    }

    #[test]
    fn features_that_are_not_known_are_named() {
        let of = |version, features: &[&str]| Protocol {
            min_reader_version: version,
            reader_features: Some(features.iter().map(ToString::to_string).collect()),
        };
        assert!(check(&of(3, &FEATURES)).is_ok());
        assert!(check(&of(1, &[])).is_ok());
        let error = check(&of(3, &["deletionVectors", "geo-x"])).expect_err("unknown");
        assert!(error.to_string().contains("`geo-x`") && !error.to_string().contains("deletionVectors"));
        assert!(
            check(&of(3, &["catalogManaged"]))
                .expect_err("unknown")
                .0
                .hint
                .expect("a hint")
                .contains("catalog")
        );
        assert!(check(&of(4, &[])).is_err());
    }
}
