//! What all sessions share: memory, disk, caches, functions and the settings behind good plans.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use tarn_core::FaultKind;

use crate::QueryError;
use crate::engine::QueryConfig;
use crate::engine::catalog::CATALOG;
use crate::engine::safe_joins::SafeJoinsRule;

/// Build sides of joins up to this size, divided by the number of tasks, are built once.
const SHARED_BUILD_BYTES: usize = 512 << 20;
const SHARED_BUILD_ROWS: usize = 32 << 20;
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// The state that every session starts from. Errors: `Storage` where the spill folder cannot be used.
pub(super) fn base_state(config: &QueryConfig) -> Result<SessionState, QueryError> {
    let memory = usize::try_from(config.memory.0).unwrap_or(usize::MAX);
    let spill = match config.spill_folder.as_str() {
        "" => DiskManagerMode::OsTmpDirectory,
        folder => DiskManagerMode::Directories(vec![PathBuf::from(folder)]),
    };
    let disk =
        DiskManagerBuilder::default().with_mode(spill).with_max_temp_directory_size(config.spill_max.0);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory), CONSUMERS_NAMED)))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(usize::try_from(config.metadata_cache.0).unwrap_or(usize::MAX))
        .build_arc()
        .map_err(|error| cannot_start(&error))?;
    let mut state = SessionStateBuilder::new()
        .with_config(session_config(config))
        .with_runtime_env(runtime)
        .with_default_features()
        // Last, so that no rule moves anything between the guard and its join.
        .with_physical_optimizer_rule(Arc::new(SafeJoinsRule))
        .build();
    datafusion_functions_json::register_all(&mut state).map_err(|error| cannot_start(&error))?;
    Ok(state)
}

pub(super) fn cannot_start(error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Storage {
        message: format!("the query engine cannot start: {error}"),
        kind: FaultKind::Unavailable,
        hint: Some("check `spill_folder` in `[query]`: it must exist and be writable".into()),
    }
}

fn session_config(config: &QueryConfig) -> SessionConfig {
    let mut session = SessionConfig::new()
        // It has one of its own.
        .with_information_schema(false)
        .with_default_catalog_and_schema(CATALOG, &config.default_namespace)
        .with_create_default_catalog_and_schema(false);
    if config.parallelism > 0 {
        session = session.with_target_partitions(config.parallelism);
    }
    let partitions = session.target_partitions();
    tune(session.options_mut(), partitions);
    session.options_mut().execution.time_zone = Some(config.time_zone.clone());
    session
}

/// Settings that differ from the engine's defaults, each for a reason.
fn tune(options: &mut ConfigOptions, partitions: usize) {
    // Positions in error messages.
    options.sql_parser.collect_spans = true;
    // Where a scan filters while decoding (it decides by what it looks for), cheap filters run first.
    options.execution.parquet.reorder_filters = true;
    // One task builds the table of a join for all, unless that is so large that spreading both sides over the tasks
    // costs less than the others' waiting, which grows with their number.
    options.optimizer.hash_join_single_partition_threshold = SHARED_BUILD_BYTES / partitions.max(1);
    options.optimizer.hash_join_single_partition_threshold_rows = SHARED_BUILD_ROWS / partitions.max(1);
}
