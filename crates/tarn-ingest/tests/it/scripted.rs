//! A source that does what a test wrote down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use serde::Deserialize;
use tarn_component::{ComponentSpec, Example, Stability, parse, schema_of};
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Position, RequestContext};
use tarn_ingest::{
    CheckReport, Connector, DeadLetter, IngestError, Resume, Source, SourceBatch, SourceEvent, SourceSpec,
    SourceTable, TableDescription,
};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptedConfig {
    /// Name of the script.
    pub script: String,
    /// Changes the configuration and nothing else.
    #[serde(default)]
    pub flavour: Option<String>,
}

pub static SPEC: SourceSpec = SourceSpec {
    component: ComponentSpec {
        name: "scripted",
        title: "Script",
        title_zh: "脚本",
        summary: "",
        summary_zh: "",
        category: "test",
        stability: Stability::Beta,
        config: schema_of::<ScriptedConfig>,
        examples: &[Example { title: "x", config: "script: x" }],
        docs: "",
    },
    build: |_, config| {
        let config: ScriptedConfig = parse(config)?;
        drop(config.flavour);
        let scripts = SCRIPTS.lock().expect("not poisoned");
        Ok(Arc::new(Scripted(Arc::clone(scripts.get(&config.script).expect("a script of that name")))))
    },
};

pub static TYPES: &[&SourceSpec] = &[&SPEC];
static SCRIPTS: LazyLock<Mutex<HashMap<String, Arc<Script>>>> = LazyLock::new(Mutex::default);

/// What a source does next.
pub enum Step {
    Give(SourceEvent),
    Fail(IngestError),
    Panic,
    /// Waits for ever, also when told to stop.
    Hang,
}

type Play = dyn Fn(usize, &Resume) -> Vec<Step> + Send + Sync;

/// What a source does at each opening, and what was done to it.
pub struct Script {
    play: Box<Play>,
    /// Ends with `None` instead of being idle.
    bounded: bool,
    pub openings: Mutex<Vec<Resume>>,
    pub acknowledged: Mutex<Vec<(String, String, Position)>>,
    pub removed: Mutex<usize>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

/// Writes down a script. `play`: gets the number of the opening from 0 and what it resumes from.
pub fn script(
    name: &str,
    bounded: bool,
    play: impl Fn(usize, &Resume) -> Vec<Step> + Send + Sync + 'static,
) -> Arc<Script> {
    let script = Arc::new(Script {
        play: Box::new(play),
        bounded,
        openings: Mutex::default(),
        acknowledged: Mutex::default(),
        removed: Mutex::default(),
    });
    SCRIPTS.lock().expect("not poisoned").insert(name.to_string(), Arc::clone(&script));
    script
}

impl Script {
    pub fn opened(&self) -> usize {
        self.openings.lock().expect("not poisoned").len()
    }
}

#[derive(Debug)]
struct Scripted(Arc<Script>);

#[async_trait]
impl Connector for Scripted {
    async fn check(&self, _: &RequestContext) -> CheckReport {
        CheckReport { steps: Vec::new(), tables: Vec::new() }
    }

    async fn open(&self, _: &RequestContext, resume: Resume) -> Result<Box<dyn Source>, IngestError> {
        let mut openings = self.0.openings.lock().expect("not poisoned");
        let steps = (self.0.play)(openings.len(), &resume).into();
        openings.push(resume);
        Ok(Box::new(Player { script: Arc::clone(&self.0), steps }))
    }

    async fn remove(&self, _: &RequestContext) -> Result<(), IngestError> {
        *self.0.removed.lock().expect("not poisoned") += 1;
        Ok(())
    }
}

struct Player {
    script: Arc<Script>,
    steps: VecDeque<Step>,
}

#[async_trait]
impl Source for Player {
    async fn next(&mut self) -> Result<Option<SourceEvent>, IngestError> {
        match self.steps.pop_front() {
            Some(Step::Give(event)) => Ok(Some(event)),
            Some(Step::Fail(error)) => Err(error),
            Some(Step::Panic) => panic!("the connector fell over"),
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                std::future::pending().await
            }
            None if self.script.bounded => Ok(None),
            None => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                Ok(Some(SourceEvent::Idle { lag_bytes: Some(0) }))
            }
        }
    }

    async fn acknowledge(
        &mut self,
        table: &SourceTable,
        part: &str,
        position: Position,
    ) -> Result<(), IngestError> {
        let entry = (table.to_string(), part.to_string(), position);
        self.script.acknowledged.lock().expect("not poisoned").push(entry);
        Ok(())
    }
}

pub fn table(name: &str) -> SourceTable {
    SourceTable { namespace: String::new(), name: name.to_string() }
}

fn schema(columns: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>(),
    ))
}

pub fn describe(name: &str, columns: &[&str]) -> Step {
    let key = vec![columns[0].to_string()];
    Step::Give(SourceEvent::Table(TableDescription { table: table(name), schema: schema(columns), key }))
}

/// Rows `numbers` of a table: position and every column hold the number.
pub fn rows(name: &str, columns: &[&str], numbers: std::ops::RangeInclusive<u64>) -> Step {
    part_rows(name, "", columns, numbers)
}

pub fn part_rows(name: &str, part: &str, columns: &[&str], numbers: std::ops::RangeInclusive<u64>) -> Step {
    let (first, last) = numbers.into_inner();
    let values: Int64Array = (first..=last).map(|n| n as i64).collect();
    let added = ChangeColumns::uniform(ChangeKind::Insert, values.len(), Position::new(0, first), None);
    let columns_data = columns.iter().map(|_| Arc::new(values.clone()) as arrow::array::ArrayRef).collect();
    let rows: RecordBatch = added.attach(&schema(columns), columns_data).expect("change rows");
    Step::Give(SourceEvent::Rows(SourceBatch {
        table: table(name),
        rows,
        part: part.to_string(),
        position: Position::new(0, last),
        note: last.to_string().into_bytes(),
        transaction_end: true,
    }))
}

pub fn dead_letter(record: &str) -> Step {
    let (record, at) = (record.to_string(), "here".to_string());
    Step::Give(SourceEvent::DeadLetter(DeadLetter { table: None, record, reason: "bad".to_string(), at }))
}

pub fn unreachable() -> Step {
    Step::Fail(IngestError::Unreachable { system: "the test".to_string(), source: "no answer".into() })
}
