//! Gzip as clients send it.

use std::convert::Infallible;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use tower::{ServiceExt, service_fn};
use tower_http::compression::Compression;

/// `bytes`, compressed.
pub async fn gzip(bytes: Vec<u8>) -> Vec<u8> {
    let plain = service_fn(move |_: Request<Body>| {
        let body = Body::from(bytes.clone());
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let request = Request::builder().header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let answer = Compression::new(plain).oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    to_bytes(Body::new(answer.into_body()), usize::MAX).await.unwrap().to_vec()
}
