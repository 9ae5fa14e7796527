//! Arrow IPC streams.

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;

use super::{Encoder, Schema, unwritable};
use crate::{QueryError, StatsHandle};

pub(super) struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl IpcEncoder {
    pub(super) fn new(schema: &Schema) -> Result<Self, QueryError> {
        let writer = StreamWriter::try_new(Vec::new(), schema).map_err(|error| unwritable(&error))?;
        Ok(Self { writer })
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.get_mut());
    }
}

impl Encoder for IpcEncoder {
    fn head(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.take(out);
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, QueryError> {
        let rows = batch.slice(from, batch.num_rows() - from);
        self.writer.write(&rows).map_err(|error| unwritable(&error))?;
        self.take(out);
        Ok(batch.num_rows())
    }

    fn tail(&mut self, _stats: &StatsHandle, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.finish().map_err(|error| unwritable(&error))?;
        self.take(out);
        Ok(())
    }
}
