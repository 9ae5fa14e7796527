//! Who may do what: users, sessions, API keys, roles, and an audit log that shows when it was tampered with.

mod access;
mod audit;
mod authenticate;
mod backoff;
mod config;
mod credentials;
mod error;
mod key;
mod password;
mod record;
mod scram;
mod scram_login;
mod session;
mod user;

pub use access::Access;
pub use audit::{AuditBreak, AuditEvent, AuditVerification, AuditView, Outcome};
pub use config::AccessConfig;
pub use credentials::{Credentials, Identity, Method, Peer, require};
pub use error::AccessError;
pub use key::{KeyView, NewKey};
pub use scram_login::ScramLogin;
pub use session::NewSession;
pub use user::UserView;
