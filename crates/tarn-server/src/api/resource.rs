use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceAction {
    /// It is new.
    Create,
    /// Its spec changes.
    Update,
    /// It goes.
    Delete,
    /// Nothing.
    None,
}

/// How a resource fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceRunState {
    /// In effect.
    Active,
    /// It could not be put into effect.
    Failed,
    /// Not yet in effect.
    Pending,
}

/// A resource.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceEntry {
    /// Such as `source`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The revision that changed it last.
    pub revision: u64,
    /// When.
    pub updated_at: String,
    /// By whom.
    pub author: String,
    /// How it fares.
    pub state: ResourceRunState,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The revision in effect.
    pub running_revision: Option<u64>,
    /// Its document.
    pub yaml: String,
}

/// Names a resource.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceRef {
    /// Such as `source`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Documents to plan or apply.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceChangeRequest {
    /// YAML, one or several documents.
    #[serde(default)]
    pub documents: String,
    /// Resources to delete.
    #[serde(default)]
    pub delete: Vec<ResourceRef>,
    /// Also deletes what the documents do not name.
    #[serde(default)]
    pub prune: bool,
    /// Only apply when this is still the newest revision.
    #[serde(default)]
    pub base_revision: Option<u64>,
    /// Why, for the list of revisions.
    #[serde(default)]
    pub message: Option<String>,
}

/// What an apply would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourcePlan {
    /// The newest revision.
    pub base_revision: u64,
    /// By kind and name.
    pub changes: Vec<PlannedResource>,
    /// What is wrong with the documents as such.
    pub problems: Vec<ProblemView>,
    /// Whether an apply would be accepted.
    pub ok: bool,
}

/// What an apply did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceApplied {
    /// The newest revision.
    pub revision: u64,
    /// By kind and name.
    pub changes: Vec<PlannedResource>,
}

/// A change of a resource.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlannedResource {
    /// What happens.
    pub action: ResourceAction,
    /// Such as `source`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Unified diff of its document.
    pub diff: String,
    /// What is wrong with it.
    pub problems: Vec<ProblemView>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    /// `error` or `warning`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// In which file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A revision to go back to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Its number; 0 is the state without resources.
    pub revision: u64,
}

/// A revision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionEntry {
    /// Its number.
    pub revision: u64,
    /// When.
    pub at: String,
    /// By whom.
    pub author: String,
    /// Why.
    pub message: String,
    /// What changed.
    pub changes: Vec<RevisionChangeEntry>,
}

/// A change of a revision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionChangeEntry {
    /// What happened.
    pub action: ResourceAction,
    /// Such as `source`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Unified diff, in the answer about one revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// What a write-back did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WriteBackReport {
    /// Files written, relative to the project folder.
    pub files: Vec<String>,
    /// Files removed.
    pub removed: Vec<String>,
    /// Files left alone, since they hold edits that were never applied.
    pub kept: Vec<KeptFileEntry>,
}

/// A file that was left alone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeptFileEntry {
    /// Which.
    pub file: String,
    /// Why, and what to do.
    pub reason: String,
}
