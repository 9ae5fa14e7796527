//! Turns failures of the protocol into errors that say what to do.

use super::config::Server;
use super::wire::{ServerError, WireError};
use crate::error::IngestError;

/// The error of the source for a failure on a connection to `server`.
pub fn explain(server: &Server, error: WireError) -> IngestError {
    let system = server.system();
    match error {
        WireError::Io(source) => IngestError::Unreachable { system, source: source.into() },
        WireError::Server(error) => explain_refusal(server, error),
        WireError::Tls(what) => IngestError::Unsuitable {
            system,
            what: format!("no encrypted connection: {what}"),
            advice: "check `tls` and `ca`, or the server's `ssl` settings".to_string(),
        },
        WireError::Login(what) => IngestError::Denied {
            system,
            what,
            advice: "set `password: { secret: name }` and store the secret".to_string(),
        },
        WireError::Protocol(what) => {
            IngestError::Decode { what: format!("an answer of {system}"), source: what.into() }
        }
    }
}

fn explain_refusal(server: &Server, error: ServerError) -> IngestError {
    let system = server.system();
    let what = match &error.detail {
        Some(detail) => format!("{} ({detail})", error.message),
        None => error.message.clone(),
    };
    let advised = error.hint.clone();
    let advice = |own: &str| advised.clone().unwrap_or_else(|| own.to_string());
    match error.code.as_str() {
        "28P01" => IngestError::Denied {
            system,
            what,
            advice: format!(
                "check the password of user `{}`: set `password` to the right secret",
                server.user
            ),
        },
        code if code.starts_with("28") => IngestError::Denied {
            system,
            what,
            advice: format!("allow user `{}` from this machine in pg_hba.conf, and reload", server.user),
        },
        "42501" => {
            IngestError::Denied { system, what, advice: advice("grant the missing right to the user") }
        }
        "3D000" => IngestError::Unsuitable {
            system,
            what,
            advice: "check the database at the end of `url`; `psql -l` lists them".to_string(),
        },
        "55006" => IngestError::Busy {
            what,
            advice: "stop the other reader of the slot, or set another `slot`; tried again".to_string(),
        },
        // Needed segments of the server's log were removed.
        "58P01" => IngestError::SourceGone {
            what: format!("{system} removed log that was not read yet: {what}"),
            advice: LOST_ADVICE.to_string(),
        },
        // All slots or senders in use: waiting does not help.
        "53400" => IngestError::Unsuitable {
            system,
            what,
            advice: advice("raise max_replication_slots or max_wal_senders, and restart PostgreSQL"),
        },
        // Shutting down, starting up, crashed, too many connections, locks, deadlocks, cancelled by the administrator.
        code if ["57", "08", "53", "40", "55P03"].iter().any(|class| code.starts_with(class)) => {
            IngestError::Unreachable { system, source: what.into() }
        }
        code => IngestError::Unsuitable {
            system,
            what: format!("{what} (SQLSTATE {code})"),
            advice: advice("look at the server's log for the statement that failed"),
        },
    }
}

/// How to go on when rows may be missing.
pub const LOST_ADVICE: &str = "changes since the last read row may be missing; set `on_slot_lost: snapshot` to empty \
                               the tables here and read them again, or delete and create the source";
