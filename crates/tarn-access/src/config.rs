//! The section `[access]` of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{ByteSize, HumanDuration};

/// How people and programs prove who they are.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// A session of the console ends after this time without a request, such as `"12h"`.
    pub session_idle: HumanDuration,
    /// A session of the console ends this long after the login, however busy it is, such as `"30d"`.
    pub session_max: HumanDuration,
    /// Fewest characters of a new password, at least 8.
    pub password_length_min: usize,
    /// Memory for one check of a password, such as `"19MB"`. More makes guessing from a stolen store dearer.
    pub hash_memory: ByteSize,
    /// Passes over that memory, at least 1.
    pub hash_passes: u32,
    /// Rounds of the hash by which PostgreSQL clients prove that they know a password (SCRAM-SHA-256), at least 4096.
    /// More makes guessing from a stolen store dearer, and each login of a client slower. For passwords set from then
    /// on.
    pub scram_iterations: u32,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            session_idle: HumanDuration::from_secs(12 * 3_600),
            session_max: HumanDuration::from_secs(30 * 86_400),
            password_length_min: 8,
            // What OWASP recommends for argon2id.
            hash_memory: ByteSize(19 << 20),
            hash_passes: 2,
            // Some tens of milliseconds of a client.
            scram_iterations: 100_000,
        }
    }
}
