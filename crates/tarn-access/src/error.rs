//! What can go wrong with access.

use tarn_core::{Fault, FaultKind, Role};
use tarn_meta::MetaError;

/// Errors of access. No variant says whether a user exists, except to admins.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Nothing was said about who asks.
    #[error("this needs a login or an API key")]
    NotAuthenticated,
    /// No user and no key exists yet, so only this machine itself may ask.
    #[error("no user exists yet, so only requests of this machine itself are answered")]
    NotSetUp,
    /// User or password is wrong, or there is no such key or session.
    #[error("{what} refused")]
    WrongCredentials {
        /// Such as `user or password`.
        what: &'static str,
    },
    /// The key was right once.
    #[error("API key `{id}` has expired")]
    KeyExpired {
        /// Its identifier.
        id: String,
    },
    /// Wrong too often.
    #[error("too many failed logins, try again in {retry_after_s} s")]
    TooManyAttempts {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The role is too low.
    #[error("this needs the role {needed}, `{principal}` has the role {held}")]
    Forbidden {
        /// Who asked.
        principal: String,
        /// What they have.
        held: &'static str,
        /// What it takes.
        needed: &'static str,
    },
    /// A user of that name exists.
    #[error("user `{name}` exists already")]
    UserExists {
        /// The name.
        name: String,
    },
    /// No such user.
    #[error("user `{name}` not found")]
    UserNotFound {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        similar: Option<String>,
    },
    /// No such key.
    #[error("API key `{id}` not found")]
    KeyNotFound {
        /// The identifier asked for.
        id: String,
    },
    /// A name or a setting cannot be used.
    #[error("{what}")]
    Invalid {
        /// Why not.
        what: String,
    },
    /// A new password is too easy to guess.
    #[error("the password must have at least {length_min} characters")]
    PasswordTooShort {
        /// What the configuration asks for.
        length_min: usize,
    },
    /// Nobody would be left who may manage users.
    #[error("`{name}` is the last admin")]
    LastAdmin {
        /// User name or key identifier.
        name: String,
    },
    /// The first user or key must be able to manage the others.
    #[error("the first user must be an admin")]
    FirstMustBeAdmin,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MetaError),
    /// Hashing failed.
    #[error("could not hash a password: {what}")]
    Hash {
        /// What the library said.
        what: String,
    },
    /// A stored record is not what this program writes.
    #[error("stored {what} cannot be read")]
    Undecodable {
        /// Which noun.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl AccessError {
    /// Whether saying who asks, or saying it right, could help: HTTP 401 instead of 403.
    pub fn is_unauthenticated(&self) -> bool {
        matches!(
            self,
            Self::NotAuthenticated | Self::NotSetUp | Self::WrongCredentials { .. } | Self::KeyExpired { .. }
        )
    }
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Admin => "admin",
    }
}

impl Fault for AccessError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NotAuthenticated
            | Self::NotSetUp
            | Self::WrongCredentials { .. }
            | Self::KeyExpired { .. }
            | Self::Forbidden { .. } => FaultKind::Denied,
            Self::TooManyAttempts { .. } => FaultKind::Exhausted,
            Self::UserExists { .. } | Self::LastAdmin { .. } => FaultKind::Conflict,
            Self::UserNotFound { .. } | Self::KeyNotFound { .. } => FaultKind::NotFound,
            Self::Invalid { .. } | Self::PasswordTooShort { .. } | Self::FirstMustBeAdmin => {
                FaultKind::Invalid
            }
            Self::Store(error) => error.kind(),
            Self::Hash { .. } => FaultKind::Internal,
            Self::Undecodable { .. } => FaultKind::Corrupt,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotAuthenticated => "log in, or send `Authorization: Bearer <api key>`",
            Self::NotSetUp => "on that machine, run `tarn access user add NAME --role admin`",
            Self::KeyExpired { .. } => "make a new one with `tarn access key create NAME`",
            Self::Forbidden { .. } => "ask an admin for a higher role",
            Self::LastAdmin { .. } => "make another user an admin first",
            Self::FirstMustBeAdmin => "run `tarn access user add NAME --role admin` first",
            Self::UserNotFound { similar, .. } => {
                return similar.as_ref().map(|name| format!("did you mean `{name}`?"));
            }
            Self::Store(error) => return error.hint(),
            Self::WrongCredentials { what: "user or password" } => {
                "check both, capital letters count; an admin gives a new password by removing and adding the user"
            }
            Self::WrongCredentials { what: "API key" } => {
                "check that the whole key was given and not revoked; `tarn access key create NAME` makes another"
            }
            Self::WrongCredentials { .. } => "log in again",
            Self::TooManyAttempts { .. } => "wait, then check user and password before the next try",
            Self::PasswordTooShort { .. } => "use a longer password, such as four words in a row",
            Self::UserExists { .. }
            | Self::KeyNotFound { .. }
            | Self::Invalid { .. }
            | Self::Hash { .. }
            | Self::Undecodable { .. } => return None,
        };
        Some(text.to_string())
    }
}
