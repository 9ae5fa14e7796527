//! `/api/v1/access`: users, keys, secrets and the audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tarn_access::{AuditView, KeyView, UserView};
use tarn_meta::{SecretValue, SecretView};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiJson, ApiPath, ApiQuery};
use super::identity::Admin;
use super::session::role_of;
use crate::api::{
    AddKeyRequest, AddUserRequest, AuditEntry, ErrorBody, Items, KeyEntry, NewKey, SecretEntry,
    SecretValueRequest, UserEntry,
};

const AUDIT_DEFAULT: u32 = 200;

#[derive(Debug, Deserialize)]
struct LimitQuery {
    limit: Option<u32>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(users, add_user))
        .routes(routes!(delete_user))
        .routes(routes!(keys, add_key))
        .routes(routes!(delete_key))
        .routes(routes!(audit_log))
        .routes(routes!(secrets))
        .routes(routes!(put_secret, delete_secret))
}

/// Lists the users.
#[utoipa::path(get, path = "/access/users", tag = "access",
    responses((status = 200, body = Items<UserEntry>), (status = "default", body = ErrorBody)))]
async fn users(State(app): State<App>, Admin(ctx): Admin) -> Result<Json<Items<UserView>>, ApiError> {
    Ok(Json(Items { items: app.state.access.users(&ctx).await? }))
}

/// Adds a user. The first one must be an admin.
#[utoipa::path(post, path = "/access/users", tag = "access", request_body = AddUserRequest,
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn add_user(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiJson(request): ApiJson<AddUserRequest>,
) -> Result<StatusCode, ApiError> {
    let password = SecretValue::new(request.password);
    app.state.access.create_user(&ctx, &request.name, role_of(request.role), &password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a user.
#[utoipa::path(delete, path = "/access/users/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn delete_user(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    app.state.access.delete_user(&ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the keys, without their secrets.
#[utoipa::path(get, path = "/access/keys", tag = "access",
    responses((status = 200, body = Items<KeyEntry>), (status = "default", body = ErrorBody)))]
async fn keys(State(app): State<App>, Admin(ctx): Admin) -> Result<Json<Items<KeyView>>, ApiError> {
    Ok(Json(Items { items: app.state.access.keys(&ctx).await? }))
}

/// Makes a key and shows it, once.
#[utoipa::path(post, path = "/access/keys", tag = "access", request_body = AddKeyRequest,
    responses((status = 200, body = NewKey), (status = "default", body = ErrorBody)))]
async fn add_key(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiJson(request): ApiJson<AddKeyRequest>,
) -> Result<Json<tarn_access::NewKey>, ApiError> {
    let role = role_of(request.role);
    Ok(Json(app.state.access.create_key(&ctx, &request.name, role, request.expires_in).await?))
}

/// Deletes a key.
#[utoipa::path(delete, path = "/access/keys/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn delete_key(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    app.state.access.delete_key(&ctx, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows the audit log, newest first.
#[utoipa::path(get, path = "/access/audit", tag = "access", params(("limit" = Option<u32>, Query)),
    responses((status = 200, body = Items<AuditEntry>), (status = "default", body = ErrorBody)))]
async fn audit_log(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiQuery(query): ApiQuery<LimitQuery>,
) -> Result<Json<Items<AuditView>>, ApiError> {
    Ok(Json(Items { items: app.state.access.audit_log(&ctx, query.limit.unwrap_or(AUDIT_DEFAULT)).await? }))
}

/// Lists the secrets, without their values.
#[utoipa::path(get, path = "/access/secrets", tag = "access",
    responses((status = 200, body = Items<SecretEntry>), (status = "default", body = ErrorBody)))]
async fn secrets(State(app): State<App>, Admin(ctx): Admin) -> Result<Json<Items<SecretView>>, ApiError> {
    Ok(Json(Items { items: app.state.secrets.list(&ctx).await? }))
}

/// Sets a secret. Its value is never given back.
#[utoipa::path(put, path = "/access/secrets/{name}", tag = "access", params(("name" = String, Path)),
    request_body = SecretValueRequest, responses((status = 204), (status = "default", body = ErrorBody)))]
async fn put_secret(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiPath(name): ApiPath<String>,
    ApiJson(request): ApiJson<SecretValueRequest>,
) -> Result<StatusCode, ApiError> {
    app.state.secrets.put(&ctx, &name, &SecretValue::new(request.value)).await?;
    app.audit(&ctx, "secret.put", &name).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a secret.
#[utoipa::path(delete, path = "/access/secrets/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn delete_secret(
    State(app): State<App>,
    Admin(ctx): Admin,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    app.state.secrets.delete(&ctx, &name).await?;
    app.audit(&ctx, "secret.delete", &name).await;
    Ok(StatusCode::NO_CONTENT)
}
