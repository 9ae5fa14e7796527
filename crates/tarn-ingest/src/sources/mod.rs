//! The family of sources, in the order of the documentation.

pub mod file;
pub mod http_push;
pub mod postgres_cdc;
pub mod replay;

use crate::source::SourceSpec;

/// All source types.
pub static SOURCES: &[&SourceSpec] = &[&postgres_cdc::SPEC, &file::SPEC, &http_push::SPEC, &replay::SPEC];

/// The source type of a name.
pub fn source_spec(name: &str) -> Option<&'static SourceSpec> {
    SOURCES.iter().copied().find(|spec| spec.component.name == name)
}
