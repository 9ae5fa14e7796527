//! How rows are spread over partitions, and its change without rewriting files (Iceberg specification, "Partition
//! Evolution"): rows that come from then on are partitioned otherwise, each file keeps the specification it was written
//! with, and a field that comes back keeps its number.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use iceberg::spec::{
    NestedField, Schema, TableMetadata, Transform, Type, UnboundPartitionField, UnboundPartitionSpec,
};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Alter;
use crate::error::LakehouseError;

/// How rows are partitioned by a column, such as `day(created_at)`, `bucket(16, id)`, `truncate(4, zip)` or `region`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartitionTerm {
    /// The column as the table names it; of one within a struct, the path with points.
    pub column: String,
    /// What is taken of its values.
    pub transform: Transform,
    /// Name of the partition field; one that tells column and transform by default.
    pub name: Option<String>,
}

/// One change of the partitioning.
#[derive(Clone, Debug, PartialEq)]
pub enum PartitionChange {
    /// A field comes.
    Add(PartitionTerm),
    /// A field goes, told by its column and transform; a lone word is its name, or else its column.
    Drop(PartitionTerm),
    /// A field takes the place of another.
    Replace {
        /// Told as in [`PartitionChange::Drop`].
        field: PartitionTerm,
        /// What takes its place.
        with: PartitionTerm,
    },
    /// These are the fields from now on.
    Set(Vec<PartitionTerm>),
}

impl PartitionTerm {
    /// The name that Iceberg's own writers would give the field.
    pub fn field_name(&self) -> String {
        let column = self.column.replace('.', "_");
        match (&self.name, self.transform) {
            (Some(name), _) => name.clone(),
            (None, Transform::Identity | Transform::Unknown) => self.column.clone(),
            (None, Transform::Year) => format!("{column}_year"),
            (None, Transform::Month) => format!("{column}_month"),
            (None, Transform::Day) => format!("{column}_day"),
            (None, Transform::Hour) => format!("{column}_hour"),
            (None, Transform::Bucket(n)) => format!("{column}_bucket_{n}"),
            (None, Transform::Truncate(n)) => format!("{column}_trunc_{n}"),
            (None, Transform::Void) => format!("{column}_void"),
        }
    }

    /// The transform of this name, with its number where it takes one.
    pub fn transform_named(name: &str, number: Option<u32>) -> Option<Transform> {
        Some(match (name.to_lowercase().as_str(), number) {
            ("identity", None) => Transform::Identity,
            ("year" | "years", None) => Transform::Year,
            ("month" | "months", None) => Transform::Month,
            ("day" | "days" | "date", None) => Transform::Day,
            ("hour" | "hours" | "date_hour", None) => Transform::Hour,
            ("void", None) => Transform::Void,
            ("bucket", Some(n)) if n > 0 => Transform::Bucket(n),
            ("truncate", Some(n)) if n > 0 => Transform::Truncate(n),
            _ => return None,
        })
    }
}

impl fmt::Display for PartitionTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transform {
            Transform::Identity => f.write_str(&self.column)?,
            Transform::Bucket(n) => write!(f, "bucket({n}, {})", self.column)?,
            Transform::Truncate(n) => write!(f, "truncate({n}, {})", self.column)?,
            other => write!(f, "{other}({})", self.column)?,
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " AS {name}"))
    }
}

/// What a term looks like in a resource.
const PATTERN: &str = r"^([^(), ]+|(year|month|day|hour|identity|void)s?\([^(), ]+\)|(bucket|truncate)\([1-9][0-9]*, ?[^(), ]+\))( AS [^(), ]+)?$";

impl JsonSchema for PartitionTerm {
    fn schema_name() -> Cow<'static, str> {
        "PartitionTerm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "A column, or `year(c)`, `month(c)`, `day(c)`, `hour(c)`, `bucket(n, c)`, `truncate(n, c)` of one, \
                            with ` AS name` behind it for a name of its own."
        })
    }
}

impl From<PartitionTerm> for String {
    fn from(term: PartitionTerm) -> Self {
        term.to_string()
    }
}

impl TryFrom<String> for PartitionTerm {
    type Error = LakehouseError;

    fn try_from(text: String) -> Result<Self, LakehouseError> {
        text.parse()
    }
}

impl FromStr for PartitionTerm {
    type Err = LakehouseError;

    fn from_str(text: &str) -> Result<Self, LakehouseError> {
        let wrong = || LakehouseError::Invalid {
            what: format!(
                "`{text}` is not a way to partition rows; write a column, or `year(c)`, `month(c)`, `day(c)`, `hour(c)`, \
                 `bucket(n, c)`, `truncate(n, c)` of one"
            ),
        };
        let (body, name) = match text.split_once(" AS ").or_else(|| text.split_once(" as ")) {
            Some((body, name)) => (body.trim(), Some(name.trim().to_string())),
            None => (text.trim(), None),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains(['(', ')', ',', ' ']);
        let Some((function, rest)) = body.split_once('(') else {
            let known = is_name(body) && name.as_deref().is_none_or(is_name);
            return known
                .then(|| Self { column: body.into(), transform: Transform::Identity, name })
                .ok_or_else(wrong);
        };
        let inner = rest.strip_suffix(')').ok_or_else(wrong)?;
        let (mut column, mut number) = (None, None);
        for argument in inner.split(',').map(str::trim) {
            match argument.parse::<u32>() {
                Ok(n) if number.is_none() => number = Some(n),
                _ if column.is_none() && is_name(argument) => column = Some(argument.to_string()),
                _ => return Err(wrong()),
            }
        }
        let transform = Self::transform_named(function.trim(), number).ok_or_else(wrong)?;
        let column = column.ok_or_else(wrong)?;
        name.as_deref().is_none_or(is_name).then_some(Self { column, transform, name }).ok_or_else(wrong)
    }
}

/// A field by its name; of one within structs, by its path with points.
pub(super) fn field_at<'a>(fields: &'a [NestedField], path: &str) -> Option<&'a NestedField> {
    fn inner<'a>(field: &'a NestedField, rest: &str) -> Option<&'a NestedField> {
        let Type::Struct(of) = field.field_type.as_ref() else { return None };
        step(of.fields().iter().map(AsRef::as_ref), rest)
    }
    fn step<'a>(fields: impl Iterator<Item = &'a NestedField>, path: &str) -> Option<&'a NestedField> {
        for field in fields {
            match path.strip_prefix(field.name.as_str()) {
                Some("") => return Some(field),
                Some(rest) => {
                    if let Some(found) = rest.strip_prefix('.').and_then(|rest| inner(field, rest)) {
                        return Some(found);
                    }
                }
                None => {}
            }
        }
        None
    }
    step(fields.iter(), path)
}

impl Alter<'_> {
    fn source_of(&self, term: &PartitionTerm) -> Result<i32, LakehouseError> {
        let found = field_at(&self.fields, &term.column).map(|field| field.id);
        found.ok_or_else(|| {
            let near = tarn_core::nearest(&term.column, self.fields.iter().map(|field| field.name.as_str()));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            self.refuse(format!("it has no column `{}` to partition by{near}", term.column))
        })
    }

    /// A new field. Errors: no such column; a name that stands for something else in an earlier partitioning, which readers
    /// of all files could not tell apart.
    fn partition_field(&self, term: &PartitionTerm) -> Result<UnboundPartitionField, LakehouseError> {
        let (source_id, name) = (self.source_of(term)?, term.field_name());
        let earlier = self.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let is_other = |source: i32, transform: Transform| source != source_id || transform != term.transform;
        if earlier.into_iter().any(|field| field.name == name && is_other(field.source_id, field.transform)) {
            return Err(self.refuse(format!(
                "an earlier partitioning of it has another field `{name}`; give this one a name of its own, such as \
                 `{} AS {name}_2`",
                PartitionTerm { name: None, ..term.clone() }
            )));
        }
        Ok(UnboundPartitionField { source_id, field_id: None, name, transform: term.transform })
    }

    fn partition_place(&self, term: &PartitionTerm) -> Result<usize, LakehouseError> {
        let is_word = term.transform == Transform::Identity;
        let by_name = self.partition.iter().position(|field| is_word && field.name == term.column);
        let source = field_at(&self.fields, &term.column).map(|field| field.id);
        let by_term = || {
            let is = |field: &UnboundPartitionField| {
                Some(field.source_id) == source && field.transform == term.transform
            };
            self.partition.iter().position(is)
        };
        by_name.or_else(by_term).ok_or_else(|| {
            let known: Vec<String> = self.partition.iter().map(|field| format!("`{}`", field.name)).collect();
            let known = match known.is_empty() {
                true => "it is not partitioned".to_string(),
                false => format!("it has {}", known.join(", ")),
            };
            self.refuse(format!("it has no partition field `{term}`; {known}"))
        })
    }

    pub(super) fn repartition(&mut self, change: &PartitionChange) -> Result<(), LakehouseError> {
        match change {
            PartitionChange::Add(term) => {
                let field = self.partition_field(term)?;
                let is_there = |known: &UnboundPartitionField| {
                    known.source_id == field.source_id && known.transform == field.transform
                };
                if let Some(known) = self.partition.iter().find(|known| is_there(known)) {
                    let name = known.name.clone();
                    return Err(self.refuse(format!("it is partitioned by `{term}` already, as `{name}`")));
                }
                self.partition.push(field);
            }
            PartitionChange::Drop(term) => {
                let at = self.partition_place(term)?;
                self.drop_partition(at);
            }
            PartitionChange::Replace { field, with } => {
                let at = self.partition_place(field)?;
                self.drop_partition(at);
                let with = self.partition_field(with)?;
                self.partition.push(with);
            }
            PartitionChange::Set(terms) => {
                let wanted: Result<Vec<_>, _> = terms.iter().map(|term| self.named_as_before(term)).collect();
                let wanted = wanted?;
                let stays = |field: &UnboundPartitionField| {
                    let same = |new: &UnboundPartitionField| {
                        new.source_id == field.source_id && new.transform == field.transform
                    };
                    wanted.iter().any(same)
                };
                for at in (0..self.partition.len()).rev() {
                    if !stays(&self.partition[at]) {
                        self.drop_partition(at);
                    }
                }
                for field in wanted {
                    let same = |known: &UnboundPartitionField| {
                        known.source_id == field.source_id && known.transform == field.transform
                    };
                    if !self.partition.iter().any(same) {
                        self.partition.push(field);
                    }
                }
            }
        }
        Ok(())
    }

    /// A field of a whole list: one that was there in an earlier partitioning keeps its name.
    fn named_as_before(&self, term: &PartitionTerm) -> Result<UnboundPartitionField, LakehouseError> {
        let source = self.source_of(term)?;
        let earlier = self.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let known =
            earlier.into_iter().find(|field| field.source_id == source && field.transform == term.transform);
        match (known, &term.name) {
            (Some(known), None) => {
                self.partition_field(&PartitionTerm { name: Some(known.name.clone()), ..term.clone() })
            }
            _ => self.partition_field(term),
        }
    }

    /// In tables of format 1 the place of a field stays, without values.
    fn drop_partition(&mut self, at: usize) {
        if self.metadata.format_version() > iceberg::spec::FormatVersion::V1 {
            self.partition.remove(at);
            return;
        }
        self.partition[at].transform = Transform::Void;
    }

    /// The new specification, where it is another one.
    pub(super) fn changed_spec(&self) -> Result<Option<UnboundPartitionSpec>, LakehouseError> {
        let before = self.metadata.default_partition_spec().as_ref().clone().into_unbound();
        if before.fields() == self.partition.as_slice() {
            return Ok(None);
        }
        let spec = UnboundPartitionSpec::builder().add_partition_fields(self.partition.iter().cloned());
        spec.map(|spec| Some(spec.build())).map_err(|error| self.refuse(error.message().to_string()))
    }

    /// Specifications other than the current one by which a column decides the partition of files that some snapshot has.
    /// Those that no snapshot needs go.
    pub(super) fn release_column(&mut self, name: &str, id: i32) -> Result<(), LakehouseError> {
        let current = self.metadata.default_partition_spec_id();
        let of_column = |spec: &&iceberg::spec::PartitionSpecRef| {
            spec.spec_id() != current && spec.fields().iter().any(|field| field.source_id == id)
        };
        let specs: Vec<i32> =
            self.metadata.partition_specs_iter().filter(of_column).map(|spec| spec.spec_id()).collect();
        if specs.iter().any(|spec| !self.unused_specs.contains(spec)) {
            return Err(self.refuse(format!(
                "column `{name}` decides the partition of files that were written before the partitioning was changed; \
                 rewrite them by OPTIMIZE and let the snapshots with them expire, then drop it"
            )));
        }
        self.gone_specs.extend(specs);
        Ok(())
    }
}

/// The partitioning of a table as terms.
pub fn partition_terms(metadata: &TableMetadata) -> Vec<PartitionTerm> {
    let schema = metadata.current_schema();
    let term = |field: &iceberg::spec::PartitionField| {
        let column = schema.name_by_field_id(field.source_id)?.to_string();
        Some(PartitionTerm { column, transform: field.transform, name: Some(field.name.clone()) })
    };
    metadata.default_partition_spec().fields().iter().filter_map(term).collect()
}

/// The partitioning of a new table. Errors: `Unmappable`, a column that it has not; `Invalid`, one that cannot be taken so.
pub(crate) fn new_spec(
    table: &str,
    schema: &Schema,
    terms: &[PartitionTerm],
) -> Result<UnboundPartitionSpec, LakehouseError> {
    let field = |term: &PartitionTerm| {
        let source_id = schema.field_id_by_name(&term.column).ok_or_else(|| LakehouseError::Unmappable {
            table: table.into(),
            column: term.column.clone(),
            what: "the table is to be partitioned by it, but its source has no such column".into(),
        })?;
        Ok(UnboundPartitionField {
            source_id,
            field_id: None,
            name: term.field_name(),
            transform: term.transform,
        })
    };
    let fields = terms.iter().map(field).collect::<Result<Vec<_>, LakehouseError>>()?;
    let spec = UnboundPartitionSpec::builder().with_spec_id(0).add_partition_fields(fields);
    let spec = spec.map(|spec| spec.build()).and_then(|spec| spec.clone().bind(schema.clone()).map(|_| spec));
    spec.map_err(|error| LakehouseError::Invalid {
        what: format!("table `{table}` cannot be partitioned so: {}", error.message()),
    })
}

/// Numbers of specifications that a table has and `used` does not name.
pub(crate) fn unused(metadata: &TableMetadata, used: &HashSet<i32>) -> HashSet<i32> {
    let current = metadata.default_partition_spec_id();
    let all = metadata.partition_specs_iter().map(|spec| spec.spec_id());
    all.filter(|spec| *spec != current && !used.contains(spec)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_read_as_it_is_written() {
        for text in [
            "region",
            "address.zip",
            "bucket(16, id)",
            "truncate(4, name) AS head",
            "day(at)",
            "hour(at) AS at_h",
            "void(x)",
        ] {
            assert_eq!(text.parse::<PartitionTerm>().unwrap().to_string(), text);
        }
        assert_eq!("bucket(id, 16)".parse::<PartitionTerm>().unwrap().to_string(), "bucket(16, id)");
        assert_eq!("days( at )".parse::<PartitionTerm>().unwrap().to_string(), "day(at)");
        for wrong in [
            "",
            "week(at)",
            "bucket(id)",
            "bucket(0, id)",
            "day(at",
            "day()",
            "day(a, b)",
            "a b",
            "day(2, at)",
        ] {
            assert!(wrong.parse::<PartitionTerm>().is_err(), "{wrong}");
        }
    }
}
