//! Opening a partition: the newest segment is looked through, its torn tail cut off, its states taken over.
//!
//! A crash can only tear what was written after the last flush. Every frame says how much of the file was durable
//! when it was written, so a bad frame before that point is damage and is never cut off: it would take acknowledged
//! rows with it. Bodies before that point are not read here; who reads them compares their checksums.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tarn_core::Env;
use tracing::{error, warn};

use super::codec::decode_schema;
use super::fault::{corrupt, io_error};
use super::frame::{ALIGN, FLAG_OPEN, FrameHeader, FrameKind, HEADER_LEN, notes};
use super::partition::{Damage, Place, View};
use super::segment::{
    FILE_HEADER_LEN, FileHeader, FrameReader, HOP_WINDOW_BYTES, ROWS_WINDOW_BYTES, Segment, UNFINISHED,
    offset_of_name, segment_name,
};
use super::writer::Writer;
use crate::error::EventLogError;
use crate::port::Offset;

/// Opens the partition in a folder. Errors: `Io`, `DiskFull`; damage is noted in the view.
pub(super) fn recover(place: &Place, env: &Env) -> Result<(View, Writer), EventLogError> {
    let offsets = list_segments(place)?;
    let Some((newest, sealed)) = offsets.split_last() else {
        return begin(place, env);
    };
    let mut segments = Vec::with_capacity(offsets.len());
    let mut started_ms = 0;
    for offset in sealed {
        let segment = open_sealed(place, *offset, started_ms)?;
        started_ms = segment.header.started_ms;
        segments.push(Arc::new(segment));
    }
    open_newest(place, *newest, segments)
}

/// First offsets of the segments in a folder, ascending; unfinished ones are removed.
fn list_segments(place: &Place) -> Result<Vec<Offset>, EventLogError> {
    let listed = |error| io_error("list", &place.folder, error);
    let mut offsets = Vec::new();
    for entry in std::fs::read_dir(&place.folder).map_err(listed)? {
        let path = entry.map_err(listed)?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            std::fs::remove_file(&path).map_err(|error| io_error("remove", &path, error))?;
            continue;
        }
        offsets.extend(path.file_name().and_then(|name| name.to_str()).and_then(offset_of_name));
    }
    offsets.sort_unstable();
    Ok(offsets)
}

fn empty_view(segments: Vec<Arc<Segment>>, high: Offset) -> View {
    View {
        segments,
        high,
        settled: 0,
        appended_ms: 0,
        schema: None,
        producers: HashMap::new(),
        positions: HashMap::new(),
        damage: None,
    }
}

fn begin(place: &Place, env: &Env) -> Result<(View, Writer), EventLogError> {
    let header = FileHeader { nonce: env.entropy.next_u64(), first_offset: 0, started_ms: 0 };
    let (segment, file) = Segment::create(&place.folder, header, &mut []).map_err(|fault| fault.error)?;
    let segment = Arc::new(segment);
    let writer = Writer {
        len: segment.len(),
        segment: segment.clone(),
        file: Some(file),
        next_offset: 0,
        last_ms: 0,
        schemas: Vec::new(),
        failure: None,
        is_used: true,
    };
    Ok((empty_view(vec![segment], 0), writer))
}

fn open_sealed(place: &Place, offset: Offset, started_ms: i64) -> Result<Segment, EventLogError> {
    let path = place.folder.join(segment_name(offset));
    let file = File::open(&path).map_err(|error| io_error("open", &path, error))?;
    let len = file.metadata().map_err(|error| io_error("look at", &path, error))?.len();
    let header = match FileHeader::read(&file, &path, offset) {
        // Reading from it reports the damage.
        Err(EventLogError::CorruptSegment { .. }) => {
            FileHeader { nonce: 0, first_offset: offset, started_ms }
        }
        other => other?,
    };
    Ok(Segment::new(header, path, len, false))
}

fn open_newest(
    place: &Place,
    offset: Offset,
    mut segments: Vec<Arc<Segment>>,
) -> Result<(View, Writer), EventLogError> {
    let path = place.folder.join(segment_name(offset));
    let file =
        File::options().read(true).write(true).open(&path).map_err(|error| io_error("open", &path, error))?;
    let file_len = file.metadata().map_err(|error| io_error("look at", &path, error))?.len();
    let started_ms = segments.last().map_or(0, |segment| segment.header.started_ms);
    let (header, header_damage) = match FileHeader::read(&file, &path, offset) {
        Ok(header) => (header, None),
        Err(EventLogError::CorruptSegment { at, what, .. }) => (
            FileHeader { nonce: 0, first_offset: offset, started_ms },
            Some(Damage { path: path.clone(), at, what }),
        ),
        Err(error) => return Err(error),
    };
    let segment = Arc::new(Segment::new(header, path, file_len, true));
    segments.push(segment.clone());
    let mut found = Found {
        view: empty_view(segments, offset),
        schemas: Vec::new(),
        last_ms: header.started_ms,
        end: FILE_HEADER_LEN,
    };
    found.view.damage = header_damage;
    if found.view.damage.is_none() {
        let (end, damage) = find_end(&segment, &file, file_len)?;
        found.view.damage = damage;
        found.take_over(&segment, &file, end)?;
    }
    if let Some(damage) = &found.view.damage {
        error!(path = %damage.path.display(), at = damage.at, what = damage.what, "segment damaged");
    } else {
        cut_tail(&segment, &file, found.end, file_len)?;
    }
    segment.set_len(found.end);
    found.view.appended_ms = found.last_ms;
    let writer = Writer {
        segment,
        file: None,
        len: found.end,
        next_offset: found.view.high,
        last_ms: found.last_ms,
        schemas: found.schemas,
        failure: found.view.damage.as_ref().map(Damage::error),
        is_used: false,
    };
    Ok((found.view, writer))
}

/// Removes the torn tail. What is kept may not have been flushed before the crash, so it is flushed now.
fn cut_tail(segment: &Segment, file: &File, end: u64, file_len: u64) -> Result<(), EventLogError> {
    if end < file_len {
        warn!(path = %segment.path.display(), at = end, bytes = file_len - end, "torn tail of segment cut off");
        file.set_len(end).map_err(|error| io_error("cut", &segment.path, error))?;
    }
    file.sync_data().map_err(|error| io_error("flush", &segment.path, error))
}

/// Where the whole frames end, and the damage there when it is not a torn tail.
fn find_end(segment: &Segment, file: &File, file_len: u64) -> Result<(u64, Option<Damage>), EventLogError> {
    let mut frames = FrameReader::new(segment, file, file_len, HOP_WINDOW_BYTES);
    // Frames of which no later frame says that they were durable.
    let mut unproven: VecDeque<(u64, FrameHeader)> = VecDeque::new();
    let mut at = FILE_HEADER_LEN;
    let stop = loop {
        match frames.header(at) {
            Ok(None) => break None,
            Ok(Some(header)) => {
                while unproven.front().is_some_and(|(at, one)| at + one.frame_len() <= header.synced) {
                    unproven.pop_front();
                }
                unproven.push_back((at, header));
                at += header.frame_len();
            }
            Err(EventLogError::CorruptSegment { what, .. }) => break Some(what),
            Err(error) => return Err(error),
        }
    };
    let mut frames = FrameReader::new(segment, file, file_len, ROWS_WINDOW_BYTES);
    for (place, header) in unproven {
        let whole = frames.extra(&header, place).and_then(|_| frames.body(&header, place));
        match whole {
            Ok(_) => {}
            Err(EventLogError::CorruptSegment { .. }) => return Ok((place, None)),
            Err(error) => return Err(error),
        }
    }
    match stop {
        Some(what) if is_proven_durable(segment, file, at, file_len)? => {
            Ok((at, Some(Damage { path: segment.path.clone(), at, what })))
        }
        Some(_) | None => Ok((at, None)),
    }
}

/// Whether a frame behind the bad one at `bad_at` says that the bad one was durable.
fn is_proven_durable(segment: &Segment, file: &File, bad_at: u64, end: u64) -> Result<bool, EventLogError> {
    const CHUNK: u64 = 1 << 20;
    let mut chunk_at = bad_at;
    while chunk_at < end {
        // Chunks overlap by a header.
        let len = (CHUNK + HEADER_LEN as u64).min(end - chunk_at);
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, chunk_at).map_err(|error| io_error("read", &segment.path, error))?;
        for (i, window) in bytes.windows(HEADER_LEN).enumerate().step_by(ALIGN) {
            let header = window.try_into().ok().and_then(|bytes: &[u8; HEADER_LEN]| {
                FrameHeader::parse(bytes, segment.header.nonce, chunk_at + i as u64).ok()
            });
            if header.is_some_and(|header| header.synced > bad_at) {
                return Ok(true);
            }
        }
        chunk_at += CHUNK;
    }
    Ok(false)
}

/// What the frames of the newest segment say.
struct Found {
    view: View,
    schemas: Vec<(arrow::datatypes::SchemaRef, u64)>,
    last_ms: i64,
    end: u64,
}

impl Found {
    /// Goes over the frames up to `end`; stops at damage and notes it.
    fn take_over(&mut self, segment: &Segment, file: &File, end: u64) -> Result<(), EventLogError> {
        let mut frames = FrameReader::new(segment, file, end, HOP_WINDOW_BYTES);
        let mut schema_at = 0;
        while let Some(header) = frames.header(self.end)? {
            match self.take_frame(segment, &mut frames, &header) {
                Ok(()) => {}
                Err(EventLogError::CorruptSegment { at, what, .. }) => {
                    self.view.damage = Some(Damage { path: segment.path.clone(), at, what });
                    break;
                }
                Err(error) => return Err(error),
            }
            if header.rows > 0 {
                schema_at = header.schema_at;
            }
            self.end += header.frame_len();
        }
        // Without rows in this segment, the newest schema is the one that it began with.
        let newest = self.schemas.iter().find(|(_, at)| *at == schema_at).or(self.schemas.first());
        self.view.schema = newest.map(|(schema, _)| schema.clone());
        Ok(())
    }

    fn take_frame(
        &mut self,
        segment: &Segment,
        frames: &mut FrameReader<'_>,
        header: &FrameHeader,
    ) -> Result<(), EventLogError> {
        let at = self.end;
        let unreadable = |what: &str| corrupt(&segment.path, at, what);
        match header.kind {
            FrameKind::Schema => {
                let body = frames.body(header, at)?;
                let schema = decode_schema(&body).map_err(|error| unreadable(&error.to_string()))?;
                self.schemas.push((schema, at));
            }
            FrameKind::Rows => {
                if header.first_offset != self.view.high {
                    return Err(unreadable("rows are missing before this frame"));
                }
                if header.extra_len > 0 {
                    let extra = frames.extra(header, at)?;
                    let state = notes::NoteReader(&extra).state();
                    let state = state.ok_or_else(|| unreadable("the producer's state cannot be read"))?;
                    self.view.producers.insert(state.producer.clone(), state);
                }
                self.view.high = header.next_offset();
                if header.flags & FLAG_OPEN == 0 {
                    self.view.settled = self.view.high;
                }
                self.last_ms = self.last_ms.max(header.appended_ms);
                segment.note_frame(header, at);
            }
            FrameKind::Position => {
                let extra = frames.extra(header, at)?;
                let position = notes::NoteReader(&extra).position();
                let position =
                    position.ok_or_else(|| unreadable("the consumer's position cannot be read"))?;
                self.view.positions.insert(position.0, position.1);
            }
            FrameKind::Carry => {
                let body = frames.body(header, at)?;
                self.take_carry(&body).ok_or_else(|| unreadable("the carried states cannot be read"))?;
            }
        }
        Ok(())
    }

    fn take_carry(&mut self, body: &[u8]) -> Option<()> {
        let mut reader = notes::NoteReader(body);
        for _ in 0..reader.count()? {
            let state = reader.state()?;
            self.view.producers.insert(state.producer.clone(), state);
        }
        for _ in 0..reader.count()? {
            let (consumer, position) = reader.position()?;
            self.view.positions.insert(consumer, position);
        }
        Some(())
    }
}
