//! Splits CSV into records at any piece boundary.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::config::{CsvConfig, ascii};
use crate::error::IngestError;

/// A record longer than this is a quote that nobody closed.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// One record.
#[derive(Debug)]
pub(crate) struct CsvRecord<'a> {
    text: &'a [u8],
    ends: &'a [usize],
    /// Offset behind the record, from the file's start.
    pub(crate) end: u64,
    /// Line on which it begins, from 1.
    pub(crate) line: u64,
}

impl<'a> CsvRecord<'a> {
    /// Number of fields.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field without its quotes. Errors: it is not UTF-8.
    pub(crate) fn field(&self, n: usize) -> Result<&'a str, std::str::Utf8Error> {
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        std::str::from_utf8(&self.text[start..self.ends[n]])
    }

    /// The bytes of all fields.
    pub(crate) fn fields_bytes(&self) -> &'a [u8] {
        self.text
    }

    /// All fields; what is not UTF-8 is shown as such.
    pub(crate) fn fields(&self) -> Vec<String> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends).map(|(a, b)| String::from_utf8_lossy(&self.text[a..*b]).into_owned()).collect()
    }
}

/// A record that does not end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endless {
    pub(crate) line: u64,
}

/// The state between pieces.
pub(crate) struct CsvSplitter {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_len: usize,
    ends_len: usize,
    /// Offset of the next byte.
    offset: u64,
    /// Line of the next byte, and of the record's first byte.
    line: u64,
    record_line: u64,
    last_byte: u8,
    in_record: bool,
}

impl CsvSplitter {
    /// `offset`, `lines`: bytes and lines before the first piece.
    pub(crate) fn new(config: &CsvConfig, offset: u64, lines: u64) -> Result<Self, IngestError> {
        let reader = ReaderBuilder::new()
            .delimiter(ascii("csv.delimiter", &config.delimiter)?)
            .quote(ascii("csv.quote", &config.quote)?)
            .build();
        Ok(Self {
            reader,
            text: vec![0; 4_096],
            ends: vec![0; 64],
            text_len: 0,
            ends_len: 0,
            offset,
            line: lines + 1,
            record_line: lines + 1,
            last_byte: 0,
            in_record: false,
        })
    }

    fn advance(&mut self, input: &[u8]) {
        self.offset += input.len() as u64;
        self.line += input.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.last_byte = input.last().copied().unwrap_or(self.last_byte);
    }

    /// Splits a piece; an empty one is the end of the file and closes an unfinished record. `take` is called with
    /// each record and stops the splitting by `false`. Errors: `Endless`.
    pub(crate) fn split(
        &mut self,
        mut input: &[u8],
        take: &mut dyn FnMut(CsvRecord<'_>) -> bool,
    ) -> Result<(), Endless> {
        let at_end = input.is_empty();
        loop {
            if !self.in_record && !at_end {
                // Blank lines and the second half of `\r\n` belong to no record.
                let blank = input.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
                self.advance(&input[..blank]);
                input = &input[blank..];
                self.record_line = self.line;
            }
            if input.is_empty() && !at_end {
                return Ok(());
            }
            let (text, ends) = (&mut self.text[self.text_len..], &mut self.ends[self.ends_len..]);
            let (result, read, wrote, ended) = self.reader.read_record(input, text, ends);
            self.advance(&input[..read]);
            input = &input[read..];
            self.in_record |= read > 0;
            self.text_len += wrote;
            self.ends_len += ended;
            match result {
                ReadRecordResult::InputEmpty if at_end => return Ok(()),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() >= RECORD_BYTES_MAX => {
                    return Err(Endless { line: self.record_line });
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::End => return Ok(()),
                ReadRecordResult::Record => {
                    if self.last_byte == b'\r' && input.first() == Some(&b'\n') {
                        self.advance(&input[..1]);
                        input = &input[1..];
                    }
                    let record = CsvRecord {
                        text: &self.text[..self.text_len],
                        ends: &self.ends[..self.ends_len],
                        end: self.offset,
                        line: self.record_line,
                    };
                    let go_on = take(record);
                    self.text_len = 0;
                    self.ends_len = 0;
                    self.in_record = false;
                    if !go_on {
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pieces: &[&[u8]]) -> Vec<(Vec<String>, u64, u64)> {
        let mut splitter = CsvSplitter::new(&CsvConfig::default(), 0, 0).expect("valid");
        let mut found = Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()).chain([&&b""[..]]) {
            let take = &mut |record: CsvRecord<'_>| {
                found.push((record.fields(), record.end, record.line));
                true
            };
            splitter.split(piece, take).expect("short records");
        }
        found
    }

    #[test]
    fn the_boundaries_of_pieces_do_not_matter() {
        let text = "a,b\r\n1,\"\nx\ny\"\n\n2,\"he said \"\"hi\"\"\"\r\n\"\",\n3,last".as_bytes();
        let whole = records(&[text]);
        let fields: Vec<Vec<String>> = whole.iter().map(|(fields, ..)| fields.clone()).collect();
        assert_eq!(fields[1], ["1", "\nx\ny"]);
        assert_eq!(fields[2], ["2", "he said \"hi\""]);
        assert_eq!(fields[3], ["", ""]);
        assert_eq!(fields[4], ["3", "last"]);
        assert_eq!(whole.iter().map(|(.., line)| *line).collect::<Vec<_>>(), [1, 2, 6, 7, 8]);
        assert_eq!(whole.last().expect("records").1, text.len() as u64);
        for cut in 0..=text.len() {
            let cut_fields = |(fields, _, line): &(Vec<String>, u64, u64)| (fields.clone(), *line);
            let pieces = records(&[&text[..cut], &text[cut..]]);
            let shown: Vec<_> = pieces.iter().map(cut_fields).collect();
            assert_eq!(shown, whole.iter().map(cut_fields).collect::<Vec<_>>(), "cut at {cut}");
        }
    }

    #[test]
    fn reading_on_from_any_record_gives_the_rest() {
        let text = "1,a\r\n2,\"b\nb\"\r\n3,c\n4,d\n".as_bytes();
        let whole = records(&[text]);
        for (n, (_, end, _)) in whole.iter().enumerate() {
            let rest = records(&[&text[usize::try_from(*end).expect("short")..]]);
            let fields =
                |list: &[(Vec<String>, u64, u64)]| list.iter().map(|r| r.0.clone()).collect::<Vec<_>>();
            assert_eq!(fields(&rest), fields(&whole[n + 1..]));
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_is_found() {
        let mut splitter = CsvSplitter::new(&CsvConfig::default(), 0, 9).expect("valid");
        let piece = vec![b'x'; 1 << 20];
        splitter.split(b"1,\"", &mut |_| true).expect("short");
        let result = (0..20).map(|_| splitter.split(&piece, &mut |_| true)).find(Result::is_err);
        assert_eq!(result, Some(Err(Endless { line: 10 })));
    }
}
