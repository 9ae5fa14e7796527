//! API keys: `tarn_<id>_<secret>`, shown once.

use serde::Serialize;
use subtle::ConstantTimeEq;
use tarn_core::{HumanDuration, RequestContext, ResourceName, Role};
use tarn_meta::{Expected, SecretValue};

use crate::access::{Access, iso_time};
use crate::credentials::{Identity, Method, require};
use crate::error::AccessError;
use crate::record::{KEY_USES, KEYS, KeyRecord, Stored, digest};

const PREFIX: &str = "tarn_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
// How exact the time of the last use is: a busy key must not write to the store at each request.
const USE_EVERY_MS: i64 = 60_000;

/// A key as admins see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// The part of the key that names it.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, ISO 8601.
    pub created_at: String,
    /// When it ends, `None` for never.
    pub expires_at: Option<String>,
    /// When it was used last, exact to a minute; `None` if never.
    pub last_used_at: Option<String>,
}

/// A new key. `key` is shown now and never again.
#[derive(Clone, Serialize)]
pub struct NewKey {
    /// The part of the key that names it.
    pub id: String,
    /// For people.
    pub name: String,
    /// The whole key, `tarn_<id>_<secret>`.
    pub key: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Identifier and secret of a key, `None` if it does not look like one.
pub(crate) fn split(key: &str) -> Option<(&str, &str)> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex =
        |text: &str, bytes: usize| text.len() == bytes * 2 && text.bytes().all(|c| c.is_ascii_hexdigit());
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some((id, secret))
}

impl Access {
    /// Keys of the context's tenant, by identifier. Errors: `Forbidden` unless the caller is an admin.
    pub async fn keys(&self, ctx: &RequestContext) -> Result<Vec<KeyView>, AccessError> {
        require(ctx, Role::Admin)?;
        let uses = self.records::<i64>(KEY_USES).await?;
        let own = self.records::<KeyRecord>(KEYS).await?;
        let own = own.into_iter().filter(|key| key.record.tenant == ctx.tenant.as_str());
        let view = |key: Stored<KeyRecord>| KeyView {
            last_used_at: uses.iter().find(|own| own.key == key.key).map(|own| iso_time(own.record)),
            id: key.key,
            name: key.record.name,
            role: key.record.role,
            created_at: iso_time(key.record.created_ms),
            expires_at: key.record.expires_ms.map(iso_time),
        };
        Ok(own.map(view).collect())
    }

    /// Makes a key for the context's tenant. Errors: `Forbidden`, `Invalid`, `FirstMustBeAdmin`.
    pub async fn create_key(
        &self,
        ctx: &RequestContext,
        name: &str,
        role: Role,
        expires_in: Option<HumanDuration>,
    ) -> Result<NewKey, AccessError> {
        require(ctx, Role::Admin)?;
        let name = ResourceName::parse(name).map_err(|_| AccessError::Invalid {
            what: format!("`{name}` is not a key name; use letters, digits, `_`, `-`"),
        })?;
        if expires_in.is_some_and(|time| time.0.is_zero()) {
            return Err(AccessError::Invalid { what: "a key must last longer than no time".to_string() });
        }
        self.require_an_admin(ctx, role).await?;
        let entropy = &self.inner.env.entropy;
        let (mut id, mut secret) = ([0; ID_BYTES], zeroize::Zeroizing::new([0; SECRET_BYTES]));
        entropy.fill(&mut id);
        entropy.fill(secret.as_mut());
        let (id, secret) = (hex::encode(id), zeroize::Zeroizing::new(hex::encode(secret.as_ref())));
        let now_ms = self.inner.env.clock.now_ms();
        let lasts_ms = expires_in.map(|time| i64::try_from(time.0.as_millis()).unwrap_or(i64::MAX));
        let record = KeyRecord {
            tenant: ctx.tenant.to_string(),
            name: name.to_string(),
            role,
            secret_hash: digest(&secret),
            created_ms: now_ms,
            expires_ms: lasts_ms.map(|lasts| now_ms.saturating_add(lasts)),
        };
        self.put_record(KEYS, &id, &record, Expected::Absent).await?;
        self.audit_done(ctx, "key.create", &format!("{id} {name}")).await?;
        let key = format!("{PREFIX}{id}_{}", *secret);
        Ok(NewKey { id, name: name.to_string(), key })
    }

    /// Ends a key at once. Errors: `Forbidden`, `KeyNotFound`.
    pub async fn delete_key(&self, ctx: &RequestContext, id: &str) -> Result<(), AccessError> {
        require(ctx, Role::Admin)?;
        let own = self.record::<KeyRecord>(KEYS, id).await?;
        if own.is_none_or(|key| key.record.tenant != ctx.tenant.as_str()) {
            return Err(AccessError::KeyNotFound { id: id.to_string() });
        }
        self.remove_record(KEYS, id).await?;
        self.remove_record(KEY_USES, id).await?;
        self.audit_done(ctx, "key.delete", id).await
    }

    /// Who a key belongs to, `None` if there is no such key. Errors: `KeyExpired`.
    pub(crate) async fn identity_of_key(&self, key: &SecretValue) -> Result<Option<Identity>, AccessError> {
        let Some((id, secret)) = split(key.expose()) else { return Ok(None) };
        let Some(stored) = self.record::<KeyRecord>(KEYS, id).await? else { return Ok(None) };
        let is_right: bool = digest(secret).as_bytes().ct_eq(stored.record.secret_hash.as_bytes()).into();
        if !is_right {
            return Ok(None);
        }
        let now_ms = self.inner.env.clock.now_ms();
        if stored.record.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(AccessError::KeyExpired { id: id.to_string() });
        }
        self.note_use(id, now_ms).await;
        let name = format!("key/{}", stored.record.name);
        Ok(Some(Identity::new(&name, stored.record.role, &stored.record.tenant, Method::Key)))
    }

    // A store that cannot be written must not lock out readers.
    async fn note_use(&self, id: &str, now_ms: i64) {
        let noted = self.inner.key_uses.lock().get(id).copied();
        if noted.is_some_and(|noted| now_ms.saturating_sub(noted) < USE_EVERY_MS) {
            return;
        }
        self.inner.key_uses.lock().insert(id.to_string(), now_ms);
        if let Err(error) = self.put_record(KEY_USES, id, &now_ms, Expected::Any).await {
            tracing::warn!(key = id, %error, "could not note the use of a key");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_are_looked_up() {
        let key = format!("tarn_{}_{}", "a1".repeat(ID_BYTES), "b2".repeat(SECRET_BYTES));
        assert!(split(&key).is_some());
        for bad in
            ["", "tarn_", "tarn_a1_b2", &key[1..], &key[..key.len() - 1], &format!("{key}0"), "tarn_%_%"]
        {
            assert!(split(bad).is_none(), "{bad}");
        }
    }
}
