//! What a table's properties say about its services. Names are those of Iceberg where it has one.

use iceberg::spec::TableMetadata;
use tarn_core::nearest;

use super::run::Service;

/// Whether the table is looked after without being asked; `tarn.services.<service>.enabled` for one service.
const ENABLED: &str = "tarn.services.enabled";
/// Files of a table that belong to somebody else: JSON array of location prefixes.
const NOT_OWNED: &str = "tarn.files.not-owned";
/// Table property: who made the table, where no topic feeds it.
pub const CREATED_BY: &str = "tarn.created-by";
/// Whether files of the table may be deleted (Iceberg, "Table behavior properties").
const GC_ENABLED: &str = "gc.enabled";
const TARGET_FILE_SIZE: &str = "write.target-file-size-bytes";
/// Size at which rewritten files end, unless the table says otherwise.
const TARGET_BYTES: u64 = 128 << 20;
const TARGET_BYTES_MIN: u64 = 64 << 10;
const TARGET_BYTES_MAX: u64 = 16 << 30;

const NUMBERS: &[&str] = &[
    TARGET_FILE_SIZE,
    "history.expire.min-snapshots-to-keep",
    "history.expire.max-snapshot-age-ms",
    "history.expire.max-ref-age-ms",
    "commit.manifest.target-size-bytes",
    "commit.manifest.min-count-to-merge",
    "write.metadata.previous-versions-max",
    "tarn.orphan-age-ms",
];
const SWITCHES: &[&str] =
    &[GC_ENABLED, "commit.manifest-merge.enabled", "write.metadata.delete-after-commit.enabled"];

fn text<'a>(metadata: &'a TableMetadata, key: &str) -> Option<&'a str> {
    metadata.properties().get(key).map(String::as_str)
}

/// A number of a table's properties.
pub(crate) fn number<T: std::str::FromStr>(metadata: &TableMetadata, key: &str) -> Option<T> {
    text(metadata, key)?.trim().parse().ok()
}

/// A switch of a table's properties; Java's `parseBoolean` takes any other text for false.
pub(crate) fn switch(metadata: &TableMetadata, key: &str) -> Option<bool> {
    text(metadata, key).map(|text| text.trim().eq_ignore_ascii_case("true"))
}

/// Whether files of the table may be deleted.
pub(crate) fn may_delete_files(metadata: &TableMetadata) -> bool {
    switch(metadata, GC_ENABLED).unwrap_or(true)
}

/// Bytes at which rewritten files end.
pub(crate) fn target_bytes(metadata: &TableMetadata) -> u64 {
    number(metadata, TARGET_FILE_SIZE).unwrap_or(TARGET_BYTES).clamp(TARGET_BYTES_MIN, TARGET_BYTES_MAX)
}

/// Whether only other engines write the table: it was not made here, and some row came from elsewhere, or none came.
pub(crate) fn is_foreign(metadata: &TableMetadata) -> bool {
    if text(metadata, CREATED_BY).is_some() || text(metadata, "tarn.topic").is_some() {
        return false;
    }
    let is_own = |snapshot: &iceberg::spec::SnapshotRef| {
        snapshot.summary().additional_properties.get("engine-name").is_some_and(|name| name == "tarn")
    };
    metadata.snapshots().len() == 0 || !metadata.snapshots().all(is_own)
}

/// Whether a service looks after the table without being asked. `foreign`: tables that only other engines write are looked
/// after by default.
pub(crate) fn is_enabled(metadata: &TableMetadata, service: Service, foreign: bool) -> bool {
    let own = switch(metadata, &format!("tarn.services.{}.enabled", service.name()));
    let all = switch(metadata, ENABLED);
    // Counting reads the whole table: it is kept up where somebody began it.
    let own = own.unwrap_or(service != Service::Statistics || metadata.statistics_iter().next().is_some());
    own && all.unwrap_or_else(|| foreign || !is_foreign(metadata))
}

/// What is wrong with a table property that somebody sets. Those of other programs are theirs.
pub fn wrong_property(name: &str, value: &str) -> Option<String> {
    let value = value.trim();
    let is_switch = name.starts_with("tarn.services.") || SWITCHES.contains(&name);
    if name.starts_with("tarn.services.") {
        let known: Vec<String> = std::iter::once(ENABLED.to_string())
            .chain(Service::ALL.map(|service| format!("tarn.services.{}.enabled", service.name())))
            .collect();
        if !known.iter().any(|known| known == name) {
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Some(format!("there is no property `{name}`{near}"));
        }
    }
    if is_switch && !["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)) {
        return Some(format!("`{name}` is `true` or `false`, not `{value}`"));
    }
    if NUMBERS.contains(&name) && value.parse::<i64>().is_err() {
        return Some(format!("`{name}` is a whole number, not `{value}`"));
    }
    let is_positive = [TARGET_FILE_SIZE, "history.expire.min-snapshots-to-keep"].contains(&name);
    if is_positive && value.parse::<i64>().is_ok_and(|number| number < 1) {
        return Some(format!("`{name}` is at least 1, not `{value}`"));
    }
    (name == NOT_OWNED && serde_json::from_str::<Vec<String>>(value).is_err())
        .then(|| format!("`{name}` is a JSON array of location prefixes, not `{value}`"))
}

/// Which files of a table may be deleted when no snapshot needs them any more.
#[derive(Clone, Debug)]
pub struct Ownership {
    deletes: bool,
    own: Vec<String>,
    not_owned: Vec<String>,
}

impl Ownership {
    /// Of a table: files below its location and its own write paths, but those that its property `tarn.files.not-owned`
    /// names; none where `gc.enabled` is false.
    pub fn of(metadata: &TableMetadata) -> Self {
        let folder = |path: &str| format!("{}/", path.trim_end_matches('/'));
        let paths =
            ["write.data.path", "write.metadata.path"].into_iter().filter_map(|key| text(metadata, key));
        let own = std::iter::once(metadata.location()).chain(paths).map(folder).collect();
        let listed = text(metadata, NOT_OWNED);
        let not_owned = listed.map(serde_json::from_str::<Vec<String>>);
        // What cannot be read may mean any file.
        let is_unclear = matches!(not_owned, Some(Err(_)));
        let not_owned = not_owned.and_then(Result::ok).unwrap_or_default();
        Self { deletes: may_delete_files(metadata) && !is_unclear, own, not_owned }
    }

    /// Whether the file may be deleted.
    pub fn may_delete(&self, location: &str) -> bool {
        self.deletes
            && self.own.iter().any(|folder| location.starts_with(folder))
            && !self.not_owned.iter().any(|prefix| location.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::TableCreation;
    use iceberg::spec::{Schema, TableMetadataBuilder};

    use super::*;

    fn table(properties: &[(&str, &str)]) -> TableMetadata {
        let own = |(key, value): &(&str, &str)| ((*key).to_string(), (*value).to_string());
        let creation = TableCreation::builder()
            .name("t".into())
            .location("s3://b/lake/t".into())
            .schema(Schema::builder().build().unwrap())
            .properties(properties.iter().map(own).collect::<HashMap<_, _>>())
            .build();
        TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
    }

    #[test]
    fn a_table_owns_what_lies_in_it_and_nothing_else() {
        let owns = |properties: &[(&str, &str)], location: &str| {
            Ownership::of(&table(properties)).may_delete(location)
        };
        assert!(owns(&[], "s3://b/lake/t/data/1.parquet"));
        assert!(!owns(&[], "s3://b/lake/t2/data/1.parquet"), "a longer name");
        assert!(!owns(&[], "s3://b/lake/other/data-1.parquet"));
        assert!(owns(&[("write.data.path", "s3://b/hot/")], "s3://b/hot/data-1.parquet"));
        assert!(!owns(&[("gc.enabled", "false")], "s3://b/lake/t/data/1.parquet"));
        let registered = [(NOT_OWNED, r#"["s3://b/lake/t/landing/"]"#)];
        assert!(!owns(&registered, "s3://b/lake/t/landing/1.parquet"));
        assert!(owns(&registered, "s3://b/lake/t/data/1.parquet"));
        assert!(!owns(&[(NOT_OWNED, "landing")], "s3://b/lake/t/data/1.parquet"), "not readable");
    }

    #[test]
    fn a_wrong_value_is_told() {
        let told = |name: &str, value: &str| wrong_property(name, value).unwrap_or_default();
        assert_eq!(told("gc.enabled", "no"), "`gc.enabled` is `true` or `false`, not `no`");
        let near = "there is no property `tarn.services.compakt.enabled`; did you mean `tarn.services.compact.enabled`?";
        assert_eq!(told("tarn.services.compakt.enabled", "true"), near);
        assert!(told("write.target-file-size-bytes", "128MB").contains("whole number"));
        assert!(told("write.target-file-size-bytes", "0").contains("at least 1"));
        for (name, value) in
            [("tarn.services.enabled", "FALSE"), ("spark.whatever", "x"), ("tarn.orphan-age-ms", "-1000")]
        {
            assert_eq!(wrong_property(name, value), None);
        }
    }

    #[test]
    fn services_follow_the_tables_own_word_first() {
        let compacts =
            |properties: &[(&str, &str)], foreign| is_enabled(&table(properties), Service::Compact, foreign);
        assert!(!compacts(&[], false) && compacts(&[], true));
        assert!(compacts(&[("tarn.services.enabled", "true")], false));
        assert!(compacts(&[("tarn.topic", "a.b.c")], false) && compacts(&[(CREATED_BY, "sql")], false));
        assert!(!compacts(&[("tarn.topic", "a.b.c"), ("tarn.services.enabled", "false")], false));
        assert!(!compacts(&[(CREATED_BY, "sql"), ("tarn.services.compact.enabled", "false")], true));
    }
}
