//! Plays the events of a data set when they are due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tarn_core::{Env, Position};

use super::config::{ReplayConfig, Speed};
use super::data_set::{Event, SharedDataSet};
use crate::error::IngestError;
use crate::source::{Progress, Resume, Source, SourceBatch, SourceEvent, SourceTable};

/// Events turned into rows at a time.
const EVENTS_PER_STEP: usize = 8_192;
/// Due events are collected for this long, so that a fast clock does not make a batch of each.
const STEP_MIN: Duration = Duration::from_millis(50);
/// How often an idle replay says that it is alive, and how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What comes back after a restart, beside the positions.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Of the order of events; the position is the number of an event in it.
    fingerprint: String,
}

/// A running replay. The position of an event is (0, its number over all rounds, from 1).
pub(super) struct ReplaySource {
    data: SharedDataSet,
    env: Env,
    speed: Speed,
    repeat: bool,
    /// Number of the last durable event at the start, per table.
    durable: Vec<u64>,
    /// The next event: round and index.
    round: u64,
    next: usize,
    clock_from: (Instant, i64),
    announced: usize,
    ready: VecDeque<SourceBatch>,
    said: Instant,
    say_idle: bool,
}

impl ReplaySource {
    /// Errors: `SourceGone` if the data set changed since the positions were stored.
    pub(super) fn new(
        data: SharedDataSet,
        config: &ReplayConfig,
        env: Env,
        resume: &Resume,
    ) -> Result<Self, IngestError> {
        let mut durable = Vec::new();
        for description in &data.descriptions {
            let state = resume.state(&description.table, "");
            if let Some(state) = state {
                check_note(&state.note, data.fingerprint)?;
            }
            durable.push(state.map_or(0, |state| state.position.minor));
        }
        let now = env.clock.instant();
        let mut source = Self {
            round: 0,
            next: 0,
            clock_from: (now, data.start_us),
            announced: 0,
            ready: VecDeque::new(),
            said: now,
            say_idle: false,
            speed: config.speed,
            repeat: config.repeat,
            durable,
            data,
            env,
        };
        source.find_next();
        if let Some(event) = source.data.events.get(source.next) {
            let at_us = event.at_us.max(source.data.start_us) + source.shift_us();
            source.clock_from = (now, at_us.max(source.clock_from.1));
        }
        Ok(source)
    }

    fn shift_us(&self) -> i64 {
        i64::try_from(self.round).unwrap_or(i64::MAX).saturating_mul(self.data.span_us())
    }

    fn ordinal(&self, index: usize) -> u64 {
        self.round * self.data.events.len() as u64 + index as u64 + 1
    }

    /// Moves to the first event that is not durable in its table.
    fn find_next(&mut self) {
        let count = self.data.events.len() as u64;
        let newest = self.durable.iter().max().copied().unwrap_or(0);
        // In the round before the newest event's, every table was played to its end.
        self.round = newest.saturating_sub(1).checked_div(count).unwrap_or(0).saturating_sub(1);
        loop {
            let base = self.round * count + 1;
            let not_durable = |(index, event): (usize, &Event)| {
                base + index as u64 > self.durable[usize::from(event.table)]
            };
            match self.data.events.iter().enumerate().position(not_durable) {
                Some(index) => {
                    self.next = index;
                    return;
                }
                None if self.repeat && count > 0 => self.round += 1,
                None => {
                    self.next = self.data.events.len();
                    // A replay that stops after its rounds is over; one more round exists only with `loop`.
                    if newest > (self.round + 1) * count {
                        self.round += 1;
                        continue;
                    }
                    return;
                }
            }
        }
    }

    /// Simulated time now, microseconds since 1970.
    fn simulated_us(&self) -> i64 {
        let Speed::Times(times) = self.speed else { return i64::MAX };
        let passed = self.env.clock.instant().saturating_duration_since(self.clock_from.0);
        // A float holds microseconds of a century exactly enough; the cast saturates.
        self.clock_from.1.saturating_add((passed.as_micros() as f64 * times) as i64)
    }

    /// Turns due events into batches. Returns whether there were any.
    fn take_due(&mut self) -> Result<bool, IngestError> {
        let (now_us, shift_us) = (self.simulated_us(), self.shift_us());
        let rest = self.data.events[self.next..].iter().take(EVENTS_PER_STEP);
        let due = rest.take_while(|event| event.at_us.saturating_add(shift_us) <= now_us).count();
        if due == 0 {
            return Ok(false);
        }
        let mut by_table: Vec<Vec<(u64, Event)>> = vec![Vec::new(); self.data.descriptions.len()];
        for index in self.next..self.next + due {
            let (event, ordinal) = (self.data.events[index], self.ordinal(index));
            let table = usize::from(event.table);
            if ordinal > self.durable[table] {
                by_table[table].push((ordinal, event));
            }
        }
        let note = serde_json::to_vec(&Note { fingerprint: format!("{:016x}", self.data.fingerprint) });
        let note = note.map_err(|error| IngestError::Broken {
            source_type: "replay".to_string(),
            what: error.to_string(),
        })?;
        for (number, chosen) in by_table.iter().enumerate() {
            let Some((ordinal, _)) = chosen.last() else { continue };
            let number = number as u16;
            self.ready.push_back(SourceBatch {
                table: self.data.table(number).clone(),
                rows: self.data.rows(number, chosen, shift_us)?,
                part: String::new(),
                position: Position::new(0, *ordinal),
                note: note.clone(),
                transaction_end: true,
            });
        }
        self.next += due;
        if self.next == self.data.events.len() && self.repeat {
            self.round += 1;
            self.next = 0;
        }
        Ok(true)
    }

    /// How long until the next event is due.
    fn until_due(&self) -> Duration {
        let (Some(event), Speed::Times(times)) = (self.data.events.get(self.next), self.speed) else {
            return Duration::ZERO;
        };
        let wait_us = event.at_us.saturating_add(self.shift_us()).saturating_sub(self.simulated_us()).max(0);
        Duration::from_secs_f64((wait_us as f64 / 1e6 / times).min(3_600.0))
    }

    fn progress(&self) -> Progress {
        let count = self.data.events.len() as u64;
        let done = if self.repeat { self.next as u64 } else { self.next.min(self.data.events.len()) as u64 };
        let last = self.data.events.get(self.next).or(self.data.events.last());
        let shown_us = match self.speed {
            Speed::Times(_) => self.simulated_us(),
            Speed::Max => last.map_or(0, |event| event.at_us.saturating_add(self.shift_us())),
        };
        let time = chrono::DateTime::from_timestamp_micros(shown_us).unwrap_or_default();
        let percent = if count == 0 { 100.0 } else { done as f64 * 100.0 / count as f64 };
        let message = format!("simulated clock: {}, {percent:.1} % played", time.format("%Y-%m-%d %H:%M"));
        Progress { rows_done: done, rows_estimated: Some(count), message: Some(message) }
    }
}

fn check_note(note: &[u8], fingerprint: u64) -> Result<(), IngestError> {
    let stored = serde_json::from_slice::<Note>(note).map(|note| note.fingerprint);
    if stored.is_ok_and(|stored| stored == format!("{fingerprint:016x}")) {
        return Ok(());
    }
    Err(IngestError::SourceGone {
        what: "the data set or its events changed since a part of it was played".to_string(),
        advice:
            "put the old files and `events` back, or remove the source with its topics to play the new ones"
                .to_string(),
    })
}

#[async_trait]
impl Source for ReplaySource {
    async fn next(&mut self) -> Result<Option<SourceEvent>, IngestError> {
        if let Some(description) = self.data.descriptions.get(self.announced) {
            self.announced += 1;
            return Ok(Some(SourceEvent::Table(description.clone())));
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(SourceEvent::Rows(batch)));
            }
            let now = self.env.clock.instant();
            if std::mem::take(&mut self.say_idle) {
                return Ok(Some(SourceEvent::Idle { lag_bytes: None }));
            }
            if now.saturating_duration_since(self.said) >= SAY_EVERY {
                self.said = now;
                self.say_idle = self.until_due() > Duration::ZERO;
                return Ok(Some(SourceEvent::Progress(self.progress())));
            }
            if self.next >= self.data.events.len() {
                return Ok(None);
            }
            if !self.take_due()? {
                // Nothing but the clock changes while this waits, so it may be dropped at any time.
                let until_said = SAY_EVERY.saturating_sub(now.saturating_duration_since(self.said));
                let wait = self.until_due().max(STEP_MIN).min(until_said.max(Duration::from_millis(1)));
                self.env.clock.sleep(wait).await;
            }
        }
    }

    async fn acknowledge(&mut self, _: &SourceTable, _: &str, _: Position) -> Result<(), IngestError> {
        // Files forget nothing.
        Ok(())
    }
}

/// Starts playing where `resume` ends.
pub(super) fn start(
    data: &SharedDataSet,
    config: &ReplayConfig,
    env: Env,
    resume: &Resume,
) -> Result<Box<dyn Source>, IngestError> {
    Ok(Box::new(ReplaySource::new(Arc::clone(data), config, env, resume)?))
}
