//! SQL text: what a statement may do, where its words stand, and which past it asks for.

mod diagnose;
mod equal_names;
mod placeholders;
mod statement;
mod text;
mod time_travel;

pub(crate) use diagnose::Diagnosis;
pub(crate) use equal_names::{ShownNames, complete, tell_apart};
pub(crate) use statement::{Action, Parsed, parse};
pub(crate) use text::SqlText;
pub(crate) use time_travel::split_version;
