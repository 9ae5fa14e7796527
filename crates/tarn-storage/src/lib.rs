//! Object stores: one folder or bucket prefix, opened from a URL, with durable writes and errors that say what to do.

mod error;

pub use error::StorageError;
