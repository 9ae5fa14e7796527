//! Tables over a real log, a real metadata store and real files.
#![allow(clippy::too_many_lines, reason = "tables of cases")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod catalog;
mod evolution;
mod expiry;
mod faults;
mod foreign;
mod history;
mod large;
mod mapping;
mod partitions;
mod policies;
mod rows;
mod services;
mod statements;
mod whole_rows;
mod world;
