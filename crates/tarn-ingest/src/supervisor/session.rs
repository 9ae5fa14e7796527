//! One life of a source: from opening its connector to its end, its stop or its first fault.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tarn_core::change::change_schema;
use tarn_core::{InvalidName, TableName, TopicName};
use tarn_eventlog::{Append, EventLog, EventLogError, ProducerState, Retention, TopicInfo, TopicSpec};

use super::appender::{AppendPorts, Appender, Durable, LaneStart, PARTS, append_retrying, producer_of};
use super::claims::Claims;
use super::dead_letters;
use super::topics::{dead_letter_topic, routes_of, table_of, topic_of};
use crate::error::IngestError;
use crate::source::{Connector, DeadLetter, Resume, Source, SourceEvent, SourceTable, TableDescription};

/// A source is not asked for more while this much is not durable.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Dead letters collected before they are written.
const LETTERS_MAX: usize = 1_000;
const LETTER_BYTES_MAX: usize = 1 << 20;
/// Parts of a table whose states are read at the start.
const PARTS_MAX: usize = 10_000;
/// How long a stopping source may finish what it has read.
const FINISH_LIMIT: Duration = Duration::from_secs(3);

/// How a life ended without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A bounded source was read to its end, and all of it is durable.
    Drained,
    /// It was told to stop.
    Stopped,
}

/// What one life needs.
#[derive(Clone)]
pub(crate) struct SessionPorts {
    pub(crate) append: AppendPorts,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) source_type: String,
    /// Namespace of its tables in the lakehouse.
    pub(crate) into: String,
    pub(crate) claims: Arc<Claims>,
}

struct Session {
    ports: SessionPorts,
    appender: Appender,
    topics: Vec<TopicInfo>,
    /// What the log held per table.
    starts: HashMap<SourceTable, LaneStart>,
    letters: Vec<DeadLetter>,
    letter_bytes: usize,
    letters_topic_made: bool,
}

/// Opens the connector and moves its rows until the end. Errors: those of the source and of the log; what was read
/// before is durable or will be read again.
pub(crate) async fn run(ports: SessionPorts) -> Result<Ended, IngestError> {
    let stop = ports.append.stop.clone();
    let (mut session, resume) = Session::start(ports).await?;
    let opened =
        stop.run_until_cancelled(session.ports.connector.open(&session.ports.append.ctx, resume)).await;
    let Some(opened) = opened else { return Ok(Ended::Stopped) };
    let mut source = opened?;
    let outcome = session.read(source.as_mut()).await;
    let finished = session.finish(source.as_mut()).await;
    match (outcome, finished) {
        (Ok(Ended::Drained), Err(error)) | (Err(error), _) => Err(error),
        (Ok(ended), _) => Ok(ended),
    }
}

async fn own_topics(log: &dyn EventLog, ports: &AppendPorts) -> Result<Vec<TopicInfo>, EventLogError> {
    let mut topics = log.topics(&ports.ctx).await?;
    let prefix = format!("{}.", ports.source);
    topics.retain(|info| info.spec.name.as_str().starts_with(&prefix));
    Ok(topics)
}

/// States of all parts of a topic.
async fn states_of(
    log: &dyn EventLog,
    ports: &AppendPorts,
    topic: &TopicName,
) -> Result<(LaneStart, Vec<(String, ProducerState)>), IngestError> {
    let state = |part: &str| {
        let producer = producer_of(&ports.source, part);
        async move { log.producer_state(&ports.ctx, topic, 0, &producer).await }
    };
    let (mut start, mut states) = (LaneStart::default(), Vec::new());
    if let Some(list) = state(PARTS).await? {
        start.parts_version = list.position.minor;
        start.parts =
            serde_json::from_slice::<BTreeSet<String>>(&list.note).map_err(|error| IngestError::Decode {
                what: format!("the list of parts of topic `{topic}`"),
                source: error.into(),
            })?;
    }
    for part in std::iter::once("").chain(start.parts.iter().take(PARTS_MAX).map(String::as_str)) {
        if let Some(state) = state(part).await? {
            states.push((part.to_string(), state));
        }
    }
    start.positions = states.iter().map(|(part, state)| (part.clone(), state.position)).collect();
    Ok((start, states))
}

impl Session {
    async fn start(ports: SessionPorts) -> Result<(Self, Resume), IngestError> {
        let append = &ports.append;
        let topics = own_topics(append.log.as_ref(), append).await?;
        let (mut resume, mut starts) = (Resume::default(), HashMap::new());
        for info in &topics {
            let Some(table) = table_of(&append.source, &info.spec.name) else { continue };
            let (start, states) = states_of(append.log.as_ref(), append, &info.spec.name).await?;
            resume.states.extend(states.into_iter().map(|(part, state)| (table.clone(), part, state)));
            starts.insert(table, start);
        }
        let letters = dead_letter_topic(&append.source);
        let letters = topics.iter().find(|info| info.spec.name == letters);
        let count = letters.map(|info| info.partitions.iter().map(|p| p.high_offset).sum());
        append.status.set_dead_letters(count.unwrap_or(0));
        let session = Self {
            appender: Appender::new(ports.append.clone()),
            letters_topic_made: letters.is_some(),
            ports,
            topics,
            starts,
            letters: Vec::new(),
            letter_bytes: 0,
        };
        session.publish_routes();
        Ok((session, resume))
    }

    fn publish_routes(&self) {
        let append = &self.ports.append;
        let routes = routes_of(&append.source, &self.ports.into, &self.topics);
        let with_rows = routes.into_iter().map(|route| {
            let info = self.topics.iter().find(|info| info.spec.name == route.topic);
            let rows = info.map_or(0, |info| info.partitions.iter().map(|p| p.high_offset).sum());
            (route, rows)
        });
        append.status.set_routes(with_rows.collect());
    }

    async fn read(&mut self, source: &mut dyn Source) -> Result<Ended, IngestError> {
        let stop = self.ports.append.stop.clone();
        loop {
            let may_read = self.appender.in_flight_bytes() < IN_FLIGHT_BYTES_MAX;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                durable = self.appender.next(), if self.appender.is_busy() => acknowledge(source, durable?).await?,
                event = source.next(), if may_read => match event? {
                    Some(event) => self.handle(source, event).await?,
                    None => {
                        self.write_letters().await?;
                        return Ok(Ended::Drained);
                    }
                },
            }
        }
    }

    /// Waits for what is in flight. A stopping source has a few seconds; what does not become durable is read again.
    async fn finish(&mut self, source: &mut dyn Source) -> Result<(), IngestError> {
        let (clock, stop) = (Arc::clone(&self.ports.append.env.clock), self.ports.append.stop.clone());
        let rest = async {
            while self.appender.is_busy() {
                let durable = self.appender.next().await?;
                acknowledge(source, durable).await?;
            }
            Ok(())
        };
        let limit = async {
            stop.cancelled().await;
            clock.sleep(FINISH_LIMIT).await;
        };
        tokio::select! {
            result = rest => result,
            () = limit => Err(IngestError::Stopping),
        }
    }

    async fn handle(&mut self, source: &mut dyn Source, event: SourceEvent) -> Result<(), IngestError> {
        if !matches!(event, SourceEvent::DeadLetter(_)) {
            self.write_letters().await?;
        }
        match event {
            SourceEvent::Table(description) => self.describe(description).await,
            SourceEvent::Rows(batch) => {
                let durable = self.appender.push(batch).map_err(|what| self.broken(what))?;
                if let Some(durable) = durable {
                    acknowledge(source, durable).await?;
                }
                Ok(())
            }
            SourceEvent::DeadLetter(letter) => {
                self.letter_bytes += letter.record.len() + letter.reason.len();
                self.letters.push(letter);
                if self.letters.len() >= LETTERS_MAX || self.letter_bytes >= LETTER_BYTES_MAX {
                    self.write_letters().await?;
                }
                Ok(())
            }
            SourceEvent::Progress(progress) => {
                self.ports.append.status.progress(progress);
                Ok(())
            }
            SourceEvent::Missing(tables) => {
                self.ports.append.status.set_missing(&tables);
                Ok(())
            }
            SourceEvent::Idle { lag_bytes } => {
                self.ports.append.status.idle(lag_bytes, !self.appender.is_busy());
                Ok(())
            }
        }
    }

    fn broken(&self, what: String) -> IngestError {
        IngestError::Broken { source_type: self.ports.source_type.clone(), what }
    }

    /// Makes the table's topic if it is new, and takes over its schema.
    async fn describe(&mut self, description: TableDescription) -> Result<(), IngestError> {
        let TableDescription { table, schema, key } = description;
        let missing = key.iter().find(|column| schema.field_with_name(column).is_err());
        if let Some(column) = missing {
            return Err(IngestError::config(
                "key",
                format!("table {table:?} has no column `{column}`"),
                format!("use its columns: {}", column_names(&schema)),
            ));
        }
        let topic = topic_of(&self.ports.append.source, &table)?;
        if !self.appender.is_described(&table) {
            self.ensure_topic(&topic, &table, &key).await?;
        } else if let Some(info) = self.topics.iter().find(|info| info.spec.name == topic) {
            // Changes of another key would miss their rows.
            self.check_topic(info, &key)?;
        }
        let start = self.starts.remove(&table).unwrap_or_default();
        self.appender.describe(table, topic, change_schema(&schema), start);
        Ok(())
    }

    async fn ensure_topic(
        &mut self,
        topic: &TopicName,
        table: &SourceTable,
        key: &[String],
    ) -> Result<(), IngestError> {
        if !self.topics.iter().any(|info| info.spec.name == *topic) {
            let info = find_or_make_topic(&self.ports.append, &self.topics, topic, key).await?;
            self.topics.push(info);
        }
        if let Some(info) = self.topics.iter().find(|info| info.spec.name == *topic) {
            self.check_topic(info, key)?;
        }
        let routes = routes_of(&self.ports.append.source, &self.ports.into, &self.topics);
        let route = routes.into_iter().find(|route| route.table == *table);
        let name = route.map(|route| route.lakehouse_table);
        self.claim(name, table)?;
        self.publish_routes();
        Ok(())
    }

    fn claim(&self, name: Option<TableName>, table: &SourceTable) -> Result<(), IngestError> {
        let append = &self.ports.append;
        let Some(name) = name else {
            let tried = TableName::new(&self.ports.into, &table.name);
            return tried.map(|_| ()).map_err(|error: InvalidName| error.into());
        };
        self.ports.claims.claim(&append.ctx.tenant, &name, &append.source).map_err(|owner| {
            IngestError::WrongState {
                name: append.source.to_string(),
                what: format!("would write table `{name}`, which source `{owner}` writes"),
                advice: "give one of the two sources another `into`".to_string(),
            }
        })
    }

    /// An existing topic must be one that this table can go on with.
    fn check_topic(&self, info: &TopicInfo, key: &[String]) -> Result<(), IngestError> {
        let topic = &info.spec.name;
        let unsuitable = |what: String, advice: &str| IngestError::Unsuitable {
            system: format!("topic `{topic}`"),
            what,
            advice: advice.to_string(),
        };
        if info.spec.partitions != 1 {
            let what = format!("it has {} partitions, and a source writes one", info.spec.partitions);
            return Err(unsuitable(what, "remove `partitions` from the topic's resource and drop the topic"));
        }
        // A topic that a person declared before its source may have been made without a key.
        if info.spec.key != key {
            let what = format!("its key is {:?}, the table's key is {key:?}", info.spec.key);
            return Err(unsuitable(
                what,
                "drop the topic and its table, then restart the source to read it anew",
            ));
        }
        Ok(())
    }

    async fn write_letters(&mut self) -> Result<(), IngestError> {
        if self.letters.is_empty() {
            return Ok(());
        }
        let append = &self.ports.append;
        let topic = dead_letter_topic(&append.source);
        if !self.letters_topic_made {
            find_or_make_topic(append, &self.topics, &topic, &[]).await?;
            self.letters_topic_made = true;
        }
        let batch = dead_letters::batch_of(&self.letters, append.env.clock.now_us())
            .map_err(|error| self.broken(format!("dead letters could not be encoded: {error}")))?;
        append_retrying(append, &topic, Append { batch, state: None }).await?;
        append.status.add_dead_letters(self.letters.len() as u64);
        self.letters.clear();
        self.letter_bytes = 0;
        Ok(())
    }
}

async fn find_or_make_topic(
    append: &AppendPorts,
    own: &[TopicInfo],
    topic: &TopicName,
    key: &[String],
) -> Result<TopicInfo, IngestError> {
    match append.log.topic(&append.ctx, topic).await {
        Err(EventLogError::TopicNotFound { .. }) => {}
        found => return Ok(found?),
    }
    // The age of topics decides which of two tables of one name gets the plain table name, so no two are of one age.
    let newest_ms = own.iter().map(|info| info.created_ms).max();
    while newest_ms.is_some_and(|newest_ms| append.env.clock.now_ms() <= newest_ms) {
        append.env.clock.sleep(Duration::from_millis(1)).await;
    }
    let spec =
        TopicSpec { name: topic.clone(), partitions: 1, retention: Retention::default(), key: key.to_vec() };
    Ok(append.log.create_topic(&append.ctx, spec).await?)
}

fn column_names(schema: &arrow::datatypes::Schema) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    names.join(", ")
}

async fn acknowledge(source: &mut dyn Source, durable: Durable) -> Result<(), IngestError> {
    let Durable { table, part, position } = durable;
    source.acknowledge(&table, &part, position).await
}
