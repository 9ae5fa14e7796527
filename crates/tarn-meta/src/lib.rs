//! Metadata store.
mod catalog;
mod error;
pub use catalog::{CatalogStore, PointerInsert, PointerSwap, Properties, PropertiesUpdate, TablePointer};
pub use error::MetaError;
pub trait MetaStore: CatalogStore {}
pub mod resource {
    #[derive(Debug, Clone)]
    pub struct Problem {
        pub message: String,
    }
    impl std::fmt::Display for Problem {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.message)
        }
    }
}
impl resource::Problem {
    pub fn is_error(&self) -> bool {
        true
    }
}
