//! Types of `$1`, `$2`, …: those that planning found by comparing, and those that the place of a parameter tells.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Cast, Placeholder, TryCast};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The parameters of a plan in order, each with its type if anything tells it. Errors: a parameter of two types.
pub fn parameter_types(plan: &LogicalPlan) -> Result<Vec<(String, Option<DataType>)>, DataFusionError> {
    let mut names: Vec<String> = plan.get_parameter_types()?.into_keys().collect();
    names.sort_by_key(|name| name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX));
    let mut places = Places::default();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Limit(limit) = plan {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                count.apply(|expr| {
                    places.by_place(expr, &DataType::Int64);
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                places.note(expr);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(names
        .into_iter()
        .map(|name| {
            let data_type = places.planned.remove(&name).or_else(|| places.told.remove(&name));
            (name, data_type)
        })
        .collect())
}

#[derive(Default)]
struct Places {
    /// What planning found; a later use without a type takes nothing back.
    planned: HashMap<String, DataType>,
    /// What a cast or a limit asks for.
    told: HashMap<String, DataType>,
}

impl Places {
    fn note(&mut self, expr: &Expr) {
        match expr {
            Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
                self.planned.entry(id.clone()).or_insert_with(|| field.data_type().clone());
            }
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                self.by_place(expr, field.data_type());
            }
            _ => {}
        }
    }

    fn by_place(&mut self, expr: &Expr, data_type: &DataType) {
        if let Expr::Placeholder(Placeholder { id, .. }) = expr {
            self.told.entry(id.clone()).or_insert_with(|| data_type.clone());
        }
    }
}
