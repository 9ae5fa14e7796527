//! Passwords: argon2id off the async threads, a few at a time.

use std::num::NonZeroU32;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tarn_core::{Env, Spawner};
use tarn_meta::SecretValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::AccessConfig;
use crate::error::AccessError;
use crate::scram::{SALT_BYTES as SCRAM_SALT_BYTES, Verifier};

/// Each check takes tens of megabytes and a core for tens of milliseconds.
const CHECKS_AT_ONCE: usize = 4;
const PASSWORD_BYTES_MAX: usize = 1_024;
const SALT_BYTES: usize = 16;
/// What RFC 7677 asks for at least.
const SCRAM_ITERATIONS_MIN: u32 = 4_096;

pub(crate) struct Passwords {
    params: Params,
    iterations: NonZeroU32,
    length_min: usize,
    slots: Semaphore,
    spawner: Spawner,
    entropy: Arc<dyn tarn_core::Entropy>,
}

impl Passwords {
    /// Errors: `Invalid` for settings that argon2 does not take.
    pub(crate) fn new(config: &AccessConfig, env: &Env) -> Result<Self, AccessError> {
        let kib = u32::try_from(config.hash_memory.0 >> 10).unwrap_or(u32::MAX);
        let params = Params::new(kib, config.hash_passes, 1, None).map_err(|error| AccessError::Invalid {
            what: format!("`access.hash_memory` or `hash_passes`: {error}"),
        })?;
        let iterations = NonZeroU32::new(config.scram_iterations)
            .filter(|iterations| iterations.get() >= SCRAM_ITERATIONS_MIN)
            .ok_or_else(|| AccessError::Invalid {
                what: format!("`access.scram_iterations` must be at least {SCRAM_ITERATIONS_MIN}"),
            })?;
        Ok(Self {
            params,
            iterations,
            length_min: config.password_length_min.max(8),
            slots: Semaphore::new(CHECKS_AT_ONCE),
            spawner: env.spawner.clone(),
            entropy: env.entropy.clone(),
        })
    }

    /// Waits for the turn to check a password. Hold it across the look at earlier failures and the check, so that
    /// many tries at once cannot pass that look together.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, AccessError> {
        self.slots.acquire().await.map_err(|error| AccessError::Hash { what: error.to_string() })
    }

    /// Hashes a new password. Errors: `PasswordTooShort`, `Invalid` if it is too long.
    pub(crate) async fn hash(&self, password: &SecretValue) -> Result<String, AccessError> {
        let length = password.expose().chars().count();
        if length < self.length_min {
            return Err(AccessError::PasswordTooShort { length_min: self.length_min });
        }
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Err(AccessError::Invalid {
                what: format!("the password has more than {PASSWORD_BYTES_MAX} bytes"),
            });
        }
        let _turn = self.turn().await?;
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt);
        let (params, password) = (self.params.clone(), password.clone());
        let work = self.spawner.spawn_blocking(move || {
            let salt = SaltString::encode_b64(&salt)?;
            hasher(params).hash_password(password.expose().as_bytes(), &salt).map(|hash| hash.to_string())
        });
        finished(work.await)
    }

    /// Rounds of new SCRAM verifiers.
    pub(crate) fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// What SCRAM-SHA-256 keeps of a password.
    pub(crate) async fn verifier(&self, password: &SecretValue) -> Result<String, AccessError> {
        let mut salt = [0; SCRAM_SALT_BYTES];
        self.entropy.fill(&mut salt);
        let (iterations, password) = (self.iterations, password.clone());
        let work =
            self.spawner.spawn_blocking(move || Verifier::of(password.expose(), &salt, iterations).to_text());
        work.await.map_err(|error| AccessError::Hash { what: error.to_string() })
    }

    /// Whether a password has this hash. Without a hash it takes as long and gives `false`, so that the time does
    /// not tell whether a user exists.
    pub(crate) async fn verify(
        &self,
        hash: Option<&str>,
        password: &SecretValue,
    ) -> Result<bool, AccessError> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let (params, password, hash) = (self.params.clone(), password.clone(), hash.map(ToString::to_string));
        let work = self.spawner.spawn_blocking(move || {
            let password = password.expose().as_bytes();
            let Some(hash) = hash else {
                let salt = SaltString::encode_b64(&[0; SALT_BYTES])?;
                return hasher(params).hash_password(password, &salt).map(|_| false);
            };
            let hash = PasswordHash::new(&hash)?;
            match hasher(params).verify_password(password, &hash) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(error),
            }
        });
        finished(work.await)
    }
}

fn hasher(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn finished<T, J: std::fmt::Display>(
    result: Result<Result<T, argon2::password_hash::Error>, J>,
) -> Result<T, AccessError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(AccessError::Hash { what: error.to_string() }),
        Err(error) => Err(AccessError::Hash { what: error.to_string() }),
    }
}
