//! Frames on their way into a segment file, small ones joined into larger writes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::frame::Frame;

/// Frames shorter than this are joined before they are written.
const JOINED_LEN_MAX: usize = 64 << 10;

/// Frames on their way into the file.
#[derive(Debug)]
pub(super) struct Output<'a> {
    file: &'a File,
    nonce: u64,
    /// Where the next frame goes.
    pub(super) at: u64,
    joined: Vec<u8>,
}

impl<'a> Output<'a> {
    /// Frames go to `at` of the segment with this nonce.
    pub(super) fn new(file: &'a File, nonce: u64, at: u64) -> Self {
        Self { file, nonce, at, joined: Vec::new() }
    }

    /// Writes a frame, or joins it to those before. Errors: the disk's.
    pub(super) fn put(&mut self, frame: &mut Frame) -> std::io::Result<()> {
        let bytes = frame.seal(self.nonce, self.at);
        if bytes.len() >= JOINED_LEN_MAX {
            self.file.write_all_at(&self.joined, self.at - self.joined.len() as u64)?;
            self.joined.clear();
            self.file.write_all_at(bytes, self.at)?;
        } else {
            self.joined.extend_from_slice(bytes);
        }
        self.at += frame.len();
        if self.joined.len() >= 4 * JOINED_LEN_MAX {
            self.finish()?;
        }
        Ok(())
    }

    /// Writes what is joined. Errors: the disk's.
    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        self.file.write_all_at(&self.joined, self.at - self.joined.len() as u64)?;
        self.joined.clear();
        Ok(())
    }
}
