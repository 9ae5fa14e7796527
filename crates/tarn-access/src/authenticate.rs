//! From credentials to an identity.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tarn_core::{Role, TenantId, TraceId};
use tarn_meta::{Expected, SecretValue};

use crate::access::Access;
use crate::audit::{AuditEvent, Outcome};
use crate::credentials::{Credentials, Identity, Method, Peer};
use crate::error::AccessError;
use crate::record::{KEYS, USERS, UserRecord, context};

// HTTP Basic repeats the password at every request; within this time it is not hashed again.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
const VERIFIED_MAX: usize = 1_024;
pub(crate) const USER_CHARS_MAX: usize = 128;

impl Access {
    /// Finds out who asks.
    ///
    /// While no user and no key exists, this machine itself is `local` with the role admin and everybody else is
    /// refused; from then on all must say who they are. Errors: `NotAuthenticated`, `NotSetUp`, `WrongCredentials`,
    /// `KeyExpired`, `TooManyAttempts`, and those of the store.
    pub async fn authenticate(
        &self,
        credentials: &Credentials,
        peer: &Peer,
    ) -> Result<Identity, AccessError> {
        let (found, refusal) = match credentials {
            Credentials::None => (None, AccessError::NotAuthenticated),
            Credentials::Key(key) => {
                (self.identity_of_key(key).await?, AccessError::WrongCredentials { what: "API key" })
            }
            Credentials::Session(token) => {
                (self.identity_of_session(token).await?, AccessError::WrongCredentials { what: "session" })
            }
            Credentials::Password { password, .. } => {
                let by_key = self.identity_of_key(password).await?;
                if by_key.is_none() && !self.is_unused().await? {
                    return Ok(self.check_password(credentials, peer).await?.0);
                }
                (by_key, AccessError::WrongCredentials { what: "user or password" })
            }
        };
        match found {
            Some(identity) => Ok(identity),
            None if !self.is_unused().await? => Err(refusal),
            None if peer.is_loopback() => Ok(local()),
            None => Err(AccessError::NotSetUp),
        }
    }

    /// Whether a caller must say who they are, for the login page. A caller of an unused installation who is not on
    /// this machine must, too, and cannot.
    pub async fn is_authentication_required(&self, peer: &Peer) -> Result<bool, AccessError> {
        Ok(!peer.is_loopback() || !self.is_unused().await?)
    }

    /// Whether no user and no key exists.
    async fn is_unused(&self) -> Result<bool, AccessError> {
        let ctx = context();
        let store = &self.inner.store;
        Ok(store.count_documents(&ctx, USERS).await? == 0 && store.count_documents(&ctx, KEYS).await? == 0)
    }

    /// Checks user and password, slowing down after failures. Errors: `WrongCredentials`, `TooManyAttempts`.
    pub(crate) async fn check_password(
        &self,
        credentials: &Credentials,
        peer: &Peer,
    ) -> Result<(Identity, UserRecord), AccessError> {
        let Credentials::Password { user, password } = credentials else {
            return Err(AccessError::NotAuthenticated);
        };
        let name_fits = user.chars().count() <= USER_CHARS_MAX;
        let record = if name_fits { self.record::<UserRecord>(USERS, user).await? } else { None };
        let version = record.as_ref().map_or(0, |stored| stored.version);
        let record = record.map(|stored| stored.record);
        let mark = record.as_ref().map(|record| self.mark(user, record, password));
        if let (Some(record), Some(mark)) = (&record, &mark)
            && self.is_verified(mark)
        {
            return Ok((identity_of(user, record), record.clone()));
        }
        let _turn = self.inner.passwords.turn().await?;
        self.check_backoff(user, peer)?;
        let hash = record.as_ref().map(|record| record.password_hash.as_str());
        let is_right = self.inner.passwords.verify(hash, password).await?;
        let (true, Some(record), Some(mark)) = (is_right, &record, mark) else {
            self.inner.backoff.failed(user, peer.network(), self.inner.env.clock.instant());
            self.audit_failure(user, record.as_ref().map(|record| record.tenant.as_str())).await?;
            return Err(AccessError::WrongCredentials { what: "user or password" });
        };
        self.inner.backoff.succeeded(user, peer.network());
        self.remember(mark);
        if record.scram.is_none() {
            self.add_verifier(user, record, version, password).await;
        }
        Ok((identity_of(user, record), record.clone()))
    }

    /// Errors: `TooManyAttempts` after failures.
    pub(crate) fn check_backoff(&self, user: &str, peer: &Peer) -> Result<(), AccessError> {
        match self.inner.backoff.wait(user, peer.network(), self.inner.env.clock.instant()) {
            Some(wait) => Err(AccessError::TooManyAttempts { retry_after_s: wait.as_secs().max(1) }),
            None => Ok(()),
        }
    }

    // Of a password that was set before verifiers were kept. The next login does it when this fails.
    async fn add_verifier(&self, user: &str, record: &UserRecord, version: u64, password: &SecretValue) {
        let added = async {
            let scram = Some(self.inner.passwords.verifier(password).await?);
            let record = UserRecord { scram, ..record.clone() };
            self.put_record(USERS, user, &record, Expected::Version(version)).await
        };
        if let Err(error) = added.await {
            tracing::debug!(user, %error, "no SCRAM verifier was added");
        }
    }

    // What was typed may be a password in the wrong field: only names that exist are written down.
    pub(crate) async fn audit_failure(&self, user: &str, tenant: Option<&str>) -> Result<(), AccessError> {
        let (tenant, target) = match tenant {
            Some(tenant) => (TenantId::new(tenant), user),
            None => (TenantId::default(), "unknown user"),
        };
        let ctx = Identity::new("anonymous", Role::Viewer, tenant.as_str(), Method::Open).context(TraceId(0));
        self.audit(&ctx, &AuditEvent::new("session.create", target, Outcome::Denied)).await?;
        Ok(())
    }

    // What a right password is remembered by: useless without this process's memory, and void once the user
    // changes.
    fn mark(&self, user: &str, record: &UserRecord, password: &SecretValue) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.inner.mark_key);
        for part in [user, record.password_hash.as_str(), password.expose()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn is_verified(&self, mark: &[u8; 32]) -> bool {
        let now = self.inner.env.clock.instant();
        self.inner
            .verified
            .lock()
            .get(mark)
            .is_some_and(|at| now.saturating_duration_since(*at) < VERIFIED_FOR)
    }

    fn remember(&self, mark: [u8; 32]) {
        let now = self.inner.env.clock.instant();
        let mut verified = self.inner.verified.lock();
        if verified.len() >= VERIFIED_MAX {
            verified.retain(|_, at| now.saturating_duration_since(*at) < VERIFIED_FOR);
        }
        if verified.len() < VERIFIED_MAX {
            verified.insert(mark, now);
        }
    }
}

pub(crate) fn identity_of(user: &str, record: &UserRecord) -> Identity {
    Identity::new(user, record.role, &record.tenant, Method::Password)
}

fn local() -> Identity {
    Identity::new("local", Role::Admin, TenantId::DEFAULT, Method::Open)
}
