//! Makes joins safe: those of all rows with all can be stopped, and a nested-loop join does not read its left side
//! twice.
//!
//! When that side does not fit in memory, the join reads it once more to spill it. Exchanges below it can be read only
//! once and panic, and outer, semi and anti joins over several partitions would give rows twice. A join that does not
//! fit therefore ends with the error that it does not fit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, Statistics,
};

use super::paced::Paced;

/// Puts [`SingleUse`] over the left side of each nested-loop join and [`Paced`] over its right side, and lets joins that
/// can make many rows of few pause after some.
#[derive(Debug)]
pub(super) struct SafeJoinsRule;

impl PhysicalOptimizerRule for SafeJoinsRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|plan| {
            if plan.downcast_ref::<NestedLoopJoinExec>().is_some() {
                let mut children: Vec<Arc<dyn ExecutionPlan>> =
                    plan.children().into_iter().cloned().collect();
                children[0] = Arc::new(SingleUse::new(Arc::clone(&children[0])));
                children[1] = Arc::new(Paced::new(Arc::clone(&children[1])));
                return plan.with_new_children(children).map(Transformed::yes);
            }
            let multiplies = plan.downcast_ref::<CrossJoinExec>().is_some()
                || plan.downcast_ref::<HashJoinExec>().is_some()
                || plan.downcast_ref::<SortMergeJoinExec>().is_some();
            Ok(match multiplies {
                true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as _),
                false => Transformed::no(plan),
            })
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &str {
        "safe_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Its input, which can be read once.
#[derive(Debug)]
struct SingleUse {
    input: Arc<dyn ExecutionPlan>,
    used: Vec<AtomicBool>,
}

impl SingleUse {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        Self { input, used: (0..partitions).map(|_| AtomicBool::new(false)).collect() }
    }
}

impl DisplayAs for SingleUse {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleUseExec")
    }
}

impl ExecutionPlan for SingleUse {
    fn name(&self) -> &str {
        "SingleUseExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| {
            DataFusionError::Internal("a plan that passes rows on has exactly one input".to_string())
        })?;
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        if self.used.get(partition).is_some_and(|used| used.swap(true, Ordering::Relaxed)) {
            return Err(DataFusionError::ResourcesExhausted(
                "one side of a join without equal columns does not fit in memory".to_string(),
            ));
        }
        self.input.execute(partition, context)
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        self.input.partition_statistics(partition)
    }
}
