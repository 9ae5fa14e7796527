//! How a command fails: a message, what to do, and an exit code that a script can act on.

use std::io::Write;
use std::process::ExitCode;

use tarn_core::{Fault, FaultKind, FaultReport};

/// A failed command.
#[derive(Clone, Debug)]
pub struct Failure {
    report: FaultReport,
}

impl Failure {
    /// With a kind, a message and, if there is one, advice.
    pub fn new(kind: FaultKind, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { report: FaultReport { kind, message: message.into(), hint } }
    }

    /// Wrong input of the user.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, message, Some(hint.into()))
    }

    /// A broken promise of our own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, message, None)
    }

    /// What can be done about it.
    pub fn kind(&self) -> FaultKind {
        self.report.kind
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.report.message
    }

    /// The advice.
    pub fn hint(&self) -> Option<&str> {
        self.report.hint.as_deref()
    }

    /// Prints the failure to standard error; the exit code depends on its kind.
    pub fn print(&self, json: bool) -> ExitCode {
        ExitCode::from(self.say(json))
    }

    /// Prints the failure to standard error and gives the exit code of its kind.
    pub(super) fn say(&self, json: bool) -> u8 {
        let text = match (json, &self.report.hint) {
            (true, _) => serde_json::json!({ "error": self.report }).to_string(),
            (false, Some(hint)) => format!("error: {}\n  hint: {hint}", self.report.message),
            (false, None) => format!("error: {}", self.report.message),
        };
        // Nothing is left to say it on when that fails.
        let _ = writeln!(std::io::stderr(), "{text}");
        exit_code(self.report.kind)
    }
}

/// The table of exit codes; 2 is also what a wrong command line gives.
fn exit_code(kind: FaultKind) -> u8 {
    match kind {
        FaultKind::Internal => 1,
        FaultKind::Invalid => 2,
        FaultKind::NotFound => 3,
        FaultKind::Conflict => 4,
        FaultKind::Denied => 5,
        FaultKind::Exhausted => 6,
        FaultKind::Unavailable => 7,
        FaultKind::Corrupt => 8,
    }
}

impl<F: Fault> From<F> for Failure {
    fn from(fault: F) -> Self {
        Self { report: FaultReport::of(&fault) }
    }
}

/// A file or folder that could not be used.
pub fn io_failure(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind as K;
    let kind = match error.kind() {
        K::NotFound => FaultKind::NotFound,
        K::PermissionDenied => FaultKind::Denied,
        K::StorageFull | K::QuotaExceeded => FaultKind::Exhausted,
        _ => FaultKind::Unavailable,
    };
    Failure::new(kind, format!("could not {action} `{}`: {error}", path.display()), None)
}
