//! Object stores: one folder or bucket prefix, opened from a URL, with durable writes and errors that say what to do.

mod config;
mod error;
mod local;
mod store;

pub use config::StorageConfig;
pub use error::StorageError;
pub use store::Store;
