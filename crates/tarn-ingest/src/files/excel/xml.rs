//! XML of a part, event by event.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::archive::Measured;

/// Bytes of one tag or text; a cell of Excel holds 32,767 characters.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A tag opens: its name, without a prefix.
    Open(Tag),
    Close(String),
    Text(String),
    End,
}

/// A tag with its attributes, without prefixes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tag {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tag(start: &BytesStart<'_>) -> Result<Tag, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| format!("its XML is damaged: {error}"))?;
        let raw = String::from_utf8_lossy(&attribute.value);
        let value = unescape(&raw).map_or_else(|_| raw.to_string(), |value| value.to_string());
        attributes.push((text(attribute.key.local_name().as_ref()), value));
    }
    Ok(Tag { name: text(start.local_name().as_ref()), attributes })
}

fn referred(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = text(reference);
    match name.as_str() {
        "lt" => "<".to_string(),
        "gt" => ">".to_string(),
        "amp" => "&".to_string(),
        "quot" => "\"".to_string(),
        "apos" => "'".to_string(),
        other => format!("&{other};"),
    }
}

/// Reads a part.
pub(super) struct Xml {
    reader: Reader<Measured>,
    buffer: Vec<u8>,
}

impl Xml {
    pub(super) fn new(part: Measured) -> Self {
        let mut reader = Reader::from_reader(part);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new() }
    }

    /// Errors: it is no XML, or the part is damaged.
    pub(super) fn next(&mut self) -> Result<Next, String> {
        loop {
            self.buffer.clear();
            self.reader.get_mut().allow(EVENT_BYTES_MAX);
            let event = self.reader.read_event_into(&mut self.buffer);
            return Ok(match event.map_err(|error| format!("its XML is damaged: {error}"))? {
                Event::Start(start) => Next::Open(tag(&start)?),
                Event::End(end) => Next::Close(text(end.local_name().as_ref())),
                Event::Text(content) => Next::Text(text(&content)),
                Event::CData(content) => Next::Text(text(&content)),
                Event::GeneralRef(reference) => Next::Text(referred(&reference)),
                Event::Eof => Next::End,
                _ => continue,
            });
        }
    }
}
