//! Primary keys and comments in the emulated system catalog: `pg_index`, `pg_constraint`, `pg_description`, and the
//! index of each key in `pg_class`. The emulation has none of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::Int16Builder;
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int16Array, Int32Array, ListBuilder, RecordBatch, StringArray,
    UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;

use super::attributes::{Attributes, numbers};

/// Numbers of indexes and constraints: that of their table and this.
const INDEXES_FROM: i32 = 1_000_000_000;
const CONSTRAINTS_FROM: i32 = 1_500_000_000;
/// The number of `btree` in `pg_am`.
const BTREE: i32 = 403;
/// Numbers of `pg_class` and `pg_constraint` in `pg_class`.
pub(super) const PG_CLASS: i32 = 1259;
/// Where the comment of a table is kept, as Spark and Trino keep it.
pub(super) const COMMENT: &str = "comment";

/// Which of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Classes,
    Indexes,
    Constraints,
    Descriptions,
}

impl About {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "pg_class" => Self::Classes,
            "pg_index" => Self::Indexes,
            "pg_constraint" => Self::Constraints,
            "pg_description" => Self::Descriptions,
            _ => return None,
        })
    }

    /// The table over what is known of columns.
    pub(super) fn table(self, attributes: Attributes) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let schema = match self {
            Self::Classes => Arc::clone(attributes.classes.schema()),
            Self::Indexes => index_schema(),
            Self::Constraints => constraint_schema(),
            Self::Descriptions => description_schema(),
        };
        let keys = Keys { about: self, schema: Arc::clone(&schema), attributes };
        Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(keys)])?))
    }
}

#[derive(Clone)]
struct Keys {
    about: About,
    schema: SchemaRef,
    attributes: Attributes,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("about", &self.about).finish_non_exhaustive()
    }
}

impl PartitionStream for Keys {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let this = self.clone();
        let rows = futures::stream::once(async move { this.rows(task).await });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// What is to be told about a table beside its columns.
#[derive(Debug)]
pub(super) struct Told {
    number: i32,
    namespace: String,
    name: String,
    /// Names and numbers of its key columns.
    key: Vec<(String, i16)>,
    /// By number of the column; 0 is the table.
    comments: Vec<(i32, String)>,
}

impl Told {
    fn constraint(&self) -> String {
        format!("{}_pkey", self.name)
    }

    fn columns(&self) -> String {
        self.key.iter().map(|(name, _)| shown(name)).collect::<Vec<_>>().join(", ")
    }
}

/// A name as SQL needs it.
fn shown(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

impl Attributes {
    /// Keys and comments of all tables.
    pub(super) async fn told(&self, task: Arc<TaskContext>) -> Result<Vec<Told>, DataFusionError> {
        let mut all = Vec::new();
        for (number, name) in self.numbers(task).await? {
            let view = self.tables.view(&self.ctx, &name).await.map_err(super::catalog::external)?;
            let Some(view) = view else { continue };
            let names: Vec<&str> = view.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let number_of = |column: &str| {
                let at = names.iter().position(|name| *name == column)?;
                i16::try_from(at + 1).ok()
            };
            let key = view.key();
            let key = key.iter().filter_map(|column| Some((column.clone(), number_of(column)?))).collect();
            let own = view.metadata.properties().get(COMMENT).map(|text| (0, text.clone()));
            let fields = view.metadata.current_schema().as_struct().fields().iter();
            let docs =
                fields.filter_map(|field| Some((i32::from(number_of(&field.name)?), field.doc.clone()?)));
            let comments = own.into_iter().chain(docs).collect();
            let (namespace, name) = (name.namespace().to_string(), name.name().to_string());
            all.push(Told { number, namespace, name, key, comments });
        }
        Ok(all)
    }
}

impl Keys {
    async fn rows(&self, task: Arc<TaskContext>) -> Result<RecordBatch, DataFusionError> {
        let told = self.attributes.told(Arc::clone(&task)).await?;
        let keyed: Vec<&Told> = told.iter().filter(|one| !one.key.is_empty()).collect();
        match self.about {
            About::Classes => self.classes(task, &keyed).await,
            About::Indexes => indexes(&keyed),
            About::Constraints => self.constraints(task, &keyed).await,
            About::Descriptions => descriptions(&told),
        }
    }

    /// The emulated rows, and one for the index of each key.
    async fn classes(&self, task: Arc<TaskContext>, keyed: &[&Told]) -> Result<RecordBatch, DataFusionError> {
        let batches: Vec<RecordBatch> = self.attributes.classes.execute(task).try_collect().await?;
        let all = concat_batches(&self.schema, &batches)?;
        let oids = numbers(&all, "oid")?;
        let key_of: HashMap<i32, &Told> = keyed.iter().map(|one| (one.number, *one)).collect();
        let with_index: BooleanArray =
            oids.iter().map(|oid| Some(oid.is_some_and(|oid| key_of.contains_key(&oid)))).collect();
        let tables = replaced(&all, &[("relhasindex", Arc::new(with_index) as ArrayRef)])?;
        let rows: Vec<(u32, &Told)> =
            oids.iter().zip(0_u32..).filter_map(|(oid, row)| Some((row, *key_of.get(&oid?)?))).collect();
        let picked =
            take_record_batch(&all, &UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row)))?;
        let count = rows.len();
        let number = |of: &dyn Fn(&Told) -> i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, told)| of(told))))
        };
        let names: StringArray = rows.iter().map(|(_, told)| Some(told.constraint())).collect();
        let widths = rows.iter().map(|(_, told)| i16::try_from(told.key.len()).unwrap_or(0));
        let indexes = replaced(
            &picked,
            &[
                ("oid", number(&|told| told.number + INDEXES_FROM)),
                ("relfilenode", number(&|told| told.number + INDEXES_FROM)),
                ("relam", number(&|_| BTREE)),
                ("relname", Arc::new(names)),
                ("relkind", Arc::new(StringArray::from(vec!["i"; count]))),
                ("relhasindex", Arc::new(BooleanArray::from(vec![false; count]))),
                ("relnatts", Arc::new(Int16Array::from_iter_values(widths))),
            ],
        )?;
        Ok(concat_batches(&self.schema, [&tables, &indexes])?)
    }

    async fn constraints(
        &self,
        task: Arc<TaskContext>,
        keyed: &[&Told],
    ) -> Result<RecordBatch, DataFusionError> {
        let mut namespaces = HashMap::new();
        for batch in self.attributes.namespaces.execute(task).try_collect::<Vec<_>>().await? {
            let oids = numbers(&batch, "oid")?;
            let names =
                batch.column_by_name("nspname").and_then(|names| names.as_string_opt::<i32>().cloned());
            for (oid, name) in oids.iter().zip(names.iter().flatten()) {
                namespaces.insert(name.unwrap_or_default().to_string(), oid.unwrap_or_default());
            }
        }
        let rows = keyed.len();
        let int = |of: &dyn Fn(&Told) -> i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(keyed.iter().map(|told| of(told))))
        };
        let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; rows])) };
        let bool = |value: bool| -> ArrayRef { Arc::new(BooleanArray::from(vec![value; rows])) };
        let columns = self.schema.fields().iter().map(|field| match field.name().as_str() {
            "oid" => int(&|told| told.number + CONSTRAINTS_FROM),
            "conname" => Arc::new(keyed.iter().map(|told| Some(told.constraint())).collect::<StringArray>()),
            "connamespace" => int(&|told| namespaces.get(&told.namespace).copied().unwrap_or_default()),
            "contype" => text("p"),
            "convalidated" | "conislocal" | "connoinherit" => bool(true),
            "conrelid" => int(&|told| told.number),
            "conindid" => int(&|told| told.number + INDEXES_FROM),
            "confupdtype" | "confdeltype" | "confmatchtype" => text(" "),
            "conkey" => key_numbers(keyed),
            _ => match field.data_type() {
                DataType::Int32 => int(&|_| 0),
                DataType::Int16 => Arc::new(Int16Array::from(vec![0; rows])),
                DataType::Boolean => bool(false),
                other => new_null_array(other, rows),
            },
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())?)
    }
}

fn replaced(batch: &RecordBatch, with: &[(&str, ArrayRef)]) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        let other = with.iter().find(|(name, _)| name == field.name());
        other.map_or_else(|| Arc::clone(column), |(_, array)| Arc::clone(array))
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

fn key_numbers(keyed: &[&Told]) -> ArrayRef {
    let mut lists = ListBuilder::new(Int16Builder::new());
    for told in keyed {
        lists.append_value(told.key.iter().map(|(_, number)| Some(*number)));
    }
    Arc::new(lists.finish())
}

fn zeros(keyed: &[&Told]) -> ArrayRef {
    let mut lists = ListBuilder::new(Int16Builder::new());
    for told in keyed {
        lists.append_value(told.key.iter().map(|_| Some(0)));
    }
    Arc::new(lists.finish())
}

fn indexes(keyed: &[&Told]) -> Result<RecordBatch, DataFusionError> {
    let (schema, rows) = (index_schema(), keyed.len());
    let int = |of: &dyn Fn(&Told) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(keyed.iter().map(|told| of(told))))
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "indexrelid" => int(&|told| told.number + INDEXES_FROM),
        "indrelid" => int(&|told| told.number),
        "indnatts" | "indnkeyatts" => {
            let widths = keyed.iter().map(|told| i16::try_from(told.key.len()).unwrap_or(0));
            Arc::new(Int16Array::from_iter_values(widths)) as ArrayRef
        }
        "indkey" => key_numbers(keyed),
        "indcollation" | "indclass" | "indoption" => zeros(keyed),
        "indisunique" | "indisprimary" | "indimmediate" | "indisvalid" | "indisready" | "indislive" => {
            Arc::new(BooleanArray::from(vec![true; rows]))
        }
        _ => match field.data_type() {
            DataType::Boolean => Arc::new(BooleanArray::from(vec![false; rows])),
            other => new_null_array(other, rows),
        },
    });
    let columns = columns.collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn descriptions(told: &[Told]) -> Result<RecordBatch, DataFusionError> {
    let all: Vec<(i32, i32, &str)> = told
        .iter()
        .flat_map(|one| one.comments.iter().map(|(column, text)| (one.number, *column, text.as_str())))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(all.iter().map(|(table, ..)| *table))),
        Arc::new(Int32Array::from(vec![PG_CLASS; all.len()])),
        Arc::new(Int32Array::from_iter_values(all.iter().map(|(_, column, _)| *column))),
        Arc::new(StringArray::from_iter_values(all.iter().map(|(.., text)| *text))),
    ];
    Ok(RecordBatch::try_new(description_schema(), columns)?)
}

fn described(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn vector() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Int16, true)))
}

fn index_schema() -> SchemaRef {
    use DataType::{Boolean, Int16, Int32, Utf8};
    described(&[
        ("indexrelid", Int32),
        ("indrelid", Int32),
        ("indnatts", Int16),
        ("indnkeyatts", Int16),
        ("indisunique", Boolean),
        ("indnullsnotdistinct", Boolean),
        ("indisprimary", Boolean),
        ("indisexclusion", Boolean),
        ("indimmediate", Boolean),
        ("indisclustered", Boolean),
        ("indisvalid", Boolean),
        ("indcheckxmin", Boolean),
        ("indisready", Boolean),
        ("indislive", Boolean),
        ("indisreplident", Boolean),
        ("indkey", vector()),
        ("indcollation", vector()),
        ("indclass", vector()),
        ("indoption", vector()),
        ("indexprs", Utf8),
        ("indpred", Utf8),
    ])
}

fn constraint_schema() -> SchemaRef {
    use DataType::{Boolean, Int16, Int32, Utf8};
    described(&[
        ("oid", Int32),
        ("conname", Utf8),
        ("connamespace", Int32),
        ("contype", Utf8),
        ("condeferrable", Boolean),
        ("condeferred", Boolean),
        ("convalidated", Boolean),
        ("conrelid", Int32),
        ("contypid", Int32),
        ("conindid", Int32),
        ("conparentid", Int32),
        ("confrelid", Int32),
        ("confupdtype", Utf8),
        ("confdeltype", Utf8),
        ("confmatchtype", Utf8),
        ("conislocal", Boolean),
        ("coninhcount", Int16),
        ("connoinherit", Boolean),
        ("conkey", vector()),
        ("confkey", vector()),
        ("conpfeqop", Utf8),
        ("conppeqop", Utf8),
        ("conffeqop", Utf8),
        ("confdelsetcols", vector()),
        ("conexclop", Utf8),
        ("conbin", Utf8),
    ])
}

fn description_schema() -> SchemaRef {
    use DataType::{Int32, Utf8};
    described(&[("objoid", Int32), ("classoid", Int32), ("objsubid", Int32), ("description", Utf8)])
}

/// Functions that say something about a table by its number.
pub(super) const FUNCTIONS: &[&str] =
    &["pg_get_indexdef", "pg_get_constraintdef", "obj_description", "col_description"];

/// Makes [`FUNCTIONS`] over what is known of all tables.
pub(super) fn functions(told: &[Told]) -> Vec<ScalarUDF> {
    let keyed = || told.iter().filter(|one| !one.key.is_empty());
    let indexes = keyed().map(|one| {
        let (name, table) = (shown(&one.constraint()), shown(&one.name));
        let text = format!(
            "CREATE UNIQUE INDEX {name} ON {}.{table} USING btree ({})",
            shown(&one.namespace),
            one.columns()
        );
        ((one.number + INDEXES_FROM, 0), text)
    });
    let constraints =
        keyed().map(|one| ((one.number + CONSTRAINTS_FROM, 0), format!("PRIMARY KEY ({})", one.columns())));
    let comments = || {
        let all = told
            .iter()
            .flat_map(|one| one.comments.iter().map(|(column, text)| ((one.number, *column), text.clone())));
        all.collect()
    };
    let [index, constraint, object, column] = FUNCTIONS else { return Vec::new() };
    vec![
        TextOf::function(index, indexes.collect(), false),
        TextOf::function(constraint, constraints.collect(), false),
        TextOf::function(object, comments(), false),
        TextOf::function(column, comments(), true),
    ]
}

/// A function from a number, and that of a column, to a text.
#[derive(Debug)]
struct TextOf {
    name: &'static str,
    signature: Signature,
    texts: HashMap<(i32, i32), String>,
    takes_column: bool,
}

impl PartialEq for TextOf {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.texts == other.texts
    }
}

impl Eq for TextOf {}

impl std::hash::Hash for TextOf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl TextOf {
    fn function(name: &'static str, texts: HashMap<(i32, i32), String>, takes_column: bool) -> ScalarUDF {
        let signature = Signature::variadic_any(Volatility::Stable);
        ScalarUDF::new_from_impl(Self { name, signature, texts, takes_column })
    }
}

impl ScalarUDFImpl for TextOf {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let number = |at: usize| match arrays.get(at) {
            Some(array) => {
                Ok(arrow::compute::cast(array, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
            }
            None => Err(DataFusionError::Plan(format!("{} takes the number of an object", self.name))),
        };
        let objects = number(0)?;
        let columns = if self.takes_column { Some(number(1)?) } else { None };
        let texts: StringArray = objects
            .iter()
            .enumerate()
            .map(|(row, object)| {
                let column = columns.as_ref().map_or(0, |columns| columns.value(row));
                self.texts.get(&(object?, column))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}
