//! Values in PostgreSQL's binary form, as COPY sends them.

use super::values::{
    DATE_MAX, DATE_MIN, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_US, TIMESTAMP_MAX, TIMESTAMP_MIN, Unmapped,
};
use super::wire::{Fields, Malformed};

const BAD_LENGTH: &str = "the binary value has a wrong length";
/// Why `24:00:00` is not kept.
pub const END_OF_DAY: &str = "24:00:00 is after the last time of a day";
/// Why a timestamp is not kept.
pub const TOO_LATE: &str = "the timestamp is after the year 294246, the last that fits";
/// Why a numeric is not kept.
pub const NOT_A_DECIMAL: &str = "NaN and infinity have no place in a decimal column; declare the column without \
                                 precision (`numeric`) to read it as text";
const DAY_US: i64 = 86_400_000_000;

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], Unmapped> {
    raw.try_into().map_err(|_| Unmapped::binary(raw, BAD_LENGTH))
}

/// `bool`.
pub fn boolean(raw: &[u8]) -> Result<bool, Unmapped> {
    fixed::<1>(raw).map(|byte| byte[0] != 0)
}

/// `int2`, widened.
pub fn int2(raw: &[u8]) -> Result<i32, Unmapped> {
    fixed(raw).map(|bytes| i32::from(i16::from_be_bytes(bytes)))
}

/// `int4`.
pub fn int4(raw: &[u8]) -> Result<i32, Unmapped> {
    fixed(raw).map(i32::from_be_bytes)
}

/// `int8`.
pub fn int8(raw: &[u8]) -> Result<i64, Unmapped> {
    fixed(raw).map(i64::from_be_bytes)
}

/// `float4`.
pub fn float4(raw: &[u8]) -> Result<f32, Unmapped> {
    fixed(raw).map(f32::from_be_bytes)
}

/// `float8`.
pub fn float8(raw: &[u8]) -> Result<f64, Unmapped> {
    fixed(raw).map(f64::from_be_bytes)
}

/// `uuid`.
pub fn uuid(raw: &[u8]) -> Result<[u8; 16], Unmapped> {
    fixed(raw)
}

/// `date` as days since 1970.
pub fn date(raw: &[u8]) -> Result<i32, Unmapped> {
    match i32::from_be_bytes(fixed(raw)?) {
        i32::MAX => Ok(DATE_MAX),
        i32::MIN => Ok(DATE_MIN),
        days => days
            .checked_add(POSTGRES_EPOCH_DAYS)
            .ok_or_else(|| Unmapped::binary(raw, "the date is out of range")),
    }
}

/// `time` as microseconds of the day.
pub fn time(raw: &[u8]) -> Result<i64, Unmapped> {
    let value = i64::from_be_bytes(fixed(raw)?);
    if (0..DAY_US).contains(&value) {
        return Ok(value);
    }
    Err(Unmapped { value: "24:00:00".to_string(), reason: END_OF_DAY })
}

/// `timestamp` and `timestamptz` as microseconds since 1970.
pub fn timestamp(raw: &[u8]) -> Result<i64, Unmapped> {
    match i64::from_be_bytes(fixed(raw)?) {
        i64::MAX => Ok(TIMESTAMP_MAX),
        i64::MIN => Ok(TIMESTAMP_MIN),
        value => value.checked_add(POSTGRES_EPOCH_US).ok_or_else(|| Unmapped::binary(raw, TOO_LATE)),
    }
}

/// `numeric` as an integer of `scale` digits after the point.
pub fn decimal(raw: &[u8], precision: u8, scale: u8) -> Result<i128, Unmapped> {
    let malformed = |_: Malformed| Unmapped::binary(raw, BAD_LENGTH);
    let mut fields = Fields::new(raw);
    let count = fields.count().map_err(malformed)?;
    let weight = i32::from(fields.i16().map_err(malformed)?);
    let sign = fields.i16().map_err(malformed)? as u16;
    fields.i16().map_err(malformed)?;
    match sign {
        0x0000 | 0x4000 => {}
        0xC000 => return Err(Unmapped { value: "NaN".to_string(), reason: NOT_A_DECIMAL }),
        0xD000 => return Err(Unmapped { value: "Infinity".to_string(), reason: NOT_A_DECIMAL }),
        0xF000 => return Err(Unmapped { value: "-Infinity".to_string(), reason: NOT_A_DECIMAL }),
        _ => return Err(Unmapped::binary(raw, "the number has an unknown sign")),
    }
    let too_large = || Unmapped::binary(raw, "the number does not fit the precision of its column");
    let mut value: i128 = 0;
    for at in 0..count {
        let digit = i128::from(fields.i16().map_err(malformed)?);
        // Groups of four digits; `exponent` is the power of ten of this group's last digit, in units of the scale.
        let exponent = 4 * (weight - at as i32) + i32::from(scale);
        let part = if exponent >= 0 {
            let factor = 10_i128.checked_pow(exponent.unsigned_abs());
            if digit == 0 { Some(0) } else { factor.and_then(|factor| digit.checked_mul(factor)) }
        } else {
            let divisor = 10_i128.checked_pow(exponent.unsigned_abs()).unwrap_or(i128::MAX);
            (digit % divisor == 0).then_some(digit / divisor)
        };
        value = part.and_then(|part| value.checked_add(part)).ok_or_else(too_large)?;
    }
    if value >= 10_i128.pow(u32::from(precision.min(38))) {
        return Err(too_large());
    }
    Ok(if sign == 0x4000 { -value } else { value })
}

/// The elements of a one-dimensional array. Errors: whether it has more than one dimension, or cannot be read.
pub fn elements(raw: &[u8]) -> Result<Vec<Option<&[u8]>>, bool> {
    let mut fields = Fields::new(raw);
    let mut read = || -> Result<(i32, usize), Malformed> {
        let dimensions = fields.i32()?;
        fields.i32()?;
        fields.u32()?;
        if dimensions != 1 {
            return Ok((dimensions, 0));
        }
        let count = fields.i32()?;
        fields.i32()?;
        Ok((1, usize::try_from(count).map_err(|_| Malformed("counts less than nothing"))?))
    };
    let (dimensions, count) = read().map_err(|_| false)?;
    match dimensions {
        0 => return Ok(Vec::new()),
        1 => {}
        _ => return Err(true),
    }
    // Each element takes four bytes at least, so a wrong count cannot make us reserve more than the message holds.
    let mut elements = Vec::with_capacity(count.min(raw.len() / 4));
    for _ in 0..count {
        let length = fields.i32().map_err(|_| false)?;
        elements.push(match usize::try_from(length) {
            Ok(length) => Some(fields.bytes(length).map_err(|_| false)?),
            Err(_) => None,
        });
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_testkit::{for_each_seed, random_bytes};

    fn numeric(weight: i16, sign: u16, digits: &[i16]) -> Vec<u8> {
        let mut raw = Vec::new();
        raw.extend((digits.len() as i16).to_be_bytes());
        raw.extend(weight.to_be_bytes());
        raw.extend(sign.to_be_bytes());
        raw.extend(0_i16.to_be_bytes());
        digits.iter().for_each(|digit| raw.extend(digit.to_be_bytes()));
        raw
    }

    #[test]
    fn groups_of_four_digits_become_a_scaled_integer() {
        assert_eq!(decimal(&numeric(1, 0, &[1, 2345, 6700]), 10, 2), Ok(1_234_567));
        assert_eq!(decimal(&numeric(-1, 0x4000, &[500]), 10, 2), Ok(-5));
        assert_eq!(decimal(&numeric(0, 0, &[]), 10, 2), Ok(0));
        assert!(decimal(&numeric(0, 0, &[1, 1]), 10, 2).is_err());
        assert!(decimal(&numeric(30, 0, &[1]), 38, 2).is_err());
        assert_eq!(decimal(&numeric(0, 0xC000, &[]), 10, 2).map_err(|bad| bad.value), Err("NaN".to_string()));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic() {
        for_each_seed(2_000, |random| {
            let raw = random_bytes(random, 40);
            let _ =
                (boolean(&raw), int2(&raw), int4(&raw), int8(&raw), float4(&raw), float8(&raw), uuid(&raw));
            let _ = (date(&raw), time(&raw), timestamp(&raw), decimal(&raw, 38, 10), elements(&raw));
        });
    }
}
