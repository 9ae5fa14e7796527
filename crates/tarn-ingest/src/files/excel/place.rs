//! Names of cells and ranges: `B3`, `A1:F20`, `A:F`, `B3:F`.

use std::fmt;

/// Rows and columns of a sheet.
pub(super) const ROWS_MAX: u32 = 1_048_576;
pub(super) const COLUMNS_MAX: u32 = 16_384;

/// A part of a sheet, from 1; what is not given is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first_column: Option<u32>,
    pub(super) first_row: u32,
    pub(super) last_column: Option<u32>,
    pub(super) last_row: Option<u32>,
}

/// Column and row of a name; each may be missing.
fn corner(text: &str) -> Option<(Option<u32>, Option<u32>)> {
    let text = text.replace('$', "");
    let letters = text.len() - text.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (letters, digits) = text.split_at(letters);
    let column = letters.bytes().try_fold(0_u32, |column, letter| {
        column.checked_mul(26)?.checked_add(u32::from(letter.to_ascii_uppercase() - b'A') + 1)
    })?;
    let row = match digits {
        "" => None,
        digits => Some(digits.parse::<u32>().ok().filter(|row| (1..=ROWS_MAX).contains(row))?),
    };
    let column = (column > 0).then_some(column);
    (column.is_none_or(|column| column <= COLUMNS_MAX) && !text.is_empty()).then_some((column, row))
}

/// Column and row of a cell, from 1.
pub(super) fn cell_of(name: &str) -> Option<(u32, u32)> {
    match corner(name)? {
        (Some(column), Some(row)) => Some((column, row)),
        _ => None,
    }
}

/// A column's letters.
pub(super) fn letters(mut column: u32) -> String {
    let mut letters = Vec::new();
    while column > 0 {
        let letter = u8::try_from((column - 1) % 26).unwrap_or(0);
        letters.insert(0, char::from(b'A' + letter));
        column = (column - 1) / 26;
    }
    letters.into_iter().collect()
}

impl Range {
    /// Errors: it is no range, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of cells; write it as `A1:F20`, `A:F` or `B3`");
        let own = text.rsplit('!').next().unwrap_or(text).trim();
        let (first, last) = own.split_once(':').unwrap_or((own, ""));
        let (first_column, first_row) = corner(first.trim()).ok_or_else(wrong)?;
        let (last_column, last_row) = match last.trim() {
            "" => (None, None),
            last => corner(last).ok_or_else(wrong)?,
        };
        let range = Self { first_column, first_row: first_row.unwrap_or(1), last_column, last_row };
        let is_ordered = last_row.is_none_or(|last| range.first_row <= last)
            && last_column.is_none_or(|last| first_column.unwrap_or(1) <= last);
        is_ordered.then_some(range).ok_or_else(wrong)
    }

    pub(super) fn has_column(&self, column: u32) -> bool {
        self.first_column.is_none_or(|first| first <= column)
            && self.last_column.is_none_or(|last| column <= last)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:", letters(self.first_column.unwrap_or(1)), self.first_row)?;
        f.write_str(&self.last_column.map(letters).unwrap_or_default())?;
        self.last_row.map_or(Ok(()), |row| write!(f, "{row}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, shown) in [
            ("A1:F20", "A1:F20"),
            ("$B$3:f", "B3:F"),
            ("A:AA", "A1:AA"),
            ("B3", "B3:"),
            ("Sheet 1!C2:C9", "C2:C9"),
            ("XFD1048576", "XFD1048576:"),
        ] {
            assert_eq!(Range::parse(text).map(|range| range.to_string()), Ok(shown.to_string()), "{text}");
        }
        for text in ["", "F1:A1", "A9:B1", "A0", "XFE1", "A1:B2:C3", "1A", "é1", "ZZZZZZZZZZZ1", "A1048577"]
        {
            assert!(Range::parse(text).is_err(), "{text}");
        }
        assert_eq!(cell_of("AB12"), Some((28, 12)));
        assert_eq!((cell_of("AB"), cell_of("12")), (None, None));
        assert!(
            (1..=COLUMNS_MAX).all(|column| cell_of(&format!("{}7", letters(column))) == Some((column, 7)))
        );
    }
}
