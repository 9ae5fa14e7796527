//! Setting, listing and resolving secrets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tarn_core::{Entropy, Env, RequestContext, ResourceName, nearest};

use super::SealedName;
use super::key::SecretKey;
use super::value::{ResolvedSpec, SecretValue, clear};
use crate::error::MetaError;
use crate::resource::{iso_time, replace_references, secret_references};
use crate::store::MetaStore;

const VALUE_BYTES_MAX: usize = 64 << 10;

/// A secret without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// When it was set, ISO 8601.
    pub updated_at: String,
    /// The resources whose newest spec refers to it, such as `source/shop`.
    pub used_by: Vec<String>,
}

/// The secrets of an installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Secrets {
    store: Arc<dyn MetaStore>,
    key: SecretKey,
    entropy: Arc<dyn Entropy>,
}

impl Secrets {
    /// Over a store, sealed with `key`.
    pub fn new(store: Arc<dyn MetaStore>, key: SecretKey, env: &Env) -> Self {
        Self { store, key, entropy: env.entropy.clone() }
    }

    /// Stores or replaces a secret. Errors: `InvalidName`, `InvalidSecret` for an empty value or one above 64 KiB.
    pub async fn put(&self, ctx: &RequestContext, name: &str, value: &SecretValue) -> Result<(), MetaError> {
        let name = ResourceName::parse(name)?;
        let invalid = |what| MetaError::InvalidSecret { name: name.to_string(), what };
        if value.expose().is_empty() {
            return Err(invalid("the value is empty"));
        }
        if value.expose().len() > VALUE_BYTES_MAX {
            return Err(invalid("the value has more than 64 KiB"));
        }
        let sealed = self.key.seal(ctx.tenant.as_str(), name.as_str(), value, &*self.entropy);
        self.store.put_sealed(ctx, name.as_str(), &sealed).await
    }

    /// Removes a secret. Errors: `SecretNotFound`.
    pub async fn delete(&self, ctx: &RequestContext, name: &str) -> Result<(), MetaError> {
        if self.store.delete_sealed(ctx, name).await? {
            return Ok(());
        }
        Err(self.not_found(ctx, name).await?)
    }

    /// All secrets without their values, by name.
    pub async fn list(&self, ctx: &RequestContext) -> Result<Vec<SecretView>, MetaError> {
        let (_, resources) = self.store.resources(ctx).await?;
        let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for own in &resources {
            for name in secret_references(&own.spec) {
                uses.entry(name).or_default().push(format!("{}/{}", own.kind, own.name));
            }
        }
        let names = self.store.sealed_names(ctx).await?;
        let view = |own: SealedName| SecretView {
            updated_at: iso_time(own.updated_ms),
            used_by: uses.remove(&own.name).unwrap_or_default(),
            name: own.name,
        };
        Ok(names.into_iter().map(view).collect())
    }

    /// The value of one secret. Errors: `SecretNotFound`, `SecretUnreadable`.
    pub async fn get(&self, ctx: &RequestContext, name: &str) -> Result<SecretValue, MetaError> {
        match self.store.sealed(ctx, name).await? {
            Some(sealed) => self.key.open(ctx.tenant.as_str(), name, &sealed),
            None => Err(self.not_found(ctx, name).await?),
        }
    }

    /// A spec with all references `{secret: name}` replaced by their values, for the connector that needs them.
    /// Errors: `SecretNotFound`, `SecretUnreadable`.
    pub async fn resolve(&self, ctx: &RequestContext, spec: &Value) -> Result<ResolvedSpec, MetaError> {
        let mut values = HashMap::new();
        for name in secret_references(spec) {
            let value = self.get(ctx, &name).await?;
            values.insert(name, value);
        }
        let mut spec = spec.clone();
        let replaced = replace_references(&mut spec, &mut |name| match values.get(name) {
            Some(value) => Ok(value.expose().to_string()),
            None => Err(MetaError::SecretNotFound { name: name.to_string(), similar: None }),
        });
        if let Err(error) = replaced {
            clear(&mut spec);
            return Err(error);
        }
        Ok(ResolvedSpec::new(spec))
    }

    async fn not_found(&self, ctx: &RequestContext, name: &str) -> Result<MetaError, MetaError> {
        let names = self.store.sealed_names(ctx).await?;
        let similar = nearest(name, names.iter().map(|own| own.name.as_str())).map(ToString::to_string);
        Ok(MetaError::SecretNotFound { name: name.to_string(), similar })
    }
}
