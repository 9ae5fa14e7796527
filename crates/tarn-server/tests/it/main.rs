//! The server as its clients see it: every protocol on a real port, over real stores in a temporary folder.
#![allow(clippy::too_many_lines, reason = "tables of cases")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(clippy::large_futures, reason = "a test is one future")]

mod access;
mod answer;
mod calls;
mod clock;
mod console;
mod envelope;
mod flight;
mod gzip;
mod health;
mod iceberg_client;
mod iceberg_commits;
mod iceberg_names;
mod iceberg_tables;
mod ingest;
mod keys;
mod lake;
mod limits;
mod openapi;
mod pg_catalog;
mod pg_client;
mod pg_login;
mod pg_queries;
mod pg_session;
mod pg_types;
mod query;
mod query_life;
mod resources;
mod sessions;
mod tenants;
mod world;
