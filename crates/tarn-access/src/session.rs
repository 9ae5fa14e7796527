//! Sessions of the console: opaque tokens, known to the store only by their hash.

use std::time::Duration;

use tarn_core::{Fault, FaultKind};
use tarn_meta::{Expected, SecretValue};

use crate::access::{Access, iso_time};
use crate::audit::{AuditEvent, Outcome};
use crate::credentials::{Credentials, Identity, Method, Peer};
use crate::error::AccessError;
use crate::record::{SESSIONS, SessionRecord, Stored, USERS, UserRecord, digest};

const TOKEN_BYTES: usize = 32;
const PER_USER_MAX: usize = 64;

/// A new session.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The token, for the cookie; shown now and never again.
    pub token: SecretValue,
    /// When it ends if it is not used, ISO 8601; each use moves it.
    pub expires_at: String,
    /// The longest it can last, for the cookie's age.
    pub lasts: Duration,
    /// Who logged in.
    pub identity: Identity,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Access {
    /// Checks a password and opens a session. Errors: as [`Access::authenticate`].
    pub async fn log_in(
        &self,
        user: &str,
        password: &SecretValue,
        peer: &Peer,
    ) -> Result<NewSession, AccessError> {
        let credentials = Credentials::Password { user: user.to_string(), password: password.clone() };
        let (identity, record) = self.check_password(&credentials, peer).await?;
        let now_ms = self.inner.env.clock.now_ms();
        self.sweep_sessions(user, now_ms).await?;
        let mut bytes = zeroize::Zeroizing::new([0; TOKEN_BYTES]);
        self.inner.env.entropy.fill(bytes.as_mut());
        let token = SecretValue::new(hex::encode(bytes.as_ref()));
        let session = SessionRecord {
            user: user.to_string(),
            generation: record.generation,
            created_ms: now_ms,
            expires_ms: self.expiry(now_ms, now_ms),
        };
        self.put_record(SESSIONS, &digest(token.expose()), &session, Expected::Any).await?;
        let ctx = identity.context(tarn_core::TraceId(0));
        self.audit(&ctx, &AuditEvent::new("session.create", user, Outcome::Ok)).await?;
        let lasts = self.inner.config.session_max.0;
        Ok(NewSession { token, expires_at: iso_time(session.expires_ms), lasts, identity })
    }

    /// Ends a session; an unknown token is no error.
    pub async fn log_out(&self, token: &SecretValue) -> Result<(), AccessError> {
        self.remove_record(SESSIONS, &digest(token.expose())).await?;
        Ok(())
    }

    fn expiry(&self, created_ms: i64, now_ms: i64) -> i64 {
        let idle = now_ms.saturating_add(millis(self.inner.config.session_idle.0));
        let last = created_ms.saturating_add(millis(self.inner.config.session_max.0));
        idle.min(last)
    }

    /// Who a token belongs to, `None` if it is unknown, has ended, or the user or their password changed.
    pub(crate) async fn identity_of_session(
        &self,
        token: &SecretValue,
    ) -> Result<Option<Identity>, AccessError> {
        // Only the hash is compared, by the store's index: its timing tells nothing about the token.
        let key = digest(token.expose());
        let Some(stored) = self.record::<SessionRecord>(SESSIONS, &key).await? else { return Ok(None) };
        let now_ms = self.inner.env.clock.now_ms();
        let session = &stored.record;
        let user = self.record::<UserRecord>(USERS, &session.user).await?;
        let Some(user) =
            user.filter(|user| session.expires_ms > now_ms && user.record.generation == session.generation)
        else {
            self.remove_record(SESSIONS, &key).await?;
            return Ok(None);
        };
        self.slide(&stored, now_ms).await?;
        Ok(Some(Identity::new(&session.user, user.record.role, &user.record.tenant, Method::Session)))
    }

    // Written at most a few times per idle period, not at each request.
    async fn slide(&self, stored: &Stored<SessionRecord>, now_ms: i64) -> Result<(), AccessError> {
        let expires_ms = self.expiry(stored.record.created_ms, now_ms);
        let step = millis(self.inner.config.session_idle.0) / 8;
        if expires_ms.saturating_sub(stored.record.expires_ms) <= step {
            return Ok(());
        }
        let record = SessionRecord { expires_ms, ..stored.record.clone() };
        match self.put_record(SESSIONS, &stored.key, &record, Expected::Version(stored.version)).await {
            // Another request moved it, or the user logged out: both are right already.
            Err(error) if error.kind() == FaultKind::Conflict => Ok(()),
            result => result,
        }
    }

    // Ended sessions go, and the oldest of a user who opens too many.
    async fn sweep_sessions(&self, user: &str, now_ms: i64) -> Result<(), AccessError> {
        let (mut own, mut ended) = (Vec::new(), Vec::new());
        for session in self.records::<SessionRecord>(SESSIONS).await? {
            if session.record.expires_ms <= now_ms {
                ended.push(session.key);
            } else if session.record.user == user {
                own.push(session);
            }
        }
        own.sort_by_key(|session| std::cmp::Reverse(session.updated_ms));
        ended.extend(own.into_iter().skip(PER_USER_MAX - 1).map(|session| session.key));
        for key in ended {
            self.remove_record(SESSIONS, &key).await?;
        }
        Ok(())
    }
}
