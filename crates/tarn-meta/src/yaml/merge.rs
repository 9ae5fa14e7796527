//! Keys of a mapping: each once, and `<<` takes over the entries of another mapping.

use std::collections::HashSet;

use super::read::{Key, Node, NodeValue, YamlError};

const MERGE: &str = "<<";

fn twice(key: &Key) -> YamlError {
    YamlError { message: format!("the key `{}` occurs twice", key.text), line: key.line, column: key.column }
}

/// Refuses keys that occur twice and replaces `<<` by the entries it refers to, own entries first.
pub(super) fn expand(entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, YamlError> {
    let mut seen = HashSet::with_capacity(entries.len());
    for (key, _) in &entries {
        if !seen.insert(key.text.clone()) {
            return Err(twice(key));
        }
    }
    if !seen.contains(MERGE) {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.text == MERGE);
    for (key, node) in merges {
        let sources = match node.value {
            NodeValue::Sequence(items) => items,
            _ => vec![node],
        };
        for source in sources {
            let NodeValue::Mapping(entries) = source.value else {
                let message = "`<<` must refer to a mapping".to_string();
                return Err(YamlError { message, line: key.line, column: key.column });
            };
            for (key, node) in entries {
                if seen.insert(key.text.clone()) {
                    own.push((key, node));
                }
            }
        }
    }
    Ok(own)
}
