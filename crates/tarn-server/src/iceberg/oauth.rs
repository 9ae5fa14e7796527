//! Tokens of the protocol: the credential `id:secret` of a client is a user and password, or the two halves of an API
//! key, and the token is what our other endpoints take.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tarn_access::{Credentials, Peer};
use tarn_meta::SecretValue;

use crate::auth::{Refusal, SESSION_PREFIX, credentials_of_header, credentials_of_token};
use crate::http::App;
use crate::http::extract::read_body;
use crate::http::identity::peer_of;

const BODY_BYTES_MAX: u64 = 64 << 10;
const KEY_PREFIX: &str = "tarn_";

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
    subject_token: Option<String>,
}

#[derive(Serialize)]
struct Token {
    access_token: String,
    token_type: &'static str,
    issued_token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

/// An error as RFC 6749 writes it.
pub(super) struct TokenError {
    status: StatusCode,
    error: &'static str,
    description: String,
}

#[derive(Serialize)]
pub(super) struct TokenErrorBody {
    error: &'static str,
    error_description: String,
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let body = TokenErrorBody { error: self.error, error_description: self.description };
        (self.status, Json(body)).into_response()
    }
}

fn invalid(description: impl Into<String>) -> TokenError {
    TokenError { status: StatusCode::BAD_REQUEST, error: "invalid_request", description: description.into() }
}

pub(super) async fn tokens(State(app): State<App>, request: Request) -> Result<Response, TokenError> {
    let peer = peer_of(&request);
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, BODY_BYTES_MAX).await.map_err(|_| invalid("the body is not a form"))?;
    let form: TokenRequest = parse_form(&bytes)?;
    let token = match form.grant_type.as_str() {
        "client_credentials" => by_credentials(&app, &form, &parts.headers, &peer).await?,
        "urn:ietf:params:oauth:grant-type:token-exchange" => by_exchange(&app, form, &peer).await?,
        other => {
            return Err(TokenError {
                status: StatusCode::BAD_REQUEST,
                error: "unsupported_grant_type",
                description: format!("grant type `{other}` is unknown; use client_credentials"),
            });
        }
    };
    Ok(Json(token).into_response())
}

fn parse_form(bytes: &Bytes) -> Result<TokenRequest, TokenError> {
    let request = axum::http::Request::builder()
        .uri(format!("/?{}", String::from_utf8_lossy(bytes)))
        .body(())
        .map_err(|_| invalid("the body is not a form"))?;
    axum::extract::Query::<TokenRequest>::try_from_uri(request.uri())
        .map(|query| query.0)
        .map_err(|error| invalid(error.body_text()))
}

async fn by_credentials(
    app: &App,
    form: &TokenRequest,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Token, TokenError> {
    let header =
        headers.get("authorization").and_then(|value| value.to_str().ok()).map(credentials_of_header);
    let (id, secret) = match (&form.client_secret, header) {
        (Some(secret), _) => (form.client_id.clone().unwrap_or_default(), secret.clone()),
        (None, Some(Credentials::Password { user, password })) => (user, password.expose().to_string()),
        (None, _) => return Err(invalid("client_id and client_secret are missing")),
    };
    // A whole key as the secret, its two halves as id and secret, or a user with a password.
    for key in [secret.clone(), format!("{KEY_PREFIX}{}_{secret}", id.trim_start_matches(KEY_PREFIX))] {
        if key.starts_with(KEY_PREFIX) && is_key(app, &key, peer).await? {
            return Ok(token(key, None));
        }
    }
    if is_open(app, peer).await? {
        return Ok(token("open".to_string(), None));
    }
    let session = app
        .state
        .access
        .log_in(&id, &SecretValue::new(secret), peer)
        .await
        .map_err(|error| refused(&error))?;
    Ok(token(format!("{SESSION_PREFIX}{}", session.token.expose()), Some(session.lasts.as_secs())))
}

async fn by_exchange(app: &App, form: TokenRequest, peer: &Peer) -> Result<Token, TokenError> {
    let subject = form.subject_token.ok_or_else(|| invalid("subject_token is missing"))?;
    let credentials = credentials_of_token(&subject);
    app.state.access.authenticate(&credentials, peer).await.map_err(|error| refused(&error))?;
    Ok(token(subject, None))
}

async fn is_open(app: &App, peer: &Peer) -> Result<bool, TokenError> {
    app.state
        .access
        .is_authentication_required(peer)
        .await
        .map(|required| !required)
        .map_err(|error| refused(&error))
}

async fn is_key(app: &App, key: &str, peer: &Peer) -> Result<bool, TokenError> {
    if is_open(app, peer).await? {
        return Ok(false);
    }
    match app.state.access.authenticate(&Credentials::key(key), peer).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_unauthenticated() => Ok(false),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &tarn_access::AccessError) -> TokenError {
    let refusal = Refusal::of(error);
    TokenError { status: refusal.status, error: "invalid_client", description: refusal.text() }
}

fn token(access_token: String, expires_in: Option<u64>) -> Token {
    Token {
        access_token,
        token_type: "bearer",
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        expires_in,
    }
}
