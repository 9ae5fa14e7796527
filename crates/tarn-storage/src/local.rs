//! Writes to a local folder that are there after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::StorageError;

/// Whether an object of the same name may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    Yes,
    No,
}

static STAGED: AtomicU64 = AtomicU64::new(0);

/// A new file beside `path`. Names that end in `#` and digits are invisible to listings of the store.
fn stage(path: &Path) -> Result<(File, PathBuf), StorageError> {
    loop {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!("#{}{number:06}", std::process::id()));
        let staged = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            // Left by a process of the same id that died: the next number is free.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StorageError::io("create", &staged, error)),
        }
    }
}

/// Makes `folder` and its parents; each new entry is durable.
pub(crate) fn create_folder(folder: &Path) -> Result<(), StorageError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StorageError::io("create the folder", folder, error))
        }
        _ => folder.parent().map_or(Ok(()), sync_folder),
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|error| StorageError::io("flush the folder", folder, error))
}

/// Makes a file that was written by other means durable, with its entry in the folder.
pub(crate) fn sync_file(path: &Path) -> Result<(), StorageError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(|error| StorageError::io("flush", path, error))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes a file under another name, flushes it, and gives it its name in one step: after a crash the file is the
/// old one or the new one, whole.
pub(crate) fn write_durable(
    path: &Path,
    parts: &[bytes::Bytes],
    replace: Replace,
) -> Result<(), StorageError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    create_folder(folder)?;
    let (mut file, staged) = stage(path)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    let named = written.and_then(|()| match replace {
        Replace::Yes => fs::rename(&staged, path),
        // A hard link fails if the name is taken, a rename would replace it.
        Replace::No => fs::hard_link(&staged, path),
    });
    if replace == Replace::No || named.is_err() {
        // What is left over is invisible to listings, so a failure to remove it is harmless.
        let _ = fs::remove_file(&staged);
    }
    match named {
        Ok(()) => sync_folder(folder),
        Err(error) if replace == Replace::No && error.kind() == ErrorKind::AlreadyExists => {
            Err(StorageError::AlreadyExists { location: path.display().to_string() })
        }
        Err(error) => Err(StorageError::io("write", path, error)),
    }
}
