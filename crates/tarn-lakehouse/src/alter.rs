//! Changes of a table's columns by a person: what the Iceberg specification ("Schema Evolution") allows without rewriting
//! files. Columns keep their field ids, so files written before stay readable.

mod nested;
mod partitioning;
mod required;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema as ArrowSchema};
use iceberg::spec::{DEFAULT_SCHEMA_NAME_MAPPING, NestedField, Schema, TableMetadata, UnboundPartitionField};
use iceberg::{TableRequirement, TableUpdate};

use crate::error::LakehouseError;
use crate::layout::name_mapping;
use crate::service::policy::wrong_property;
use crate::sort::{OrderColumn, sort_order};
use crate::types::{KEY_PROPERTY, key_of, new_field, widened};

use nested::{ids_of, neighbour, within};
use partitioning::field_at;
pub use partitioning::{PartitionChange, PartitionTerm, partition_terms};
pub(crate) use partitioning::{new_spec, unused as unused_specs};

/// One change of a table. Columns within structs, lists and maps are named by their paths, such as `address.zip`,
/// `points.element.x` or `scores.value.n`.
#[derive(Clone, Debug)]
pub enum TableAlteration {
    /// A column comes, null in the rows that are there.
    AddColumn {
        /// Its name and Arrow type.
        field: Field,
        /// Nothing happens where a column of this name exists.
        if_not_exists: bool,
        /// Behind this column, or first for an empty name; last without.
        after: Option<String>,
    },
    /// A column goes.
    DropColumn {
        /// Its name.
        name: String,
        /// Nothing happens where it does not exist.
        if_exists: bool,
    },
    /// A column takes another name.
    RenameColumn {
        /// Its name until now.
        from: String,
        /// Its name from now on.
        to: String,
    },
    /// A column takes a wider type.
    WidenColumn {
        /// The column with its new Arrow type.
        field: Field,
    },
    /// A column is never null from now on; no row may have a null there.
    SetNotNull {
        /// Its name.
        name: String,
    },
    /// A column takes another place among its neighbours.
    MoveColumn {
        /// Its name.
        name: String,
        /// Behind this column, or first for an empty name.
        after: String,
    },
    /// A column may be null from now on.
    DropNotNull {
        /// Its name.
        name: String,
    },
    /// Rows come in this order in files from now on; none without columns.
    SetOrder(Vec<OrderColumn>),
    /// Rows that come from now on are partitioned otherwise.
    Partition(PartitionChange),
    /// What a column means is written down, or no longer.
    CommentColumn {
        /// Its name.
        name: String,
        /// The text.
        comment: Option<String>,
    },
    /// Table properties are set.
    SetProperties(HashMap<String, String>),
    /// Table properties are removed.
    RemoveProperties(Vec<String>),
}

/// The commit that changes a table so. `unused_specs`: numbers of partition specifications that no file of a snapshot has.
/// Errors: `Invalid` with what stands in the way.
pub fn altered(
    table: &str,
    metadata: &TableMetadata,
    changes: &[TableAlteration],
    unused_specs: &HashSet<i32>,
) -> Result<(Vec<TableRequirement>, Vec<TableUpdate>), LakehouseError> {
    let schema = metadata.current_schema();
    let mut alter = Alter {
        table,
        metadata,
        fields: schema.as_struct().fields().iter().map(|field| field.as_ref().clone()).collect(),
        last_id: metadata.last_column_id(),
        key: key_of(metadata),
        partition: metadata.default_partition_spec().as_ref().clone().into_unbound().fields().to_vec(),
        unused_specs,
        gone_specs: BTreeSet::new(),
        is_changed: false,
        updates: Vec::new(),
    };
    for change in changes {
        alter.apply(change)?;
    }
    let requirements = vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
    ];
    Ok((requirements, alter.finish()?))
}

struct Alter<'a> {
    table: &'a str,
    metadata: &'a TableMetadata,
    fields: Vec<NestedField>,
    last_id: i32,
    key: Vec<String>,
    /// Fields of the partitioning.
    partition: Vec<UnboundPartitionField>,
    unused_specs: &'a HashSet<i32>,
    gone_specs: BTreeSet<i32>,
    is_changed: bool,
    updates: Vec<TableUpdate>,
}

impl Alter<'_> {
    fn refuse(&self, what: String) -> LakehouseError {
        LakehouseError::Invalid { what: format!("table `{}` cannot be changed: {what}", self.table) }
    }

    fn find(&self, name: &str) -> Result<usize, LakehouseError> {
        self.fields.iter().position(|field| field.name == name).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> LakehouseError {
        let near = tarn_core::nearest(name, self.fields.iter().map(|field| field.name.as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        self.refuse(format!("it has no column `{name}`{near}"))
    }

    /// Edits the fields among which a path ends. Errors: it leads nowhere; what the edit says.
    fn edit<R>(
        &mut self,
        path: &str,
        edit: &mut dyn FnMut(&mut Vec<NestedField>, &str) -> Result<R, String>,
    ) -> Result<R, LakehouseError> {
        match within(&mut self.fields, path, edit) {
            None => Err(self.unknown(path)),
            Some(done) => done.map_err(|what| self.refuse(what)),
        }
    }

    fn apply(&mut self, change: &TableAlteration) -> Result<(), LakehouseError> {
        match change {
            TableAlteration::AddColumn { field, if_not_exists, after } => {
                self.add(field, *if_not_exists, after.as_deref())
            }
            TableAlteration::DropColumn { name, if_exists } => self.drop_column(name, *if_exists),
            TableAlteration::RenameColumn { from, to } => self.rename(from, to),
            TableAlteration::WidenColumn { field } => self.widen(field),
            TableAlteration::SetNotNull { name } => {
                let at = self.find(name)?;
                self.is_changed |= !self.fields[at].required;
                self.fields[at].required = true;
                Ok(())
            }
            TableAlteration::MoveColumn { name, after } => self.move_column(name, after),
            TableAlteration::DropNotNull { name } => {
                if self.key.contains(name) {
                    return Err(
                        self.refuse(format!("column `{name}` is part of the key, which is never null"))
                    );
                }
                self.is_changed |= self.edit(name, &mut |fields, own| {
                    let at = place_of(fields, own, name)?;
                    Ok(std::mem::replace(&mut fields[at].required, false))
                })?;
                Ok(())
            }
            TableAlteration::SetOrder(columns) => {
                let order = sort_order(self.table, self.metadata.current_schema(), columns)?;
                self.updates.push(TableUpdate::AddSortOrder { sort_order: order });
                self.updates.push(TableUpdate::SetDefaultSortOrder { sort_order_id: -1 });
                Ok(())
            }
            TableAlteration::Partition(change) => self.repartition(change),
            TableAlteration::CommentColumn { name, comment } => {
                let at = self.find(name)?;
                let comment = comment.clone().filter(|text| !text.is_empty());
                self.is_changed |= self.fields[at].doc != comment;
                self.fields[at].doc = comment;
                Ok(())
            }
            TableAlteration::SetProperties(updates) => {
                let wrong = updates.iter().find_map(|(name, value)| wrong_property(name, value));
                if let Some(wrong) = wrong {
                    return Err(self.refuse(wrong));
                }
                self.updates.push(TableUpdate::SetProperties { updates: updates.clone() });
                Ok(())
            }
            TableAlteration::RemoveProperties(removals) => {
                self.updates.push(TableUpdate::RemoveProperties { removals: removals.clone() });
                Ok(())
            }
        }
    }

    fn add(&mut self, field: &Field, if_not_exists: bool, after: Option<&str>) -> Result<(), LakehouseError> {
        let path = field.name().clone();
        let exists = format!("it has a column `{path}` already");
        let is_there = |fields: &[NestedField], own: &str| fields.iter().any(|known| known.name == own);
        if self.edit(&path, &mut |fields, own| Ok(is_there(fields, own)))? {
            return if if_not_exists { Ok(()) } else { Err(self.refuse(exists)) };
        }
        if !field.is_nullable() {
            return Err(self.refuse(format!(
                "the rows that are there have no value for `{path}`; add it without NOT NULL"
            )));
        }
        let mut last_id = self.last_id;
        let made = new_field(self.table, field, &mut last_id)?;
        self.edit(&path, &mut |fields, own| {
            let at = match after {
                None => fields.len(),
                Some("") => 0,
                Some(before) => place_of(fields, neighbour(&path, before), before)? + 1,
            };
            fields.insert(at, NestedField { name: own.to_string(), ..made.clone() });
            Ok(())
        })?;
        self.last_id = last_id;
        self.is_changed = true;
        Ok(())
    }

    fn drop_column(&mut self, path: &str, if_exists: bool) -> Result<(), LakehouseError> {
        let ids = match self.edit(path, &mut |fields, own| {
            let at = place_of(fields, own, path)?;
            let is_only = fields.len() == 1;
            if is_only { Err(format!("`{path}` is the only column there")) } else { Ok(ids_of(&fields[at])) }
        }) {
            Ok(ids) => ids,
            Err(_) if if_exists && field_at(&self.fields, path).is_none() => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.key.iter().any(|key| key == path) {
            return Err(self.refuse(format!("column `{path}` is part of its key")));
        }
        if let Some(field) = self.partition.iter().find(|field| ids.contains(&field.source_id)) {
            let field = field.name.clone();
            return Err(self.refuse(format!(
                "column `{path}` decides the partition of its rows; `ALTER TABLE ... DROP PARTITION FIELD {field}` first"
            )));
        }
        for id in &ids {
            self.release_column(path, *id)?;
        }
        if self.metadata.default_sort_order().fields.iter().any(|field| ids.contains(&field.source_id)) {
            return Err(self.refuse(format!("its rows are sorted by column `{path}`")));
        }
        self.edit(path, &mut |fields, own| {
            fields.retain(|field| field.name != own);
            Ok(())
        })?;
        self.is_changed = true;
        Ok(())
    }

    fn move_column(&mut self, path: &str, after: &str) -> Result<(), LakehouseError> {
        let is_moved = self.edit(path, &mut |fields, own| {
            let from = place_of(fields, own, path)?;
            if !after.is_empty() && neighbour(path, after) == own {
                return Err(format!("`{path}` cannot stand behind itself"));
            }
            let to = match after {
                "" => 0,
                before => {
                    let at = place_of(fields, neighbour(path, before), before)?;
                    // The place that becomes free is one less before it.
                    if at > from { at } else { at + 1 }
                }
            };
            let field = fields.remove(from);
            fields.insert(to, field);
            Ok(from != to)
        })?;
        self.is_changed |= is_moved;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), LakehouseError> {
        let new_name = neighbour(from, to).to_string();
        let is_renamed = self.edit(from, &mut |fields, own| {
            let at = place_of(fields, own, from)?;
            if own != new_name && fields.iter().any(|field| field.name == new_name) {
                return Err(format!("it has a column `{new_name}` already"));
            }
            fields[at].name.clone_from(&new_name);
            Ok(own != new_name)
        })?;
        self.is_changed |= is_renamed;
        if let Some(key) = self.key.iter_mut().find(|key| *key == from) {
            key.clone_from(&new_name);
            if self.metadata.properties().contains_key(KEY_PROPERTY) {
                let text = serde_json::json!(self.key).to_string();
                let updates = HashMap::from([(KEY_PROPERTY.to_string(), text)]);
                self.updates.push(TableUpdate::SetProperties { updates });
            }
        }
        Ok(())
    }

    fn widen(&mut self, field: &Field) -> Result<(), LakehouseError> {
        let wanted = *new_field(self.table, field, &mut 0)?.field_type;
        let path = field.name();
        let is_wider = self.edit(path, &mut |fields, own| {
            let at = place_of(fields, own, path)?;
            let known = fields[at].field_type.as_ref();
            if *known == wanted {
                return Ok(false);
            }
            let wider = widened(known, &wanted).ok_or_else(|| {
                format!(
                    "column `{path}` is {known}, which cannot become {wanted}; possible are int to long, float to double, \
                     and decimals of more digits"
                )
            })?;
            *fields[at].field_type = wider;
            Ok(true)
        })?;
        self.is_changed |= is_wider;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<TableUpdate>, LakehouseError> {
        let spec = self.changed_spec()?;
        let mut updates = Vec::new();
        if !self.gone_specs.is_empty() {
            let spec_ids = self.gone_specs.iter().copied().collect();
            updates.push(TableUpdate::RemovePartitionSpecs { spec_ids });
        }
        if self.is_changed {
            let schema = self.schema()?;
            // Files without ids find their columns by the names that these had.
            if let Some(known) = self.metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING) {
                let mapping = name_mapping(schema.as_struct().fields(), Some(known));
                let updates = HashMap::from([(DEFAULT_SCHEMA_NAME_MAPPING.to_string(), mapping)]);
                self.updates.push(TableUpdate::SetProperties { updates });
            }
            updates.push(TableUpdate::AddSchema { schema });
            updates.push(TableUpdate::SetCurrentSchema { schema_id: -1 });
        }
        updates.append(&mut self.updates);
        if let Some(spec) = spec {
            updates.push(TableUpdate::AddSpec { spec });
            updates.push(TableUpdate::SetDefaultSpec { spec_id: -1 });
        }
        Ok(updates)
    }

    fn schema(&mut self) -> Result<Schema, LakehouseError> {
        let current = self.metadata.current_schema();
        let fields = std::mem::take(&mut self.fields);
        Schema::builder()
            .with_schema_id(current.schema_id() + 1)
            .with_fields(fields.into_iter().map(Arc::new).collect::<Vec<_>>())
            .with_identifier_field_ids(current.identifier_field_ids())
            .build()
            .map_err(|error| LakehouseError::Invalid { what: error.message().to_string() })
    }
}

/// The place of a field among its neighbours. `path`: how it was named. Errors: there is none.
fn place_of(fields: &[NestedField], name: &str, path: &str) -> Result<usize, String> {
    fields.iter().position(|field| field.name == name).ok_or_else(|| {
        let near = tarn_core::nearest(name, fields.iter().map(|field| field.name.as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("it has no column `{path}`{near}")
    })
}

/// The columns of a new table as a statement names them: those of `columns`, required where they are not nullable, and
/// the table properties that go with the key. Errors: `Unmappable`, a key column that is not there.
pub fn table_schema(
    table: &str,
    columns: &ArrowSchema,
    key: &[String],
) -> Result<(Schema, HashMap<String, String>), LakehouseError> {
    let made = crate::types::new_schema(table, columns, key)?;
    let required = |name: &str| columns.field_with_name(name).is_ok_and(|field| !field.is_nullable());
    let fields = made.schema.as_struct().fields().iter().map(|field| {
        let required = field.required || required(&field.name);
        Arc::new(NestedField { required, ..field.as_ref().clone() })
    });
    let schema = Schema::builder()
        .with_fields(fields.collect::<Vec<_>>())
        .with_identifier_field_ids(made.schema.identifier_field_ids())
        .build()
        .map_err(|error| LakehouseError::Invalid { what: error.message().to_string() })?;
    let mut properties = made.properties;
    if key.is_empty() {
        properties.remove(KEY_PROPERTY);
    }
    properties.remove(crate::types::COLUMNS_PROPERTY);
    Ok((schema, properties))
}
