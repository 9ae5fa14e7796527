//! Splits text into lines at any piece boundary.

use super::csv::RECORD_BYTES_MAX;

/// The state between pieces.
pub(crate) struct LineSplitter {
    rest: Vec<u8>,
    offset: u64,
    lines: u64,
}

/// One line.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a [u8],
    /// Offset behind the line and its end, from the file's start.
    pub(crate) end: u64,
    /// Its number, from 1.
    pub(crate) number: u64,
}

/// A line that is too long to be a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) line: u64,
}

impl LineSplitter {
    /// `offset`, `lines`: bytes and lines before the first piece.
    pub(crate) fn new(offset: u64, lines: u64) -> Self {
        Self { rest: Vec::new(), offset, lines }
    }

    fn give(&mut self, text: &[u8], length: usize, take: &mut dyn FnMut(Line<'_>) -> bool) -> bool {
        self.offset += length as u64;
        self.lines += 1;
        let trimmed = text.trim_ascii();
        trimmed.is_empty() || take(Line { text: trimmed, end: self.offset, number: self.lines })
    }

    /// Splits a piece; an empty one is the end of the file and gives the unfinished line. `take` is called with each
    /// line that is not blank and stops the splitting by `false`. Errors: `TooLong`.
    pub(crate) fn split(
        &mut self,
        mut input: &[u8],
        take: &mut dyn FnMut(Line<'_>) -> bool,
    ) -> Result<(), TooLong> {
        if input.is_empty() && !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.give(&rest, rest.len(), take);
            return Ok(());
        }
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = input.split_at(end + 1);
            input = behind;
            let go_on = if self.rest.is_empty() {
                self.give(line, line.len(), take)
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.give(&whole, whole.len(), take)
            };
            if !go_on {
                return Ok(());
            }
        }
        if self.rest.len() + input.len() > RECORD_BYTES_MAX {
            return Err(TooLong { line: self.lines + 1 });
        }
        self.rest.extend_from_slice(input);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundaries_of_pieces_do_not_matter() {
        let text = b"one\r\n\ntwo\n three \nfour";
        let split = |cut: usize| {
            let (mut splitter, mut found) = (LineSplitter::new(0, 0), Vec::new());
            for piece in
                [&text[..cut], &text[cut..]].into_iter().filter(|piece| !piece.is_empty()).chain([&b""[..]])
            {
                let take = &mut |line: Line<'_>| {
                    found.push((String::from_utf8_lossy(line.text).into_owned(), line.end, line.number));
                    true
                };
                splitter.split(piece, take).expect("short lines");
            }
            found
        };
        let lines = |n: usize| (split(n)).into_iter().map(|(text, ..)| text).collect::<Vec<_>>();
        assert_eq!(lines(0), ["one", "two", "three", "four"]);
        assert_eq!(
            split(0).iter().map(|(_, end, n)| (*end, *n)).collect::<Vec<_>>(),
            [(5, 1), (10, 3), (18, 4), (22, 5)]
        );
        (0..=text.len()).for_each(|cut| assert_eq!(split(cut), split(0), "cut at {cut}"));
    }

    #[test]
    fn an_endless_line_is_found() {
        let mut splitter = LineSplitter::new(0, 4);
        let piece = vec![b'x'; 1 << 20];
        let result = (0..20).map(|_| splitter.split(&piece, &mut |_| true)).find(Result::is_err);
        assert_eq!(result, Some(Err(TooLong { line: 5 })));
    }
}
