//! What becomes of a change that does not come about.

use crate::catalog::Catalog;
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

/// Deletes the files of a change that does not come about.
pub(super) struct Cleanup {
    pub(super) catalog: Catalog,
    pub(super) env: tarn_core::Env,
    pub(super) files: Vec<String>,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.files);
        if files.is_empty() {
            return;
        }
        let warehouse = self.catalog.warehouse().clone();
        drop(self.env.spawner.spawn(async move {
            for file in files {
                if let Err(error) = warehouse.delete(&file).await {
                    tracing::debug!(file, %error, "a file of a statement that failed stays behind");
                }
            }
        }));
    }
}
