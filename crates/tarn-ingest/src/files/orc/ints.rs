//! Unsigned integers of ORC streams, in both encodings by runs, looked at one by one.
//!
//! Source: Apache ORC specification v1, run length encoding.

/// What is wrong with a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Which encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    V1,
    V2,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of variable length, its low bits first.
    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A number of some bytes, its high ones first.
    fn wide(&mut self, bytes: usize) -> Result<u64, Damaged> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    /// Numbers of `width` bits behind each other, high bits first; the last byte is filled up.
    fn packed(&mut self, count: usize, width: usize) -> Result<Vec<u64>, Damaged> {
        let bytes = self.take((count * width).div_ceil(8))?;
        let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| u64::from(byte >> (7 - at % 8) & 1));
        let one = |n: usize| (n * width..(n + 1) * width).fold(0, |value, at| (value << 1) | bit(at));
        Ok((0..count).map(one).collect())
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Bits that a code of five bits stands for.
fn width(code: u8) -> usize {
    match code {
        0..=23 => usize::from(code) + 1,
        24..=27 => 26 + usize::from(code - 24) * 2,
        _ => 40 + usize::from(code.min(31) - 28) * 8,
    }
}

/// The next width that a code stands for.
fn closest(bits: usize) -> usize {
    (0..=31).map(width).find(|width| *width >= bits).unwrap_or(64)
}

/// Gives each number of a stream to `take`, which may end it. Errors: the stream is damaged, or what `take` says.
pub(super) fn each<E: From<Damaged>>(
    stream: &[u8],
    encoding: Encoding,
    take: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Bytes(stream);
    while !bytes.0.is_empty() {
        match encoding {
            Encoding::V1 => run_v1(&mut bytes, take)?,
            Encoding::V2 => run_v2(&mut bytes, take)?,
        }
    }
    Ok(())
}

fn run_v1<E: From<Damaged>>(
    bytes: &mut Bytes<'_>,
    take: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let head = bytes.next()?;
    if head >= 0x80 {
        for _ in 0..256 - u32::from(head) {
            take(bytes.varint()?)?;
        }
        return Ok(());
    }
    let step = i64::from(bytes.next()?.cast_signed());
    let mut value = bytes.varint()?;
    for _ in 0..u32::from(head) + 3 {
        take(value)?;
        value = value.wrapping_add_signed(step);
    }
    Ok(())
}

fn run_v2<E: From<Damaged>>(
    bytes: &mut Bytes<'_>,
    take: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let head = bytes.next()?;
    if head >> 6 == 0 {
        let value = bytes.wide(usize::from(head >> 3 & 7) + 1)?;
        return (0..(head & 7) + 3).try_for_each(|_| take(value));
    }
    let code = head >> 1 & 31;
    let count = (usize::from(head & 1) << 8 | usize::from(bytes.next()?)) + 1;
    match head >> 6 {
        1 => bytes.packed(count, width(code))?.into_iter().try_for_each(take),
        2 => patched(bytes, count, width(code))?.into_iter().try_for_each(take),
        _ => {
            let mut value = bytes.varint()?;
            let step = zigzag(bytes.varint()?);
            take(value)?;
            if count == 1 {
                return Ok(());
            }
            value = value.wrapping_add_signed(step);
            take(value)?;
            let steps = match code {
                0 => vec![step.unsigned_abs(); count - 2],
                code => bytes.packed(count - 2, width(code))?,
            };
            steps.into_iter().try_for_each(|further| {
                value = if step < 0 { value.wrapping_sub(further) } else { value.wrapping_add(further) };
                take(value)
            })
        }
    }
}

/// Numbers above a base, of which some have high bits of their own.
fn patched(bytes: &mut Bytes<'_>, count: usize, bits: usize) -> Result<Vec<u64>, Damaged> {
    let (third, fourth) = (bytes.next()?, bytes.next()?);
    let (base_bytes, patch_bits) = (usize::from(third >> 5) + 1, width(third & 31));
    let (gap_bits, patches) = (usize::from(fourth >> 5) + 1, usize::from(fourth & 31));
    let base = bytes.wide(base_bytes)?;
    // Its highest bit is its sign.
    let sign = 1_u64 << (base_bytes * 8 - 1);
    let base = if base & sign == 0 { base } else { (base & !sign).wrapping_neg() };
    let mut values = bytes.packed(count, bits)?;
    let entry_bits = closest(patch_bits + gap_bits);
    if patch_bits + gap_bits > 64 {
        return Err(Damaged);
    }
    let mut at = 0;
    for entry in bytes.packed(patches, entry_bits)? {
        let patch = if patch_bits == 64 { entry } else { entry & ((1 << patch_bits) - 1) };
        at += usize::try_from(entry.checked_shr(u32::try_from(patch_bits).unwrap_or(64)).unwrap_or(0))
            .unwrap_or(0);
        let value = values.get_mut(at).ok_or(Damaged)?;
        *value |= patch.checked_shl(u32::try_from(bits).unwrap_or(64)).unwrap_or(0);
    }
    values.iter_mut().for_each(|value| *value = value.wrapping_add(base));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], encoding: Encoding) -> Result<Vec<u64>, Damaged> {
        let mut found = Vec::new();
        each(stream, encoding, &mut |value| {
            found.push(value);
            Ok::<(), Damaged>(())
        })?;
        Ok(found)
    }

    /// The examples of the specification.
    #[test]
    fn runs_are_read() {
        assert_eq!(read(&[0x61, 0x00, 0x07], Encoding::V1), Ok(vec![7; 100]));
        assert_eq!(read(&[0x61, 0xff, 0x64], Encoding::V1), Ok((1..=100).rev().collect()));
        assert_eq!(read(&[0xfb, 0x02, 0x03, 0x04, 0x07, 0xb], Encoding::V1), Ok(vec![2, 3, 4, 7, 11]));
        assert_eq!(read(&[0x0a, 0x27, 0x10], Encoding::V2), Ok(vec![10_000; 5]));
        let direct = [0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef];
        assert_eq!(read(&direct, Encoding::V2), Ok(vec![23_713, 43_806, 57_005, 48_879]));
        let delta = [0xc6, 0x09, 0x02, 0x02, 0x22, 0x42, 0x42, 0x46];
        assert_eq!(read(&delta, Encoding::V2), Ok(vec![2, 3, 5, 7, 11, 13, 17, 19, 23, 29]));
        let patched = [
            0x8e, 0x09, 0x2b, 0x21, 0x07, 0xd0, 0x1e, 0x00, 0x14, 0x70, 0x28, 0x32, 0x3c, 0x46, 0x50, 0x5a,
            0xfc, 0xe8,
        ];
        let wanted = vec![2030, 2000, 2020, 1_000_000, 2040, 2050, 2060, 2070, 2080, 2090];
        assert_eq!(read(&patched, Encoding::V2), Ok(wanted));
        for cut in 1..patched.len() {
            assert_eq!(read(&patched[..cut], Encoding::V2), Err(Damaged));
        }
    }
}
