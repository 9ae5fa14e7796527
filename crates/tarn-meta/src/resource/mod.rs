//! What is declared: documents of a kind, a name and a spec; numbered revisions of them; and how each one fares.

mod diff;
mod document;
mod folder;
mod kind;
mod order;
mod plan;
mod problem;
mod references;
mod revision;
mod schema;
mod service;
mod status;
mod view;
mod write_back;

pub use document::{
    DOCUMENT_BYTES_MAX, Origin, ParsedDocuments, ResourceDocument, ResourceId, parse_documents,
};
pub use folder::{RESOURCES_FOLDER, load_folder};
pub use kind::{KindSpec, Kinds, NameRule, Validate, Variants};
pub use plan::{Applied, Plan, PlanOptions, PlannedChange};
pub use problem::{Problem, Severity};
pub(crate) use references::replace as replace_references;
pub use references::{SECRET_KEY, secret_references};
pub use revision::{
    ChangeAction, NewRevision, ResourceChange, Revision, RevisionChange, RevisionStore, StoredResource,
};
pub use schema::schema_problems;
pub use service::Resources;
pub use status::{ResourceState, ResourceStatus, StatusReport, StatusStore};
pub(crate) use view::iso_time;
pub use view::{ChangeView, ResourceView, RevisionDetail, RevisionView, document_yaml};
pub use write_back::{KeptFile, WriteBack};
