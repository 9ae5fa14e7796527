//! The audit log: who did what, in a chain of hashes that shows a change, a gap or a cut.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tarn_core::{RequestContext, Role};
use tarn_meta::{AuditHead, AuditRow};

use crate::access::{Access, iso_time};
use crate::credentials::require;
use crate::error::AccessError;

const BATCH_ROWS: u32 = 1_000;
const LIST_ROWS_MAX: u32 = 10_000;
const TEXT_CHARS_MAX: usize = 500;
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok,
    /// The caller may not do it.
    Denied,
    /// It was tried and failed.
    Failed,
}

/// What happened. The principal, the tenant and the trace come from the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Noun and verb, such as `user.create` or `resource.apply`.
    pub action: String,
    /// On what, such as a user's name. Never a secret.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl AuditEvent {
    /// Puts the three together; long texts are cut.
    pub fn new(action: &str, target: &str, outcome: Outcome) -> Self {
        let cut = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect();
        Self { action: cut(action), target: cut(target), outcome }
    }
}

/// What is stored and hashed. Fields are added only at the end.
#[derive(Serialize, Deserialize)]
struct Body {
    sequence: u64,
    at_ms: i64,
    tenant: String,
    principal: String,
    action: String,
    target: String,
    outcome: Outcome,
    trace: String,
}

/// A record as admins see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditView {
    /// From 1 without gaps, per tenant.
    pub sequence: u64,
    /// When, ISO 8601.
    pub at: String,
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// On what.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Joins the log lines of the request.
    pub trace: String,
    /// The record's place in the chain.
    pub hash: String,
}

/// Where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditBreak {
    /// The first record that does not fit.
    pub sequence: u64,
    /// What is wrong.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditVerification {
    /// Records that were looked at.
    pub records: u64,
    /// Hash of the last one that fits. Noted elsewhere, it also shows that the whole chain was written anew.
    pub hash: Option<String>,
    /// The first record that does not fit, `None` if all do.
    pub broken: Option<AuditBreak>,
}

fn chain_hash(previous: Option<&str>, body: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(previous.unwrap_or(FIRST));
    hash.update("\n");
    hash.update(body);
    hex::encode(hash.finalize())
}

impl Access {
    /// Adds a record to the log of the context's tenant, durable when it returns.
    pub async fn audit(&self, ctx: &RequestContext, event: &AuditEvent) -> Result<AuditRow, AccessError> {
        let at_ms = self.inner.env.clock.now_ms();
        let seal = |sequence: u64, previous: Option<&str>| {
            let body = Body {
                sequence,
                at_ms,
                tenant: ctx.tenant.to_string(),
                principal: ctx.principal.name.to_string(),
                action: event.action.clone(),
                target: event.target.clone(),
                outcome: event.outcome,
                trace: ctx.trace.to_string(),
            };
            let body = serde_json::to_string(&body).expect("texts and numbers are always JSON");
            let hash = chain_hash(previous, &body);
            (body, hash)
        };
        Ok(self.inner.store.append_audit(ctx, &seal).await?)
    }

    /// The newest records of the tenant, newest first, at most `limit`. Errors: `Forbidden` unless the caller is an
    /// admin.
    pub async fn audit_log(&self, ctx: &RequestContext, limit: u32) -> Result<Vec<AuditView>, AccessError> {
        require(ctx, Role::Admin)?;
        let rows = self.inner.store.newest_audit_rows(ctx, limit.min(LIST_ROWS_MAX)).await?;
        rows.into_iter().map(view_of).collect()
    }

    /// Reads the tenant's whole log and checks the chain. Errors: `Forbidden` unless the caller is an admin.
    pub async fn verify_audit(&self, ctx: &RequestContext) -> Result<AuditVerification, AccessError> {
        require(ctx, Role::Admin)?;
        // Read first: records that are added meanwhile come after it.
        let head = self.inner.store.audit_head(ctx).await?;
        let mut found = AuditVerification { records: 0, hash: None, broken: None };
        loop {
            let rows = self.inner.store.audit_rows(ctx, found.records, BATCH_ROWS).await?;
            for row in &rows {
                if let Some(what) = fault_of(row, &found, head.as_ref(), ctx.tenant.as_str()) {
                    found.broken = Some(AuditBreak { sequence: found.records + 1, what });
                    return Ok(found);
                }
                found.records += 1;
                found.hash = Some(row.hash.clone());
            }
            if rows.is_empty() {
                break;
            }
        }
        // The log may have been empty when its end was read first.
        let head = match head {
            Some(head) => Some(head),
            None => self.inner.store.audit_head(ctx).await?,
        };
        found.broken = match head {
            Some(head) if head.sequence > found.records => {
                let what = format!("the log ends here, {} records were written", head.sequence);
                Some(AuditBreak { sequence: found.records + 1, what })
            }
            None if found.records > 0 => Some(AuditBreak {
                sequence: found.records,
                what: "the end of the log is not noted".to_string(),
            }),
            _ => None,
        };
        Ok(found)
    }
}

fn fault_of(
    row: &AuditRow,
    found: &AuditVerification,
    head: Option<&AuditHead>,
    tenant: &str,
) -> Option<String> {
    let expected = found.records + 1;
    if row.sequence != expected {
        return Some(format!("record {expected} is missing"));
    }
    if row.hash != chain_hash(found.hash.as_deref(), &row.body) {
        return Some("the record does not fit its hash".to_string());
    }
    let fits = serde_json::from_str::<Body>(&row.body)
        .is_ok_and(|body| body.sequence == row.sequence && body.tenant == tenant);
    if !fits {
        return Some("the record belongs elsewhere".to_string());
    }
    if head.is_some_and(|head| head.sequence == row.sequence && head.hash != row.hash) {
        return Some("the record is not the one that was written last".to_string());
    }
    None
}

fn view_of(row: AuditRow) -> Result<AuditView, AccessError> {
    let body: Body = serde_json::from_str(&row.body)
        .map_err(|source| AccessError::Undecodable { what: "audit record", source })?;
    Ok(AuditView {
        sequence: row.sequence,
        at: iso_time(body.at_ms),
        principal: body.principal,
        action: body.action,
        target: body.target,
        outcome: body.outcome,
        trace: body.trace,
        hash: row.hash,
    })
}
