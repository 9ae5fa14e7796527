//! The declared state written back into the project folder, with as little change to its files as possible.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tarn_core::RequestContext;

use super::document::{ParsedDocuments, ResourceId, parse_documents};
use super::folder::{RESOURCES_FOLDER, is_document_file, list_files, read_text};
use super::kind::Kinds;
use super::revision::StoredResource;
use super::service::Resources;
use super::view::document_yaml;
use crate::error::MetaError;
use crate::store::MetaStore;

/// A file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptFile {
    /// Relative to the project folder.
    pub file: String,
    /// Why, and what to do.
    pub reason: String,
}

/// What a write-back did. Paths are relative to the project folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WriteBack {
    /// Files that were written.
    pub files: Vec<String>,
    /// Files that were removed, since all their resources were deleted.
    pub removed: Vec<String>,
    /// Files that would have lost an edit that was never applied.
    pub kept: Vec<KeptFile>,
}

pub(super) struct Inputs {
    project: PathBuf,
    kinds: Kinds,
    current: BTreeMap<ResourceId, StoredResource>,
    /// Every spec that a resource of the folder or of the state ever had.
    history: HashMap<ResourceId, Vec<Value>>,
}

/// Reads what the store knows about the resources of the state and of the folder.
pub(super) async fn inputs(
    resources: &Resources,
    store: &dyn MetaStore,
    ctx: &RequestContext,
    project: &Path,
) -> Result<Inputs, MetaError> {
    let (_, current) = store.resources(ctx).await?;
    let current: BTreeMap<_, _> =
        current.into_iter().map(|own| (ResourceId::new(&own.kind, &own.name), own)).collect();
    let found = resources.load(project).await?;
    let mut history = HashMap::new();
    for document in &found.documents {
        let specs = store.resource_history(ctx, &document.kind, &document.name).await?;
        history.insert(document.id(), specs.into_iter().flatten().collect());
    }
    Ok(Inputs { project: project.to_path_buf(), kinds: resources.kinds().clone(), current, history })
}

/// A file of the folder as it is, and its text as it shall be.
struct FilePlan {
    old: Option<String>,
    new: String,
    is_empty: bool,
}

/// Writes the files. Blocks on the disk.
pub(super) fn run(inputs: &Inputs) -> Result<WriteBack, MetaError> {
    let mut report = WriteBack::default();
    let mut plans: BTreeMap<String, FilePlan> = BTreeMap::new();
    let mut placed = BTreeSet::new();
    for file in list_files(&inputs.project)? {
        let path = inputs.project.join(&file);
        let text = read_text(&path).map_err(|source| io_fault("read", &path, source))?;
        let parsed = parse_documents(&text, Some(&file), &inputs.kinds);
        if !parsed.problems.is_empty() {
            // Its resources are not written elsewhere either: the folder would then declare them twice.
            placed.extend(ids_in(&parsed));
            placed.extend(
                inputs.current.values().filter(|own| own.origin.as_deref() == Some(&file)).map(id_of),
            );
            let reason = format!("it has a fault to mend first: {}", parsed.problems[0]);
            report.kept.push(KeptFile { file, reason });
            continue;
        }
        let plan = plan_file(inputs, &file, text, &parsed, &mut placed, &mut report);
        plans.insert(file, plan);
    }
    for (id, own) in inputs.current.iter().filter(|(id, _)| !placed.contains(*id)) {
        add_document(&mut plans, &target_file(own), &document_yaml(&id.kind, &id.name, &own.spec));
    }
    for (file, plan) in plans {
        let path = inputs.project.join(&file);
        if plan.is_empty && plan.old.is_some() {
            std::fs::remove_file(&path).map_err(|source| io_fault("remove", &path, source))?;
            report.removed.push(file);
        } else if plan.old.as_ref() != Some(&plan.new) {
            write_whole(&path, &plan.new)?;
            report.files.push(file);
        }
    }
    Ok(report)
}

fn id_of(own: &StoredResource) -> ResourceId {
    ResourceId::new(&own.kind, &own.name)
}

fn ids_in(parsed: &ParsedDocuments) -> Vec<ResourceId> {
    parsed.documents.iter().map(super::document::ResourceDocument::id).collect()
}

fn plan_file(
    inputs: &Inputs,
    file: &str,
    text: String,
    parsed: &ParsedDocuments,
    placed: &mut BTreeSet<ResourceId>,
    report: &mut WriteBack,
) -> FilePlan {
    let parts = split(&text);
    let mut kept = Vec::with_capacity(parts.len());
    let mut held = false;
    for (first_line, part) in parts {
        let lines = u32::try_from(part.split_inclusive('\n').count()).unwrap_or(u32::MAX);
        let own = parsed
            .documents
            .iter()
            .find(|document| document.origin.line >= first_line && document.origin.line < first_line + lines);
        let Some(document) = own else {
            kept.push(part.to_string());
            continue;
        };
        let id = document.id();
        placed.insert(id.clone());
        held = true;
        let declared = inputs.current.get(&id).map(|own| &own.spec);
        if declared == Some(&document.spec) {
            kept.push(part.to_string());
            continue;
        }
        let was_applied = inputs.history.get(&id).is_some_and(|specs| specs.contains(&document.spec));
        if !was_applied {
            let reason =
                format!("{id} was edited here and not applied; apply it, or remove it from the file");
            report.kept.push(KeptFile { file: file.to_string(), reason });
            kept.push(part.to_string());
            continue;
        }
        if let Some(spec) = declared {
            kept.push(replacement(part, &document_yaml(&id.kind, &id.name, spec)));
        }
    }
    let has_document = |part: &String| part.lines().any(|line| !is_bare(line));
    let is_empty = held && !kept.iter().any(has_document);
    FilePlan { old: Some(text), new: kept.concat(), is_empty }
}

// Lines that hold no part of a document.
fn is_bare(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
}

// The separator and the comment lines above the document stay.
fn replacement(part: &str, yaml: &str) -> String {
    let head: String = part.split_inclusive('\n').take_while(|line| is_bare(line)).collect();
    format!("{head}{yaml}")
}

/// The text in parts of one document each, with the number of the first line. `---` at the start of a line is always
/// a separator in YAML.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut at, mut line_number) = (0, 1, 0, 1);
    for line in text.split_inclusive('\n') {
        let is_separator = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if is_separator && at > start {
            parts.push((start_line, &text[start..at]));
            (start, start_line) = (at, line_number);
        }
        at += line.len();
        line_number += 1;
    }
    if start < text.len() {
        parts.push((start_line, &text[start..]));
    }
    parts
}

fn add_document(plans: &mut BTreeMap<String, FilePlan>, file: &str, yaml: &str) {
    let plan = plans.entry(file.to_string()).or_insert_with(|| FilePlan {
        old: None,
        new: String::new(),
        is_empty: false,
    });
    if plan.is_empty {
        plan.new.clear();
    }
    if !plan.new.is_empty() {
        if !plan.new.ends_with('\n') {
            plan.new.push('\n');
        }
        plan.new.push_str("---\n");
    }
    plan.new.push_str(yaml);
    plan.is_empty = false;
}

// The file that a resource came from, or a new one. The store is not trusted to name files outside the folder.
fn target_file(own: &StoredResource) -> String {
    let inside = |file: &&String| {
        let mut parts = file.split('/');
        parts.next() == Some(RESOURCES_FOLDER)
            && parts.all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'))
            && is_document_file(file)
    };
    match own.origin.as_ref().filter(inside) {
        Some(file) => file.clone(),
        None => format!("{RESOURCES_FOLDER}/{}/{}.yaml", own.kind, own.name),
    }
}

fn io_fault(action: &'static str, path: &Path, source: std::io::Error) -> MetaError {
    MetaError::Io { action, path: path.display().to_string(), source }
}

// A reader sees the old file or the new one, also after a crash.
fn write_whole(path: &Path, text: &str) -> Result<(), MetaError> {
    let fail = |source| io_fault("write", path, source);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let part = folder.join(format!(".{name}.part"));
    let written = (|| {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written.map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_where_documents_begin() {
        let text = "# head\na: 1\n---\nb: |\n  ---\n--- # two\nc: 2";
        let parts = split(text);
        assert_eq!(parts, [(1, "# head\na: 1\n"), (3, "---\nb: |\n  ---\n"), (6, "--- # two\nc: 2")]);
        assert_eq!(replacement("---\n# why\n\na: 1\n", "b: 2\n"), "---\n# why\n\nb: 2\n");
    }

    #[test]
    fn files_outside_the_folder_are_never_named() {
        let own = |origin: Option<&str>| StoredResource {
            kind: "source".into(),
            name: "shop".into(),
            spec: Value::Null,
            origin: origin.map(ToString::to_string),
            revision: 1,
            updated_ms: 0,
            author: String::new(),
        };
        assert_eq!(target_file(&own(Some("resources/a/b.yml"))), "resources/a/b.yml");
        for bad in
            ["../x.yaml", "resources/../../x.yaml", "/etc/x.yaml", "resources/.git/x.yaml", "resources/x.sh"]
        {
            assert_eq!(target_file(&own(Some(bad))), "resources/source/shop.yaml", "{bad}");
        }
    }
}
