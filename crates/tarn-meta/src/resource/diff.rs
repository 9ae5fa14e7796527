//! Unified diffs of canonical YAML.

use serde_json::Value;
use similar::TextDiff;

use super::document::ResourceId;
use super::order::aligned;
use super::view::document_yaml;

/// The diff from `old` to `new` as `diff -u` writes it, empty if they are equal.
pub(crate) fn unified(id: &ResourceId, old: Option<&Value>, new: Option<&Value>) -> String {
    if old == new {
        return String::new();
    }
    let new = new.map(|new| old.map_or_else(|| new.clone(), |old| aligned(new, old)));
    let text =
        |spec: Option<&Value>| spec.map(|spec| document_yaml(&id.kind, &id.name, spec)).unwrap_or_default();
    let (old_text, new_text) = (text(old), text(new.as_ref()));
    let path = format!("{}/{}.yaml", id.kind, id.name);
    let header = |side: &str, is_there: bool| {
        if is_there { format!("{side}/{path}") } else { "/dev/null".to_string() }
    };
    TextDiff::from_lines(&old_text, &new_text)
        .unified_diff()
        .context_radius(3)
        .header(&header("a", old.is_some()), &header("b", new.is_some()))
        .to_string()
}
