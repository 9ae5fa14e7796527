//! What must be right in a stripe before the decoder may see it: it makes room for as many values as lengths say, and takes
//! parts of seconds for what they cannot be.

use std::ops::Range;

use bytes::Bytes;
use orc_rust::proto::stream::Kind as Stream;
use orc_rust::proto::r#type::Kind;
use orc_rust::proto::{CompressionKind, StripeFooter};
use prost_orc::Message;

use super::check::unpacked;
use super::ints::{Damaged, Encoding, each};

/// Values that lists and maps of a stripe hold.
const ELEMENTS_MAX: u64 = 100_000_000;
/// A stream of lengths or parts of seconds, decompressed.
const STREAM_BYTES_MAX: u64 = 1 << 30;
const NANOS: u64 = 1_000_000_000;

/// What of the tail of a file its stripes are understood with.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) compression: CompressionKind,
    /// Of each column, those within others too.
    pub(super) kinds: Vec<Kind>,
}

/// Where a stripe stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) range: Range<u64>,
    /// Bytes of its own footer, at its end.
    pub(super) footer: u64,
}

/// Why a stripe cannot be read.
#[derive(Debug)]
struct Wrong(&'static str);

impl From<Damaged> for Wrong {
    fn from(_: Damaged) -> Self {
        Self("a stripe is damaged")
    }
}

/// Lengths that end within what can be held.
fn lengths(stream: &[u8], encoding: Encoding, dictionary: u64) -> Result<(), Wrong> {
    let (mut sum, mut count) = (0_u64, 0_u64);
    each(stream, encoding, &mut |length| {
        count += 1;
        sum = sum
            .checked_add(length)
            .filter(|sum| *sum <= STREAM_BYTES_MAX * 4)
            .ok_or(Wrong("a length cannot be right"))?;
        Ok::<(), Wrong>(())
    })?;
    match dictionary > count {
        true => Err(Wrong("a dictionary holds less than it says")),
        false => Ok(()),
    }
}

fn elements(stream: &[u8], encoding: Encoding) -> Result<(), Wrong> {
    let mut sum = 0_u64;
    each(stream, encoding, &mut |length| {
        let more = sum.checked_add(length).filter(|sum| *sum <= ELEMENTS_MAX);
        sum = more.ok_or(Wrong("the lists or maps of a stripe hold more than 100,000,000 values"))?;
        Ok(())
    })
}

/// Parts of seconds: nanoseconds whose last three bits say how many zeros were left out.
fn fractions(stream: &[u8], encoding: Encoding) -> Result<(), Wrong> {
    each(stream, encoding, &mut |value| {
        if value.cast_signed() < 0 {
            return Err(Wrong(
                "timestamps before 1970 have negative fractions of seconds, as the writer of Arrow makes them; write them \
                 as Parquet, or in full seconds",
            ));
        }
        let zeros = u32::try_from(value & 7).unwrap_or(0);
        let scale = if zeros == 0 { 1 } else { 10_u64.pow(zeros + 1) };
        match (value >> 3).checked_mul(scale).is_some_and(|nanos| nanos < NANOS) {
            true => Ok(()),
            false => Err(Wrong("a fraction of a second is more than one")),
        }
    })
}

/// Looks at a stripe, given as a whole. Errors: what cannot be right, for people.
pub(super) fn check(stripe: &Bytes, place: &Place, tail: &Tail) -> Result<(), String> {
    let cut = || "a stripe is cut".to_string();
    let footer_bytes = usize::try_from(place.footer).map_err(|_| cut())?;
    let begin = stripe.len().checked_sub(footer_bytes).ok_or_else(cut)?;
    let footer = unpacked(stripe.get(begin..).unwrap_or_default(), tail.compression, STREAM_BYTES_MAX)?;
    let footer =
        StripeFooter::decode(footer.as_slice()).map_err(|_| "a stripe's footer is damaged".to_string())?;
    if let Some(zone) = &footer.writer_timezone
        && zone.parse::<chrono_tz::Tz>().is_err()
    {
        return Err(format!("the time zone of its writer, `{zone}`, is not known"));
    }
    let mut at = 0_usize;
    for stream in &footer.streams {
        let length = usize::try_from(stream.length()).map_err(|_| cut())?;
        let end = at.checked_add(length).filter(|end| *end <= begin).ok_or_else(cut)?;
        let column = usize::try_from(stream.column()).unwrap_or(usize::MAX);
        if let Some(kind) = tail.kinds.get(column) {
            let encoding = footer.columns.get(column).ok_or("a stripe's footer lacks a column")?;
            // Direct and dictionary, then both of the second version.
            let version = if encoding.kind.unwrap_or(0) < 2 { Encoding::V1 } else { Encoding::V2 };
            let content =
                || unpacked(stripe.get(at..end).unwrap_or_default(), tail.compression, STREAM_BYTES_MAX);
            let dictionary = u64::from(encoding.dictionary_size());
            let checked = match (stream.kind(), kind) {
                (Stream::Length, Kind::List | Kind::Map) => elements(&content()?, version),
                (Stream::Length, _) => lengths(&content()?, version, dictionary),
                (Stream::Secondary, Kind::Timestamp | Kind::TimestampInstant) => {
                    fractions(&content()?, version)
                }
                _ => Ok(()),
            };
            checked.map_err(|wrong| wrong.0.to_string())?;
        }
        at = end;
    }
    Ok(())
}
