//! What is wrong right now, for people: one note per subject and code, each on the board of its tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tarn_core::{Clock, Fault, FaultReport, TenantId};

/// Notes of a tenant held at most; the oldest makes room.
const NOTES_MAX: usize = 500;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It goes on, but a person should look.
    Warning,
    /// It stands still.
    Error,
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A source by name.
    Source,
    /// A table, `namespace.table`.
    Table,
    /// A resource, `kind/name`.
    Resource,
    /// A topic by name.
    Topic,
}

/// What a person can do with one click.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultAction {
    /// Start it again.
    Restart,
    /// Open its page.
    Open,
    /// Try the last step again.
    Retry,
}

/// What to say about a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultNote {
    /// How bad it is.
    pub severity: Severity,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// What one click can do.
    pub action: FaultAction,
}

impl FaultNote {
    /// The note of an error.
    pub fn of(severity: Severity, fault: &dyn Fault, action: FaultAction) -> Self {
        let report = FaultReport::of(fault);
        Self { severity, message: report.message, hint: report.hint, action }
    }
}

/// A note on the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CurrentFault {
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// What kind of thing.
    pub subject_kind: SubjectKind,
    /// Which one.
    pub subject: String,
    /// Which fault of it, such as `run` or `dead_letters`.
    pub code: &'static str,
    /// What to say.
    #[serde(flatten)]
    pub note: FaultNote,
}

type Notes = BTreeMap<(SubjectKind, String, &'static str), (i64, FaultNote)>;

/// The board of each tenant.
#[derive(Debug)]
pub struct FaultBoard {
    clock: Arc<dyn Clock>,
    of_tenant: Mutex<BTreeMap<TenantId, Notes>>,
}

impl FaultBoard {
    /// Empty.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, of_tenant: Mutex::default() })
    }

    /// Puts up a note, or changes the one of that subject and code; an unchanged note keeps its time.
    pub fn set(
        &self,
        tenant: &TenantId,
        kind: SubjectKind,
        subject: &str,
        code: &'static str,
        note: FaultNote,
    ) {
        let now_ms = self.clock.now_ms();
        let mut of_tenant = self.of_tenant.lock();
        let notes = of_tenant.entry(tenant.clone()).or_default();
        let key = (kind, subject.to_string(), code);
        match notes.get_mut(&key) {
            Some((_, old)) if old.message == note.message => *old = note,
            _ => {
                notes.insert(key, (now_ms, note));
            }
        }
        if notes.len() > NOTES_MAX {
            let oldest = notes.iter().min_by_key(|(_, (since_ms, _))| *since_ms).map(|(key, _)| key.clone());
            oldest.and_then(|key| notes.remove(&key));
        }
    }

    /// Takes down one note.
    pub fn clear(&self, tenant: &TenantId, kind: SubjectKind, subject: &str, code: &'static str) {
        if let Some(notes) = self.of_tenant.lock().get_mut(tenant) {
            notes.remove(&(kind, subject.to_string(), code));
        }
    }

    /// Takes down all notes of a subject.
    pub fn clear_subject(&self, tenant: &TenantId, kind: SubjectKind, subject: &str) {
        if let Some(notes) = self.of_tenant.lock().get_mut(tenant) {
            notes.retain(|(k, s, _), _| *k != kind || s != subject);
        }
    }

    /// All notes of a tenant, newest first.
    pub fn list(&self, tenant: &TenantId) -> Vec<CurrentFault> {
        let of_tenant = self.of_tenant.lock();
        let mut faults: Vec<CurrentFault> = of_tenant
            .get(tenant)
            .into_iter()
            .flatten()
            .map(|((subject_kind, subject, code), (since_ms, note))| CurrentFault {
                since_ms: *since_ms,
                subject_kind: *subject_kind,
                subject: subject.clone(),
                code,
                note: note.clone(),
            })
            .collect();
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.since_ms));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use step_clock::StepClock;

    /// A clock that moves by one millisecond each time it is read.
    mod step_clock {
        use std::future::Future;
        use std::pin::Pin;
        use std::sync::atomic::{AtomicI64, Ordering};
        use std::time::{Duration, Instant};

        #[derive(Debug, Default)]
        pub struct StepClock(AtomicI64);

        #[allow(clippy::disallowed_methods, reason = "a test clock")]
        impl tarn_core::Clock for StepClock {
            fn now_ms(&self) -> i64 {
                self.0.fetch_add(1, Ordering::Relaxed)
            }
            fn now_us(&self) -> i64 {
                self.now_ms() * 1_000
            }
            fn instant(&self) -> Instant {
                Instant::now()
            }
            fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(std::future::ready(()))
            }
        }
    }

    fn note(message: &str) -> FaultNote {
        FaultNote {
            severity: Severity::Error,
            message: message.to_string(),
            hint: None,
            action: FaultAction::Restart,
        }
    }

    fn subjects(board: &FaultBoard, tenant: &TenantId) -> Vec<String> {
        board.list(tenant).into_iter().map(|fault| fault.subject).collect()
    }

    #[test]
    fn the_newest_stands_first_and_an_unchanged_note_keeps_its_time() {
        let (board, main) = (FaultBoard::new(Arc::new(StepClock::default())), TenantId::default());
        board.set(&main, SubjectKind::Source, "a", "run", note("down"));
        board.set(&main, SubjectKind::Source, "b", "run", note("down"));
        board.set(&main, SubjectKind::Source, "a", "run", note("down"));
        assert_eq!(subjects(&board, &main), ["b", "a"]);
        board.set(&main, SubjectKind::Source, "a", "run", note("still down"));
        assert_eq!(subjects(&board, &main), ["a", "b"]);
        board.clear(&main, SubjectKind::Source, "a", "run");
        board.clear_subject(&main, SubjectKind::Source, "b");
        assert!(board.list(&main).is_empty());
    }

    #[test]
    fn each_tenant_has_a_board_of_its_own() {
        let board = FaultBoard::new(Arc::new(StepClock::default()));
        let (a, b) = (TenantId::new("a"), TenantId::new("b"));
        board.set(&a, SubjectKind::Source, "shop", "run", note("down"));
        assert!(board.list(&b).is_empty());
        board.clear(&b, SubjectKind::Source, "shop", "run");
        board.clear_subject(&b, SubjectKind::Source, "shop");
        (0..NOTES_MAX).for_each(|n| board.set(&b, SubjectKind::Table, &n.to_string(), "commit", note("x")));
        assert_eq!(subjects(&board, &a), ["shop"]);
    }

    #[test]
    fn the_board_is_bounded() {
        let (board, main) = (FaultBoard::new(Arc::new(StepClock::default())), TenantId::default());
        for n in 0..NOTES_MAX + 10 {
            board.set(&main, SubjectKind::Table, &n.to_string(), "commit", note("x"));
        }
        assert_eq!(board.list(&main).len(), NOTES_MAX);
        assert!(board.list(&main).iter().all(|fault| fault.subject != "9"));
    }
}
