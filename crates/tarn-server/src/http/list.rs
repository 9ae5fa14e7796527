//! Lists as the API writes them.

use serde::Serialize;
use utoipa::ToSchema;

/// A list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Items<T> {
    /// Its members.
    pub items: Vec<T>,
}
