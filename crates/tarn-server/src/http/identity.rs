//! Who asks, found out once per request from the key, the password or the cookie it carries.

use std::fmt;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use tarn_access::{Credentials, Peer};
use tarn_core::{RequestContext, Role, TraceId};

use super::App;
use super::envelope::{Trace, new_trace};
use super::error::ApiError;
use crate::auth::{Refusal, credentials_of_header};
use crate::serve;

/// Name of the cookie of the console.
pub(crate) const SESSION_COOKIE: &str = "tarn_session";

/// Who asks, in the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Somebody we know.
    Known(RequestContext),
    /// Nobody, or a credential that is wrong. Fine for routes that ask for no role.
    Unknown(Refusal),
}

/// Middleware.
pub(crate) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let trace = request.extensions().get::<Trace>().map_or_else(|| new_trace(&app), |trace| trace.0);
    let credentials = credentials_of(request.headers());
    let peer = peer_of(&request);
    let identity = resolve(&app, credentials, &peer, trace).await;
    request.extensions_mut().insert(identity);
    next.run(request).await
}

async fn resolve(app: &App, credentials: Credentials, peer: &Peer, trace: TraceId) -> Identity {
    let access = &app.state.access;
    let found = match access.authenticate(&credentials, peer).await {
        // A cookie that ran out says nothing; the page shows the login.
        Err(_) if matches!(credentials, Credentials::Session(_)) => {
            access.authenticate(&Credentials::None, peer).await
        }
        other => other,
    };
    match found {
        Ok(identity) => Identity::Known(identity.context(trace)),
        Err(error) => Identity::Unknown(Refusal::of(&error)),
    }
}

/// Where a request comes from. What a proxy on this machine passes on is not of this machine.
pub(crate) fn peer_of(request: &Request) -> Peer {
    let headers = request.headers();
    let forwarded =
        ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
    match request.extensions().get::<serve::Peer>() {
        Some(serve::Peer(address)) if !forwarded => Peer::direct(address.ip()),
        Some(serve::Peer(address)) => Peer::forwarded(address.ip()),
        None => Peer::forwarded(std::net::Ipv4Addr::UNSPECIFIED.into()),
    }
}

/// What a request says about its sender; a key or password wins over a cookie.
pub(crate) fn credentials_of(headers: &HeaderMap) -> Credentials {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return credentials_of_header(value.to_str().unwrap_or_default());
    }
    match session_cookie(headers) {
        Some(token) => Credentials::session(token),
        None => Credentials::None,
    }
}

/// The token in the cookie of the console.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION_COOKIE).map(|(_, token)| token)
}

/// A caller who may read.
pub(crate) struct Viewer(pub RequestContext);

/// A caller who may write data and edit resources.
pub(crate) struct Editor(pub RequestContext);

/// A caller who may manage users, keys and secrets.
pub(crate) struct Admin(pub RequestContext);

/// A caller with at least `role`. Errors: 401 for nobody, 403 for somebody with a lesser role.
fn caller(parts: &Parts, role: Role) -> Result<RequestContext, ApiError> {
    let ctx = match parts.extensions.get::<Identity>() {
        Some(Identity::Known(ctx)) => ctx,
        Some(Identity::Unknown(refusal)) => return Err(refusal.to_api()),
        None => return Err(ApiError::unauthenticated("the caller is not known")),
    };
    if ctx.allows(role) {
        return Ok(ctx.clone());
    }
    let principal = &ctx.principal;
    Err(ApiError::denied(format!("`{}` may not do this", principal.name)).hint(format!(
        "it needs the role {}, and `{}` is {}",
        RoleName(role),
        principal.name,
        RoleName(principal.role)
    )))
}

struct RoleName(Role);

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Admin => "admin",
        })
    }
}

macro_rules! caller_extractor {
    ($name:ident, $role:expr) => {
        impl FromRequestParts<App> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
                caller(parts, $role).map(Self)
            }
        }
    };
}

caller_extractor!(Viewer, Role::Viewer);
caller_extractor!(Editor, Role::Editor);
caller_extractor!(Admin, Role::Admin);

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; xtarn_session=no"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2; tarn_session=yes"));
        assert_eq!(session_cookie(&headers), Some("yes"));
    }
}
