//! YAML with places: every value knows its line, and no input can exhaust memory or the stack.

mod emit;
mod merge;
mod read;
mod scalar;

pub(crate) use emit::emit;
pub(crate) use read::{Node, NodeValue, read};

/// Deepest nesting of values.
pub(crate) const DEPTH_MAX: usize = 64;
/// Most values in one text, aliases expanded.
pub(crate) const NODES_MAX: usize = 200_000;
