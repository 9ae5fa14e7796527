//! Records of users, keys and sessions in the store. They belong to the installation, not to a tenant: a name is
//! looked up before its tenant is known.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tarn_core::{RequestContext, Role, TenantId, TraceId};
use tarn_meta::{Document, Expected};

use crate::access::Access;
use crate::error::AccessError;

pub(crate) const USERS: &str = "access.users";
pub(crate) const KEYS: &str = "access.keys";
pub(crate) const KEY_USES: &str = "access.key_uses";
/// What SCRAM needs beside the users.
pub(crate) const SCRAM: &str = "access.scram";
pub(crate) const SESSIONS: &str = "access.sessions";

// No tenant can have this name.
const TENANT: &str = "*access";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) tenant: String,
    pub(crate) role: Role,
    /// argon2id, in PHC form.
    pub(crate) password_hash: String,
    /// SCRAM-SHA-256, as PostgreSQL keeps it. `None`: the password was set before it was kept.
    #[serde(default)]
    pub(crate) scram: Option<String>,
    /// Changes with the password and is never used twice, so that old sessions end with it.
    pub(crate) generation: u64,
    pub(crate) created_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// SHA-256 of the secret part, hexadecimal. It holds 256 random bits, so a slow hash would add nothing.
    pub(crate) secret_hash: String,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) user: String,
    pub(crate) generation: u64,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
}

/// A record with the version it was read at.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) key: String,
    pub(crate) record: T,
    pub(crate) version: u64,
    pub(crate) updated_ms: i64,
}

/// The context in which records are kept.
pub(crate) fn context() -> RequestContext {
    RequestContext::system(TenantId::new(TENANT), TraceId(0))
}

/// SHA-256 as hexadecimal text.
pub(crate) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn stored<T: DeserializeOwned>(document: Document, what: &'static str) -> Result<Stored<T>, AccessError> {
    let record =
        serde_json::from_value(document.value).map_err(|source| AccessError::Undecodable { what, source })?;
    Ok(Stored { key: document.key, record, version: document.version, updated_ms: document.updated_ms })
}

impl Access {
    /// One record of a space.
    pub(crate) async fn record<T: DeserializeOwned>(
        &self,
        space: &'static str,
        key: &str,
    ) -> Result<Option<Stored<T>>, AccessError> {
        // Such a text cannot have been a key, and PostgreSQL refuses it.
        if key.contains('\0') {
            return Ok(None);
        }
        let document = self.inner.store.document(&context(), space, key).await?;
        document.map(|document| stored(document, space)).transpose()
    }

    /// All records of a space, by key.
    pub(crate) async fn records<T: DeserializeOwned>(
        &self,
        space: &'static str,
    ) -> Result<Vec<Stored<T>>, AccessError> {
        let documents = self.inner.store.documents(&context(), space, "").await?;
        documents.into_iter().map(|document| stored(document, space)).collect()
    }

    /// Writes a record.
    pub(crate) async fn put_record<T: Serialize>(
        &self,
        space: &'static str,
        key: &str,
        record: &T,
        expected: Expected,
    ) -> Result<(), AccessError> {
        let value = serde_json::to_value(record)
            .map_err(|source| AccessError::Undecodable { what: space, source })?;
        self.inner.store.put_document(&context(), space, key, &value, expected).await?;
        Ok(())
    }

    /// Removes a record; returns whether there was one.
    pub(crate) async fn remove_record(&self, space: &'static str, key: &str) -> Result<bool, AccessError> {
        Ok(self.inner.store.delete_document(&context(), space, key, Expected::Any).await?)
    }
}
