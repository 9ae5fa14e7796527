//! What is refused before it reaches a handler: foreign host names, cross-site writes, oversized bodies, what takes too
//! long, and what the router and the layers refuse by themselves; all in the shape of the protocol that was spoken.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tarn_core::FaultReport;

use super::App;
use super::error::ApiError;
use super::identity::Identity;
use crate::iceberg::{self, IcebergError};

const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// An error in the shape of the protocol that a path belongs to.
fn refuse(path: &str, error: ApiError) -> Response {
    let below = path.strip_prefix(iceberg::ROOT);
    if !below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        return error.into_response();
    }
    let (status, detail) = (error.status, error.detail);
    let report = FaultReport { kind: detail.kind, message: detail.message, hint: detail.hint };
    IcebergError::of_request(status, &report).into_response()
}

/// Middleware. The router tells a wrong method, and the decompression an unknown encoding, without a word.
pub(crate) async fn explain(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let response = next.run(request).await;
    if response.headers().contains_key(header::CONTENT_TYPE) {
        return response;
    }
    let told = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (name, value, message, hint) = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = told(header::ALLOW).unwrap_or_default();
            let message = format!("`{path}` cannot be asked with {method}");
            (header::ALLOW, allowed, message, format!("use {}", allowed.replace(',', ", ")))
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let known = told(header::ACCEPT_ENCODING).unwrap_or("gzip");
            let message = "the body is compressed in a way that is not known here".to_string();
            let hint = format!("send it as it is, or with `Content-Encoding: {known}`");
            (header::ACCEPT_ENCODING, known, message, hint)
        }
        _ => return response,
    };
    let error = ApiError { status: response.status(), ..ApiError::invalid(message).hint(hint) };
    let mut explained = refuse(&path, error);
    if let Ok(value) = HeaderValue::from_str(value) {
        explained.headers_mut().insert(name, value);
    }
    explained
}

/// Middleware. A page of another site can make a browser resolve its own name to our address (DNS rebinding) and then
/// read our answers; it cannot make the browser name us rightly.
pub(crate) async fn check_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = host_of(&request);
    let allowed = match host {
        Some(name) => is_host_allowed(name, &app.config.http.hosts, app.loopback),
        // HTTP/1.0 clients name no host; browsers always do.
        None => true,
    };
    if !allowed {
        let error = ApiError::denied(format!("this server is not called `{}`", host.unwrap_or_default()))
            .hint("add the name to `server.http.hosts` in the configuration, or use localhost");
        return refuse(request.uri().path(), error);
    }
    next.run(request).await
}

fn host_of(request: &Request) -> Option<&str> {
    let authority = match request.headers().get(header::HOST) {
        Some(value) => value.to_str().ok().or(Some("?")),
        None => request.uri().authority().map(|authority| authority.as_str()),
    };
    authority.map(without_port)
}

fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

fn is_host_allowed(name: &str, hosts: &[String], loopback: bool) -> bool {
    let name = name.to_ascii_lowercase();
    if LOOPBACK_NAMES.contains(&name.as_str()) || name.ends_with(".localhost") {
        return true;
    }
    if hosts.is_empty() { !loopback } else { hosts.iter().any(|host| host.eq_ignore_ascii_case(&name)) }
}

/// Middleware. Browsers send cookies, and reach an open server on loopback, also for pages of other sites; those pages
/// may not change anything. Programs send neither header; keys are not sent by browsers on their own.
pub(crate) async fn check_origin(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || request.headers().contains_key(header::AUTHORIZATION) || is_same_origin(&request) {
        return next.run(request).await;
    }
    let error = ApiError::denied("a page of another site may not change anything here");
    refuse(request.uri().path(), error)
}

fn is_same_origin(request: &Request) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// Middleware. Refuses a body by its announced length, before a byte of it is read; what comes without a length is
/// counted by whoever reads it.
pub(crate) async fn check_length(State(app): State<App>, request: Request, next: Next) -> Response {
    let http = &app.config.http;
    let (limit, option) = match is_push(request.uri().path()) {
        true => (http.push_bytes_max.0, "server.http.push_bytes_max"),
        false => (http.body_bytes_max.0, "server.http.body_bytes_max"),
    };
    match announced_length(request.headers()) {
        Some(length) if length > limit => refuse(request.uri().path(), ApiError::too_large(limit, option)),
        _ => next.run(request).await,
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_push(path: &str) -> bool {
    (path.starts_with("/api/v1/ingest/") && path.ends_with("/push")) || path == "/api/v1/imports/uploads"
}

/// Requests that last as long as their work: they carry a limit of their own.
fn lasts(path: &str) -> bool {
    is_push(path)
        || matches!(path, "/api/v1/events" | "/api/v1/query" | "/api/v1/imports")
        || path.ends_with("/compact")
}

/// Middleware. Ends a request after `http.request_timeout`, and tells the work behind it when its caller went away.
pub(crate) async fn limit_time(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_string();
    let lasts = lasts(&path);
    let limit = app.config.http.request_timeout.0;
    let mut gone = None;
    if let Some(Identity::Known(ctx)) = request.extensions_mut().get_mut::<Identity>() {
        // Fires when this future is dropped, which is what a closed connection does.
        gone = Some(ctx.cancel.clone().drop_guard());
        if !lasts {
            *ctx = ctx.clone().with_deadline(app.env.clock.instant() + limit);
        }
    }
    let response = if lasts {
        next.run(request).await
    } else {
        tokio::select! {
            response = next.run(request) => response,
            () = app.env.clock.sleep(limit) => {
                let limit = app.config.http.request_timeout;
                let error = ApiError::unavailable(format!("the request took longer than {limit}"))
                    .hint("ask for less at once, or raise `server.http.request_timeout` in the configuration");
                refuse(&path, error)
            }
        }
    };
    if let Some(gone) = gone {
        gone.disarm();
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn on_loopback_only_our_own_names_are_answered() {
        for name in ["localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]", "tarn.localhost", "LOCALHOST"] {
            assert!(is_host_allowed(without_port(name), &[], true), "{name}");
        }
        assert!(!is_host_allowed("evil.example", &[], true));
        assert!(is_host_allowed("lake.example", &["lake.example".to_string()], true));
        assert!(is_host_allowed("anything", &[], false));
        assert!(!is_host_allowed("anything", &["lake.example".to_string()], false));
    }

    fn post(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method("POST").uri("/api/v1/query");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn another_site_is_told_apart_by_either_header() {
        assert!(is_same_origin(&post(&[("host", "localhost:8080")])));
        assert!(is_same_origin(&post(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")])));
        assert!(is_same_origin(&post(&[
            ("sec-fetch-site", "same-origin"),
            ("host", "a"),
            ("origin", "http://b")
        ])));
        assert!(!is_same_origin(&post(&[("host", "localhost:8080"), ("origin", "http://evil.example")])));
        assert!(!is_same_origin(&post(&[("host", "localhost:8080"), ("origin", "null")])));
        assert!(!is_same_origin(&post(&[("sec-fetch-site", "cross-site")])));
        assert!(!is_same_origin(&post(&[("sec-fetch-site", "same-site")])));
    }
}
