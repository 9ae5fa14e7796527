//! Cutting what a client sends into lines, as PostgreSQL does: whatever ends the first line ends all, an end within a
//! quoted field ends none, and `\.` ends the data.

use std::ops::Range;

use super::fault::CopyFault;

/// A longer line is refused rather than held.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Bytes that were read and are kept until they are worth moving the rest.
const READ_BYTES_KEPT: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Unknown,
    Newline,
    Return,
    Both,
}

/// The quote and the escape of CSV.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoting {
    pub quote: u8,
    pub escape: u8,
}

/// What has come and is no whole line yet, and how far it was looked at.
#[derive(Debug)]
pub(super) struct Lines {
    quoting: Option<Quoting>,
    ending: Ending,
    bytes: Vec<u8>,
    start: usize,
    at: usize,
    is_quoted: bool,
    is_escaped: bool,
    is_over: bool,
    /// Ends of lines within quotes of this line.
    quoted_ends: u64,
    /// Of the line that is read, from 1.
    pub number: u64,
}

/// What reading one more byte found.
enum Step {
    /// Where the line ends, and where the next one starts.
    Line(usize, usize),
    /// The data ends here, with what is before it in the line.
    Over(usize),
    More,
}

impl Lines {
    /// `quoting`: of CSV.
    pub(super) fn new(quoting: Option<Quoting>) -> Self {
        Self {
            quoting,
            ending: Ending::Unknown,
            bytes: Vec::new(),
            start: 0,
            at: 0,
            is_quoted: false,
            is_escaped: false,
            is_over: false,
            quoted_ends: 0,
            number: 0,
        }
    }

    /// More comes. Errors: a line is too long to be held.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), CopyFault> {
        if self.is_over {
            return Ok(());
        }
        if self.start > READ_BYTES_KEPT {
            self.bytes.drain(..self.start);
            self.at -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.start > LINE_BYTES_MAX {
            let message = format!("a line is longer than {} MB", LINE_BYTES_MAX >> 20);
            return Err(CopyFault::new("54000", message).at_line());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes of a line that [`Lines::next`] gave.
    pub(super) fn line(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The next whole line, without its end; with `is_end` also a last one without end. Errors: ends of lines that are not
    /// like the first one.
    pub(super) fn next(&mut self, is_end: bool) -> Result<Option<Range<usize>>, CopyFault> {
        if self.is_over {
            return Ok(None);
        }
        if self.at == self.start {
            (self.is_quoted, self.is_escaped, self.quoted_ends) = (false, false, 0);
        }
        let first = self.start;
        loop {
            let (end, next) = match self.step(is_end)? {
                Some(Step::Line(end, next)) => {
                    (self.start, self.at) = (next, next);
                    self.number += 1 + self.quoted_ends;
                    return Ok(Some(first..end));
                }
                Some(Step::More) if !is_end => return Ok(None),
                Some(Step::More) => (self.bytes.len(), self.bytes.len()),
                Some(Step::Over(end)) => (end, self.bytes.len()),
                None => continue,
            };
            (self.is_over, self.start, self.at) = (true, next, next);
            self.number += 1 + self.quoted_ends;
            return Ok((end > first).then_some(first..end));
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn step(&mut self, is_end: bool) -> Result<Option<Step>, CopyFault> {
        let Some(byte) = self.byte(self.at) else { return Ok(Some(Step::More)) };
        if let Some(Quoting { quote, escape }) = self.quoting {
            let escapes = escape != quote && byte == escape;
            if self.is_quoted && escapes {
                self.is_escaped = !self.is_escaped;
            }
            if byte == quote && !self.is_escaped {
                self.is_quoted = !self.is_quoted;
            }
            if !escapes {
                self.is_escaped = false;
            }
            let ends = if self.ending == Ending::Newline { b'\n' } else { b'\r' };
            self.quoted_ends += u64::from(self.is_quoted && byte == ends);
        }
        let is_plain = self.quoting.is_none() || !self.is_quoted;
        match byte {
            b'\r' if is_plain => self.at_return(is_end),
            b'\n' if is_plain => {
                if matches!(self.ending, Ending::Return | Ending::Both) {
                    return Err(self.stray("newline", "\\n"));
                }
                self.ending = Ending::Newline;
                Ok(Some(Step::Line(self.at, self.at + 1)))
            }
            b'\\' if self.quoting.is_none() || (is_plain && self.at == self.start) => {
                self.at_backslash(is_end)
            }
            _ => {
                self.at += 1;
                Ok(None)
            }
        }
    }

    fn at_return(&mut self, is_end: bool) -> Result<Option<Step>, CopyFault> {
        if self.ending == Ending::Newline {
            return Err(self.stray("carriage return", "\\r"));
        }
        let next = self.byte(self.at + 1);
        if self.ending != Ending::Return {
            match next {
                None if !is_end => return Ok(Some(Step::More)),
                Some(b'\n') => {
                    self.ending = Ending::Both;
                    return Ok(Some(Step::Line(self.at, self.at + 2)));
                }
                _ if self.ending == Ending::Both => return Err(self.stray("carriage return", "\\r")),
                _ => self.ending = Ending::Return,
            }
        }
        Ok(Some(Step::Line(self.at, self.at + 1)))
    }

    fn at_backslash(&mut self, is_end: bool) -> Result<Option<Step>, CopyFault> {
        let Some(second) = self.byte(self.at + 1) else {
            if is_end {
                self.at += 1;
                return Ok(None);
            }
            return Ok(Some(Step::More));
        };
        if second != b'.' {
            // What is escaped ends nothing.
            self.at += if self.quoting.is_none() { 2 } else { 1 };
            return Ok(None);
        }
        let end = (self.byte(self.at + 2), self.byte(self.at + 3));
        let is_marker = match (self.ending, end) {
            (_, (None, _)) if is_end => true,
            (_, (None, _)) => return Ok(Some(Step::More)),
            (Ending::Both, (Some(b'\r'), Some(b'\n'))) => true,
            (Ending::Both, (Some(b'\r'), None)) if !is_end => return Ok(Some(Step::More)),
            (Ending::Newline, (Some(b'\n'), _)) | (Ending::Return, (Some(b'\r'), _)) => true,
            (Ending::Unknown, (Some(b'\r' | b'\n'), _)) => true,
            (_, (Some(b'\r' | b'\n'), _)) if self.quoting.is_none() => {
                let message = "end-of-copy marker does not match previous newline style";
                self.number += 1;
                return Err(CopyFault::new("22P04", message).at_line());
            }
            _ if self.quoting.is_none() => {
                self.number += 1;
                return Err(CopyFault::new("22P04", "end-of-copy marker corrupt").at_line());
            }
            _ => false,
        };
        match is_marker {
            true => Ok(Some(Step::Over(self.at))),
            false => {
                self.at += 1;
                Ok(None)
            }
        }
    }

    /// An end of a line that is not like the first one.
    fn stray(&mut self, what: &str, written: &str) -> CopyFault {
        self.number += 1;
        let (kind, hint) = match self.quoting.is_some() {
            true => ("unquoted", format!("Use quoted CSV field to represent {what}.")),
            false => ("literal", format!("Use \"{written}\" to represent {what}.")),
        };
        CopyFault::new("22P04", format!("{kind} {what} found in data")).at_line().hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of a text that comes in pieces of every length.
    fn lines(text: &str, quoting: Option<Quoting>) -> Result<Vec<(u64, String)>, String> {
        let mut outcomes = Vec::new();
        for size in 1..=text.len().max(1) {
            let mut lines = Lines::new(quoting);
            let mut found = Vec::new();
            let mut read = || -> Result<(), CopyFault> {
                for piece in text.as_bytes().chunks(size) {
                    lines.push(piece)?;
                    while let Some(range) = lines.next(false)? {
                        found.push((lines.number, String::from_utf8_lossy(lines.line(range)).into_owned()));
                    }
                }
                while let Some(range) = lines.next(true)? {
                    found.push((lines.number, String::from_utf8_lossy(lines.line(range)).into_owned()));
                }
                Ok(())
            };
            let outcome = read().map_err(|fault| fault.message);
            outcomes.push(outcome.map(|()| found));
        }
        let first = outcomes.first().cloned().expect("one size");
        assert!(outcomes.iter().all(|outcome| *outcome == first), "{outcomes:?}");
        first
    }

    fn texts(text: &str, quoting: Option<Quoting>) -> Vec<String> {
        lines(text, quoting).expect("lines").into_iter().map(|(_, line)| line).collect()
    }

    const CSV: Option<Quoting> = Some(Quoting { quote: b'"', escape: b'"' });

    #[test]
    fn whatever_ends_the_first_line_ends_all() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("a{end}{end}b{end}c");
            assert_eq!(texts(&text, None), ["a", "", "b", "c"]);
            assert_eq!(texts(&text, CSV), ["a", "", "b", "c"]);
        }
        assert_eq!(lines("a\nb\r\n", None).unwrap_err(), "literal carriage return found in data");
        assert_eq!(lines("a\r\nb\n", None).unwrap_err(), "literal newline found in data");
        assert_eq!(lines("a\rb\n", CSV).unwrap_err(), "unquoted newline found in data");
    }

    #[test]
    fn an_end_that_is_escaped_or_quoted_ends_nothing() {
        assert_eq!(texts("a\\\nb\nc", None), ["a\\\nb", "c"]);
        assert_eq!(texts("\"a\nb\"\nc\n", CSV), ["\"a\nb\"", "c"]);
        assert_eq!(texts("\"a\"\"\nb\"\nc\n", CSV), ["\"a\"\"\nb\"", "c"]);
        let escape = Some(Quoting { quote: b'"', escape: b'\\' });
        assert_eq!(texts("\"a\\\"\nb\"\nc\n", escape), ["\"a\\\"\nb\"", "c"]);
        assert_eq!(
            lines("x\n\"a\nb\"\nc\n", CSV).unwrap().iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [1, 3, 4]
        );
    }

    #[test]
    fn the_marker_ends_the_data() {
        assert_eq!(texts("a\n\\.\nb\n", None), ["a"]);
        assert_eq!(texts("a\n\\.", None), ["a"]);
        assert_eq!(texts("a\nb\\.\nc\n", None), ["a", "b"]);
        assert_eq!(texts("a\r\n\\.\r\nb\r\n", CSV), ["a"]);
        assert_eq!(texts("a\n\\.x\nb\\.\n", CSV), ["a", "\\.x", "b\\."]);
        assert_eq!(lines("a\n\\.x\n", None).unwrap_err(), "end-of-copy marker corrupt");
        assert_eq!(texts("a\\\\.\nb\n", None), ["a\\\\.", "b"]);
    }
}
