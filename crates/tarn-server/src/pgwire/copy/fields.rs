//! Cutting a line into fields.

use tarn_query::{ClientCopy, CopyFormat};

use super::fault::CopyFault;

/// A field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    /// Stands for the column's default.
    Default,
    /// Where its text lies in [`Fields::text`].
    Text(usize, usize),
}

/// The fields of one line. Used for one line after the other.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub text: Vec<u8>,
    pub cells: Vec<Cell>,
}

impl Fields {
    /// Reads a line. Errors: a quoted field that does not end, an escaped byte that is no UTF-8.
    pub(super) fn read(&mut self, line: &[u8], copy: &ClientCopy) -> Result<(), CopyFault> {
        self.text.clear();
        self.cells.clear();
        match copy.format {
            CopyFormat::Csv => self.read_csv(line, copy),
            _ => {
                self.read_text(line, copy);
                Ok(())
            }
        }
    }

    pub(super) fn bytes(&self, start: usize, end: usize) -> &[u8] {
        self.text.get(start..end).unwrap_or_default()
    }

    fn push(&mut self, raw: &[u8], start: usize, is_quoted: bool, copy: &ClientCopy) {
        let is = |text: &str| !is_quoted && raw == text.as_bytes();
        let cell = if is(&copy.null) {
            Cell::Null
        } else if copy.default.as_deref().is_some_and(is) {
            Cell::Default
        } else {
            Cell::Text(start, self.text.len())
        };
        if !matches!(cell, Cell::Text(..)) {
            self.text.truncate(start);
        }
        self.cells.push(cell);
    }

    fn read_text(&mut self, line: &[u8], copy: &ClientCopy) {
        let (mut at, mut first, mut start) = (0, 0, 0);
        while let Some(byte) = line.get(at).copied() {
            at += 1;
            if byte == copy.delimiter {
                self.push(&line[first..at - 1], start, false, copy);
                (first, start) = (at, self.text.len());
                continue;
            }
            if byte != b'\\' {
                self.text.push(byte);
                continue;
            }
            let Some(second) = line.get(at).copied() else { break };
            at += 1;
            let octal = |at: usize| line.get(at).copied().filter(|byte| (b'0'..=b'7').contains(byte));
            let hex = |at: usize| line.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            let meant = match second {
                b'0'..=b'7' => {
                    let mut value = u32::from(second - b'0');
                    for _ in 0..2 {
                        let Some(digit) = octal(at) else { break };
                        value = (value << 3) + u32::from(digit - b'0');
                        at += 1;
                    }
                    u8::try_from(value & 0o377).unwrap_or(0)
                }
                b'x' => match hex(at) {
                    Some(digit) => {
                        at += 1;
                        let mut value = digit;
                        if let Some(digit) = hex(at) {
                            value = (value << 4) + digit;
                            at += 1;
                        }
                        u8::try_from(value & 0xff).unwrap_or(0)
                    }
                    None => b'x',
                },
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                other => other,
            };
            self.text.push(meant);
        }
        self.push(&line[first..], start, false, copy);
    }

    fn read_csv(&mut self, line: &[u8], copy: &ClientCopy) -> Result<(), CopyFault> {
        let (mut at, mut first, mut start) = (0, 0, 0);
        let (mut is_quoted, mut was_quoted) = (false, false);
        loop {
            let Some(byte) = line.get(at).copied() else {
                if is_quoted {
                    return Err(CopyFault::new("22P04", "unterminated CSV quoted field"));
                }
                self.push(&line[first..], start, was_quoted, copy);
                return Ok(());
            };
            at += 1;
            if !is_quoted {
                if byte == copy.delimiter {
                    self.push(&line[first..at - 1], start, was_quoted, copy);
                    (first, start, was_quoted) = (at, self.text.len(), false);
                } else if byte == copy.quote {
                    (is_quoted, was_quoted) = (true, true);
                } else {
                    self.text.push(byte);
                }
                continue;
            }
            if byte == copy.escape
                && let Some(next) = line.get(at).copied()
                && (next == copy.escape || next == copy.quote)
            {
                self.text.push(next);
                at += 1;
            } else if byte == copy.quote {
                is_quoted = false;
            } else {
                self.text.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tarn_query::{CopyStatement, parse_copy};

    use super::*;

    fn read(options: &str, line: &str) -> Vec<Option<String>> {
        let sql = format!("COPY t FROM STDIN ({options})");
        let CopyStatement { options, .. } = parse_copy(&sql).unwrap().unwrap();
        let copy = ClientCopy::new(&options, true).unwrap();
        let mut fields = Fields::default();
        fields.read(line.as_bytes(), &copy).unwrap();
        let text = |cell: &Cell| match cell {
            Cell::Null => None,
            Cell::Default => Some("DEFAULT".to_string()),
            Cell::Text(start, end) => Some(String::from_utf8_lossy(fields.bytes(*start, *end)).into_owned()),
        };
        fields.cells.iter().map(text).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| (*text != "NULL").then(|| (*text).to_string())).collect()
    }

    #[test]
    fn backslashes_say_what_letters_cannot() {
        assert_eq!(
            read("FORMAT text", "a\\tb\t\\N\t\\\\N\t\\101\\x42\\q\t"),
            some(&["a\tb", "NULL", "\\N", "ABq", ""])
        );
        assert_eq!(read("NULL '', DELIMITER '|'", "|x\\||\\"), some(&["NULL", "x|", ""]));
    }

    #[test]
    fn only_what_is_not_quoted_is_null() {
        assert_eq!(
            read("FORMAT csv", "a,,\"\",\"b\"\"c\",d\"e,f\"g"),
            some(&["a", "NULL", "", "b\"c", "de,fg"])
        );
        assert_eq!(read("FORMAT csv, ESCAPE '\\'", "\"a\\\"b\\c\""), some(&["a\"b\\c"]));
        assert_eq!(read("FORMAT csv, DEFAULT 'D'", "D,\"D\""), some(&["DEFAULT", "D"]));
    }
}
