//! Sets of deleted rows as deletion vectors hold them: of Delta tables, and of Iceberg tables since version 3.

use roaring::RoaringTreemap;

/// Begins a set in this form (Delta protocol, "Deletion Vector Format"), least significant byte first.
const MAGIC: u32 = 1_681_511_377;
const Z85: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Bytes of a text in Z85 (ZeroMQ RFC 32). `None`: it is none.
pub(crate) fn z85(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let mut out = Vec::with_capacity(digits.len() / 5 * 4);
    if !digits.len().is_multiple_of(5) {
        return None;
    }
    for group in digits.chunks_exact(5) {
        let mut value: u32 = 0;
        for digit in group {
            let digit = u32::try_from(Z85.iter().position(|known| known == digit)?).ok()?;
            value = value.checked_mul(85)?.checked_add(digit)?;
        }
        out.extend_from_slice(&value.to_be_bytes());
    }
    Some(out)
}

fn number(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

/// The rows of a set: the magic number, and 64-bit Roaring in its portable form. Errors: it is none.
pub(crate) fn bare(bytes: &[u8]) -> Result<RoaringTreemap, String> {
    match number(bytes, 0).map(u32::from_le_bytes) {
        Some(MAGIC) => {}
        Some(other) => return Err(format!("its deletion vector is of an unknown kind ({other})")),
        None => return Err("its deletion vector is cut".to_string()),
    }
    let set = RoaringTreemap::deserialize_from(bytes.get(4..).unwrap_or_default());
    set.map_err(|error| format!("its deletion vector is damaged: {error}"))
}

/// The rows of a set as it lies in a file: its length, the set, its CRC-32. Errors: it is none, or damaged.
pub(crate) fn framed(bytes: &[u8]) -> Result<RoaringTreemap, String> {
    let cut = || "its deletion vector is cut".to_string();
    let length = number(bytes, 0).map(u32::from_be_bytes).ok_or_else(cut)?;
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(4)).ok_or_else(cut)?;
    let set = bytes.get(4..end).ok_or_else(cut)?;
    let sum = number(bytes, end).map(u32::from_be_bytes).ok_or_else(cut)?;
    if crc32fast::hash(set) != sum {
        return Err("its deletion vector is damaged: the checksum differs".to_string());
    }
    bare(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[u64]) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        RoaringTreemap::from_iter(rows.iter().copied()).serialize_into(&mut out).expect("written");
        out
    }

    #[test]
    fn z85_is_read_as_its_specification_says() {
        let bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        assert_eq!(z85("HelloWorld").as_deref(), Some(&bytes[..]));
        assert_eq!(z85(""), Some(Vec::new()));
        for wrong in ["Hello", "Hell", "Hello~orld", "#####", "日本語日本"] {
            assert!(z85(wrong).is_none() || wrong == "Hello", "{wrong}");
        }
    }

    #[test]
    fn a_vector_in_a_log_is_read_and_one_of_another_kind_is_told() {
        let bytes = z85("^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L").expect("z85");
        let rows: Vec<u64> = bare(&bytes).expect("a set").iter().collect();
        assert_eq!(rows, [3, 4, 7, 11, 18, 29]);
        // The protocol's own example has the number of an older form, which its text does not know.
        let older = z85("wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L").expect("z85");
        assert!(bare(&older).expect_err("another kind").contains("unknown kind"));
    }

    #[test]
    fn what_is_damaged_or_cut_is_refused_at_any_byte() {
        let data = set(&[1, 5, 70_000, 5_000_000_000]);
        let mut file = u32::try_from(data.len()).expect("short").to_be_bytes().to_vec();
        file.extend_from_slice(&data);
        file.extend_from_slice(&crc32fast::hash(&data).to_be_bytes());
        assert_eq!(framed(&file).expect("whole").iter().collect::<Vec<_>>(), [1, 5, 70_000, 5_000_000_000]);
        for at in 0..file.len() {
            assert!(framed(&file[..at]).is_err(), "cut at {at}");
            let mut broken = file.clone();
            broken[at] ^= 0x10;
            assert!(framed(&broken).is_err(), "byte {at}");
        }
        assert!(bare(&[]).is_err());
    }
}
