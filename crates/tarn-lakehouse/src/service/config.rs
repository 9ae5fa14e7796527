//! What table services may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{ByteSize, HumanDuration};

/// What the services that look after tables may use: compaction, expiry, removal of orphans, manifests, statistics.
/// Runs that somebody asks for are not held back by quotas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceConfig {
    /// Whether tables are looked after without being asked.
    pub enabled: bool,
    /// Runs at a time over all tables; 0 for one per two cores.
    pub concurrent_max: usize,
    /// Bytes that runs may read per minute, on average.
    pub bytes_per_minute: ByteSize,
    /// Share of all cores that runs may use on average, above 0 up to 1.
    pub cpu_share: f64,
    /// Whether tables that only other engines write are looked after too. A table says otherwise by its property
    /// `tarn.services.enabled`.
    pub foreign_tables: bool,
    /// How often tables that no topic feeds are looked at.
    pub look_every: HumanDuration,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            concurrent_max: 0,
            bytes_per_minute: ByteSize(8 << 30),
            cpu_share: 0.5,
            foreign_tables: false,
            look_every: HumanDuration::from_secs(60),
        }
    }
}

impl ServiceConfig {
    /// Runs at a time.
    pub(crate) fn slots(&self) -> usize {
        match self.concurrent_max {
            0 => cores().div_ceil(2),
            some => some,
        }
    }

    /// Milliseconds of processor time per millisecond.
    pub(crate) fn cpu_rate(&self) -> f64 {
        cores() as f64 * self.cpu_share.clamp(0.01, 1.0)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
