//! Asks a running Tarn over HTTP.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::Value;
use tarn_core::FaultKind;

use super::{Failure, Global};
use crate::project::{DataFolder, RunningServer};

/// The address of a Tarn started with default options.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// A client of one server.
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    kind: FaultKind,
    message: String,
    hint: Option<String>,
    position: Option<ErrorPosition>,
}

#[derive(Deserialize)]
struct ErrorPosition {
    line: u64,
    column: u64,
}

impl Client {
    /// For the server of the options: the one that is named, the one that runs on the project, or the default.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let base = match &global.server {
            Some(url) => url.trim_end_matches('/').to_string(),
            None => {
                let data = DataFolder::of(&global.project, global.data.as_deref());
                RunningServer::read(&data).map_or_else(|| DEFAULT_URL.to_string(), |running| running.url())
            }
        };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| Failure::internal(format!("could not set up HTTP: {error}")))?;
        Ok(Self { http, base, key: global.key.clone() })
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and gives the answer, whose status says that it succeeded.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let Ok(body) = serde_json::from_str::<ErrorBody>(&text) else {
            let text: String = text.chars().take(300).collect();
            return Err(Failure::internal(format!("{} answered {status}: {text}", self.base)));
        };
        let error = body.error;
        let message = match error.position {
            Some(at) => format!("line {}, column {}: {}", at.line, at.column, error.message),
            None => error.message,
        };
        // What the server says is for those who speak HTTP.
        let hint = match error.kind == FaultKind::Denied && self.key.is_none() {
            true => {
                Some("pass an API key with --key or TARN_API_KEY; `tarn access key create` makes one".into())
            }
            false => error.hint,
        };
        Err(Failure::new(error.kind, message, hint))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::new(
            FaultKind::Unavailable,
            format!("no Tarn answers at {}: {}", self.base, tarn_core::chain_text(error)),
            Some("start one with `tarn up` in the project folder, or name another with --server".into()),
        )
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .map_err(|error| Failure::internal(format!("{} sent no JSON: {error}", self.base)))
    }

    /// GET as JSON.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path)).await
    }

    /// GET as text.
    pub async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(self.request(Method::GET, path)).await?;
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// POST of JSON whose answer is read in pieces.
    pub async fn post_stream(&self, path: &str, body: &Value) -> Result<Response, Failure> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// PUT of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::PUT, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::DELETE, path)).await
    }
}

/// A name as one part of a path.
pub fn part(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
