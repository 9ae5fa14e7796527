//! Tables over a real log, a real metadata store and real files.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod history;
mod world;
