//! Quantiles of a distribution of milliseconds over the last minute.

use serde::Serialize;

/// Window length and its parts: the oldest part is dropped as a whole.
const PART_MS: i64 = 10_000;
const PARTS: usize = 6;
/// Buckets per doubling; a quantile is right within 1/16.
const STEPS: u64 = 16;
/// Values are microseconds up to 2^36 (19 hours); greater ones count as that.
const OCTAVES: u64 = 36;
const BUCKETS: usize = (OCTAVES * STEPS) as usize;

/// Quantiles of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Number of values.
    pub count: u64,
    /// Half of the values are at most this, milliseconds; 0 without values.
    pub p50_ms: f64,
    /// 99 of 100 values are at most this, milliseconds; 0 without values.
    pub p99_ms: f64,
    /// The largest value, milliseconds; 0 without values.
    pub max_ms: f64,
}

#[derive(Clone, Debug)]
struct Part {
    number: i64,
    counts: Vec<u32>,
    max_us: u64,
}

/// A sliding histogram.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    parts: Vec<Part>,
}

fn bucket_of(us: u64) -> usize {
    let us = us.max(STEPS);
    let octave = u64::from(us.ilog2());
    // The bits after the leading one choose the step within the octave.
    let step = (us >> (octave - 4)) & (STEPS - 1);
    ((octave * STEPS + step) as usize).min(BUCKETS - 1)
}

/// The upper end of a bucket, microseconds.
fn upper_us(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    (1 << octave) + ((step + 1) << octave) / STEPS
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { parts: Vec::new() }
    }

    pub(crate) fn record(&mut self, now_ms: i64, us: u64) {
        let number = now_ms.div_euclid(PART_MS);
        if self.parts.last().is_none_or(|part| part.number < number) {
            self.parts.retain(|part| part.number > number - PARTS as i64);
            self.parts.push(Part { number, counts: vec![0; BUCKETS], max_us: 0 });
        }
        if let Some(part) = self.parts.last_mut() {
            let count = &mut part.counts[bucket_of(us)];
            *count = count.saturating_add(1);
            part.max_us = part.max_us.max(us);
        }
    }

    /// Adds this window's counts of the last minute to `counts`; returns the largest value, microseconds.
    pub(crate) fn add_to(&self, now_ms: i64, counts: &mut Counts) {
        let newest = now_ms.div_euclid(PART_MS);
        for part in self.parts.iter().filter(|part| part.number > newest - PARTS as i64) {
            for (sum, count) in counts.buckets.iter_mut().zip(&part.counts) {
                *sum += u64::from(*count);
            }
            counts.max_us = counts.max_us.max(part.max_us);
        }
    }
}

/// Counts of one or several windows.
#[derive(Debug)]
pub(crate) struct Counts {
    buckets: Vec<u64>,
    max_us: u64,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], max_us: 0 }
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let count: u64 = self.buckets.iter().sum();
        let at = |share: f64| {
            let rank = ((count as f64 * share).ceil() as u64).max(1);
            let mut seen = 0;
            let bucket = self.buckets.iter().position(|n| {
                seen += n;
                seen >= rank
            });
            bucket.map_or(0.0, |bucket| upper_us(bucket).min(self.max_us) as f64 / 1_000.0)
        };
        Quantiles { count, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: self.max_us as f64 / 1_000.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_sixteenth() {
        let mut window = Window::new();
        for us in 1..=100_000u64 {
            window.record(0, us);
        }
        let mut counts = Counts::new();
        window.add_to(0, &mut counts);
        let quantiles = counts.quantiles();
        assert_eq!(quantiles.count, 100_000);
        assert!((quantiles.p50_ms - 50.0).abs() < 50.0 / 16.0, "{quantiles:?}");
        assert!((quantiles.p99_ms - 99.0).abs() < 99.0 / 16.0, "{quantiles:?}");
        assert_eq!(quantiles.max_ms, 100.0);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for us in (16..70_000).chain([1 << 35, u64::MAX]) {
            let bucket = bucket_of(us);
            assert!(bucket == BUCKETS - 1 || us < upper_us(bucket), "{us}");
            assert!(bucket == 64 || us >= upper_us(bucket - 1), "{us}");
        }
    }

    #[test]
    fn old_values_leave_after_a_minute() {
        let mut window = Window::new();
        window.record(0, 1_000_000);
        window.record(59_000, 1_000);
        let quantiles_at = |now_ms| {
            let mut counts = Counts::new();
            window.add_to(now_ms, &mut counts);
            counts.quantiles()
        };
        assert_eq!(quantiles_at(59_000).count, 2);
        assert_eq!(quantiles_at(61_000).max_ms, 1.0);
        assert_eq!(quantiles_at(200_000), Quantiles::default());
    }
}
