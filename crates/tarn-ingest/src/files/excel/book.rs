//! A workbook: its sheets, texts and number formats.
//!
//! Source: ECMA-376, Office Open XML, part 1 sections 18.2 (workbook), 18.4 (shared strings), 18.8 (styles).

use std::collections::HashMap;
use std::sync::Arc;

use tarn_core::ByteSize;

use super::archive::Archive;
use super::value::Shows;
use super::xml::{Next, Tag, Xml};

/// Sheets and formats; writers make some hundreds.
const SHEETS_MAX: usize = 10_000;
const FORMATS_MAX: usize = 100_000;
/// A text in memory takes some bytes beside its own.
const TEXT_BYTES: usize = 32;

#[derive(Debug)]
struct SheetEntry {
    name: String,
    part: String,
    is_visible: bool,
}

/// A workbook with what all its sheets share.
#[derive(Debug)]
pub(super) struct Book {
    archive: Archive,
    sheets: Vec<SheetEntry>,
    pub(super) is_1904: bool,
    texts: Vec<Arc<str>>,
    formats: Vec<Shows>,
}

/// The text of the element that was opened, those in it too.
fn content(xml: &mut Xml, name: &str) -> Result<String, String> {
    let (mut text, mut depth) = (String::new(), 1);
    loop {
        match xml.next()? {
            Next::Text(part) => text.push_str(&part),
            Next::Open(tag) if tag.name == name => depth += 1,
            Next::Close(closed) if closed == name => depth -= 1,
            Next::End => return Err("a part of it is cut".to_string()),
            _ => {}
        }
        if depth == 0 {
            return Ok(unescaped(text));
        }
    }
}

/// `_x000D_` stands for a character that XML cannot hold.
pub(super) fn unescaped(text: String) -> String {
    if !text.contains("_x") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("_x") {
        let code = rest.get(at + 2..at + 6).filter(|_| rest.as_bytes().get(at + 6) == Some(&b'_'));
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let character = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        match character {
            Some(character) => {
                out.push_str(&rest[..at]);
                out.push(character);
                rest = &rest[at + 7..];
            }
            None => {
                out.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A text of runs, up to the end of the element that was opened; how it is pronounced is no part of it.
pub(super) fn rich_text(xml: &mut Xml, name: &str) -> Result<String, String> {
    let (mut text, mut is_sound) = (String::new(), false);
    loop {
        match xml.next()? {
            Next::Open(tag) if tag.name == "rPh" => is_sound = true,
            Next::Close(closed) if closed == "rPh" => is_sound = false,
            Next::Open(tag) if tag.name == "t" => {
                let part = content(xml, "t")?;
                if !is_sound {
                    text.push_str(&part);
                }
            }
            Next::Close(closed) if closed == name => return Ok(text),
            Next::End => return Err("a part of it is cut".to_string()),
            _ => {}
        }
    }
}

/// Gives each tag of a part to `take`.
fn tags(
    archive: &Archive,
    part: &str,
    take: &mut dyn FnMut(&Tag) -> Result<(), String>,
) -> Result<(), String> {
    let mut xml = Xml::new(archive.part(part)?);
    loop {
        match xml.next()? {
            Next::Open(tag) => take(&tag)?,
            Next::End => return Ok(()),
            _ => {}
        }
    }
}

/// Parts that a part names, by the ids under which it does: type and name.
fn relations(archive: &Archive, part: &str) -> Result<HashMap<String, (String, String)>, String> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let own =
        if folder.is_empty() { format!("_rels/{file}.rels") } else { format!("{folder}/_rels/{file}.rels") };
    let mut found = HashMap::new();
    tags(archive, &own, &mut |tag| {
        let (Some(id), Some(kind), Some(target)) =
            (tag.attribute("Id"), tag.attribute("Type"), tag.attribute("Target"))
        else {
            return Ok(());
        };
        let full = match target.strip_prefix('/') {
            Some(full) => full.to_string(),
            None => joined(folder, target),
        };
        let kind = kind.rsplit('/').next().unwrap_or(kind).to_string();
        if found.len() < SHEETS_MAX {
            found.insert(id.to_string(), (kind, full));
        }
        Ok(())
    })?;
    Ok(found)
}

/// A relative name within a folder.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The part that says which sheets there are.
fn main_part(archive: &Archive) -> String {
    let mut found = None;
    let _ = tags(archive, "_rels/.rels", &mut |tag| {
        if tag.attribute("Type").is_some_and(|kind| kind.ends_with("/officeDocument")) {
            found = tag.attribute("Target").map(|target| joined("", target));
        }
        Ok(())
    });
    found.unwrap_or_else(|| "xl/workbook.xml".to_string())
}

impl Book {
    /// `texts_max`: bytes that its texts may take in memory. Errors: it is no workbook that can be read, for people.
    pub(super) fn open(archive: Archive, texts_max: usize) -> Result<Self, String> {
        let main = main_part(&archive);
        if main.ends_with(".bin") || archive.has("xl/workbook.bin") {
            return Err("it is a binary workbook (`.xlsb`); save it as `.xlsx`".to_string());
        }
        if archive.has("content.xml") && archive.has("mimetype") {
            return Err("it is an OpenDocument file; save it as `.xlsx`".to_string());
        }
        let relations = relations(&archive, &main)?;
        let (mut sheets, mut is_1904) = (Vec::new(), false);
        tags(&archive, &main, &mut |tag| {
            if tag.name == "workbookPr" {
                is_1904 |=
                    tag.attribute("date1904").is_some_and(|value| matches!(value, "1" | "true" | "on"));
            }
            let (Some(name), Some(id)) = (tag.attribute("name"), tag.attribute("id")) else { return Ok(()) };
            // Charts and macros stand among the sheets too.
            let part = relations.get(id).filter(|(kind, _)| kind == "worksheet");
            if let Some((_, part)) = part.filter(|_| tag.name == "sheet" && sheets.len() < SHEETS_MAX) {
                let is_visible = tag.attribute("state").is_none_or(|state| state == "visible");
                sheets.push(SheetEntry { name: name.to_string(), part: part.clone(), is_visible });
            }
            Ok(())
        })?;
        let part =
            |kind: &str| relations.values().find(|(own, _)| own == kind).map(|(_, part)| part.as_str());
        let texts = match part("sharedStrings") {
            Some(part) if archive.has(part) => texts(&archive, part, texts_max)?,
            _ => Vec::new(),
        };
        let formats = match part("styles") {
            Some(part) if archive.has(part) => formats(&archive, part)?,
            _ => Vec::new(),
        };
        match sheets.is_empty() {
            true => Err("it has no sheets of cells".to_string()),
            false => Ok(Self { archive, sheets, is_1904, texts, formats }),
        }
    }

    /// Names of the sheets, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.sheets.iter().map(|sheet| sheet.name.clone()).collect()
    }

    /// The name of a sheet, and its part: the one asked for, else the first that is not hidden. Errors: there is none.
    pub(super) fn sheet(&self, name: Option<&str>) -> Result<(&str, Xml), String> {
        let found = match name {
            Some(name) => self.sheets.iter().find(|sheet| sheet.name == name),
            None => self.sheets.iter().find(|sheet| sheet.is_visible).or(self.sheets.first()),
        };
        let sheet = found.ok_or_else(|| {
            format!("it has no sheet `{}`; it has {}", name.unwrap_or_default(), self.names().join(", "))
        })?;
        Ok((&sheet.name, Xml::new(self.archive.part(&sheet.part)?)))
    }

    /// A text that cells share.
    pub(super) fn text(&self, at: usize) -> Option<&Arc<str>> {
        self.texts.get(at)
    }

    /// What a cell of a style shows.
    pub(super) fn shows(&self, style: Option<&str>) -> Shows {
        let style = style.and_then(|style| style.parse::<usize>().ok()).unwrap_or(0);
        self.formats.get(style).copied().unwrap_or_default()
    }
}

fn texts(archive: &Archive, part: &str, texts_max: usize) -> Result<Vec<Arc<str>>, String> {
    let mut xml = Xml::new(archive.part(part)?);
    let (mut texts, mut bytes): (Vec<Arc<str>>, usize) = (Vec::new(), 0);
    loop {
        match xml.next()? {
            Next::Open(tag) if tag.name == "si" => {
                let text = rich_text(&mut xml, "si")?;
                bytes += text.len() + TEXT_BYTES;
                if bytes > texts_max {
                    return Err(format!(
                        "its texts take more than {} of memory; save the sheet as CSV, or raise `ingest.workbook_max`",
                        ByteSize(texts_max as u64)
                    ));
                }
                texts.push(text.into());
            }
            Next::End => return Ok(texts),
            _ => {}
        }
    }
}

/// What cells show, by the number of their style.
fn formats(archive: &Archive, part: &str) -> Result<Vec<Shows>, String> {
    let (mut own, mut found, mut is_in) = (HashMap::new(), Vec::new(), false);
    let mut xml = Xml::new(archive.part(part)?);
    loop {
        match xml.next()? {
            Next::Open(tag) if tag.name == "numFmt" && own.len() < FORMATS_MAX => {
                let id = tag.attribute("numFmtId").and_then(|id| id.parse::<u32>().ok());
                if let (Some(id), Some(code)) = (id, tag.attribute("formatCode")) {
                    own.insert(id, Shows::code(code));
                }
            }
            Next::Open(tag) if tag.name == "cellXfs" => is_in = true,
            Next::Close(name) if name == "cellXfs" => is_in = false,
            Next::Open(tag) if is_in && tag.name == "xf" && found.len() < FORMATS_MAX => {
                let id = tag.attribute("numFmtId").and_then(|id| id.parse().ok()).unwrap_or(0);
                found.push(own.get(&id).copied().unwrap_or_else(|| Shows::built_in(id)));
            }
            Next::End => return Ok(found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_xml_cannot_hold_are_found() {
        for (text, read) in [
            ("a_x000D_b", "a\rb"),
            ("_x005F_x000D_", "_x000D_"),
            ("_x00e9_", "é"),
            ("_xZZZZ_ _x00", "_xZZZZ_ _x00"),
            ("_xé_x0041_", "_xéA"),
            ("_xD800_", "_xD800_"),
        ] {
            assert_eq!(unescaped(text.to_string()), read, "{text}");
        }
    }

    #[test]
    fn names_of_parts_are_joined() {
        assert_eq!(joined("xl", "worksheets/sheet1.xml"), "xl/worksheets/sheet1.xml");
        assert_eq!(joined("xl/a", "../b.xml"), "xl/b.xml");
        assert_eq!(joined("", "../../b.xml"), "b.xml");
    }
}
