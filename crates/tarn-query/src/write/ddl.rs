//! `CREATE`, `ALTER`, `DROP` and `OPTIMIZE` as changes of the catalog.

use std::collections::HashMap;

use arrow::datatypes::{Field, Schema};
use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, CommentObject, CreateTable as SqlCreateTable,
    CreateTableOptions, Expr, MySQLColumnPosition, ObjectName, ObjectNamePart, ObjectType, Query,
    RenameTableNameKind, SchemaName, SqlOption, Statement, TableConstraint, Value,
};
use iceberg::spec::{Transform, UnboundPartitionSpec};
use tarn_core::TableName;
use tarn_lakehouse::service::{CREATED_BY, wrong_property};
use tarn_lakehouse::{CreateTable, TableAlteration, table_schema};

use super::columns::{defined, field, name_of};
use super::procedure::called;
use crate::QueryError;
use crate::engine::CATALOG;
use crate::sql::PartitionTerm;
use crate::tables::TableChange;

/// Old metadata files that a new table keeps; the default of 100 would keep megabytes that nobody reads.
const METADATA_FILES_MAX: &str = "10";

/// What a statement that is not about rows does.
#[derive(Debug)]
pub(crate) enum Definition {
    /// One change of the catalog.
    Change(TableChange),
    /// A table that is made with the rows of a query.
    CreateAs(Box<CreateAs>),
    /// All rows of a table go.
    Truncate(TableName),
}

/// `CREATE TABLE … AS`.
#[derive(Debug)]
pub(crate) struct CreateAs {
    pub(crate) name: TableName,
    pub(crate) if_not_exists: bool,
    pub(crate) query: Query,
    key: Vec<String>,
    terms: Vec<PartitionTerm>,
    properties: HashMap<String, String>,
}

impl CreateAs {
    /// The table for rows of these columns. Errors: a column without a name or of a type that tables do not have.
    pub(crate) fn table(&self, columns: &Schema) -> Result<CreateTable, QueryError> {
        new_table(&self.name, columns, &self.key, &self.terms, self.properties.clone())
    }
}

fn refuse(message: impl Into<String>, hint: &str) -> QueryError {
    QueryError::plan(message, None, Some(hint.to_string()))
}

/// The table of a name, `namespace` where it names none. Errors: another catalog, a name that is not one.
pub(crate) fn table_name(name: &ObjectName, namespace: &str) -> Result<TableName, QueryError> {
    let parts: Option<Vec<String>> = name
        .0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(name_of(ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect();
    match parts {
        Some(parts) => table_of_parts(&parts, namespace),
        None => Err(refuse(format!("`{name}` is not the name of a table"), "write `namespace.table`")),
    }
}

/// The table of the parts of a name. Errors: as [`table_name`].
pub(crate) fn table_of_parts(parts: &[String], namespace: &str) -> Result<TableName, QueryError> {
    let made = match parts {
        [table] => TableName::new(namespace, table),
        [namespace, table] => TableName::new(namespace, table),
        [catalog, namespace, table] if catalog == CATALOG => TableName::new(namespace, table),
        _ => {
            let message = format!("`{}` is not the name of a table", parts.join("."));
            return Err(refuse(message, "write `namespace.table`"));
        }
    };
    made.map_err(|error| refuse(error.to_string(), "use letters, digits and `_`"))
}

fn namespace_name(name: &ObjectName) -> Result<String, QueryError> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(name_of(ident)),
        _ => Err(refuse(format!("`{name}` is not the name of a namespace"), "write one name")),
    }
}

/// What a statement does; `None` for one that is not known. Beside it: the partitioning of a new table, and changes of a table
/// that the statement itself does not hold. Errors: what is not possible.
pub(crate) fn definition(
    statement: &Statement,
    (terms, alterations): (&[PartitionTerm], &[TableAlteration]),
    namespace: &str,
) -> Option<Result<Definition, QueryError>> {
    Some(match statement {
        Statement::CreateTable(create) => create_table(create, terms, namespace),
        Statement::CreateSchema { schema_name: SchemaName::Simple(name), if_not_exists, .. } => {
            namespace_name(name).map(|name| {
                Definition::Change(TableChange::CreateNamespace { name, if_not_exists: *if_not_exists })
            })
        }
        Statement::CreateDatabase { db_name, if_not_exists, .. } => namespace_name(db_name).map(|name| {
            Definition::Change(TableChange::CreateNamespace { name, if_not_exists: *if_not_exists })
        }),
        Statement::Drop { object_type, if_exists, names, cascade, purge, .. } => {
            drop_object(*object_type, *if_exists, names, *cascade, *purge, namespace)
        }
        Statement::AlterTable(alter) if !alterations.is_empty() => {
            let changes = alterations.to_vec();
            table_name(&alter.name, namespace).map(|name| {
                Definition::Change(TableChange::AlterTable { name, changes, if_exists: alter.if_exists })
            })
        }
        Statement::Comment { object_type, object_name, comment, if_exists } => {
            commented(object_type, object_name, comment.as_deref(), *if_exists, namespace)
                .map(Definition::Change)
        }
        Statement::AlterTable(alter) => alter_table(alter, namespace).map(Definition::Change),
        Statement::Truncate(truncate) => match truncate.table_names.as_slice() {
            [one] if truncate.partitions.is_none() => {
                table_name(&one.name, namespace).map(Definition::Truncate)
            }
            _ => Err(refuse("TRUNCATE empties one table", "write `TRUNCATE TABLE t`")),
        },
        Statement::Call(function) => called(function, namespace).map(Definition::Change),
        _ => return None,
    })
}

fn properties(options: &[SqlOption]) -> Result<HashMap<String, String>, QueryError> {
    let pair = |option: &SqlOption| match option {
        SqlOption::KeyValue { key, value } => {
            let value = match value {
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
                    other => other.to_string(),
                },
                other => other.to_string(),
            };
            Ok((key.value.clone(), value))
        }
        other => Err(refuse(format!("`{other}` is not a table property"), "write `'name' = 'value'`")),
    };
    options.iter().map(pair).collect()
}

fn create_table(
    create: &SqlCreateTable,
    terms: &[PartitionTerm],
    namespace: &str,
) -> Result<Definition, QueryError> {
    let name = table_name(&create.name, namespace)?;
    if create.temporary
        || create.external
        || create.or_replace
        || create.like.is_some()
        || create.clone.is_some()
    {
        return Err(refuse(
            "tables are neither temporary, external nor copies, and do not replace others",
            "write `CREATE TABLE t (...)` or `CREATE TABLE t AS SELECT ...`, and DROP TABLE first to replace one",
        ));
    }
    let options = match &create.table_options {
        CreateTableOptions::None => &[][..],
        CreateTableOptions::With(options)
        | CreateTableOptions::Options(options)
        | CreateTableOptions::Plain(options)
        | CreateTableOptions::TableProperties(options) => options,
    };
    let properties = properties(options)?;
    let (mut fields, mut key) = (Vec::<Field>::new(), Vec::new());
    for column in &create.columns {
        let column = defined(column)?;
        if column.is_key {
            key.push(column.field.name().clone());
        }
        fields.push(column.field);
    }
    for constraint in &create.constraints {
        let TableConstraint::PrimaryKey(primary) = constraint else {
            return Err(refuse(
                format!("tables have no constraint `{constraint}`"),
                "PRIMARY KEY is possible; checks of quality are rules of their own",
            ));
        };
        for column in &primary.columns {
            match &column.column.expr {
                Expr::Identifier(ident) => key.push(name_of(ident)),
                other => {
                    return Err(refuse(format!("`{other}` cannot be a key"), "name columns of the table"));
                }
            }
        }
    }
    if let Some(missing) = key.iter().find(|name| !fields.iter().any(|field| field.name() == *name))
        && create.query.is_none()
    {
        return Err(refuse(
            format!("key column `{missing}` is not one of the table"),
            "define it as a column",
        ));
    }
    let if_not_exists = create.if_not_exists;
    if let Some(query) = &create.query {
        if !fields.is_empty() {
            return Err(refuse(
                "CREATE TABLE takes columns or AS, not both",
                "name and convert columns in the query: `SELECT id, CAST(x AS INT) AS y`",
            ));
        }
        let (query, terms) = (query.as_ref().clone(), terms.to_vec());
        let made = CreateAs { name, if_not_exists, query, key, terms, properties };
        return Ok(Definition::CreateAs(Box::new(made)));
    }
    if fields.is_empty() {
        return Err(refuse("a table needs a column", "write `CREATE TABLE t (id BIGINT PRIMARY KEY, ...)`"));
    }
    let table = new_table(&name, &Schema::new(fields), &key, terms, properties)?;
    Ok(Definition::Change(TableChange::CreateTable { table: Box::new(table), if_not_exists }))
}

fn new_table(
    name: &TableName,
    columns: &Schema,
    key: &[String],
    terms: &[PartitionTerm],
    more: HashMap<String, String>,
) -> Result<CreateTable, QueryError> {
    for (at, field) in columns.fields().iter().enumerate() {
        if columns.fields()[..at].iter().any(|before| before.name() == field.name()) {
            return Err(refuse(
                format!("column `{}` is there twice", field.name()),
                "give each column its own name",
            ));
        }
    }
    let made = table_schema(&name.to_string(), columns, key);
    let (schema, mut properties) = made.map_err(|error| QueryError::from_fault(&error))?;
    properties.insert("write.metadata.previous-versions-max".into(), METADATA_FILES_MAX.into());
    properties.insert(CREATED_BY.into(), "sql".into());
    if let Some(wrong) = more.iter().find_map(|(name, value)| wrong_property(name, value)) {
        return Err(refuse(wrong, "see the guide's page about tables"));
    }
    properties.extend(more);
    let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
    for term in terms {
        let Some(id) = schema.field_by_name(&term.column).map(|field| field.id) else {
            let message = format!("table `{name}` has no column `{}` to partition by", term.column);
            return Err(QueryError::plan(message, term.position, Some("name one of its columns".into())));
        };
        let field_name = partition_name(term);
        spec = spec.add_partition_field(id, field_name, term.transform).map_err(|error| {
            QueryError::plan(
                error.message().to_string(),
                term.position,
                Some("leave it out or choose another".into()),
            )
        })?;
    }
    Ok(CreateTable {
        name: name.clone(),
        schema,
        partition_spec: (!terms.is_empty()).then(|| spec.build()),
        write_order: None,
        location: None,
        properties,
        stage: false,
    })
}

/// As Spark names it.
fn partition_name(term: &PartitionTerm) -> String {
    let suffix = match term.transform {
        Transform::Year => "_year",
        Transform::Month => "_month",
        Transform::Day => "_day",
        Transform::Hour => "_hour",
        Transform::Bucket(_) => "_bucket",
        Transform::Truncate(_) => "_trunc",
        Transform::Void => "_void",
        Transform::Identity | Transform::Unknown => "",
    };
    format!("{}{suffix}", term.column)
}

fn drop_object(
    kind: ObjectType,
    if_exists: bool,
    names: &[ObjectName],
    cascade: bool,
    purge: bool,
    namespace: &str,
) -> Result<Definition, QueryError> {
    let [name] = names else { return Err(refuse("DROP takes one name", "drop them one after the other")) };
    Ok(Definition::Change(match kind {
        ObjectType::Table => TableChange::DropTable { name: table_name(name, namespace)?, if_exists, purge },
        ObjectType::View => TableChange::DropView { name: table_name(name, namespace)?, if_exists },
        ObjectType::Schema | ObjectType::Database if !cascade => {
            TableChange::DropNamespace { name: namespace_name(name)?, if_exists }
        }
        ObjectType::Schema | ObjectType::Database => {
            return Err(refuse("a namespace with tables is not dropped at once", "drop its tables first"));
        }
        other => {
            return Err(refuse(
                format!("there is no {other} to drop"),
                "TABLE, VIEW and SCHEMA are possible",
            ));
        }
    }))
}

/// Where the comment of a table is kept, as Spark and Trino keep it.
const COMMENT: &str = "comment";

fn commented(
    kind: &CommentObject,
    name: &ObjectName,
    comment: Option<&str>,
    if_exists: bool,
    namespace: &str,
) -> Result<TableChange, QueryError> {
    let (name, change) = match kind {
        CommentObject::Table => {
            let change = match comment.filter(|text| !text.is_empty()) {
                Some(text) => TableAlteration::SetProperties(HashMap::from([(COMMENT.into(), text.into())])),
                None => TableAlteration::RemoveProperties(vec![COMMENT.into()]),
            };
            (table_name(name, namespace)?, change)
        }
        CommentObject::Column => {
            let (Some(ObjectNamePart::Identifier(column)), table @ [_, ..]) =
                (name.0.last(), &name.0[..name.0.len() - 1])
            else {
                return Err(refuse(format!("`{name}` is not the name of a column"), "write `table.column`"));
            };
            let table = table_name(&ObjectName(table.to_vec()), namespace)?;
            let change = TableAlteration::CommentColumn {
                name: name_of(column),
                comment: comment.map(str::to_string),
            };
            (table, change)
        }
        CommentObject::View => {
            let (name, comment) = (table_name(name, namespace)?, comment.map(str::to_string));
            return Ok(TableChange::CommentView { name, comment, if_exists });
        }
        other => return Err(refuse(format!("{other} has no comment"), "comment on TABLE, VIEW or COLUMN")),
    };
    Ok(TableChange::AlterTable { name, changes: vec![change], if_exists })
}

fn alter_table(alter: &AlterTable, namespace: &str) -> Result<TableChange, QueryError> {
    let name = table_name(&alter.name, namespace)?;
    if let [AlterTableOperation::RenameTable { table_name: to }] = alter.operations.as_slice() {
        let (RenameTableNameKind::As(to) | RenameTableNameKind::To(to)) = to;
        let to = table_name(to, name.namespace())?;
        return Ok(TableChange::RenameTable { from: name, to });
    }
    let mut changes = Vec::new();
    for operation in &alter.operations {
        alteration(operation, &mut changes)?;
    }
    Ok(TableChange::AlterTable { name, changes, if_exists: alter.if_exists })
}

fn alteration(operation: &AlterTableOperation, changes: &mut Vec<TableAlteration>) -> Result<(), QueryError> {
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, column_position, .. } => {
            let column = defined(column_def)?;
            if column.is_key {
                return Err(refuse(
                    "the key of a table stays as it was made",
                    "add the column without PRIMARY KEY",
                ));
            }
            let after = column_position.as_ref().map(|place| match place {
                MySQLColumnPosition::First => String::new(),
                MySQLColumnPosition::After(before) => name_of(before),
            });
            changes.push(TableAlteration::AddColumn {
                field: column.field,
                if_not_exists: *if_not_exists,
                after,
            });
        }
        AlterTableOperation::DropColumn { column_names, if_exists, .. } => {
            changes.extend(
                column_names
                    .iter()
                    .map(|name| TableAlteration::DropColumn { name: name_of(name), if_exists: *if_exists }),
            );
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let (from, to) = (name_of(old_column_name), name_of(new_column_name));
            changes.push(TableAlteration::RenameColumn { from, to });
        }
        AlterTableOperation::AlterColumn { column_name, op } => changes.push(match op {
            AlterColumnOperation::DropNotNull => TableAlteration::DropNotNull { name: name_of(column_name) },
            AlterColumnOperation::SetNotNull => TableAlteration::SetNotNull { name: name_of(column_name) },
            AlterColumnOperation::SetDataType { data_type, using: None, .. } => {
                TableAlteration::WidenColumn { field: field(column_name, data_type)? }
            }
            other => {
                return Err(refuse(
                    format!("a column cannot be changed by `{other}`"),
                    "TYPE, SET NOT NULL, DROP NOT NULL, FIRST and AFTER are possible",
                ));
            }
        }),
        AlterTableOperation::SetTblProperties { table_properties } => {
            changes.push(TableAlteration::SetProperties(properties(table_properties)?));
        }
        AlterTableOperation::SetOptionsParens { options } => {
            changes.push(TableAlteration::SetProperties(properties(options)?));
        }
        other => {
            return Err(refuse(
                format!("tables cannot be changed by `{other}`"),
                "possible are ADD, DROP, RENAME and ALTER COLUMN, ADD, DROP and REPLACE PARTITION FIELD, SET PARTITIONED BY, RENAME TO, and \
                 SET ('property' = 'value')",
            ));
        }
    }
    Ok(())
}
