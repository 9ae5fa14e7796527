//! `/api/v1/session`: logging in and out of the console.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tarn_core::{Role, TenantId};
use tarn_meta::SecretValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::ApiJson;
use super::identity::{Identity, SESSION_COOKIE, peer_of, session_cookie};
use crate::api::{ErrorBody, LoginRequest, RoleName, SessionView};
use crate::auth::Refusal;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, log_in, log_out))
}

/// A role as the API writes it.
pub(super) fn role_name(role: Role) -> RoleName {
    match role {
        Role::Viewer => RoleName::Viewer,
        Role::Editor => RoleName::Editor,
        Role::Admin => RoleName::Admin,
    }
}

/// A role as the API writes it, read.
pub(super) fn role_of(name: RoleName) -> Role {
    match name {
        RoleName::Viewer => Role::Viewer,
        RoleName::Editor => Role::Editor,
        RoleName::Admin => Role::Admin,
    }
}

/// Says who is logged in. Answered to everybody.
#[utoipa::path(get, path = "/session", tag = "access",
    responses((status = 200, body = SessionView), (status = "default", body = ErrorBody)))]
async fn show(State(app): State<App>, request: Request) -> Result<Json<SessionView>, ApiError> {
    let peer = peer_of(&request);
    let required = app.state.access.is_authentication_required(&peer).await?;
    let caller = match request.extensions().get::<Identity>() {
        Some(Identity::Known(ctx)) => Some(ctx),
        _ => None,
    };
    Ok(Json(SessionView {
        user: caller.map(|ctx| ctx.principal.name.to_string()),
        role: caller.map(|ctx| role_name(ctx.principal.role)),
        tenant: caller.map_or_else(|| TenantId::DEFAULT.to_string(), |ctx| ctx.tenant.to_string()),
        authentication_required: required,
        version: app.installation.version.clone(),
        project: app.installation.project.clone(),
        read_only: app.installation.read_only,
        demo: app.installation.demo,
    }))
}

/// Logs in: sets the cookie of the console.
#[utoipa::path(post, path = "/session", tag = "access", request_body = LoginRequest,
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn log_in(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let peer = peer_of(&request);
    let ApiJson(login) = ApiJson::<LoginRequest>::from_request(request, &app).await?;
    let session = app
        .state
        .access
        .log_in(&login.user, &SecretValue::new(login.password), &peer)
        .await
        .map_err(|error| Refusal::of(&error).to_api())?;
    let cookie = cookie(session.token.expose(), session.lasts.as_secs(), app.is_secure());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie?)]).into_response())
}

/// Logs out.
#[utoipa::path(delete, path = "/session", tag = "access",
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn log_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(token) = session_cookie(&headers) {
        app.state.access.log_out(&SecretValue::new(token)).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie("", 0, app.is_secure())?)]).into_response())
}

fn cookie(token: &str, lasts_s: u64, secure: bool) -> Result<HeaderValue, ApiError> {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}");
    HeaderValue::from_str(&text).map_err(|_| ApiError::internal("the session token cannot be a cookie"))
}
