//! A theta sketch: how many different values there are, from a few thousand of their hashes, in the bytes of Apache
//! DataSketches ("compact theta sketch", serial version 3).
//!
//! It keeps the smallest hashes; of how densely they lie follows how many there are (Bar-Yossef et al., Counting Distinct
//! Elements in a Data Stream, 2002).

use rustc_hash::FxHashSet;

/// Hashes kept at least once there are so many; the relative error is about one over its square root.
const NOMINAL: usize = 4_096;
/// Hashes kept before the larger half goes.
const KEPT_MAX: usize = 2 * NOMINAL;
/// The seed of hashes, that of DataSketches.
const SEED: u64 = 9_001;
const THETA_MAX: u64 = i64::MAX as u64;

const SERIAL_VERSION: u8 = 3;
const FAMILY_COMPACT: u8 = 3;
const FLAG_READ_ONLY: u8 = 1 << 1;
const FLAG_EMPTY: u8 = 1 << 2;
const FLAG_COMPACT: u8 = 1 << 3;
const FLAG_ORDERED: u8 = 1 << 4;

/// Counts different values.
#[derive(Debug)]
pub struct ThetaSketch {
    hashes: FxHashSet<u64>,
    /// Hashes from here on are left out.
    theta: u64,
    is_empty: bool,
}

impl Default for ThetaSketch {
    fn default() -> Self {
        Self { hashes: FxHashSet::default(), theta: THETA_MAX, is_empty: true }
    }
}

impl ThetaSketch {
    /// Takes a value. One without bytes is not counted, as in DataSketches.
    pub fn update(&mut self, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        self.is_empty = false;
        let hash = murmur3(value, SEED).0 >> 1;
        if hash == 0 || hash >= self.theta || !self.hashes.insert(hash) || self.hashes.len() < KEPT_MAX {
            return;
        }
        let mut all: Vec<u64> = self.hashes.drain().collect();
        let (_, theta, _) = all.select_nth_unstable(NOMINAL);
        self.theta = *theta;
        all.truncate(NOMINAL);
        self.hashes.extend(all);
    }

    /// About how many different values there were; exact up to some thousands.
    pub fn estimate(&self) -> f64 {
        self.hashes.len() as f64 / (self.theta as f64 / THETA_MAX as f64)
    }

    /// Its bytes, hashes ascending.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut hashes: Vec<u64> = self.hashes.iter().copied().collect();
        hashes.sort_unstable();
        let is_estimate = self.theta < THETA_MAX;
        let is_single = hashes.len() == 1 && !is_estimate;
        let preamble: u8 = match (is_estimate, self.is_empty || is_single) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 2,
        };
        let mut flags = FLAG_READ_ONLY | FLAG_COMPACT | FLAG_ORDERED;
        if self.is_empty {
            flags |= FLAG_EMPTY;
        }
        let mut bytes = vec![preamble, SERIAL_VERSION, FAMILY_COMPACT, 0, 0, flags];
        bytes.extend_from_slice(&seed_hash().to_le_bytes());
        if preamble > 1 {
            bytes.extend_from_slice(&(hashes.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&0_u32.to_le_bytes());
        }
        if is_estimate {
            bytes.extend_from_slice(&self.theta.to_le_bytes());
        }
        for hash in hashes {
            bytes.extend_from_slice(&hash.to_le_bytes());
        }
        bytes
    }
}

fn seed_hash() -> u16 {
    (murmur3(&SEED.to_le_bytes(), 0).0 & 0xffff) as u16
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// MurmurHash3, 128 bits for 64-bit machines (Appleby, 2011), with a seed of 64 bits as DataSketches has it.
fn murmur3(bytes: &[u8], seed: u64) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let first = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let second = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (seed, seed);
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        let (low, high) = block.split_at(8);
        h1 ^= first(word(low));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= second(word(high));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let tail = blocks.remainder();
    let (low, high) = tail.split_at(tail.len().min(8));
    if !high.is_empty() {
        h2 ^= second(word(high));
    }
    if !low.is_empty() {
        h1 ^= first(word(low));
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (mix(h1), mix(h2));
    h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn of(values: &[&[u8]]) -> ThetaSketch {
        let mut sketch = ThetaSketch::default();
        values.iter().for_each(|value| sketch.update(value));
        sketch
    }

    /// Written by the Python package `datasketches` 5.2 for the same values.
    #[test]
    fn bytes_are_those_of_datasketches() {
        assert_eq!(seed_hash(), 0x93cc);
        let bytes = |values: &[&[u8]]| hex(&of(values).to_bytes());
        assert_eq!(bytes(&[]), "01030300001ecc93");
        assert_eq!(bytes(&[b""]), "01030300001ecc93");
        assert_eq!(bytes(&[b"a"]), "01030300001acc9317c11d528507017b");
        let abc = "02030300001acc930300000000000000b70c6ee5a8af4008857f40b689c7e53417c11d528507017b";
        assert_eq!(bytes(&[b"b", b"a", b"c", b"a"]), abc);
        let numbers = [7_u64.to_le_bytes(), 1_u64.to_le_bytes()];
        let two = "02030300001acc93020000000000000015f97dcbbd86a105e0f48bea9983c37c";
        assert_eq!(bytes(&[&numbers[0], &numbers[1]]), two);
    }

    #[test]
    fn what_is_equal_counts_once_and_estimates_are_near() {
        let mut sketch = ThetaSketch::default();
        assert_eq!(sketch.estimate(), 0.0);
        for count in [1_000_u64, 100_000, 1_000_000] {
            for value in 0..count {
                sketch.update(&value.to_le_bytes());
            }
            let estimate = sketch.estimate();
            let error = (estimate / count as f64 - 1.0).abs();
            assert!(error < 0.05, "{estimate} for {count}");
            assert!(count > 4_000 || error == 0.0);
            assert!(sketch.to_bytes().len() <= 24 + 8 * KEPT_MAX);
        }
    }
}
