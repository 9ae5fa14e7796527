//! Text of other encodings as UTF-8.

use bytes::Bytes;
use encoding_rs::{Decoder, Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};

use crate::error::IngestError;

/// The encoding of a name. Errors: no such encoding.
pub(crate) fn encoding_of(name: &str) -> Result<&'static Encoding, IngestError> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| {
        IngestError::config(
            "csv.encoding",
            format!("`{name}` is not an encoding"),
            "write utf-8, gb18030 (also for GBK), utf-16le, utf-16be, big5, shift_jis, windows-1252, …",
        )
    })
}

/// The encoding that the first bytes of a file tell, and why. UTF-8 unless they are none; `cut`: whether the file goes on.
pub(crate) fn detect(first: &[u8], cut: bool) -> (&'static Encoding, Option<String>) {
    if let Some((encoding, _)) = Encoding::for_bom(first) {
        let why = (encoding != UTF_8).then(|| "by its byte order mark".to_string());
        return (encoding, why);
    }
    let is_utf8 = match std::str::from_utf8(first) {
        Ok(_) => true,
        // A character may be cut at the end.
        Err(error) => cut && error.error_len().is_none(),
    };
    let zeros = |odd: usize| first.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let many = first.len() / 8;
    if first.len() >= 8 && zeros(1) > many && zeros(0) == 0 {
        return (UTF_16LE, Some("every other byte is zero".to_string()));
    }
    if first.len() >= 8 && zeros(0) > many && zeros(1) == 0 {
        return (UTF_16BE, Some("every other byte is zero".to_string()));
    }
    if is_utf8 {
        return (UTF_8, None);
    }
    let mut text = String::with_capacity(first.len() * 3);
    let (_, _, broken) = GB18030.new_decoder_without_bom_handling().decode_to_string(first, &mut text, !cut);
    match broken {
        false => (GB18030, Some("its bytes are not UTF-8 but valid GB18030 (GBK)".to_string())),
        // Every byte means something there.
        true => (encoding_rs::WINDOWS_1252, Some("its bytes are neither UTF-8 nor GB18030".to_string())),
    }
}

/// Decodes a file piece by piece.
pub(crate) struct TextDecoder {
    /// `None`: the bytes are taken as they are, and each record is checked.
    decoder: Option<Decoder>,
    is_first: bool,
    name: &'static str,
}

impl TextDecoder {
    pub(crate) fn new(encoding: &'static Encoding) -> Self {
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal());
        Self { decoder, is_first: true, name: encoding.name() }
    }

    /// A piece as UTF-8; an empty one is the end. Errors: bytes that the encoding does not have.
    pub(crate) fn decode(&mut self, piece: Bytes) -> Result<Bytes, String> {
        let first = self.is_first;
        self.is_first = first && piece.is_empty();
        let Some(decoder) = &mut self.decoder else {
            let mark = first && piece.starts_with(b"\xef\xbb\xbf");
            return Ok(if mark { piece.slice(3..) } else { piece });
        };
        let size = decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len() * 3 + 16);
        let mut text = String::with_capacity(size);
        let (_, _, broken) = decoder.decode_to_string(&piece, &mut text, piece.is_empty());
        match broken {
            true => Err(format!("it holds bytes that {} does not have", self.name)),
            false => Ok(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart_and_decoded_at_any_cut() {
        let text = "编号,名称\n1,数据平台\n2,\"带,逗号\"\n";
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for (bytes, expected) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            (GB18030.encode(text).0.into_owned(), "gb18030"),
            (utf16, "UTF-16LE"),
        ] {
            let (encoding, _) = detect(&bytes, false);
            assert_eq!(encoding.name(), expected);
            for cut in 0..=bytes.len() {
                let mut decoder = TextDecoder::new(encoding);
                let mut out = Vec::new();
                for piece in [&bytes[..cut], &bytes[cut..]].into_iter().filter(|piece| !piece.is_empty()) {
                    out.extend_from_slice(&decoder.decode(Bytes::copy_from_slice(piece)).expect("valid"));
                }
                out.extend_from_slice(&decoder.decode(Bytes::new()).expect("whole"));
                assert_eq!(String::from_utf8(out).expect("text"), text, "{expected} cut at {cut}");
            }
        }
        assert_eq!(detect(b"caf\xe9,\xff\n", false).0.name(), "windows-1252");
        assert_eq!(detect("数据".as_bytes()[..4].as_ref(), true).0.name(), "UTF-8");
    }
}
