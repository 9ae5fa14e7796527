//! Logins by SCRAM-SHA-256: of users whose password was set since verifiers are kept, and of names that no user has,
//! which are told apart by nothing but their failure.

use std::fmt;

use tarn_core::Fault;
use tarn_meta::Expected;

use crate::access::Access;
use crate::authenticate::{USER_CHARS_MAX, identity_of};
use crate::credentials::{Identity, Peer};
use crate::error::AccessError;
use crate::record::{SCRAM, USERS, UserRecord};
use crate::scram::{Exchange, Malformed, Verifier, new_nonce};

/// Key of the only document of its space.
const MOCK_SECRET: &str = "mock_secret";
const SECRET_BYTES: usize = 32;

/// A login that was begun. The client speaks next.
pub struct ScramLogin {
    user: String,
    /// `None`: there is no such user.
    record: Option<UserRecord>,
    verifier: Verifier,
    exchange: Option<Exchange>,
}

impl fmt::Debug for ScramLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

impl ScramLogin {
    /// Whether the client's first message was answered.
    pub fn is_answered(&self) -> bool {
        self.exchange.is_some()
    }
}

/// Names by which API keys are shown as passwords: they must be read as they are, and no user can have them.
fn is_of_keys(user: &str) -> bool {
    user == "key" || user.starts_with("key/")
}

fn malformed(_: Malformed) -> AccessError {
    AccessError::Invalid { what: "the message is not one of SCRAM-SHA-256".to_string() }
}

impl Access {
    /// Begins a login of a user. `None`: the password itself must be asked for, since the name is one for API keys, or
    /// the user's password was set before verifiers were kept. Errors: `TooManyAttempts`, and those of the store.
    pub async fn begin_scram(&self, user: &str, peer: &Peer) -> Result<Option<ScramLogin>, AccessError> {
        if is_of_keys(user) {
            return Ok(None);
        }
        self.check_backoff(user, peer)?;
        let mock = Verifier::mock(&self.mock_secret().await?, user, self.inner.passwords.iterations());
        let name_fits = user.chars().count() <= USER_CHARS_MAX;
        let record = if name_fits { self.record::<UserRecord>(USERS, user).await? } else { None };
        let record = record.map(|stored| stored.record);
        let verifier = match &record {
            None => Some(mock),
            Some(record) => record.scram.as_deref().and_then(Verifier::parse),
        };
        let user = user.to_string();
        Ok(verifier.map(|verifier| ScramLogin { user, record, verifier, exchange: None }))
    }

    /// Answers the client's first message. Errors: `Invalid`.
    pub fn answer_scram(&self, login: &mut ScramLogin, message: &[u8]) -> Result<String, AccessError> {
        let nonce = new_nonce(self.inner.env.entropy.as_ref());
        let exchange = login.verifier.answer(message, &nonce).map_err(malformed)?;
        let answer = exchange.server_first().to_string();
        login.exchange = Some(exchange);
        Ok(answer)
    }

    /// Checks the client's proof. Returns who it is, and the proof that the client awaits. Failures count like those of
    /// passwords. Errors: `WrongCredentials`, `TooManyAttempts`, `Invalid`, and those of the store.
    pub async fn finish_scram(
        &self,
        login: &ScramLogin,
        message: &[u8],
        peer: &Peer,
    ) -> Result<(Identity, String), AccessError> {
        let (user, clock) = (login.user.as_str(), &self.inner.env.clock);
        let Some(exchange) = &login.exchange else { return Err(malformed(Malformed)) };
        self.check_backoff(user, peer)?;
        let proof = login.verifier.finish(exchange, message).map_err(malformed)?;
        if let (Some(proof), Some(record)) = (proof, &login.record) {
            self.inner.backoff.succeeded(user, peer.network());
            return Ok((identity_of(user, record), proof));
        }
        self.inner.backoff.failed(user, peer.network(), clock.instant());
        self.audit_failure(user, login.record.as_ref().map(|record| record.tenant.as_str())).await?;
        Err(AccessError::WrongCredentials { what: "user or password" })
    }

    /// What verifiers of names without user are made of. It outlives the process, or its end would tell those names.
    async fn mock_secret(&self) -> Result<Vec<u8>, AccessError> {
        if let Some(secret) = self.inner.mock_secret.get() {
            return Ok(secret.clone());
        }
        let kept = self.record::<String>(SCRAM, MOCK_SECRET).await?;
        let text = match kept {
            Some(kept) => kept.record,
            None => {
                let mut bytes = [0; SECRET_BYTES];
                self.inner.env.entropy.fill(&mut bytes);
                let made = hex::encode(bytes);
                match self.put_record(SCRAM, MOCK_SECRET, &made, Expected::Absent).await {
                    Ok(()) => made,
                    // Another process was faster.
                    Err(error) if error.kind() == tarn_core::FaultKind::Conflict => {
                        self.record::<String>(SCRAM, MOCK_SECRET).await?.map_or(made, |kept| kept.record)
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(self.inner.mock_secret.get_or_init(|| text.into_bytes()).clone())
    }
}
