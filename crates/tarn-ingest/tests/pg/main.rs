//! `postgres_cdc` against a real PostgreSQL: what arrives, applied row by row, must equal what the server has.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod changes;
mod failures;
mod mirror;
mod resume;
mod speed;
mod types;
