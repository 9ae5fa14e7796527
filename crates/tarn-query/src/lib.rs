//! SQL over the lakehouse: one consistent view per table per query, planned from manifest statistics, read in parallel.
//!
//! [`QueryEngine`] is made once; it hands out a [`Session`] per connection or request; [`Session::execute`] gives a
//! [`QueryStream`]. The engine sees tables through the port [`Tables`] only.

pub mod encode;
mod engine;
mod error;
mod scan;
mod sql;
mod table_change;
mod tables;
pub mod tpch;
mod views;
mod write;

pub use engine::{
    Changes, Command, Completion, CompletionColumn, CompletionFunction, CompletionTable, CopyIn,
    LatencySummary, Prepared, QueryConfig, QueryEngine, QueryObserver, QueryOptions, QueryOutcome,
    QueryRecord, QueryState, QueryStats, QueryStream, Session, StatsHandle, information_schema,
    parameter_types,
};
pub use error::{QueryError, SqlPosition};
pub use scan::{LakeTable, ScanStats};
pub use sql::{
    ClientCopy, CopyColumns, CopyFormat, CopyHeader, CopyOption, CopyPlace, CopyStatement, CopySubject,
    CopyValue, parse_copy,
};
pub use tables::{AsOf, LakeTables, MissingBranch, TableChange, Tables, WriteBranch};
pub use views::{NewView, SqlView};
