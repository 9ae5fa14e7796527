//! Random cases that can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Runs `case` with `cases` random generators, or with the one of `TARN_SEED`. The seed of a failure is printed.
#[expect(clippy::print_stderr, reason = "the seed of a failed test must be seen")]
pub fn for_each_seed(cases: u64, mut case: impl FnMut(&mut StdRng)) {
    let given = std::env::var("TARN_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = given.map_or(0..cases, |seed| seed..seed + 1);
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&mut random))) {
            eprintln!("failed with TARN_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// At most `length_max` random bytes.
pub fn random_bytes(random: &mut StdRng, length_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..=length_max)];
    random.fill_bytes(&mut bytes);
    bytes
}
