//! The Iceberg REST catalog protocol over the catalog of the lakehouse. Its document is the specification of Apache
//! Iceberg, so it is not part of our OpenAPI document.

mod commits;
mod delegation;
mod error;
mod extract;
mod idempotency;
mod names;
mod namespaces;
mod oauth;
mod paging;
mod reports;
mod tables;
mod views;

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

pub(crate) use error::IcebergError;
use extract::Reader;

use crate::http::App;

/// Path of the protocol below the root of the server.
pub(crate) const ROOT: &str = "/iceberg";

/// Routes with the place of the prefix, as the protocol lists them in its configuration.
const ENDPOINTS: &[&str] = &[
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/sign",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/unregister",
    "POST /v1/{prefix}/tables/rename",
    "GET /v1/{prefix}/namespaces/{namespace}/views",
    "POST /v1/{prefix}/namespaces/{namespace}/views",
    "GET /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/namespaces/{namespace}/register-view",
    "POST /v1/{prefix}/views/rename",
    "POST /v1/{prefix}/transactions/commit",
];

/// First segments after `/v1/` that are not a prefix.
const NOUNS: &[&str] = &["config", "oauth", "namespaces", "tables", "transactions", "views"];

#[derive(Debug, Deserialize)]
struct NamespacePath {
    namespace: String,
}

#[derive(Debug, Deserialize)]
struct TablePath {
    namespace: String,
    table: String,
}

#[derive(Serialize)]
struct Config {
    defaults: BTreeMap<String, String>,
    overrides: BTreeMap<String, String>,
    endpoints: &'static [&'static str],
    #[serde(rename = "idempotency-key-lifetime")]
    idempotency_key_lifetime: &'static str,
}

/// The routes below [`ROOT`].
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/config", get(config))
        .route("/v1/oauth/tokens", post(oauth::tokens))
        .route("/v1/namespaces", get(namespaces::list).post(namespaces::create))
        .route(
            "/v1/namespaces/{namespace}",
            get(namespaces::get).head(namespaces::exists).delete(namespaces::delete),
        )
        .route("/v1/namespaces/{namespace}/properties", post(namespaces::update_properties))
        .route("/v1/namespaces/{namespace}/tables", get(tables::list).post(tables::create))
        .route(
            "/v1/namespaces/{namespace}/tables/{table}",
            get(tables::load).head(tables::exists).post(commits::commit).delete(tables::delete),
        )
        .route("/v1/namespaces/{namespace}/tables/{table}/metrics", post(reports::take).get(reports::list))
        .route("/v1/namespaces/{namespace}/tables/{table}/credentials", get(delegation::credentials))
        .route("/v1/namespaces/{namespace}/tables/{table}/sign", post(delegation::sign))
        .route("/v1/namespaces/{namespace}/tables/{table}/unregister", post(tables::unregister))
        .route("/v1/namespaces/{namespace}/views", get(views::list).post(views::create))
        .route(
            "/v1/namespaces/{namespace}/views/{view}",
            get(views::load).head(views::exists).post(views::commit).delete(views::delete),
        )
        .route("/v1/namespaces/{namespace}/register-view", post(views::register))
        .route("/v1/views/rename", post(views::rename))
        .route("/v1/namespaces/{namespace}/register", post(tables::register))
        .route("/v1/tables/rename", post(tables::rename))
        .route("/v1/transactions/commit", post(commits::transaction))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(app.clone(), idempotency::once))
        .with_state(app)
}

/// Drops the prefix of the protocol, of which we need none, before routing.
pub(crate) fn drop_prefix<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    if let Some(uri) = without_prefix(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn without_prefix(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix("/v1/")?;
    let (first, tail) = rest.split_once('/')?;
    let noun = tail.split('/').next().unwrap_or(tail);
    if NOUNS.contains(&first) || !NOUNS.contains(&noun) {
        return None;
    }
    let path = match uri.query() {
        Some(query) => format!("/v1/{tail}?{query}"),
        None => format!("/v1/{tail}"),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

async fn config(State(app): State<App>, Reader(_): Reader) -> Json<Config> {
    Json(Config {
        defaults: app.installation.iceberg_client.clone(),
        overrides: BTreeMap::new(),
        endpoints: ENDPOINTS,
        idempotency_key_lifetime: idempotency::LIFETIME_TEXT,
    })
}

async fn unknown(request: Request) -> IcebergError {
    let message = format!("this catalog has no endpoint {} {ROOT}{}", request.method(), request.uri().path());
    IcebergError { status: axum::http::StatusCode::NOT_FOUND, kind: "NotFoundException", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_dropped_and_nothing_else() {
        let dropped = |text: &str| without_prefix(&Uri::try_from(text).unwrap()).map(|uri| uri.to_string());
        assert_eq!(dropped("/v1/lake/namespaces?pageToken="), Some("/v1/namespaces?pageToken=".to_string()));
        assert_eq!(dropped("/v1/lake/transactions/commit"), Some("/v1/transactions/commit".to_string()));
        assert_eq!(dropped("/v1/namespaces/tables"), None);
        assert_eq!(dropped("/v1/namespaces/a/tables/b"), None);
        assert_eq!(dropped("/v1/config"), None);
    }
}
