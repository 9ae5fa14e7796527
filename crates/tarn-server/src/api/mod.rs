//! Shapes of the HTTP API, from which its OpenAPI document is made.
//!
//! Where a crate below already has the shape, it is sent as that crate has it; a test holds every answer of a running
//! server against this document.

mod access;
mod eventlog;
mod imports;
mod ingest;
mod lakehouse;
mod overview;
mod query;
mod resource;
mod service;

pub use access::*;
pub use eventlog::*;
pub use imports::*;
pub use ingest::*;
pub use lakehouse::*;
pub use overview::*;
pub use query::*;
pub use resource::*;
pub use service::*;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Items<T> {
    /// Its members.
    pub items: Vec<T>,
}

/// What every failed request answers with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong and what to do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// What the caller can do about it: `invalid`, `not_found`, `conflict`, `denied`, `exhausted`, `unavailable`,
    /// `corrupt` or `internal`.
    #[schema(value_type = String)]
    pub kind: tarn_core::FaultKind,
    /// What happened.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the SQL text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<TextPosition>,
    /// Finds the log lines of this request; given with errors of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// All that is wrong with documents that were to be applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemView>,
}

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextPosition {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// How a role is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Reads.
    Viewer,
    /// Also writes data and edits resources.
    Editor,
    /// Also manages users, keys and secrets.
    Admin,
}

/// A column of a result.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
}
