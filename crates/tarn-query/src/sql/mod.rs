//! SQL text: what a statement may do, where its words stand, and which past it asks for.

mod diagnose;
mod equal_names;
mod partitioning;
mod placeholders;
mod statement;
mod text;
mod time_travel;

pub(crate) use diagnose::Diagnosis;
pub(crate) use equal_names::{ShownNames, complete, tell_apart};
pub(crate) use partitioning::PartitionTerm;
pub(crate) use statement::{Action, Parsed, parse};
pub(crate) use text::{SqlText, offset, position, word};
pub(crate) use time_travel::{is_ref, parse_time_ms, split_version};

/// Behind the name of a table in the query of a statement that changes it: its rows with their places.
pub(crate) const ROWS_MARK: &str = "@rows";
