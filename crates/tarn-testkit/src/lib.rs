//! What tests of several crates share: real servers, started in temporary folders and stopped when dropped, and
//! random cases that can be repeated.

mod postgres;
mod seeds;

pub use postgres::{PostgresOptions, PostgresServer};
pub use seeds::{for_each_seed, random_bytes};
