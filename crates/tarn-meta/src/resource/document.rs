//! Resource documents and how they are read from YAML.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tarn_core::nearest;

use super::kind::Kinds;
use super::problem::Problem;
use super::revision::StoredResource;
use crate::error::MetaError;
use crate::yaml::{self, Node, NodeValue};

/// Largest text of documents, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;

const TOP_KEYS: [&str; 3] = ["kind", "name", "spec"];

/// Kind and name, which together name a resource within its tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceId {
    /// Such as `source`.
    pub kind: String,
    /// Such as `shop`.
    pub name: String,
}

impl ResourceId {
    /// Puts kind and name together.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Where a document was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file, relative to the project folder; `None` for text that came in a request.
    pub file: Option<String>,
    /// The line of its first key, from 1; 0 if it was not read from text.
    pub line: u32,
}

/// A declared resource.
#[derive(Clone, PartialEq)]
pub struct ResourceDocument {
    /// Such as `source`.
    pub kind: String,
    /// Such as `shop`.
    pub name: String,
    /// What is declared, always an object.
    pub spec: Value,
    /// Where it was read.
    pub origin: Origin,
    /// Lines of the values of the spec, by JSON pointer.
    lines: HashMap<String, u32>,
}

impl fmt::Debug for ResourceDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The spec may hold a password that should have been a reference.
        f.debug_struct("ResourceDocument")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl ResourceDocument {
    /// A document that was not read from text.
    pub fn new(kind: impl Into<String>, name: impl Into<String>, spec: Value) -> Self {
        Self { kind: kind.into(), name: name.into(), spec, origin: Origin::default(), lines: HashMap::new() }
    }

    /// Kind and name.
    pub fn id(&self) -> ResourceId {
        ResourceId::new(&self.kind, &self.name)
    }

    /// The line of a value of the spec, by JSON pointer such as `/tables/0`; the nearest value around it that has
    /// one, `None` if the document was not read from text.
    pub fn line_of(&self, pointer: &str) -> Option<u32> {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.lines.get(pointer) {
                return Some(*line);
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return (self.origin.line > 0).then_some(self.origin.line),
            }
        }
    }

    /// A problem at the place of a value of the spec. Use it in a kind's own checks.
    pub fn problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        Problem::error(message).at(self.origin.file.as_deref(), self.line_of(pointer))
    }

    /// A warning at the place of a value of the spec.
    pub fn warning(&self, pointer: &str, message: impl Into<String>) -> Problem {
        Problem::warning(message).at(self.origin.file.as_deref(), self.line_of(pointer))
    }
}

impl From<StoredResource> for ResourceDocument {
    fn from(stored: StoredResource) -> Self {
        let origin = Origin { file: stored.origin, line: 0 };
        Self { kind: stored.kind, name: stored.name, spec: stored.spec, origin, lines: HashMap::new() }
    }
}

/// What was read: documents that can be understood, and problems with the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedDocuments {
    /// In the order of files and lines; each kind and name once.
    pub documents: Vec<ResourceDocument>,
    /// Syntax, unknown kinds, bad names, duplicates.
    pub problems: Vec<Problem>,
}

impl ParsedDocuments {
    /// The documents, if there is no problem. Errors: `InvalidResources`.
    pub fn into_documents(self) -> Result<Vec<ResourceDocument>, MetaError> {
        if self.problems.iter().any(Problem::is_error) {
            return Err(MetaError::InvalidResources { problems: self.problems });
        }
        Ok(self.documents)
    }

    /// The documents, if each also fits the schema and the checks of its kind. What needs the store, such as whether
    /// a secret exists, is left to the plan. Errors: `InvalidResources`.
    pub fn checked(mut self, kinds: &Kinds) -> Result<Vec<ResourceDocument>, MetaError> {
        for document in &self.documents {
            if let Ok(kind) = kinds.get(&document.kind) {
                self.problems.extend(kind.problems_of(document));
            }
        }
        self.into_documents()
    }

    /// Adds what another text held; a resource that both hold is a problem of the later one.
    pub(crate) fn extend(&mut self, other: Self, places: &mut HashMap<ResourceId, String>) {
        self.problems.extend(other.problems);
        for document in other.documents {
            let place = place_of(&document);
            if let Some(first) = places.get(&document.id()) {
                let origin = &document.origin;
                let problem = Problem::error(format!("{} is declared twice", document.id()))
                    .at(origin.file.as_deref(), (origin.line > 0).then_some(origin.line));
                self.problems.push(problem.with_hint(format!("the other is at {first}")));
                continue;
            }
            places.insert(document.id(), place);
            self.documents.push(document);
        }
    }
}

fn place_of(document: &ResourceDocument) -> String {
    match &document.origin.file {
        Some(file) => format!("{file}:{}", document.origin.line),
        None => format!("line {}", document.origin.line),
    }
}

/// Reads a text of one or several YAML documents. `file` names it in problems.
pub fn parse_documents(text: &str, file: Option<&str>, kinds: &Kinds) -> ParsedDocuments {
    let mut parsed = ParsedDocuments::default();
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the text has {} bytes, more than {DOCUMENT_BYTES_MAX}", text.len());
        let hint = "put the documents into several files";
        parsed.problems.push(Problem::error(message).at(file, None).with_hint(hint));
        return parsed;
    }
    let nodes = match yaml::read(text) {
        Ok(nodes) => nodes,
        Err(error) => {
            let mut problem = Problem::error(format!("not readable as YAML: {}", error.message));
            problem.column = Some(error.column);
            parsed.problems.push(problem.at(file, Some(error.line)));
            return parsed;
        }
    };
    let mut places = HashMap::new();
    for node in &nodes {
        let mut one = ParsedDocuments::default();
        if let Some(document) = document_of(node, file, kinds, &mut one.problems) {
            one.documents.push(document);
        }
        parsed.extend(one, &mut places);
    }
    parsed
}

fn document_of(
    node: &Node,
    file: Option<&str>,
    kinds: &Kinds,
    problems: &mut Vec<Problem>,
) -> Option<ResourceDocument> {
    let NodeValue::Mapping(entries) = &node.value else {
        let hint = "write `kind: ...`, `name: ...` and `spec:`";
        problems
            .push(Problem::error("a document must be a mapping").at(file, Some(node.line)).with_hint(hint));
        return None;
    };
    let before = problems.len();
    for (key, _) in entries.iter().filter(|(key, _)| !TOP_KEYS.contains(&key.text.as_str())) {
        let problem = Problem::error(format!("unknown key `{}` in a resource", key.text))
            .at(file, Some(key.line))
            .with_hint("a resource has `kind`, `name` and `spec`");
        problems.push(problem.suggesting(nearest(&key.text, TOP_KEYS)));
    }
    let entry = |wanted: &str| entries.iter().find(|(key, _)| key.text == wanted).map(|(_, node)| node);
    let kind = text_of(entry("kind"), "kind", node, file, problems);
    let name = text_of(entry("name"), "name", node, file, problems);
    let spec = spec_of(entry("spec"), file, problems);
    let (kind, name, spec) = (kind?, name?, spec?);
    let line = |wanted| entry(wanted).map_or(node.line, |node| node.line);
    match kinds.get(&kind) {
        Ok(spec) => {
            if let Err(problem) = spec.check_name(&name) {
                problems.push(problem.at(file, Some(line("name"))));
            }
        }
        Err(MetaError::UnknownKind { kind, hint }) => {
            let message = format!("unknown kind `{kind}`");
            problems.push(Problem::error(message).at(file, Some(line("kind"))).with_hint(hint));
        }
        Err(error) => problems.push(Problem::error(error.to_string()).at(file, Some(line("kind")))),
    }
    if problems.len() > before {
        return None;
    }
    let mut lines = HashMap::new();
    if let Some(node) = entry("spec") {
        node.visit_lines(&mut |pointer, line| {
            lines.insert(pointer.to_string(), line);
        });
    }
    let origin = Origin { file: file.map(ToString::to_string), line: node.line };
    Some(ResourceDocument { kind, name, spec, origin, lines })
}

fn text_of(
    node: Option<&Node>,
    key: &str,
    document: &Node,
    file: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let Some(node) = node else {
        let message = format!("a resource without `{key}`");
        problems.push(
            Problem::error(message).at(file, Some(document.line)).with_hint(format!("add `{key}: ...`")),
        );
        return None;
    };
    match &node.value {
        NodeValue::Scalar(Value::String(text)) => Some(text.clone()),
        NodeValue::Scalar(_) => {
            let problem = Problem::error(format!("`{key}` must be text")).at(file, Some(node.line));
            problems.push(problem.with_hint("put the value in quotes"));
            None
        }
        NodeValue::Sequence(_) | NodeValue::Mapping(_) => {
            problems.push(Problem::error(format!("`{key}` must be text")).at(file, Some(node.line)));
            None
        }
    }
}

fn spec_of(node: Option<&Node>, file: Option<&str>, problems: &mut Vec<Problem>) -> Option<Value> {
    match node.map(|node| (&node.value, node)) {
        None | Some((NodeValue::Scalar(Value::Null), _)) => Some(Value::Object(Map::new())),
        Some((NodeValue::Mapping(_), node)) => Some(node.to_json()),
        Some((_, node)) => {
            let problem = Problem::error("`spec` must be a mapping").at(file, Some(node.line));
            problems.push(problem.with_hint("indent its keys below `spec:`"));
            None
        }
    }
}
