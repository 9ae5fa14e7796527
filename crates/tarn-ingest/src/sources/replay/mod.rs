//! `replay`: plays a data set as if it happened now.

mod config;
mod data_set;
mod reader;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tarn_component::{ComponentSpec, Example, Stability, parse, schema_of};
use tarn_core::RequestContext;

pub use config::{EventKind, ReplayConfig, ReplayEvent, ReplayTable, Speed};

use crate::error::IngestError;
use crate::source::{CheckReport, CheckStep, Connector, ConnectorContext, Resume, Source, SourceSpec};
use data_set::{DataSet, plan_table};

const FLIGHTS: Example = Example {
    title: "Flights that are scheduled, depart and land, ten minutes per second",
    config: r#"
path: data
speed: 600
start: "2013-01-01T00:00:00"
tables:
  - name: airlines
    key: [carrier]
  - name: weather
    key: [origin, time_hour]
    events:
      - { kind: insert, at: time_hour }
  - name: flights
    key: [flight_id]
    events:
      - kind: insert
        at: scheduled_departure - 2 hours
        columns: [carrier, flight, tailnum, origin, dest, distance, scheduled_departure, scheduled_arrival]
      - { kind: update, at: departure, columns: [departure, dep_delay] }
      - { kind: update, at: arrival, columns: [arrival, arr_delay, air_time] }
"#,
};

const BENCH: Example = Example {
    title: "A table as fast as possible",
    config: "
path: /data/tpch
speed: max
tables:
  - { name: lineitem, key: [l_orderkey, l_linenumber] }
",
};

/// The family member.
pub static SPEC: SourceSpec = SourceSpec {
    component: ComponentSpec {
        name: "replay",
        title: "Replay of a data set",
        title_zh: "数据集回放",
        summary: "Plays Parquet files as if they happened now: rows appear, change and go at the times in the data, \
                  at a chosen speed.",
        summary_zh: "按数据自带的时间和设定的速度回放 Parquet 文件：行依次出现、变化、删除，如同正在发生。",
        category: "demo",
        stability: Stability::Beta,
        config: schema_of::<ReplayConfig>,
        examples: &[FLIGHTS, BENCH],
        docs: "The data set is read into memory (at most 2 GiB). Each row goes through the events of its table in \
               order; an event happens at the time in a column, and not at all where that column is null. Columns \
               become known event by event. Event times are simulated times. The order is the same in every run, so \
               a restart goes on with the very next event; the simulated clock stands still meanwhile.",
    },
    build: |context, config| {
        let config: ReplayConfig = parse(config)?;
        config::check(&config)?;
        Ok(Arc::new(Replay { folder: context.project.join(&config.path), context, config }))
    },
};

#[derive(Debug)]
struct Replay {
    context: ConnectorContext,
    folder: PathBuf,
    config: ReplayConfig,
}

impl Replay {
    /// Runs work on files off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, IngestError> + Send + 'static,
    ) -> Result<T, IngestError> {
        self.context.env.spawner.spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(IngestError::Broken { source_type: "replay".to_string(), what: error.to_string() })
        })
    }
}

#[async_trait]
impl Connector for Replay {
    async fn check(&self, _: &RequestContext) -> CheckReport {
        let mut report = CheckReport { steps: Vec::new(), tables: Vec::new() };
        for (n, table) in self.config.tables.iter().enumerate() {
            let (folder, owned) = (self.folder.clone(), table.clone());
            let planned = self.blocking(move || plan_table(&folder, n, &owned)).await;
            let step = CheckStep::of(format!("read table `{}`", table.name), &planned, |plan| {
                format!("{} columns", plan.description.schema.fields().len())
            });
            let ok = step.ok;
            report.steps.push(step);
            if let Ok(plan) = planned {
                report.tables.push(plan.description.table);
            }
            if !ok {
                break;
            }
        }
        report
    }

    async fn open(&self, _: &RequestContext, resume: Resume) -> Result<Box<dyn Source>, IngestError> {
        let (config, folder) = (self.config.clone(), self.folder.clone());
        let data = self.blocking(move || DataSet::load(&config, &folder)).await?;
        reader::start(&Arc::new(data), &self.config, self.context.env.clone(), &resume)
    }

    async fn remove(&self, _: &RequestContext) -> Result<(), IngestError> {
        Ok(())
    }

    fn is_in_real_time(&self) -> bool {
        false
    }
}
