//! JSON values at the top of a file, or in an array there, at any piece boundary.

/// A value longer than this is a bracket that nobody closed.
const VALUE_BYTES_MAX: usize = 16 << 20;

/// The state between pieces.
#[derive(Debug, Default)]
pub(crate) struct ValueSplitter {
    value: Vec<u8>,
    value_line: u64,
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Whether values stand in one array.
    in_array: Option<bool>,
    line: u64,
}

/// A value that does not end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endless(pub u64);

impl ValueSplitter {
    /// Splits a piece; an empty one is the end. `take` gets each value and the line on which it begins.
    pub(crate) fn split(&mut self, piece: &[u8], take: &mut dyn FnMut(&[u8], u64)) -> Result<(), Endless> {
        for byte in piece {
            self.line += u64::from(*byte == b'\n');
            if self.in_text {
                self.value.push(*byte);
                match (self.escaped, byte) {
                    (true, _) => self.escaped = false,
                    (false, b'\\') => self.escaped = true,
                    (false, b'"') => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            self.plain(*byte, take);
            if self.value.len() > VALUE_BYTES_MAX {
                return Err(Endless(self.value_line));
            }
        }
        if piece.is_empty() {
            self.give(take);
        }
        Ok(())
    }

    fn plain(&mut self, byte: u8, take: &mut dyn FnMut(&[u8], u64)) {
        let is_blank = byte.is_ascii_whitespace();
        if self.depth == 0 {
            if self.in_array.is_none() && !is_blank {
                self.in_array = Some(byte == b'[');
                if byte == b'[' {
                    return;
                }
            }
            let is_between = byte == b',' || (byte == b']' && self.in_array == Some(true));
            if is_blank || is_between {
                return self.give(take);
            }
        }
        if self.value.is_empty() {
            self.value_line = self.line + 1;
        }
        self.value.push(byte);
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.give(take);
                }
            }
            _ => {}
        }
    }

    fn give(&mut self, take: &mut dyn FnMut(&[u8], u64)) {
        if !self.value.is_empty() {
            let value = std::mem::take(&mut self.value);
            take(&value, self.value_line);
        }
        self.depth = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_values_behind_each_other_are_split_at_any_cut() {
        let array = "[\n {\"a\": [1, 2], \"b\": \"]},{\\\"\"},\n {\"a\": {}}\n]\n";
        let wanted = [("{\"a\": [1, 2], \"b\": \"]},{\\\"\"}", 2), ("{\"a\": {}}", 3)];
        for text in [array.to_string(), "\n{\"a\": [1, 2], \"b\": \"]},{\\\"\"}\n{\"a\": {}}".to_string()] {
            for cut in 0..=text.len() {
                let (mut splitter, mut found) = (ValueSplitter::default(), Vec::new());
                let bytes = text.as_bytes();
                for piece in
                    [&bytes[..cut], &bytes[cut..]].into_iter().filter(|p| !p.is_empty()).chain([&b""[..]])
                {
                    let take = &mut |value: &[u8], line| {
                        found.push((String::from_utf8_lossy(value).into_owned(), line));
                    };
                    splitter.split(piece, take).expect("short");
                }
                let found: Vec<(&str, u64)> = found.iter().map(|(v, l)| (v.as_str(), *l)).collect();
                assert_eq!(found, wanted, "{text} cut at {cut}");
            }
        }
    }
}
