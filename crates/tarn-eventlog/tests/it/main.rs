//! The embedded event log against its contract, crashes, damage and full disks.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod bench;
mod concurrency;
mod contract;
mod crash;
mod damage;
mod disk_full;
mod random_batches;
mod retention;
mod rig;
mod schema;
