//! Users, keys, sessions, the rules of who is let in, and the audit log.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod audit;
mod keys;
mod rules;
mod scram;
mod sessions;
mod users;
mod world;
