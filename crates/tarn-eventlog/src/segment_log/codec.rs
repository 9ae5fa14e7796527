//! Arrow batches and schemas as bodies of frames.
//!
//! A rows body is the Arrow IPC message, padded, then the IPC data, raw or as one LZ4 block. The data is compressed
//! as a whole and not buffer by buffer as IPC does it: a batch of 1,000 narrow rows has dozens of buffers of a few KB,
//! and an LZ4 frame per buffer costs more than the rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};

use super::config::Compression;
use super::frame::{ALIGN, BODY_LEN_MAX, FLAG_LZ4, Frame, FrameHeader, FrameKind, aligned};

/// How much shorter compression makes rows as a rule; sizes the memory of a frame.
fn expected_ratio(compression: Compression) -> usize {
    match compression {
        Compression::None => 1,
        Compression::Lz4 => 2,
    }
}

/// Below this, compression saves less than it costs.
const COMPRESSED_LEN_MIN: usize = 256;

fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(ALIGN, false, MetadataVersion::V5)
}

/// The type without dictionaries, `None` where it has none.
fn without_dictionaries(data_type: &DataType) -> Option<DataType> {
    let field = |field: &FieldRef| {
        without_dictionaries(field.data_type())
            .map(|plain| Arc::new(field.as_ref().clone().with_data_type(plain)))
    };
    match data_type {
        DataType::Dictionary(_, values) => {
            Some(without_dictionaries(values).unwrap_or_else(|| values.as_ref().clone()))
        }
        DataType::List(item) => field(item).map(DataType::List),
        DataType::LargeList(item) => field(item).map(DataType::LargeList),
        DataType::FixedSizeList(item, len) => field(item).map(|item| DataType::FixedSizeList(item, *len)),
        DataType::Map(entries, sorted) => field(entries).map(|entries| DataType::Map(entries, *sorted)),
        DataType::Struct(fields) => fields.iter().any(|one| field(one).is_some()).then(|| {
            DataType::Struct(fields.iter().map(|one| field(one).unwrap_or_else(|| one.clone())).collect())
        }),
        _ => None,
    }
}

/// A view column may point into buffers far larger than its rows; only what its rows use is stored.
fn without_garbage(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array.clone(),
    }
}

/// The batch as it is stored: dictionaries replaced by their values. Errors: a dictionary where Arrow cannot replace it.
pub(super) fn stored_form(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let is_plain = |field: &FieldRef| {
        without_dictionaries(field.data_type()).is_none()
            && !matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView)
    };
    if schema.fields().iter().all(is_plain) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        match without_dictionaries(field.data_type()) {
            Some(plain) => {
                columns.push(cast(column, &plain)?);
                fields.push(Arc::new(Field::clone(field).with_data_type(plain)));
            }
            None => {
                columns.push(without_garbage(column));
                fields.push(field.clone());
            }
        }
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// Types whose round trip through IPC has had faults in Arrow; their batches are read back before they are accepted.
fn is_exotic(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Utf8View
        | DataType::BinaryView => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => is_exotic(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| is_exotic(field.data_type())),
        _ => false,
    }
}

/// A frame of rows in their stored form. `extra`: the producer state as bytes, empty without one.
/// Errors: Arrow refuses the batch, or it is longer than 1 GiB.
pub(super) fn encode_rows(
    batch: &RecordBatch,
    extra: &[u8],
    compression: Compression,
) -> Result<Frame, ArrowError> {
    let (dictionaries, encoded) = IpcDataGenerator::default().encode(
        batch,
        &mut DictionaryTracker::new(true),
        &options()?,
        &mut CompressionContext::default(),
    )?;
    if !dictionaries.is_empty() {
        return Err(ArrowError::NotYetImplemented("a dictionary within a union or a run".to_string()));
    }
    let (message, data) = (encoded.ipc_message, encoded.arrow_data);
    let message_len = aligned(message.len());
    let rows = u32::try_from(batch.num_rows()).ok().filter(|_| message_len + data.len() <= BODY_LEN_MAX);
    let rows = rows.ok_or_else(|| {
        ArrowError::InvalidArgumentError(format!("it takes {} bytes, {BODY_LEN_MAX} are allowed", data.len()))
    })?;

    let mut frame =
        Frame::start(FrameKind::Rows, extra, message_len + data.len() / expected_ratio(compression));
    let bytes = frame.bytes_mut();
    bytes.extend_from_slice(&message);
    bytes.resize(bytes.len() + message_len - message.len(), 0);
    let is_compressed = compression == Compression::Lz4 && put_compressed(bytes, &data);
    if !is_compressed {
        bytes.extend_from_slice(&data);
    }
    let header = frame.header_mut();
    header.flags = if is_compressed { FLAG_LZ4 } else { 0 };
    // Both are within `BODY_LEN_MAX`.
    header.message_len = message_len as u32;
    header.data_len = data.len() as u32;
    header.rows = rows;
    frame.finish_body();
    let schema = batch.schema_ref();
    if schema.fields().iter().any(|field| is_exotic(field.data_type())) {
        let back = decode_rows(frame.header(), &Buffer::from(frame.body()), schema.clone())?;
        if back != *batch {
            return Err(ArrowError::NotYetImplemented("it does not read back as it is".to_string()));
        }
    }
    Ok(frame)
}

/// Longest data whose buffer a thread keeps for the next batch.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    /// Fresh memory for every batch costs as much as compressing it.
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends `data` as an LZ4 block, or nothing and `false` when that would not be shorter.
fn put_compressed(bytes: &mut Vec<u8>, data: &[u8]) -> bool {
    if data.len() < COMPRESSED_LEN_MIN {
        return false;
    }
    BLOCK.with_borrow_mut(|block| {
        let len_max = lz4_flex::block::get_maximum_output_size(data.len());
        if block.len() < len_max {
            block.resize(len_max, 0);
        }
        let compressed = lz4_flex::block::compress_into(data, block).ok().filter(|len| *len < data.len());
        if let Some(len) = compressed {
            bytes.extend_from_slice(&block[..len]);
        }
        if block.len() > KEPT_BYTES_MAX {
            *block = Vec::new();
        }
        compressed.is_some()
    })
}

/// The rows of a body whose checksum was compared. Raw data is not copied: the batch shares `body`.
pub(super) fn decode_rows(
    header: &FrameHeader,
    body: &Buffer,
    schema: SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let broken = |what: &str| ArrowError::IpcError(what.to_string());
    let message_len = header.message_len as usize;
    let stored = body.slice(message_len);
    let data = if header.flags & FLAG_LZ4 == 0 {
        stored
    } else {
        let mut data = MutableBuffer::from_len_zeroed(header.data_len as usize);
        let len = lz4_flex::block::decompress_into(&stored, &mut data)
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        if len != data.len() {
            return Err(broken("the data is shorter than its header says"));
        }
        data.into()
    };
    let message = root_as_message(&body[..message_len]).map_err(|error| broken(&error.to_string()))?;
    let rows = message.header_as_record_batch().ok_or_else(|| broken("the message is not one of rows"))?;
    read_record_batch(&data, rows, schema, &HashMap::new(), None, &message.version())
}

/// A frame with a schema.
pub(super) fn encode_schema(schema: &Schema) -> Result<Frame, ArrowError> {
    let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut DictionaryTracker::new(true),
        &options()?,
    );
    Ok(Frame::with_body(FrameKind::Schema, &[], &encoded.ipc_message))
}

/// The schema of a body whose checksum was compared.
pub(super) fn decode_schema(body: &[u8]) -> Result<SchemaRef, ArrowError> {
    let message = root_as_message(body).map_err(|error| ArrowError::IpcError(error.to_string()))?;
    let schema = message
        .header_as_schema()
        .ok_or_else(|| ArrowError::IpcError("the message is not one of a schema".to_string()))?;
    Ok(Arc::new(fb_to_schema(schema)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Int64Array, StringArray, StringViewArray, StructArray};
    use arrow::datatypes::Int32Type;

    fn round_trip(batch: &RecordBatch, compression: Compression) -> RecordBatch {
        let frame = encode_rows(batch, b"", compression).unwrap();
        let schema = decode_schema(encode_schema(batch.schema_ref()).unwrap().body()).unwrap();
        decode_rows(frame.header(), &Buffer::from(frame.body()), schema).unwrap()
    }

    #[test]
    fn rows_come_back_with_and_without_compression() {
        let numbers = Int64Array::from_iter((0..1000).map(|i| (i % 7 != 0).then_some(i)));
        let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap();
        for compression in [Compression::None, Compression::Lz4] {
            assert_eq!(round_trip(&batch, compression), batch);
            assert_eq!(round_trip(&batch.slice(13, 400), compression), batch.slice(13, 400));
        }
        let raw = encode_rows(&batch, b"", Compression::None).unwrap().len();
        assert!(encode_rows(&batch, b"", Compression::Lz4).unwrap().len() < raw);
    }

    #[test]
    fn dictionaries_become_their_values_at_any_depth() {
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let words: ArrayRef = Arc::new(words);
        let field = Arc::new(Field::new("word", words.data_type().clone(), true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, words.clone())]));
        let batch = RecordBatch::try_from_iter([("flat", words), ("nested", nested)]).unwrap();
        let stored = stored_form(&batch).unwrap();
        let expected = StringArray::from(vec!["a", "b", "a"]);
        assert_eq!(stored.column(0).as_string::<i32>(), &expected);
        assert_eq!(stored.column(1).as_struct().column(0).as_string::<i32>(), &expected);
        assert_eq!(round_trip(&stored, Compression::Lz4), stored);
    }

    #[test]
    fn a_slice_of_a_view_column_stores_only_its_own_text() {
        let text = StringViewArray::from_iter_values((0..1000).map(|i| format!("{i:0100}")));
        let batch = RecordBatch::try_from_iter([("t", Arc::new(text) as ArrayRef)]).unwrap().slice(500, 10);
        let stored = stored_form(&batch).unwrap();
        assert!(encode_rows(&stored, b"", Compression::None).unwrap().len() < 4_000);
        assert_eq!(round_trip(&stored, Compression::None), batch);
    }
}
