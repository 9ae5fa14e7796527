//! Reading requests: bodies, paths and query strings, with errors in the shape of the API.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::App;
use super::error::ApiError;

/// The body as JSON. Nesting deeper than 128 levels is refused by the parser.
pub(crate) struct ApiJson<T>(pub T);

/// The body as bytes, at most `http.body_bytes_max` after decompression.
pub(crate) struct ApiBytes(pub Bytes);

/// Parts of the path.
pub(crate) struct ApiPath<T>(pub T);

/// The query string.
pub(crate) struct ApiQuery<T>(pub T);

impl FromRequest<App> for ApiBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let limit = app.config.http.body_bytes_max.0;
        read_body(request.into_body(), limit).await.map(Self).map_err(|error| match error {
            BodyError::TooLarge => ApiError::too_large(limit, "server.http.body_bytes_max"),
            BodyError::Broken(what) => ApiError::invalid(format!("could not read the body: {what}")),
        })
    }
}

impl<T: DeserializeOwned> FromRequest<App> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // A form cannot be JSON by accident: browsers send forms across origins without asking.
        if content_type.is_some_and(|name| !name.to_ascii_lowercase().contains("json")) {
            return Err(
                ApiError::invalid("the body must be JSON").hint("send `Content-Type: application/json`")
            );
        }
        let ApiBytes(bytes) = ApiBytes::from_request(request, app).await?;
        parse_json(&bytes).map(Self)
    }
}

/// Parses JSON, naming the place of an error. Errors: `invalid`.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(value) = Path::<T>::from_request_parts(parts, app).await.map_err(|error| {
            ApiError::invalid(format!("the path is not as expected: {}", error.body_text()))
        })?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned> FromRequestParts<App> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(value) = Query::<T>::from_request_parts(parts, app).await.map_err(|error| {
            ApiError::invalid(format!("the query string is not as expected: {}", error.body_text()))
        })?;
        Ok(Self(value))
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// The connection or the compression broke.
    Broken(String),
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_body(body: Body, limit: u64) -> Result<Bytes, BodyError> {
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| BodyError::Broken(tarn_core::chain_text(&error)))?;
        if (whole.len() as u64).saturating_add(chunk.len() as u64) > limit {
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
