//! Key runs: the keys of one data file, sorted by hash, with the row of each. A cache on the local disk, made anew
//! from the file's key columns when it is missing or damaged.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `TARNKEY1` |
//! | 8..16 | number of keys, `n` |
//! | 16..24 | number of bloom blocks of 32 bytes, `b` |
//! | 24..32 | lower half of the XXH3-128 of everything behind the header |
//! | 32..40 | fingerprint of the table's key columns |
//! | 64.. | bloom blocks (`32 b`), upper halves of the hashes (`8 n`), 32 more bits of each (`4 n`), rows (`4 n`) |
//!
//! All numbers are little endian. Of a 128-bit hash 96 bits are kept: among a billion keys two collide with a chance
//! of 1e-11. The bloom filter is a split block one (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom
//! Filters, 2007) with 10 bits per key.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use memmap2::Mmap;
use twox_hash::XxHash3_128;

use super::index::KeyHash;

const MAGIC: [u8; 8] = *b"TARNKEY1";
const HEADER_LEN: usize = 64;
const BLOCK_LEN: usize = 32;
const BLOOM_BITS_PER_KEY: usize = 10;
/// Odd constants that spread a hash over the eight words of a block, from the Parquet specification of bloom filters.
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];
/// Keys that an interpolated place is off by, at most, before the search falls back to halving.
const GALLOP_START: usize = 16;

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }
}

/// The keys of one data file.
#[derive(Debug)]
pub struct Run {
    bytes: Bytes,
    keys: usize,
    blocks: usize,
}

fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_128::oneshot(bytes) as u64
}

fn upper(key: KeyHash) -> u64 {
    (key >> 64) as u64
}

fn lower(key: KeyHash) -> u32 {
    (key >> 32) as u32
}

fn block_of(hash: u64, blocks: usize) -> usize {
    ((u128::from(hash) * blocks as u128) >> 64) as usize
}

fn bits_of(key: KeyHash) -> [u32; 8] {
    SALTS.map(|salt| 1 << ((key as u32).wrapping_mul(salt) >> 27))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

impl Run {
    /// The run of a file whose rows have these keys, in memory. `fingerprint`: of the table's key columns.
    pub fn build(mut keys: Vec<(KeyHash, u32)>, fingerprint: u64) -> Self {
        keys.sort_unstable();
        let blocks = (keys.len() * BLOOM_BITS_PER_KEY).div_ceil(BLOCK_LEN * 8).max(1);
        let mut bytes = vec![0; HEADER_LEN + blocks * BLOCK_LEN];
        for (key, _) in &keys {
            let at = HEADER_LEN + block_of(upper(*key), blocks) * BLOCK_LEN;
            for (word, bit) in bits_of(*key).into_iter().enumerate() {
                let at = at + word * 4;
                let set = u32_at(&bytes, at) | bit;
                bytes[at..at + 4].copy_from_slice(&set.to_le_bytes());
            }
        }
        bytes.reserve(keys.len() * 16);
        keys.iter().for_each(|(key, _)| bytes.extend_from_slice(&upper(*key).to_le_bytes()));
        keys.iter().for_each(|(key, _)| bytes.extend_from_slice(&lower(*key).to_le_bytes()));
        keys.iter().for_each(|(_, row)| bytes.extend_from_slice(&row.to_le_bytes()));
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&(keys.len() as u64).to_le_bytes());
        bytes[16..24].copy_from_slice(&(blocks as u64).to_le_bytes());
        let sum = checksum(&bytes[HEADER_LEN..]);
        bytes[24..32].copy_from_slice(&sum.to_le_bytes());
        bytes[32..40].copy_from_slice(&fingerprint.to_le_bytes());
        Self { bytes: Bytes::Held(bytes), keys: keys.len(), blocks }
    }

    /// Maps a run that was stored. `None` when there is none, or not a whole one of these key columns.
    pub fn open(path: &Path, fingerprint: u64) -> Option<Self> {
        let bytes = map(&File::open(path).ok()?).ok()?;
        if bytes.len() < HEADER_LEN || bytes[..8] != MAGIC || u64_at(&bytes, 32) != fingerprint {
            return None;
        }
        let keys = usize::try_from(u64_at(&bytes, 8)).ok()?;
        let blocks = usize::try_from(u64_at(&bytes, 16)).ok().filter(|blocks| *blocks > 0)?;
        let len =
            keys.checked_mul(16)?.checked_add(blocks.checked_mul(BLOCK_LEN)?)?.checked_add(HEADER_LEN)?;
        let whole = bytes.len() == len && u64_at(&bytes, 24) == checksum(&bytes[HEADER_LEN..]);
        whole.then_some(Self { bytes: Bytes::Mapped(bytes), keys, blocks })
    }

    /// Stores the run and maps it from there, so that its pages need not stay in memory. It is put in place by a
    /// rename: a crash leaves the whole run or none. Not flushed: a run that is lost is made anew.
    /// Errors: those of the disk, with the run as it was.
    pub fn stored(self, path: &Path) -> Result<Self, (Self, std::io::Error)> {
        match self.store(path) {
            Ok(bytes) => Ok(Self { bytes, ..self }),
            Err(error) => Err((self, error)),
        }
    }

    fn store(&self, path: &Path) -> std::io::Result<Bytes> {
        let bytes = self.bytes.as_ref();
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let unfinished = path.with_extension("unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        drop(file);
        std::fs::rename(&unfinished, path)?;
        let mapped = map(&File::open(path)?)?;
        if mapped.len() != bytes.len() {
            return Err(std::io::Error::other("the run was changed while it was stored"));
        }
        Ok(Bytes::Mapped(mapped))
    }

    /// Number of keys, deleted rows' included.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The first row of a key that `is_wanted`.
    pub fn find(&self, key: KeyHash, is_wanted: impl Fn(u32) -> bool) -> Option<u32> {
        if !self.may_hold(key) {
            return None;
        }
        let mut at = self.first_at_least(upper(key));
        while at < self.keys && self.upper_at(at) == upper(key) {
            if self.lower_at(at) == lower(key) {
                let row = self.row_at(at);
                if is_wanted(row) {
                    return Some(row);
                }
            }
            at += 1;
        }
        None
    }

    fn may_hold(&self, key: KeyHash) -> bool {
        let at = HEADER_LEN + block_of(upper(key), self.blocks) * BLOCK_LEN;
        let block = &self.bytes.as_ref()[at..at + BLOCK_LEN];
        bits_of(key).into_iter().enumerate().all(|(word, bit)| u32_at(block, word * 4) & bit != 0)
    }

    fn upper_at(&self, at: usize) -> u64 {
        u64_at(self.bytes.as_ref(), HEADER_LEN + self.blocks * BLOCK_LEN + at * 8)
    }

    fn lower_at(&self, at: usize) -> u32 {
        u32_at(self.bytes.as_ref(), HEADER_LEN + self.blocks * BLOCK_LEN + self.keys * 8 + at * 4)
    }

    fn row_at(&self, at: usize) -> u32 {
        u32_at(self.bytes.as_ref(), HEADER_LEN + self.blocks * BLOCK_LEN + self.keys * 12 + at * 4)
    }

    /// The first place whose hash is not smaller. Hashes are spread evenly, so a guess by proportion is near.
    fn first_at_least(&self, hash: u64) -> usize {
        let guess = block_of(hash, self.keys);
        let (mut low, mut high) = (0, self.keys);
        let mut stride = GALLOP_START;
        if self.upper_at(guess) < hash {
            low = guess + 1;
            while low + stride < self.keys && self.upper_at(low + stride) < hash {
                low += stride + 1;
                stride *= 2;
            }
            high = (low + stride).min(self.keys);
        } else {
            high = high.min(guess);
            while high > stride && self.upper_at(high - stride) >= hash {
                high -= stride;
                stride *= 2;
            }
            low = low.max(high.saturating_sub(stride));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.upper_at(middle) < hash { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Maps a run's file.
#[allow(unsafe_code, reason = "memory maps cannot be made otherwise")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: runs are written under another name, renamed into place and never changed after that; they lie in the
    // data folder, which one process holds locked. Removing a file that is mapped leaves the mapping valid.
    unsafe { Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn keys(count: usize, seed: u64) -> Vec<(KeyHash, u32)> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..count).map(|row| (rng.random::<u128>(), u32::try_from(row).unwrap())).collect()
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 2, 15, 1_000, 100_000] {
            let keys = keys(count, 7);
            let run = Run::build(keys.clone(), 3);
            for (key, row) in &keys {
                assert_eq!(run.find(*key, |_| true), Some(*row));
            }
            let mut held = 0;
            for (key, _) in self::keys(10_000, 8) {
                assert_eq!(run.find(key, |_| true), None);
                held += usize::from(run.may_hold(key));
            }
            assert!(held < 300, "{held} of 10,000 strange keys pass the bloom filter of {count}");
        }
    }

    #[test]
    fn hashes_that_are_not_spread_are_found_too() {
        let ends = [0, 1, 2, u128::MAX, u128::MAX - 1, u128::MAX >> 1];
        let mut keys: Vec<(KeyHash, u32)> = ends.into_iter().zip(0..).collect();
        keys.extend((0..500).map(|n: u32| (u128::from(n) << 64, n + 10)));
        let run = Run::build(keys.clone(), 0);
        for (key, row) in keys.into_iter().filter(|(key, _)| *key > 2) {
            assert_eq!(run.find(key, |found| found == row), Some(row), "{key:x}");
        }
    }

    #[test]
    fn of_the_rows_of_one_key_the_wanted_one_is_found() {
        let run = Run::build(vec![(9 << 64, 1), (9 << 64, 5), (9 << 64, 3)], 0);
        assert_eq!(run.find(9 << 64, |row| row == 5), Some(5));
        assert_eq!(run.find(9 << 64, |_| false), None);
    }

    #[test]
    fn a_stored_run_reads_back_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table").join("a.keys");
        let keys = keys(1_000, 1);
        let run = Run::build(keys.clone(), 42).stored(&path).ok().unwrap();
        assert_eq!(run.find(keys[7].0, |_| true), Some(7));
        let again = Run::open(&path, 42).unwrap();
        assert_eq!(again.find(keys[999].0, |_| true), Some(999));
        assert!(Run::open(&path, 43).is_none(), "other key columns");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5_000] ^= 1;
        std::fs::write(folder.path().join("b.keys"), &bytes).unwrap();
        std::fs::write(folder.path().join("c.keys"), &bytes[..9_000]).unwrap();
        std::fs::write(folder.path().join("d.keys"), b"TARN").unwrap();
        for name in ["b.keys", "c.keys", "d.keys", "none.keys"] {
            assert!(Run::open(&folder.path().join(name), 42).is_none(), "{name}");
        }
    }
}
