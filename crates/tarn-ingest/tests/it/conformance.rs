//! What every source promises, whatever it reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde_json::Value;
use tarn_core::{Clock, Env, Position, RequestContext, Spawner, TenantId, TraceId};
use tarn_eventlog::ProducerState;
use tarn_ingest::{
    Connector, ConnectorContext, IngestError, Resume, SOURCES, Source, SourceBatch, SourceEvent, SourceSpec,
    SourceTable,
};

use crate::bed::{name, rows_text, yaml};
use crate::clock::SimClock;

/// What a bounded reading gave: rows per table, and what was durable after each batch.
#[derive(Debug, Default)]
pub struct Reading {
    pub rows: HashMap<SourceTable, Vec<(Position, String)>>,
    /// After each batch: the state of every part so far.
    points: Vec<HashMap<(SourceTable, String), ProducerState>>,
    pub dead_letters: Vec<tarn_ingest::DeadLetter>,
}

/// A source type with a configuration whose reading ends.
pub struct Subject {
    pub spec: &'static SourceSpec,
    pub config: Value,
    pub project: std::path::PathBuf,
}

fn context(subject: &Subject, clock: &Arc<SimClock>) -> ConnectorContext {
    let env = Env {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Env::system().entropy,
        spawner: Spawner::default(),
    };
    ConnectorContext { name: name("subject"), env, project: subject.project.clone() }
}

fn ctx() -> RequestContext {
    RequestContext::system(TenantId::default(), TraceId(1))
}

fn positions(batch: &SourceBatch) -> Vec<Position> {
    let columns = tarn_core::change::ChangeColumns::of(&batch.rows).expect("change rows");
    (0..batch.rows.num_rows()).map(|row| columns.position_at(row)).collect()
}

/// The next event. `hasty`: drops the future and asks again, many times.
async fn next(
    source: &mut dyn Source,
    clock: &SimClock,
    hasty: bool,
) -> Result<Option<SourceEvent>, IngestError> {
    loop {
        if hasty && let Some(event) = source.next().now_or_never() {
            return event;
        }
        match tokio::time::timeout(Duration::from_millis(3), source.next()).await {
            Ok(event) => return event,
            Err(_) => clock.advance_to_next(),
        }
    }
}

async fn read(subject: &Subject, resume: Resume, hasty: bool) -> Reading {
    let clock = Arc::new(SimClock::new());
    let connector: Arc<dyn Connector> =
        (subject.spec.build)(context(subject, &clock), subject.config.clone()).expect("a configuration");
    let mut accepted: HashMap<(SourceTable, String), Position> = HashMap::new();
    let mut states = HashMap::new();
    for (table, part, state) in &resume.states {
        accepted.insert((table.clone(), part.clone()), state.position);
        states.insert((table.clone(), part.clone()), state.clone());
    }
    let mut source = connector.open(&ctx(), resume).await.expect("opens");
    let mut reading = Reading::default();
    while let Some(event) = next(source.as_mut(), &clock, hasty).await.expect("no fault") {
        match event {
            SourceEvent::Rows(batch) => {
                let key = (batch.table.clone(), batch.part.clone());
                let floor = accepted.get(&key).copied();
                let positions = positions(&batch);
                assert!(positions.is_sorted(), "positions grow within a batch");
                assert!(
                    positions.last().is_none_or(|last| *last <= batch.position),
                    "a batch ends at its position"
                );
                assert!(batch.note.len() <= 1 << 20, "notes are bounded");
                let kept = positions
                    .into_iter()
                    .zip(rows_text(&batch.rows))
                    .filter(|(p, _)| floor.is_none_or(|f| *p > f));
                reading.rows.entry(batch.table.clone()).or_default().extend(kept);
                if floor.is_none_or(|floor| batch.position > floor) {
                    accepted.insert(key.clone(), batch.position);
                    let state = ProducerState {
                        producer: String::new(),
                        position: batch.position,
                        note: batch.note,
                        transaction_open: false,
                    };
                    states.insert(key, state);
                    reading.points.push(states.clone());
                }
                source.acknowledge(&batch.table, &batch.part, batch.position).await.expect("acknowledged");
            }
            SourceEvent::DeadLetter(letter) => reading.dead_letters.push(letter),
            SourceEvent::Table(_)
            | SourceEvent::Progress(_)
            | SourceEvent::Missing(_)
            | SourceEvent::Idle { .. } => {}
        }
    }
    reading
}

fn texts(reading: &Reading, table: &SourceTable) -> Vec<String> {
    reading
        .rows
        .get(table)
        .map(|rows| rows.iter().map(|(_, text)| text.clone()).collect())
        .unwrap_or_default()
}

/// Runs the suite; returns the undisturbed reading.
pub async fn check_source(subject: &Subject) -> Reading {
    check_spec(subject.spec);
    let whole = read(subject, Resume::default(), false).await;
    assert!(whole.points.len() >= 2, "the subject must have several batches to stop between");
    let hasty = read(subject, Resume::default(), true).await;
    for table in whole.rows.keys() {
        assert_eq!(texts(&hasty, table), texts(&whole, table), "dropped futures lose nothing");
    }
    for (number, point) in whole.points.iter().enumerate() {
        let states = point.iter().map(|((table, part), state)| (table.clone(), part.clone(), state.clone()));
        let rest = read(subject, Resume { states: states.collect() }, false).await;
        for (table, rows) in &whole.rows {
            // What was durable at this point, by parts that are streams (the only part with rows here).
            let durable = point.get(&(table.clone(), String::new())).map(|state| state.position);
            let mut joined: Vec<String> = rows
                .iter()
                .filter(|(p, _)| durable.is_some_and(|d| *p <= d))
                .map(|(_, text)| text.clone())
                .collect();
            joined.extend(texts(&rest, table));
            assert_eq!(joined, texts(&whole, table), "resumed from point {number} of table {table:?}");
        }
    }
    let clock = Arc::new(SimClock::new());
    let connector =
        (subject.spec.build)(context(subject, &clock), subject.config.clone()).expect("a configuration");
    let report = connector.check(&ctx()).await;
    assert!(report.is_ok() && !report.tables.is_empty(), "{report:?}");
    whole
}

/// A configuration parses once secret references are values, as they are when a connector is built.
fn resolve_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("secret") => {
            *value = "secret".into()
        }
        Value::Object(fields) => fields.values_mut().for_each(resolve_secrets),
        Value::Array(items) => items.iter_mut().for_each(resolve_secrets),
        _ => {}
    }
}

/// What the spec of every source promises.
pub fn check_spec(spec: &'static SourceSpec) {
    let component = &spec.component;
    assert!(!component.examples.is_empty(), "{} has an example", component.name);
    for text in [component.title, component.title_zh, component.summary, component.summary_zh, component.docs]
    {
        assert!(!text.is_empty(), "{} is documented", component.name);
    }
    let schema = serde_json::to_value((component.config)()).expect("JSON");
    let fields: Vec<&String> = schema["properties"].as_object().expect("fields").keys().collect();
    for (field, described) in schema["properties"].as_object().expect("fields") {
        assert!(described["description"].is_string(), "{}.{field} has a description", component.name);
    }
    let project = tempfile::tempdir().expect("a folder");
    // Files that examples name.
    std::fs::create_dir(project.path().join("certificates")).expect("a folder");
    let authority = include_str!("authority.pem");
    std::fs::write(project.path().join("certificates/shop.pem"), authority).expect("a file");
    let subject = |config| Subject { spec, config, project: project.path().to_path_buf() };
    let clock = Arc::new(SimClock::new());
    for example in component.examples {
        let mut config = yaml(example.config);
        resolve_secrets(&mut config);
        let built = (spec.build)(context(&subject(config.clone()), &clock), config.clone());
        built.unwrap_or_else(|error| panic!("{}: {}: {error:?}", component.name, example.title));
        // A field with a letter too many is refused, and the right one is named.
        let right = fields.iter().find(|field| field.len() > 4).expect("a long name");
        config.as_object_mut().expect("fields").insert(format!("{right}x"), Value::Null);
        let error =
            (spec.build)(context(&subject(config.clone()), &clock), config).expect_err("unknown field");
        let report = tarn_core::FaultReport::of(&error);
        assert!(report.message.contains(&format!("unknown field `{right}x`")), "{report:?}");
        assert_eq!(report.hint, Some(format!("did you mean `{right}`?")), "{}", component.name);
    }
}

#[test]
fn every_source_keeps_the_promises_of_its_spec() {
    SOURCES.iter().for_each(|spec| check_spec(spec));
    let mut names: Vec<_> = SOURCES.iter().map(|spec| spec.component.name).collect();
    names.dedup();
    assert_eq!(names.len(), SOURCES.len());
}
