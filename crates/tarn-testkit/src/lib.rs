//! What tests of several crates share: real servers, started in temporary folders and stopped when dropped.

mod postgres;

pub use postgres::{PostgresOptions, PostgresServer};
