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
/// How to say who asks.
const NOBODY: &str = "log in with `--user NAME` (or TARN_USER), which asks for the password, or with an API key in \
                      --key or TARN_API_KEY";

/// A client of one server.
pub struct Client {
    http: reqwest::Client,
    base: String,
    is_local: bool,
    login: Login,
}

/// Who the requests say they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    Nobody,
    Key(String),
    User { name: String, password: String },
}

impl Login {
    /// `ask`: gives the password of a user.
    fn of(global: &Global, ask: impl FnOnce(&str) -> Result<String, Failure>) -> Result<Self, Failure> {
        match (&global.user, &global.key) {
            (Some(name), _) => Ok(Self::User { name: name.clone(), password: ask(name)? }),
            (None, Some(key)) => Ok(Self::Key(key.clone())),
            (None, None) => Ok(Self::Nobody),
        }
    }

    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nobody => request,
            Self::Key(key) => request.bearer_auth(key),
            Self::User { name, password } => request.basic_auth(name, Some(password)),
        }
    }
}

/// The password of a user: from `TARN_PASSWORD`, or typed on the terminal even where standard input is a pipe.
fn password_of(name: &str) -> Result<String, Failure> {
    if let Some(password) = std::env::var("TARN_PASSWORD").ok().filter(|password| !password.is_empty()) {
        return Ok(password);
    }
    rpassword::prompt_password(format!("password of {name}: ")).map_err(|error| {
        Failure::invalid(
            format!("could not ask for the password of `{name}`: {error}"),
            "set TARN_PASSWORD where there is no terminal, or pass an API key with --key",
        )
    })
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
        let (base, is_local) = match &global.server {
            Some(url) => (url.trim_end_matches('/').to_string(), false),
            None => {
                let data = DataFolder::of(&global.project, global.data.as_deref());
                let running = RunningServer::read(&data).map(|running| running.url());
                let is_local = running.is_some();
                (running.unwrap_or_else(|| DEFAULT_URL.to_string()), is_local)
            }
        };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| Failure::internal(format!("could not set up HTTP: {error}")))?;
        Ok(Self { http, base, is_local, login: Login::of(global, password_of)? })
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.login.sign(self.http.request(method, format!("{}{path}", self.base)))
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
        let hint = match error.kind == FaultKind::Denied && self.login == Login::Nobody {
            true => Some(NOBODY.into()),
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

    /// Whether the server runs on this project, and so on this machine.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// POST of a file as it is.
    pub async fn upload(&self, path: &str, file: &std::path::Path) -> Result<Value, Failure> {
        let failed = |error: std::io::Error| super::io_failure("read", file, &error);
        let open = tokio::fs::File::open(file).await.map_err(failed)?;
        let size = open.metadata().await.map_err(failed)?.len();
        let pieces = futures::stream::unfold(open, |mut open| async move {
            let mut piece = vec![0; 1 << 20];
            match tokio::io::AsyncReadExt::read(&mut open, &mut piece).await {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some((Ok(piece), open))
                }
                Err(error) => Some((Err(error), open)),
            }
        });
        let body = reqwest::Body::wrap_stream(pieces);
        let request = self.request(Method::POST, path);
        let request = request.header(reqwest::header::CONTENT_LENGTH, size).body(body);
        self.json(request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream")).await
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

#[cfg(test)]
mod tests {
    use super::*;

    fn global(user: Option<&str>, key: Option<&str>) -> Global {
        Global {
            server: None,
            user: user.map(str::to_string),
            key: key.map(str::to_string),
            project: ".".into(),
            data: None,
            json: false,
        }
    }

    #[test]
    fn a_user_is_asked_for_the_password_and_wins_over_a_key() {
        let refuse = |_: &str| Err(Failure::internal("nobody is asked"));
        assert_eq!(Login::of(&global(None, None), refuse).unwrap(), Login::Nobody);
        assert_eq!(Login::of(&global(None, Some("k")), refuse).unwrap(), Login::Key("k".into()));
        let login = Login::of(&global(Some("li"), Some("k")), |name| Ok(format!("{name} a:b"))).unwrap();
        assert_eq!(login, Login::User { name: "li".into(), password: "li a:b".into() });
    }

    #[test]
    fn requests_carry_what_the_server_takes() {
        let header = |login: Login| {
            let request = reqwest::Client::new().get("http://127.0.0.1/");
            let request = login.sign(request).build().unwrap();
            request.headers().get("authorization").map(|value| value.to_str().unwrap().to_string())
        };
        assert_eq!(header(Login::Nobody), None);
        assert_eq!(header(Login::Key("tarn_x".into())).as_deref(), Some("Bearer tarn_x"));
        let user = Login::User { name: "li".into(), password: "a:b".into() };
        assert_eq!(header(user).as_deref(), Some("Basic bGk6YTpi"));
    }
}
