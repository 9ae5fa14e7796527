//! Reading requests of the protocol, with errors in its own shape.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tarn_core::{RequestContext, Role};

use super::error::IcebergError;
use crate::http::App;
use crate::http::extract::{BodyError, read_body};
use crate::http::identity::Identity;

/// A caller who may read.
pub(crate) struct Reader(pub RequestContext);

/// A caller who may change tables.
pub(crate) struct Writer(pub RequestContext);

/// The body as JSON.
pub(crate) struct IcebergJson<T>(pub T);

/// Parts of the path. The optional prefix of the protocol is dropped before.
pub(crate) struct IcebergPath<T>(pub T);

/// The query string.
pub(crate) struct IcebergQuery<T>(pub T);

fn caller(parts: &Parts, role: Role) -> Result<RequestContext, IcebergError> {
    let ctx = match parts.extensions.get::<Identity>() {
        Some(Identity::Known(ctx)) => ctx,
        Some(Identity::Unknown(why)) => return Err(IcebergError::not_authorized(why.text())),
        None => return Err(IcebergError::not_authorized("the caller is not known")),
    };
    if !ctx.allows(role) {
        let name = &ctx.principal.name;
        return Err(IcebergError::forbidden(format!(
            "`{name}` may not change tables; that needs the role editor"
        )));
    }
    Ok(ctx.clone())
}

impl FromRequestParts<App> for Reader {
    type Rejection = IcebergError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, IcebergError> {
        caller(parts, Role::Viewer).map(Self)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = IcebergError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, IcebergError> {
        caller(parts, Role::Editor).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<App> for IcebergJson<T> {
    type Rejection = IcebergError;

    async fn from_request(request: Request, app: &App) -> Result<Self, IcebergError> {
        let limit = app.config.http.body_bytes_max.0;
        let bytes = read_body(request.into_body(), limit).await.map_err(|error| match error {
            BodyError::TooLarge => IcebergError::too_large(format!(
                "the body is larger than {}; raise server.http.body_bytes_max",
                app.config.http.body_bytes_max
            )),
            BodyError::Broken(what) => IcebergError::bad_request(format!("could not read the body: {what}")),
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| IcebergError::bad_request(format!("the body is not as expected: {error}")))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for IcebergPath<T> {
    type Rejection = IcebergError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, IcebergError> {
        let Path(value) = Path::<T>::from_request_parts(parts, app)
            .await
            .map_err(|error| IcebergError::bad_request(error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned> FromRequestParts<App> for IcebergQuery<T> {
    type Rejection = IcebergError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, IcebergError> {
        let Query(value) = Query::<T>::from_request_parts(parts, app)
            .await
            .map_err(|error| IcebergError::bad_request(error.body_text()))?;
        Ok(Self(value))
    }
}
