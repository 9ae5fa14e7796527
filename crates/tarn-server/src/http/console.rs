//! The console: files built from `web/`, embedded in the binary.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::ApiError;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../web/dist"]
#[allow_missing = true]
struct Files;

const INDEX: &str = "index.html";

/// Said in place of the console when the binary was built without it.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tarn</title>\
<body style=\"font: 16px/1.5 system-ui; max-width: 40rem; margin: 4rem auto\"><h1>Tarn is running</h1>\
<p>This binary was built without the console. Build it with <code>npm ci &amp;&amp; npm run build</code> in \
<code>web/</code>, then build the binary again.</p><p>The HTTP API is described in \
<a href=\"/openapi.json\">/openapi.json</a>.</p></body></html>";

/// Answers what no route answered: a file of the console, or its page, whose own router knows the path.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/iceberg/") {
        return ApiError::not_found(format!("there is no {} {path}", request.method()))
            .hint("see /openapi.json for what there is")
            .into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = ApiError::invalid(format!("`{path}` can only be read")).into_response();
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = Files::get(name).filter(|_| !name.is_empty()) {
        return file_response(name, &file, request.headers());
    }
    // A missing script must not be answered with the page: the browser would take the page for the script. Names of
    // topics and tables have dots, too.
    if is_file_name(name) {
        return ApiError::not_found(format!("there is no file `{path}`")).into_response();
    }
    match Files::get(INDEX) {
        Some(file) => file_response(INDEX, &file, request.headers()),
        None => Html(NOT_BUILT).into_response(),
    }
}

/// Whether a path asks for a file: below the folder of assets, at the top, or hidden. Pages are deeper.
fn is_file_name(name: &str) -> bool {
    let is_hidden = name.split('/').any(|part| part.starts_with('.'));
    name.starts_with("assets/") || is_hidden || (!name.contains('/') && name.contains('.'))
}

fn file_response(name: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex_text(&file.metadata.sha256_hash()));
    // Names of built assets carry a hash of their content.
    let cache = match name.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(file.data.clone().into_owned()).into_response(),
    };
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    for (name, value) in [(header::CONTENT_TYPE, kind.to_string()), (header::ETAG, tag)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

fn hex_text(bytes: &[u8; 32]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
