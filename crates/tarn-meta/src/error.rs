//! What can go wrong with metadata.

use tarn_core::{Fault, FaultKind, InvalidName};

use crate::resource::Problem;

/// Errors of the metadata store, of resources and of secrets. No variant holds a password or a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The address of the store cannot be understood.
    #[error("metadata store address is not usable: {what}")]
    InvalidAddress {
        /// Why not; never holds the address's password.
        what: String,
    },
    /// The database does not answer.
    #[error("metadata store `{place}` does not answer")]
    Unreachable {
        /// File path, or URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The database refused user or password.
    #[error("metadata store `{place}` refused the user or password")]
    LoginRefused {
        /// URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The server has no such database.
    #[error("metadata store `{place}` does not exist")]
    DatabaseNotFound {
        /// URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The role may not do what the store needs.
    #[error("metadata store `{place}` does not permit this")]
    NotPermitted {
        /// File path, or URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// Another process holds a lock for too long.
    #[error("metadata store `{place}` is locked by another process")]
    Locked {
        /// File path, or URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The stored bytes are not a metadata store, or are damaged.
    #[error("metadata store `{place}` is damaged")]
    Damaged {
        /// File path, or URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// No room; nothing of the call was kept.
    #[error("the disk of metadata store `{place}` is full")]
    DiskFull {
        /// File path, or URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The server has no connection or memory left.
    #[error("metadata store `{place}` is overloaded")]
    Overloaded {
        /// URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// A newer version of Tarn wrote this store.
    #[error("metadata store `{place}` has schema version {found}, this program knows {known}")]
    NewerSchema {
        /// File path, or URL without password.
        place: String,
        /// In the store.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The database refused a statement.
    #[error("metadata store `{place}` failed")]
    Store {
        /// File path, or URL without password.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// A stored value is not what this program writes.
    #[error("stored {what} cannot be read")]
    Undecodable {
        /// Which noun.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The caller gave up or its deadline passed; nothing was changed.
    #[error("the call was cancelled while it waited for the metadata store")]
    Cancelled,
    /// A compare-and-swap found another version.
    #[error("document `{space}/{key}` was changed by someone else")]
    DocumentConflict {
        /// Its space.
        space: String,
        /// Its key.
        key: String,
    },
    /// A lease belongs to someone else.
    #[error("lease `{name}` is held by `{holder}`")]
    LeaseHeld {
        /// The lease.
        name: String,
        /// Who holds it.
        holder: String,
        /// Milliseconds since 1970 UTC.
        expires_ms: i64,
    },
    /// A lease ran out and may belong to someone else.
    #[error("lease `{name}` was lost")]
    LeaseLost {
        /// The lease.
        name: String,
    },
    /// A namespace of that name exists.
    #[error("namespace `{namespace}` exists already")]
    NamespaceExists {
        /// The namespace.
        namespace: String,
    },
    /// No such namespace.
    #[error("namespace `{namespace}` not found")]
    NamespaceNotFound {
        /// The name asked for.
        namespace: String,
        /// The nearest name that exists.
        similar: Option<String>,
    },
    /// Tables are left in the namespace.
    #[error("namespace `{namespace}` still holds {tables} tables")]
    NamespaceNotEmpty {
        /// The namespace.
        namespace: String,
        /// How many tables.
        tables: i64,
    },
    /// A table of that name exists.
    #[error("table `{table}` exists already")]
    TableExists {
        /// `namespace.table`.
        table: String,
    },
    /// No such table.
    #[error("table `{table}` not found")]
    TableNotFound {
        /// `namespace.table`.
        table: String,
        /// The nearest name in the namespace.
        similar: Option<String>,
    },
    /// No such view.
    #[error("view `{view}` not found")]
    ViewNotFound {
        /// `namespace.view`.
        view: String,
        /// The nearest name in the namespace.
        similar: Option<String>,
    },
    /// The table's metadata moved; nothing of the call was kept.
    #[error("table `{table}` was changed by another commit")]
    PointerConflict {
        /// `namespace.table`.
        table: String,
        /// What the caller thought it was.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Someone applied in between; nothing of the call was kept.
    #[error("resources are at revision {current}, not {base}")]
    RevisionConflict {
        /// What the caller planned on.
        base: u64,
        /// The newest.
        current: u64,
    },
    /// No such revision.
    #[error("revision {revision} not found, the newest is {current}")]
    RevisionNotFound {
        /// The number asked for.
        revision: u64,
        /// The newest.
        current: u64,
    },
    /// No such resource.
    #[error("{kind} `{name}` not found")]
    ResourceNotFound {
        /// Its kind.
        kind: String,
        /// The name asked for.
        name: String,
        /// The nearest name of that kind.
        similar: Option<String>,
    },
    /// No such kind of resource.
    #[error("unknown kind `{kind}`")]
    UnknownKind {
        /// The kind asked for.
        kind: String,
        /// What to write instead.
        hint: String,
    },
    /// Documents have faults; nothing was applied.
    #[error("{}", list_problems(problems))]
    InvalidResources {
        /// All of them, in order of place.
        problems: Vec<Problem>,
    },
    /// A name broke the rules of its kind.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// No such secret.
    #[error("secret `{name}` not found")]
    SecretNotFound {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        similar: Option<String>,
    },
    /// The value cannot be stored.
    #[error("secret `{name}` is not usable: {what}")]
    InvalidSecret {
        /// Its name.
        name: String,
        /// Why not.
        what: &'static str,
    },
    /// A stored secret cannot be decrypted with the key at hand.
    #[error("secret `{name}` was stored with another key, or is damaged")]
    SecretUnreadable {
        /// Its name.
        name: String,
    },
    /// The key of the secrets cannot be used.
    #[error("secret key `{place}` is not usable: {what}")]
    InvalidSecretKey {
        /// File path or variable.
        place: String,
        /// Why not.
        what: &'static str,
    },
    /// The disk failed.
    #[error("could not {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

const PROBLEMS_SHOWN_MAX: usize = 20;

fn list_problems(problems: &[Problem]) -> String {
    let mut lines: Vec<String> =
        problems.iter().filter(|p| p.is_error()).take(PROBLEMS_SHOWN_MAX).map(ToString::to_string).collect();
    let total = problems.iter().filter(|p| p.is_error()).count();
    if total > lines.len() {
        lines.push(format!("and {} more", total - lines.len()));
    }
    if lines.is_empty() { "documents cannot be applied".to_string() } else { lines.join("\n") }
}

fn did_you_mean(similar: Option<&String>) -> Option<String> {
    similar.map(|name| format!("did you mean `{name}`?"))
}

impl Fault for MetaError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::InvalidAddress { .. }
            | Self::UnknownKind { .. }
            | Self::InvalidResources { .. }
            | Self::InvalidName(_)
            | Self::InvalidSecret { .. }
            | Self::InvalidSecretKey { .. }
            | Self::NewerSchema { .. } => FaultKind::Invalid,
            Self::LoginRefused { .. } | Self::NotPermitted { .. } => FaultKind::Denied,
            Self::DatabaseNotFound { .. }
            | Self::NamespaceNotFound { .. }
            | Self::TableNotFound { .. }
            | Self::ViewNotFound { .. }
            | Self::RevisionNotFound { .. }
            | Self::ResourceNotFound { .. }
            | Self::SecretNotFound { .. } => FaultKind::NotFound,
            Self::DocumentConflict { .. }
            | Self::LeaseHeld { .. }
            | Self::LeaseLost { .. }
            | Self::NamespaceExists { .. }
            | Self::NamespaceNotEmpty { .. }
            | Self::TableExists { .. }
            | Self::PointerConflict { .. }
            | Self::RevisionConflict { .. } => FaultKind::Conflict,
            Self::DiskFull { .. } | Self::Overloaded { .. } => FaultKind::Exhausted,
            Self::Unreachable { .. } | Self::Locked { .. } | Self::Cancelled | Self::Io { .. } => {
                FaultKind::Unavailable
            }
            Self::Damaged { .. } | Self::Undecodable { .. } | Self::SecretUnreadable { .. } => {
                FaultKind::Corrupt
            }
            Self::Store { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::InvalidAddress { .. } => {
                "use `sqlite:///path/meta.db`, a file path, or `postgres://user:password@host:5432/database`"
            }
            Self::Unreachable { .. } => "check that the server runs and that host and port are right",
            Self::LoginRefused { .. } => "check user and password in the address of the metadata store",
            Self::DatabaseNotFound { .. } => "create the database, or correct its name in the address",
            Self::NotPermitted { .. } => "give the file's folder or the database role write permission",
            Self::Locked { .. } => "stop the other process, or wait until it is done",
            Self::Damaged { .. } => "restore the metadata store from a backup",
            Self::DiskFull { .. } => "free space on that disk; calls succeed again by themselves",
            Self::Overloaded { .. } => "raise the limits of the database server, or stop other clients",
            Self::NewerSchema { .. } => "use the version of tarn that wrote it, or a newer one",
            Self::NamespaceNotEmpty { .. } => "drop its tables first",
            Self::PointerConflict { .. } => "load the table again and repeat the change",
            Self::RevisionConflict { .. } => "plan again on the newest revision, then apply",
            Self::SecretUnreadable { .. } => {
                "put back the key file `secret.key` (or TARN_SECRET_KEY), or set the secret again"
            }
            Self::InvalidSecretKey { .. } => "it must hold 32 random bytes as base64",
            Self::NamespaceNotFound { similar, .. }
            | Self::TableNotFound { similar, .. }
            | Self::ViewNotFound { similar, .. }
            | Self::ResourceNotFound { similar, .. } => return did_you_mean(similar.as_ref()),
            Self::SecretNotFound { name, similar } => {
                let set = format!("set it with `tarn access secret set {name}`");
                return Some(
                    did_you_mean(similar.as_ref()).map_or(set.clone(), |text| format!("{text} Or {set}")),
                );
            }
            Self::UnknownKind { hint, .. } => hint,
            Self::InvalidName(error) => return error.hint(),
            Self::Store { .. }
            | Self::Undecodable { .. }
            | Self::Cancelled
            | Self::DocumentConflict { .. }
            | Self::LeaseHeld { .. }
            | Self::LeaseLost { .. }
            | Self::NamespaceExists { .. }
            | Self::TableExists { .. }
            | Self::RevisionNotFound { .. }
            | Self::InvalidResources { .. }
            | Self::InvalidSecret { .. }
            | Self::Io { .. } => return None,
        };
        Some(text.to_string())
    }
}
