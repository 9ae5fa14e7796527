//! What can go wrong with an object store.

use std::error::Error;
use std::io;

use tarn_core::{Fault, FaultKind};

/// Errors of object stores. Names in the texts are full locations, such as `s3://lake/a.parquet`.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No such object, folder or bucket.
    #[error("`{location}` not found")]
    NotFound {
        /// What was asked for.
        location: String,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// An object of that name exists, and was not to be replaced.
    #[error("`{location}` exists already")]
    AlreadyExists {
        /// The object.
        location: String,
    },
    /// The object changed since it was looked at.
    #[error("`{location}` was changed by another writer")]
    Changed {
        /// The object.
        location: String,
    },
    /// The store does not answer.
    #[error("could not reach `{location}`")]
    Unreachable {
        /// What was asked for.
        location: String,
        /// What the store or the network said.
        source: Box<object_store::Error>,
    },
    /// The store refuses these credentials or this file mode.
    #[error("access to `{location}` is denied")]
    Denied {
        /// What was asked for.
        location: String,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// No room; nothing was kept of the write.
    #[error("no room left to write `{location}`")]
    Full {
        /// What was written.
        location: String,
        /// What the system said.
        source: Box<object_store::Error>,
    },
    /// The location is not one of this store, or not a location at all.
    #[error("`{url}` {what}")]
    InvalidLocation {
        /// As given.
        url: String,
        /// Such as `is not in s3://lake`.
        what: String,
    },
    /// The configuration cannot be used.
    #[error("the storage configuration is wrong: {what}")]
    InvalidConfig {
        /// What is wrong.
        what: String,
        /// What to write instead.
        advice: String,
    },
    /// The disk failed.
    #[error("could not {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot do this.
    #[error("the store of `{location}` does not support this")]
    Unsupported {
        /// What was asked for.
        location: String,
        /// What the store said.
        source: Box<object_store::Error>,
    },
}

/// The first I/O error in a chain of causes.
fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl StorageError {
    /// Names what an error of `object_store` means for the caller. `location`: what was asked for.
    pub fn of(location: impl Into<String>, error: object_store::Error) -> Self {
        use object_store::Error as E;
        let location = location.into();
        let io = io_cause(&error);
        let (full, denied) =
            (io.is_some_and(is_full), io.is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied));
        let source = Box::new(error);
        // A missing bucket comes as an error of the listing.
        let no_bucket = tarn_core::chain_text(&*source).contains("NoSuchBucket");
        match *source {
            _ if no_bucket => Self::NotFound { location, source },
            _ if full => Self::Full { location, source },
            _ if denied => Self::Denied { location, source },
            E::NotFound { .. } => Self::NotFound { location, source },
            E::AlreadyExists { .. } => Self::AlreadyExists { location },
            E::Precondition { .. } | E::NotModified { .. } => Self::Changed { location },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied { location, source },
            E::InvalidPath { .. } => {
                Self::InvalidLocation { url: location, what: "is not a valid path".to_string() }
            }
            E::UnknownConfigurationKey { .. } => Self::InvalidConfig {
                what: source.to_string(),
                advice: "remove the key, see the storage reference".to_string(),
            },
            E::NotSupported { .. } | E::NotImplemented { .. } => Self::Unsupported { location, source },
            // Generic: timeouts, refused connections, 5xx after retries. The type is open, so this arm stays.
            _ => Self::Unreachable { location, source },
        }
    }

    /// Names what an error of the file system means for the caller.
    pub fn io(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        let path = path.display().to_string();
        Self::Io { action, path, source }
    }
}

impl Fault for StorageError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NotFound { .. } => FaultKind::NotFound,
            Self::AlreadyExists { .. } | Self::Changed { .. } => FaultKind::Conflict,
            Self::Unreachable { .. } => FaultKind::Unavailable,
            Self::Denied { .. } => FaultKind::Denied,
            Self::Full { .. } => FaultKind::Exhausted,
            Self::InvalidLocation { .. } | Self::InvalidConfig { .. } | Self::Unsupported { .. } => {
                FaultKind::Invalid
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => FaultKind::NotFound,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Denied,
                _ if is_full(source) => FaultKind::Exhausted,
                _ => FaultKind::Unavailable,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("check the bucket, the path and its letter case".to_string()),
            Self::Unreachable { .. } => Some("check `endpoint`, `region` and the network".to_string()),
            Self::Denied { .. } => {
                Some("check the access key and its rights, or the owner and mode of the folder".to_string())
            }
            Self::Full { .. } => Some("free space; the write is tried again".to_string()),
            Self::InvalidConfig { advice, .. } => Some(advice.clone()),
            Self::InvalidLocation { .. } => {
                Some("write `file:///folder`, a plain path or `s3://bucket/prefix`".to_string())
            }
            Self::AlreadyExists { .. }
            | Self::Changed { .. }
            | Self::Io { .. }
            | Self::Unsupported { .. } => None,
        }
    }
}
