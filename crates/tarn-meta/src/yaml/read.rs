//! Events of the YAML parser to a tree of values with lines.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::{DEPTH_MAX, NODES_MAX, merge, scalar};

/// Text that is not usable YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) message: String,
    /// From 1.
    pub(crate) line: u32,
    /// From 1.
    pub(crate) column: u32,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: NodeValue,
    /// From 1.
    pub(crate) line: u32,
    /// From 1.
    pub(crate) column: u32,
    /// Number of values in it, itself included.
    size: usize,
    /// Levels of values in it, itself included.
    depth: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeValue {
    Scalar(Value),
    Sequence(Vec<Node>),
    /// Keys with their lines, in order, each once.
    Mapping(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A list or mapping that is still open.
struct Open {
    value: NodeValue,
    key: Option<Key>,
    at: Marker,
    anchor: usize,
}

/// Reads all documents of a text; empty ones are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, YamlError> {
    // The parser takes NUL for the end of the text.
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        return Err(YamlError {
            message: "the text holds a NUL character".into(),
            line: to_u32(line),
            column: 1,
        });
    }
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| error_at(*error.marker(), error.info()))?;
        reader.take(event, span)?;
    }
    Ok(reader.documents)
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn error_at(at: Marker, message: impl Into<String>) -> YamlError {
    YamlError { message: message.into(), line: to_u32(at.line()).max(1), column: to_u32(at.col()) + 1 }
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let mut node =
                    node.ok_or_else(|| error_at(span.start, "an alias refers to a value that holds it"))?;
                self.count(node.size, span.start)?;
                (node.line, node.column) = (to_u32(span.start.line()), to_u32(span.start.col()) + 1);
                self.put(node, span.start)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, span.start)?;
                let value = scalar_value(&text, style, tag.as_ref(), span.start)?;
                let node = Node::new(NodeValue::Scalar(value), span.start);
                // The key of an entry is kept as written: `on: x` has the key `on`, and `1: x` the key `1`.
                if let Some(open) = self.open.last_mut()
                    && matches!(open.value, NodeValue::Mapping(_))
                    && open.key.is_none()
                {
                    open.key = Some(Key { text: text.into_owned(), line: node.line, column: node.column });
                    return Ok(());
                }
                self.finish(node, anchor, span.start)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(NodeValue::Sequence(Vec::new()), anchor, tag.as_ref(), "seq", span)
            }
            Event::MappingStart(anchor, tag) => {
                self.open(NodeValue::Mapping(Vec::new()), anchor, tag.as_ref(), "map", span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.value {
                    NodeValue::Mapping(entries) => NodeValue::Mapping(merge::expand(entries)?),
                    other => other,
                };
                let node = Node::new(value, open.at);
                self.finish(node, open.anchor, open.at)
            }
        }
    }

    fn open(
        &mut self,
        value: NodeValue,
        anchor: usize,
        tag: Option<&Cow<'_, Tag>>,
        expected_tag: &str,
        span: Span,
    ) -> Result<(), YamlError> {
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == expected_tag)) {
            return Err(unknown_tag(tag, span.start));
        }
        if let Some(open) = self.open.last()
            && matches!(open.value, NodeValue::Mapping(_))
            && open.key.is_none()
        {
            return Err(error_at(span.start, "a key must be text"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(error_at(span.start, format!("values are nested deeper than {DEPTH_MAX} levels")));
        }
        self.count(1, span.start)?;
        self.open.push(Open { value, key: None, at: span.start, anchor });
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize, at: Marker) -> Result<(), YamlError> {
        if anchor > 0 {
            // The copy takes memory, too.
            self.count(node.size, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.put(node, at)
    }

    fn count(&mut self, values: usize, at: Marker) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(values);
        if self.nodes > NODES_MAX {
            return Err(error_at(at, format!("the text has more than {NODES_MAX} values")));
        }
        Ok(())
    }

    fn put(&mut self, node: Node, at: Marker) -> Result<(), YamlError> {
        if self.open.len() + node.depth > DEPTH_MAX + 1 {
            return Err(error_at(at, format!("values are nested deeper than {DEPTH_MAX} levels")));
        }
        let Some(open) = self.open.last_mut() else {
            if !matches!(node.value, NodeValue::Scalar(Value::Null)) {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.value {
            NodeValue::Sequence(items) => items.push(node),
            NodeValue::Mapping(entries) => {
                let Some(key) = open.key.take() else { return Err(error_at(at, "a key must be text")) };
                entries.push((key, node));
            }
            NodeValue::Scalar(_) => {}
        }
        Ok(())
    }
}

fn unknown_tag(tag: &Tag, at: Marker) -> YamlError {
    error_at(at, format!("the tag `{tag}` is not supported"))
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Cow<'_, Tag>>,
    at: Marker,
) -> Result<Value, YamlError> {
    match tag {
        None if style == ScalarStyle::Plain => scalar::plain(text).map_err(|message| error_at(at, message)),
        None => Ok(Value::String(text.to_string())),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Value::String(text.to_string())),
        Some(tag) if tag.is_yaml_core_schema() => scalar::tagged(text, &tag.suffix)
            .ok_or_else(|| error_at(at, format!("`{text}` does not fit the tag `!!{}`", tag.suffix))),
        Some(tag) => Err(unknown_tag(tag, at)),
    }
}

impl Node {
    fn new(value: NodeValue, at: Marker) -> Self {
        let children: Box<dyn Iterator<Item = &Node>> = match &value {
            NodeValue::Scalar(_) => Box::new(std::iter::empty()),
            NodeValue::Sequence(items) => Box::new(items.iter()),
            NodeValue::Mapping(entries) => Box::new(entries.iter().map(|(_, node)| node)),
        };
        let (size, depth) = children
            .fold((1_usize, 1), |(size, depth), n| (size.saturating_add(n.size), depth.max(n.depth + 1)));
        Self { value, line: to_u32(at.line()), column: to_u32(at.col()) + 1, size, depth }
    }

    /// The value without places. Recursion is bounded by `DEPTH_MAX`.
    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Scalar(value) => value.clone(),
            NodeValue::Sequence(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeValue::Mapping(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Calls `visit` with the JSON pointer and the line of every value below and including this one; the line of a
    /// mapping's entry is that of its key.
    pub(crate) fn visit_lines(&self, visit: &mut impl FnMut(&str, u32)) {
        visit("", self.line);
        self.visit_children("", visit);
    }

    fn visit_children(&self, pointer: &str, visit: &mut impl FnMut(&str, u32)) {
        match &self.value {
            NodeValue::Scalar(_) => {}
            NodeValue::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let own = format!("{pointer}/{index}");
                    visit(&own, item.line);
                    item.visit_children(&own, visit);
                }
            }
            NodeValue::Mapping(entries) => {
                for (key, node) in entries {
                    let own = format!("{pointer}/{}", key.text.replace('~', "~0").replace('/', "~1"));
                    visit(&own, key.line);
                    node.visit_children(&own, visit);
                }
            }
        }
    }
}
