//! The service that holds users, keys, sessions and the audit log together.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use tarn_core::Env;
use tarn_meta::MetaStore;

use crate::backoff::Backoff;
use crate::config::AccessConfig;
use crate::error::AccessError;
use crate::password::Passwords;

/// Who may do what in an installation. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn MetaStore>,
    pub(crate) env: Env,
    pub(crate) config: AccessConfig,
    pub(crate) passwords: Passwords,
    pub(crate) backoff: Backoff,
    /// Passwords that were right a moment ago, by a keyed hash.
    pub(crate) verified: Mutex<HashMap<[u8; 32], Instant>>,
    pub(crate) mark_key: [u8; 32],
    /// See `scram_login.rs`; kept in the store.
    pub(crate) mock_secret: OnceLock<Vec<u8>>,
    /// When the last use of a key was noted; as many as there are keys.
    pub(crate) key_uses: Mutex<HashMap<String, i64>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({:?})", self.inner.store)
    }
}

impl Access {
    /// Over a store. Errors: `Invalid` for settings that cannot be used.
    pub fn new(store: Arc<dyn MetaStore>, env: Env, config: AccessConfig) -> Result<Self, AccessError> {
        let passwords = Passwords::new(&config, &env)?;
        let mut mark_key = [0; 32];
        env.entropy.fill(&mut mark_key);
        let inner = Inner {
            store,
            env,
            config,
            passwords,
            backoff: Backoff::default(),
            verified: Mutex::new(HashMap::new()),
            mark_key,
            mock_secret: OnceLock::new(),
            key_uses: Mutex::new(HashMap::new()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Milliseconds since 1970 UTC as ISO 8601.
pub(crate) fn iso_time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}
