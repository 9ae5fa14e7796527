//! A change that did not come about, or may not have.

use crate::error::LakehouseError;

/// Why a change did not come about, or may not have.
pub(super) struct Uncommitted {
    pub(super) error: LakehouseError,
    /// Nothing was committed.
    pub(super) is_certain: bool,
}

impl Uncommitted {
    /// An error of the commit itself, which tells whether it was refused or only not answered.
    pub(super) fn of_commit(error: LakehouseError) -> Self {
        let is_certain = matches!(error, LakehouseError::CommitFailed { .. });
        Self { error, is_certain }
    }
}

impl From<LakehouseError> for Uncommitted {
    fn from(error: LakehouseError) -> Self {
        Self { error, is_certain: true }
    }
}
