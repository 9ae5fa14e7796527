//! Turns failures of the protocol into errors that say what to do.

use super::config::Server;
use super::wire::{ServerError, WireError, identifier};
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
            let advice = missing_right(&error.message, &server.user).unwrap_or_else(|| {
                advice("grant the missing right to the user; `tarn ingest check` names it")
            });
            IngestError::Denied { system, what, advice }
        }
        // The message names the setting in every language of the server.
        "55000" if error.message.contains("wal_level") => {
            IngestError::Unsuitable { system, what, advice: WAL_LEVEL_ADVICE.to_string() }
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

/// The statement that grants what the server says is missing, where its message is understood.
fn missing_right(message: &str, user: &str) -> Option<String> {
    let user_sql = identifier(user);
    if let Some(table) = message.strip_prefix("must be owner of table ") {
        return Some(format!(
            "let the owner of `{table}` publish it, or make `{user}` a member of the owner's role"
        ));
    }
    let Some(object) = message.strip_prefix("permission denied for ") else {
        // PostgreSQL 16 says `WAL sender` or `replication slots`, older ones `replication role`.
        let is_replication = message.contains("replication") || message.contains("WAL sender");
        return is_replication.then(|| format!("run ALTER ROLE {user_sql} REPLICATION;"));
    };
    let (kind, name) = object.split_once(' ')?;
    let name = identifier(name.trim_matches('"'));
    match kind {
        "database" => Some(format!("run GRANT CREATE ON DATABASE {name} TO {user_sql};")),
        "schema" => Some(format!("run GRANT USAGE ON SCHEMA {name} TO {user_sql};")),
        "table" | "relation" | "view" => Some(format!("run GRANT SELECT ON TABLE {name} TO {user_sql};")),
        _ => None,
    }
}

const WAL_LEVEL_ADVICE: &str = "set `wal_level = logical` in postgresql.conf and restart the server";

/// How to go on when rows may be missing.
pub const LOST_ADVICE: &str = "changes since the last read row may be missing; set `on_slot_lost: snapshot` to empty \
                               the tables here and read them again, or delete and create the source";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_told_as_the_statement_that_grants_it() {
        for (message, advice) in [
            ("permission denied for database shop", r#"run GRANT CREATE ON DATABASE "shop" TO "reader";"#),
            ("permission denied for schema public", r#"run GRANT USAGE ON SCHEMA "public" TO "reader";"#),
            ("permission denied for table orders", r#"run GRANT SELECT ON TABLE "orders" TO "reader";"#),
            ("permission denied for relation orders", r#"run GRANT SELECT ON TABLE "orders" TO "reader";"#),
            (
                "must be superuser or replication role to start walsender",
                r#"run ALTER ROLE "reader" REPLICATION;"#,
            ),
            ("permission denied to start WAL sender", r#"run ALTER ROLE "reader" REPLICATION;"#),
            (
                "permission denied for table replication",
                r#"run GRANT SELECT ON TABLE "replication" TO "reader";"#,
            ),
            (
                "must be owner of table orders",
                "let the owner of `orders` publish it, or make `reader` a member of the owner's role",
            ),
        ] {
            assert_eq!(missing_right(message, "reader").as_deref(), Some(advice));
        }
        assert_eq!(missing_right("keine Berechtigung für Tabelle orders", "reader"), None);
    }
}
