//! Documents of a project folder.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::document::{DOCUMENT_BYTES_MAX, ParsedDocuments, parse_documents};
use super::kind::Kinds;
use super::problem::Problem;
use crate::error::MetaError;

/// The folder of documents within a project folder.
pub const RESOURCES_FOLDER: &str = "resources";

const DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 10_000;

/// Reads `<project>/resources/**/*.yaml` and `*.yml`, in the order of their paths; hidden files and folders are left
/// out. Blocks on the disk. A project without the folder has no documents. Errors: `Io` for what cannot be listed; a
/// file that cannot be read is a problem.
pub fn load_folder(project: &Path, kinds: &Kinds) -> Result<ParsedDocuments, MetaError> {
    let mut parsed = ParsedDocuments::default();
    let mut places = HashMap::new();
    for file in list_files(project)? {
        let one = match read_text(&project.join(&file)) {
            Ok(text) => parse_documents(&text, Some(&file), kinds),
            Err(error) => {
                let problem = Problem::error(format!("cannot be read: {error}")).at(Some(&file), None);
                ParsedDocuments { documents: Vec::new(), problems: vec![problem] }
            }
        };
        parsed.extend(one, &mut places);
    }
    Ok(parsed)
}

/// Files of documents, relative to the project, with `/` between folders, sorted.
pub(crate) fn list_files(project: &Path) -> Result<Vec<String>, MetaError> {
    let root = project.join(RESOURCES_FOLDER);
    let mut files = Vec::new();
    if root.is_dir() {
        list_into(&root, RESOURCES_FOLDER, 0, &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn list_into(folder: &Path, relative: &str, depth: usize, files: &mut Vec<String>) -> Result<(), MetaError> {
    let fail = |source| MetaError::Io { action: "list", path: folder.display().to_string(), source };
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let own = format!("{relative}/{name}");
        // A link to a folder is not followed, since it may lead in a circle.
        if entry.file_type().map_err(fail)?.is_dir() {
            if depth < DEPTH_MAX {
                list_into(&entry.path(), &own, depth + 1, files)?;
            }
        } else if is_document_file(&name) && entry.path().is_file() {
            files.push(own);
        }
        if files.len() > FILES_MAX {
            let source = std::io::Error::other(format!("it holds more than {FILES_MAX} files"));
            return Err(MetaError::Io { action: "list", path: folder.display().to_string(), source });
        }
    }
    Ok(())
}

pub(crate) fn is_document_file(name: &str) -> bool {
    let path = PathBuf::from(name);
    matches!(path.extension().and_then(|extension| extension.to_str()), Some("yaml" | "yml"))
}

/// The text of a file, read no further than the size that is refused anyway.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    // Editors on Windows put a mark at the start.
    Ok(text.strip_prefix('\u{feff}').map(ToString::to_string).unwrap_or(text))
}
