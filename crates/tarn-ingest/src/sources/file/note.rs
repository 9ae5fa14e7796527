//! What a source of files stores with its rows.

use std::io::Cursor;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, is_chunk};
use crate::error::IngestError;
use crate::records::{ColumnConfig, ColumnType};
use crate::source::{Resume, SourceTable};

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The table's schema, fixed by the first file: an Arrow IPC stream in base64.
    schema: String,
    /// Recent marks in base64.
    recent: String,
}

/// What a restart begins with.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) schema: Option<SchemaRef>,
    pub(super) ledger: Ledger,
    /// Number of the next file read; the coarse half of positions.
    pub(super) next_number: u64,
}

fn broken(error: impl std::fmt::Display) -> IngestError {
    IngestError::Broken { source_type: "file".to_string(), what: error.to_string() }
}

/// The schema as stored in every note; made once.
pub(super) fn schema_text(schema: &SchemaRef) -> Result<String, IngestError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(broken)?;
    writer.finish().map_err(broken)?;
    Ok(STANDARD.encode(writer.into_inner().map_err(broken)?))
}

/// A note. `schema`: from [`schema_text`].
pub(super) fn write(schema: &str, ledger: &Ledger) -> Result<Vec<u8>, IngestError> {
    let note = Note { schema: schema.to_string(), recent: STANDARD.encode(ledger.recent_bytes()) };
    serde_json::to_vec(&note).map_err(broken)
}

/// Reads the stored states of a table. Errors: `Decode`.
pub(super) fn read(resume: &Resume, table: &SourceTable) -> Result<Start, IngestError> {
    let bad = |what: &str| IngestError::Decode {
        what: format!("the stored state of table {table:?}"),
        source: what.to_string().into(),
    };
    let own = resume.states.iter().filter(|(of, part, _)| of == table && is_chunk(part));
    let chunks = own.map(|(_, part, state)| (part.as_str(), state.position.minor, state.note.as_slice()));
    let Some(state) = resume.state(table, "") else {
        let ledger = Ledger::load(chunks, &[]).ok_or_else(|| bad("its list of files is damaged"))?;
        return Ok(Start { ledger, ..Start::default() });
    };
    let note: Note = serde_json::from_slice(&state.note).map_err(|error| bad(&error.to_string()))?;
    let recent = STANDARD.decode(note.recent).map_err(|error| bad(&error.to_string()))?;
    let ledger = Ledger::load(chunks, &recent).ok_or_else(|| bad("its list of files is damaged"))?;
    let schema = STANDARD.decode(note.schema).map_err(|error| bad(&error.to_string()))?;
    let schema =
        StreamReader::try_new(Cursor::new(schema), None).map_err(|error| bad(&error.to_string()))?.schema();
    Ok(Start { schema: Some(schema), ledger, next_number: state.position.major + 1 })
}

/// The columns of a text table, from its stored schema. Errors: `Decode`.
pub(super) fn columns_of(schema: &SchemaRef) -> Result<Vec<ColumnConfig>, IngestError> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let text = field.metadata().get("tarn.source_type").map_or("string", String::as_str);
        let column_type: Result<ColumnType, String> = text.parse();
        let column_type = column_type.map_err(|error| IngestError::Decode {
            what: format!("the stored type of column `{}`", field.name()),
            source: error.into(),
        })?;
        Ok(ColumnConfig { name: field.name().clone(), column_type })
    };
    schema.fields().iter().map(column).collect()
}
