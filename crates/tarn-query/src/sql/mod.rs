//! SQL text: what a statement may do, where its words stand, and which past it asks for.

mod diagnose;
mod placeholders;
mod statement;
mod text;
mod time_travel;

pub(crate) use diagnose::Diagnosis;
pub(crate) use statement::{Action, Parsed, parse};
pub(crate) use text::SqlText;
pub(crate) use time_travel::split_version;
