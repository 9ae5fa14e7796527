//! Tests of the query engine over tables made by hand, each answer compared with the same SQL over rows in memory.
#![allow(clippy::too_many_lines, reason = "tables of cases")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::large_futures)]

mod deletes;
mod encodings;
mod errors;
mod evolution;
mod lake;
mod life;
mod oracle;
mod pruning;
mod random;
mod session;
