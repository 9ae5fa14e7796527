//! Keeps a nested-loop join from reading its left side twice.
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
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, Statistics,
};

/// Puts [`SingleUse`] over the left side of each nested-loop join.
#[derive(Debug)]
pub(super) struct SingleUseRule;

impl PhysicalOptimizerRule for SingleUseRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|plan| {
            if plan.downcast_ref::<NestedLoopJoinExec>().is_none() {
                return Ok(Transformed::no(plan));
            }
            let mut children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
            let left = Arc::clone(&children[0]);
            children[0] = Arc::new(SingleUse::new(left));
            plan.with_new_children(children).map(Transformed::yes)
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &str {
        "single_use_of_left_sides"
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
