//! Equality deletes of other engines: an anti-join of the files they concern.
//!
//! Slow beside positions, so only files older than such a delete take this way. A row is deleted where a delete with a
//! greater sequence number, of the same partition or of none, has equal values in all its columns; null equals null.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{JoinSide, JoinType, NullEquality, ScalarValue};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{Struct, TableMetadata};
use tarn_lakehouse::{DataFileView, EqualityDeleteView};

use super::table::view_type;
use crate::QueryError;

/// Sequence number of a file, in every row of it.
pub(super) const SEQUENCE: &str = "@sequence";
/// Number of a file's partition; [`ANY_PARTITION`] for a delete that holds in all.
pub(super) const PARTITION: &str = "@partition";
const ANY_PARTITION: i32 = -1;

/// Whether a delete may concern rows of a file.
pub(super) fn concerns(delete: &EqualityDeleteView, file: &DataFileView) -> bool {
    let scope = delete.file.partition();
    delete.sequence_number > file.sequence_number
        && (scope.fields().is_empty() || scope == file.file.partition())
}

/// Partitions as numbers, for comparing them in a join.
#[derive(Debug, Default)]
pub(super) struct PartitionNumbers(HashMap<Struct, i32>);

impl PartitionNumbers {
    pub(super) fn of_file(&mut self, file: &DataFileView) -> i32 {
        self.of(file.file.partition())
    }

    pub(super) fn of_delete(&mut self, delete: &EqualityDeleteView) -> i32 {
        let scope = delete.file.partition();
        if scope.fields().is_empty() { ANY_PARTITION } else { self.of(scope) }
    }

    fn of(&mut self, partition: &Struct) -> i32 {
        let next = i32::try_from(self.0.len()).unwrap_or(i32::MAX);
        *self.0.entry(partition.clone()).or_insert(next)
    }
}

/// The hidden columns that say where a row comes from.
pub(super) fn origin_columns() -> Vec<FieldRef> {
    vec![
        Arc::new(Field::new(SEQUENCE, DataType::Int64, false)),
        Arc::new(Field::new(PARTITION, DataType::Int32, false)),
    ]
}

pub(super) fn origin_values(sequence: i64, partition: i32) -> Vec<ScalarValue> {
    vec![ScalarValue::Int64(Some(sequence)), ScalarValue::Int32(Some(partition))]
}

/// Deletes by the columns they compare.
pub(super) fn by_columns(
    deletes: &[EqualityDeleteView],
) -> Result<BTreeMap<Vec<i32>, Vec<&EqualityDeleteView>>, QueryError> {
    let mut sets: BTreeMap<Vec<i32>, Vec<&EqualityDeleteView>> = BTreeMap::new();
    for delete in deletes {
        let mut ids = delete.file.equality_ids().unwrap_or_default();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Err(unusable("an equality delete file of the table names no columns"));
        }
        sets.entry(ids).or_default().push(delete);
    }
    Ok(sets)
}

fn unusable(message: &str) -> QueryError {
    QueryError::Storage {
        message: message.into(),
        kind: tarn_core::FaultKind::Corrupt,
        hint: Some("compact the table with the engine that wrote the deletes".into()),
    }
}

/// A table's columns and those that only deletes still speak of.
#[derive(Clone, Debug)]
pub(super) struct DeleteSchema {
    pub(super) schema: SchemaRef,
    pub(super) field_ids: Vec<Option<i32>>,
}

impl DeleteSchema {
    /// Adds the columns of `ids` that the table has dropped. Errors: an id no schema of the table ever had.
    pub(super) fn new(
        table: &SchemaRef,
        field_ids: &[Option<i32>],
        ids: impl IntoIterator<Item = i32>,
        metadata: &TableMetadata,
    ) -> Result<Self, QueryError> {
        let mut fields: Vec<FieldRef> = table.fields().to_vec();
        let mut field_ids = field_ids.to_vec();
        for id in ids {
            if field_ids.contains(&Some(id)) {
                continue;
            }
            let dropped = metadata.schemas_iter().find_map(|schema| schema.field_by_id(id));
            let field = dropped.ok_or_else(|| unusable("an equality delete file names an unknown column"))?;
            let data_type = type_to_arrow_type(&field.field_type)
                .map_err(|_| unusable("an equality delete file compares a column of an unsupported type"))?;
            fields.push(Arc::new(Field::new(format!("@dropped:{id}"), view_type(&data_type), true)));
            field_ids.push(Some(id));
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), field_ids })
    }

    pub(super) fn columns_of(&self, ids: &[i32]) -> Vec<usize> {
        ids.iter().filter_map(|id| self.field_ids.iter().position(|own| *own == Some(*id))).collect()
    }
}

/// `data` without the rows that `deletes` delete. Both give the columns `keys` by name, [`SEQUENCE`] and [`PARTITION`].
pub(super) fn anti_join(
    deletes: Arc<dyn ExecutionPlan>,
    data: Arc<dyn ExecutionPlan>,
    keys: &[String],
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let column = |plan: &Arc<dyn ExecutionPlan>, name: &str| -> DfResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Column::new_with_schema(name, &plan.schema())?))
    };
    let on: DfResult<Vec<_>> =
        keys.iter().map(|key| Ok((column(&deletes, key)?, column(&data, key)?))).collect();
    let filter = origin_filter(&deletes.schema(), &data.schema())?;
    let join = HashJoinExec::try_new(
        deletes,
        data,
        on?,
        Some(filter),
        &JoinType::RightAnti,
        None,
        PartitionMode::CollectLeft,
        NullEquality::NullEqualsNull,
        false,
    )?;
    Ok(Arc::new(join))
}

/// `delete.sequence > row.sequence AND (delete.partition = row.partition OR delete.partition = ANY)`
fn origin_filter(deletes: &SchemaRef, data: &SchemaRef) -> DfResult<JoinFilter> {
    let index = |schema: &SchemaRef, name: &str, side| -> DfResult<ColumnIndex> {
        Ok(ColumnIndex { index: schema.index_of(name)?, side })
    };
    let columns = vec![
        index(deletes, SEQUENCE, JoinSide::Left)?,
        index(data, SEQUENCE, JoinSide::Right)?,
        index(deletes, PARTITION, JoinSide::Left)?,
        index(data, PARTITION, JoinSide::Right)?,
    ];
    let names = ["delete_sequence", "row_sequence", "delete_partition", "row_partition"];
    let types = [DataType::Int64, DataType::Int64, DataType::Int32, DataType::Int32];
    let fields: Vec<Field> = names.iter().zip(types).map(|(name, of)| Field::new(*name, of, false)).collect();
    let column = |at: usize| Arc::new(Column::new(names[at], at)) as Arc<dyn PhysicalExpr>;
    let compare =
        |left, operator, right| Arc::new(BinaryExpr::new(left, operator, right)) as Arc<dyn PhysicalExpr>;
    let later = compare(column(0), Operator::Gt, column(1));
    let same = compare(column(2), Operator::Eq, column(3));
    let any = compare(column(2), Operator::Eq, lit(ANY_PARTITION));
    let filter = compare(later, Operator::And, compare(same, Operator::Or, any));
    Ok(JoinFilter::new(filter, columns, Arc::new(Schema::new(fields))))
}

/// Only the columns `names` of `plan`, in this order.
pub(super) fn pick(plan: Arc<dyn ExecutionPlan>, names: &[String]) -> DfResult<Arc<dyn ExecutionPlan>> {
    let expressions: Result<Vec<ProjectionExpr>, DataFusionError> = names
        .iter()
        .map(|name| {
            let column = Column::new_with_schema(name, &plan.schema())?;
            Ok(ProjectionExpr { expr: Arc::new(column), alias: name.clone() })
        })
        .collect();
    Ok(Arc::new(ProjectionExec::try_new(expressions?, plan)?))
}
