//! Contract suite of the store on both databases, and the laws of resources and secrets.
#![allow(clippy::too_many_lines, reason = "tables of cases")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod bad_yaml;
mod catalog;
mod contract;
mod kinds;
mod laws;
mod postgres;
mod resources;
mod revisions;
mod secrets;
mod world;
mod write_back;
