//! Users.

use serde::Serialize;
use tarn_core::{Fault, FaultKind, RequestContext, Role, nearest};
use tarn_meta::{Expected, SecretValue};

use crate::access::{Access, iso_time};
use crate::audit::{AuditEvent, Outcome};
use crate::credentials::require;
use crate::error::AccessError;
use crate::record::{KEYS, KeyRecord, Stored, USERS, UserRecord};

const NAME_CHARS_MAX: usize = 128;
// Names of principals that are no users.
const RESERVED: [&str; 4] = ["local", "system", "anonymous", "key"];

/// A user as admins see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserView {
    /// The name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When they were added, ISO 8601.
    pub created_at: String,
}

fn check_name(name: &str) -> Result<(), AccessError> {
    let mut chars = name.chars();
    let fits = chars.next().is_some_and(char::is_alphanumeric)
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+'))
        && name.chars().count() <= NAME_CHARS_MAX;
    if !fits {
        let what = format!("`{name}` is not a user name; use letters, digits and `.`, `_`, `-`, `@`, `+`");
        return Err(AccessError::Invalid { what });
    }
    if RESERVED.contains(&name) {
        return Err(AccessError::Invalid { what: format!("the user name `{name}` is reserved") });
    }
    Ok(())
}

impl Access {
    /// Users of the context's tenant, by name. Errors: `Forbidden` unless the caller is an admin.
    pub async fn users(&self, ctx: &RequestContext) -> Result<Vec<UserView>, AccessError> {
        require(ctx, Role::Admin)?;
        let own = self.own_users(ctx).await?;
        let view = |user: Stored<UserRecord>| UserView {
            name: user.key,
            role: user.record.role,
            created_at: iso_time(user.record.created_ms),
        };
        Ok(own.into_iter().map(view).collect())
    }

    async fn own_users(&self, ctx: &RequestContext) -> Result<Vec<Stored<UserRecord>>, AccessError> {
        let all = self.records::<UserRecord>(USERS).await?;
        Ok(all.into_iter().filter(|user| user.record.tenant == ctx.tenant.as_str()).collect())
    }

    async fn own_user(&self, ctx: &RequestContext, name: &str) -> Result<Stored<UserRecord>, AccessError> {
        let mut all = self.own_users(ctx).await?;
        let similar = nearest(name, all.iter().map(|user| user.key.as_str())).map(ToString::to_string);
        match all.iter().position(|user| user.key == name) {
            Some(index) => Ok(all.swap_remove(index)),
            None => Err(AccessError::UserNotFound { name: name.to_string(), similar }),
        }
    }

    /// Adds a user to the context's tenant; from then on every caller must say who they are.
    /// Errors: `Forbidden`, `Invalid`, `UserExists` (names are unique over all tenants), `FirstMustBeAdmin`.
    pub async fn create_user(
        &self,
        ctx: &RequestContext,
        name: &str,
        role: Role,
        password: &SecretValue,
    ) -> Result<UserView, AccessError> {
        require(ctx, Role::Admin)?;
        check_name(name)?;
        if self.record::<UserRecord>(USERS, name).await?.is_some() {
            return Err(AccessError::UserExists { name: name.to_string() });
        }
        self.require_an_admin(ctx, role).await?;
        let record = UserRecord {
            tenant: ctx.tenant.to_string(),
            role,
            password_hash: self.inner.passwords.hash(password).await?,
            scram: Some(self.inner.passwords.verifier(password).await?),
            generation: self.inner.env.entropy.next_u64(),
            created_ms: self.inner.env.clock.now_ms(),
        };
        let put = self.put_record(USERS, name, &record, Expected::Absent).await;
        if put.as_ref().is_err_and(|error| error.kind() == FaultKind::Conflict) {
            return Err(AccessError::UserExists { name: name.to_string() });
        }
        put?;
        self.audit_done(ctx, "user.create", name).await?;
        Ok(UserView { name: name.to_string(), role, created_at: iso_time(record.created_ms) })
    }

    /// Removes a user; their sessions end. Errors: `Forbidden`, `UserNotFound`, `LastAdmin` while others depend on
    /// them.
    pub async fn delete_user(&self, ctx: &RequestContext, name: &str) -> Result<(), AccessError> {
        require(ctx, Role::Admin)?;
        let user = self.own_user(ctx, name).await?;
        self.require_another_admin(ctx, &user).await?;
        self.remove_record(USERS, name).await?;
        self.audit_done(ctx, "user.delete", name).await
    }

    /// Gives a user a new password; their sessions end. Errors: `Forbidden` unless the caller is an admin or the
    /// user, `UserNotFound`, `Invalid`.
    pub async fn set_password(
        &self,
        ctx: &RequestContext,
        name: &str,
        password: &SecretValue,
    ) -> Result<(), AccessError> {
        if &*ctx.principal.name != name {
            require(ctx, Role::Admin)?;
        }
        let user = self.own_user(ctx, name).await?;
        let record = UserRecord {
            password_hash: self.inner.passwords.hash(password).await?,
            scram: Some(self.inner.passwords.verifier(password).await?),
            generation: self.inner.env.entropy.next_u64(),
            ..user.record
        };
        self.put_record(USERS, name, &record, Expected::Version(user.version)).await?;
        self.audit_done(ctx, "user.set_password", name).await
    }

    /// Gives a user another role, at once also in their open sessions. Errors: `Forbidden`, `UserNotFound`,
    /// `LastAdmin`.
    pub async fn set_role(&self, ctx: &RequestContext, name: &str, role: Role) -> Result<(), AccessError> {
        require(ctx, Role::Admin)?;
        let user = self.own_user(ctx, name).await?;
        if role != Role::Admin {
            self.require_another_admin(ctx, &user).await?;
            if user.record.role == Role::Admin && self.own_users(ctx).await?.len() == 1 {
                return Err(AccessError::LastAdmin { name: name.to_string() });
            }
        }
        let record = UserRecord { role, ..user.record };
        self.put_record(USERS, name, &record, Expected::Version(user.version)).await?;
        self.audit_done(ctx, "user.set_role", name).await
    }

    /// Without an admin nobody could add the next user except on the machine itself.
    pub(crate) async fn require_an_admin(&self, ctx: &RequestContext, role: Role) -> Result<(), AccessError> {
        let has_admin = || async {
            let users = self.own_users(ctx).await?;
            Ok::<_, AccessError>(users.iter().any(|user| user.record.role == Role::Admin))
        };
        if role == Role::Admin || has_admin().await? {
            return Ok(());
        }
        Err(AccessError::FirstMustBeAdmin)
    }

    async fn require_another_admin(
        &self,
        ctx: &RequestContext,
        user: &Stored<UserRecord>,
    ) -> Result<(), AccessError> {
        if user.record.role != Role::Admin {
            return Ok(());
        }
        let others: Vec<_> =
            self.own_users(ctx).await?.into_iter().filter(|own| own.key != user.key).collect();
        let keys = self.records::<KeyRecord>(KEYS).await?;
        let has_keys = keys.iter().any(|key| key.record.tenant == ctx.tenant.as_str());
        let is_alone = others.is_empty() && !has_keys;
        if is_alone || others.iter().any(|own| own.record.role == Role::Admin) {
            return Ok(());
        }
        Err(AccessError::LastAdmin { name: user.key.clone() })
    }

    /// Writes a finished change of users or keys to the audit log.
    pub(crate) async fn audit_done(
        &self,
        ctx: &RequestContext,
        action: &str,
        target: &str,
    ) -> Result<(), AccessError> {
        self.audit(ctx, &AuditEvent::new(action, target, Outcome::Ok)).await?;
        Ok(())
    }
}
