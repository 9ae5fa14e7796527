//! SQL text: what a statement may do, where its words stand, and which past it asks for.

mod copy;
mod copy_options;
mod diagnose;
mod dml_words;
mod equal_names;
mod file_functions;
mod nested_names;
mod ordering;
mod partitioning;
mod placeholders;
mod relations;
mod statement;
mod text;
mod time_travel;
mod upkeep;

pub use copy::{CopyPlace, CopyStatement, CopySubject, parse_copy};
pub use copy_options::{ClientCopy, CopyColumns, CopyFormat, CopyHeader, CopyOption, CopyValue};
pub(crate) use diagnose::Diagnosis;
pub(crate) use equal_names::{ShownNames, complete, tell_apart};
pub(crate) use file_functions::{AskedFiles, asked_files};
pub(crate) use ordering::ORDER_MARK;
pub(crate) use partitioning::PartitionTerm;
pub(crate) use relations::{AskedChanges, branch_of, changes_of};
pub(crate) use statement::{Action, Parsed, WriteStatement, parse};
pub(crate) use text::{SqlText, offset, position, word};
pub(crate) use time_travel::{is_ref, parse_time_ms, split_version};
pub(crate) use upkeep::Upkeep;

/// Behind the name of a table in the query of a statement that changes it: its rows with their places.
pub(crate) const ROWS_MARK: &str = "@rows";
/// Behind the name of a table in the query of `RETURNING`: the rows that a statement changed.
pub(crate) const RETURNED_MARK: &str = "@returned";
