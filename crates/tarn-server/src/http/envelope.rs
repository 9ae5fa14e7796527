//! What surrounds every request: trace, log line, figures, caught panics, security headers.

use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tarn_core::TraceId;
use tracing::Instrument;

use super::App;
use super::error::ApiError;

/// Trace of the request, in extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(pub TraceId);

const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The console loads nothing from elsewhere. Styles are set by script in the component library and the editor, so
/// inline styles are allowed; scripts are not.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; \
     object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Middleware, the outermost one.
pub(crate) async fn envelope(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let trace = trace_of(request.headers()).unwrap_or_else(|| new_trace(&app));
    request.extensions_mut().insert(Trace(trace));
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    let started = app.env.clock.instant();
    let span = tracing::info_span!("http", %trace, %method, %path);

    let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = outcome.unwrap_or_else(|_| {
        span.in_scope(|| tracing::error!("a request panicked"));
        let mut error = ApiError::internal("the server failed on this request");
        error.detail.trace = Some(trace.to_string());
        error.hint("report it with the trace id and the log lines that carry it").into_response()
    });

    let elapsed = app.env.clock.instant() - started;
    app.meter.answered(elapsed, response.status().is_server_error());
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, elapsed_ms, "request answered"));
    seal(response.headers_mut(), trace);
    response
}

fn seal(headers: &mut HeaderMap, trace: TraceId) {
    for (name, value) in SECURITY_HEADERS {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    // Answers hold what the caller may see; only files of the console say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert(TRACE_ID, value);
    }
}

/// A new random trace.
pub(crate) fn new_trace(app: &App) -> TraceId {
    TraceId(app.env.entropy.uuid().as_u128())
}

/// The trace that a caller is in: W3C `00-<32 hex>-<16 hex>-<2 hex>`, not all zeros.
fn trace_of(headers: &HeaderMap) -> Option<TraceId> {
    parse_traceparent(headers.get("traceparent")?.to_str().ok()?)
}

/// The trace in the text of a `traceparent` header.
pub(crate) fn parse_traceparent(text: &str) -> Option<TraceId> {
    let mut parts = text.split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if version.len() != 2 || version == "ff" || trace.len() != 32 || parent.len() != 16 {
        return None;
    }
    if !is_hex(version) || !is_hex(trace) || !is_hex(parent) {
        return None;
    }
    u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0).map(TraceId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_over_only_when_it_is_well_formed() {
        let trace = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(text).unwrap());
            trace_of(&headers).map(|trace| trace.to_string())
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace("00-xyz"), None);
        assert_eq!(trace("nonsense"), None);
    }
}
