use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RoleName;

/// Who is logged in, and what is served.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Name of the caller; null when nobody is logged in.
    pub user: Option<String>,
    /// What they may do.
    pub role: Option<RoleName>,
    /// Their tenant.
    pub tenant: String,
    /// Whether somebody must log in.
    pub authentication_required: bool,
    /// Version of the program.
    pub version: String,
    /// Name of the project.
    pub project: String,
    /// Whether resources may only be read.
    pub read_only: bool,
    /// Whether this is the demo project.
    pub demo: bool,
}

/// A login.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserEntry {
    /// Name.
    pub name: String,
    /// What they may do.
    pub role: RoleName,
    /// When they were added.
    pub created_at: String,
}

/// A user to add.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddUserRequest {
    /// Name.
    pub name: String,
    /// What they may do.
    pub role: RoleName,
    /// Password.
    pub password: String,
}

/// A key, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyEntry {
    /// Identifier.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What its holder may do.
    pub role: RoleName,
    /// When it was made.
    pub created_at: String,
    /// When it ends.
    pub expires_at: Option<String>,
    /// When it was used last.
    pub last_used_at: Option<String>,
}

/// A key to make.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddKeyRequest {
    /// What it is for.
    pub name: String,
    /// What its holder may do.
    pub role: RoleName,
    /// How long it lasts, such as `90d`; for ever by default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<tarn_core::HumanDuration>,
}

/// A new key. This is the only time that it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewKey {
    /// Identifier.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// The key.
    pub key: String,
}

/// A line of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When.
    pub at: String,
    /// Who.
    pub principal: String,
    /// What they did.
    pub action: String,
    /// To what.
    pub target: String,
    /// How it ended.
    pub outcome: String,
    /// Hash over this line and the one before.
    pub hash: String,
}

/// A secret, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretEntry {
    /// Name.
    pub name: String,
    /// When it was set.
    pub updated_at: String,
    /// Resources that refer to it, such as `source/shop`.
    pub used_by: Vec<String>,
}

/// The value of a secret.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretValueRequest {
    /// The value.
    pub value: String,
}
