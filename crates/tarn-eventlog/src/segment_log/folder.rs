//! Folders of the log: the lock, names of tenants, files written in one step.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tarn_core::TenantId;

use super::fault::io_error;
use crate::error::EventLogError;

const LOCK: &str = "LOCK";

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Replaces a file: afterwards it holds all of `bytes` durably, or it is as before.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), EventLogError> {
    let unfinished = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        sync_folder(path.parent().unwrap_or(Path::new("/")))
    };
    write().map_err(|error| io_error("write", path, error))
}

/// A folder taken for this process; given back when dropped.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// Takes a folder, made where there is none. Errors: `Locked`, `Io`.
    pub(super) fn take(folder: &Path) -> Result<Self, EventLogError> {
        std::fs::create_dir_all(folder).map_err(|error| io_error("create", folder, error))?;
        let path = folder.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| io_error("open", &path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(EventLogError::Locked { path: folder.display().to_string() })
            }
            Err(error) => Err(io_error("lock", &path, error.into())),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process just being started may still share it.
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "event log not unlocked");
        }
    }
}

/// The folder of a tenant: letters, digits, `-` and `_` stand for themselves, other bytes are written `%2F`, so that
/// no name leads out of the log's folder.
pub(super) fn tenant_folder(tenant: &TenantId) -> String {
    if tenant.as_str().is_empty() {
        return "%".to_string();
    }
    let mut name = String::new();
    for byte in tenant.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

/// The tenant of a folder, `None` for other folders.
pub(super) fn tenant_of_folder(name: &str) -> Option<TenantId> {
    if name == "%" {
        return Some(TenantId::new(""));
    }
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (code, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let tenant = TenantId::new(String::from_utf8(bytes).ok()?);
    (tenant_folder(&tenant) == name && !name.is_empty()).then_some(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_stays_within_the_folder() {
        for name in ["", "main", "../x", ".", "省-01", "a b"] {
            let tenant = TenantId::new(name);
            let folder = tenant_folder(&tenant);
            assert!(!folder.contains(['/', '.']), "{folder}");
            assert_eq!(tenant_of_folder(&folder), Some(tenant));
        }
        assert_eq!(tenant_of_folder("lost+found"), None);
        assert_eq!(tenant_of_folder("%2"), None);
    }

    #[test]
    fn a_folder_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        assert!(matches!(FolderLock::take(folder.path()), Err(EventLogError::Locked { .. })));
        let shared = held.0.try_clone().unwrap();
        drop(held);
        FolderLock::take(folder.path()).unwrap();
        drop(shared);
    }
}
