//! Object stores: one folder or bucket prefix, opened from a URL, with durable writes and errors that say what to do.

mod config;
mod delegate;
mod error;
mod local;
mod sigv4;
mod store;

pub use config::StorageConfig;
pub use delegate::{Bucket, DelegationConfig, S3Request, SignedRequest, VendedKeys};
pub use error::StorageError;
pub use sigv4::Keys;
pub use store::Store;
