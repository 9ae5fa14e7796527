//! Tables of a REST catalog (Iceberg REST catalog specification): where they lie, and with which keys they are read.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use iceberg::spec::TableMetadata;
use parking_lot::Mutex;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tarn_component::Secret;
use tarn_core::files::FilesFault;
use tarn_core::{FaultKind, FaultReport, RequestContext};

use super::CatalogOptions;
use crate::files::FileReaders;
use crate::files::config::FilesConfig;
use crate::sources::file::config::BucketConfig;

const TIMEOUT: Duration = Duration::from_secs(60);
/// An answer larger than this is none.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// Between the levels of a namespace.
const LEVELS: &str = "\u{1f}";
/// Files read before a catalog is asked for keys again: they hold an hour or so.
const USES_MAX: u32 = 64;
/// Tables whose keys are kept.
const TABLES_MAX: usize = 64;

/// Keys of a bucket that a catalog gave out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Credentials(BucketConfig);

impl Credentials {
    fn of(properties: &HashMap<String, String>) -> Option<Self> {
        let of = |names: &[&str]| names.iter().find_map(|name| properties.get(*name)).cloned();
        let secret = |name: &str| of(&[name]).map(Secret::new);
        let endpoint = of(&["s3.endpoint"]);
        let keys = BucketConfig {
            region: of(&["s3.region", "client.region"]),
            access_key_id: of(&["s3.access-key-id"]),
            secret_access_key: secret("s3.secret-access-key"),
            session_token: secret("s3.session-token"),
            allow_http: endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")),
            endpoint,
        };
        (keys != BucketConfig::default()).then_some(Self(keys))
    }

    /// A configuration with these keys, where it has none of its own.
    pub(crate) fn over(&self, config: &FilesConfig) -> FilesConfig {
        let mut config = config.clone();
        let (own, given) = (&mut config.s3, &self.0);
        if own.access_key_id.is_none() {
            own.access_key_id.clone_from(&given.access_key_id);
            own.secret_access_key.clone_from(&given.secret_access_key);
            own.session_token.clone_from(&given.session_token);
        }
        own.region = own.region.take().or_else(|| given.region.clone());
        if own.endpoint.is_none() {
            own.endpoint.clone_from(&given.endpoint);
            own.allow_http = own.allow_http || given.allow_http;
        }
        config
    }
}

/// Keys that were given out lately, by table.
#[derive(Debug, Default)]
pub(crate) struct Vended(Mutex<VecDeque<(String, Option<Credentials>, u32)>>);

impl Vended {
    fn get(&self, key: &str) -> Option<Option<Credentials>> {
        let mut all = self.0.lock();
        let known = all.iter_mut().find(|(known, ..)| known == key)?;
        known.2 += 1;
        (known.2 < USES_MAX).then(|| known.1.clone())
    }

    fn put(&self, key: String, credentials: Option<Credentials>) {
        let mut all = self.0.lock();
        all.retain(|(known, ..)| *known != key);
        all.push_back((key, credentials, 0));
        if all.len() > TABLES_MAX {
            all.pop_front();
        }
    }
}

/// A configuration with the keys that the table's catalog gives out. Errors: those of the catalog.
pub(crate) async fn with_credentials(
    files: &FileReaders,
    ctx: &RequestContext,
    config: FilesConfig,
) -> Result<FilesConfig, FilesFault> {
    let Some(catalog) = config.iceberg.catalog.as_ref().filter(|_| config.s3.access_key_id.is_none()) else {
        return Ok(config);
    };
    let who = catalog.client_id.as_deref().unwrap_or_default();
    let token =
        catalog.token.as_ref().map(|token| crate::records::Fingerprint::new().add(token.expose().as_bytes()));
    let token = token.map_or(0, crate::records::Fingerprint::value);
    let key = format!("{}|{}|{who}|{token}|{}", ctx.tenant.as_str(), catalog.url, config.path);
    let credentials = match files.vended.get(&key) {
        Some(known) => known,
        None => {
            let loaded = load(catalog, &config.path).await?.credentials;
            files.vended.put(key, loaded.clone());
            loaded
        }
    };
    Ok(credentials.map_or_else(|| config.clone(), |own| own.over(&config)))
}

/// A table as a catalog knows it.
pub(super) struct Loaded {
    pub(super) metadata: TableMetadata,
    pub(super) credentials: Option<Credentials>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigAnswer {
    defaults: HashMap<String, Option<String>>,
    overrides: HashMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct TableAnswer {
    metadata: Value,
    #[serde(default)]
    config: HashMap<String, String>,
    #[serde(default, rename = "storage-credentials")]
    credentials: Vec<StorageCredentials>,
}

#[derive(Deserialize)]
struct StorageCredentials {
    #[serde(default)]
    config: HashMap<String, String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
}

fn fault(kind: FaultKind, message: String, hint: &str) -> FilesFault {
    FilesFault(FaultReport { kind, message, hint: Some(hint.to_string()) })
}

/// Errors: an address that is none, or that only this machine's cloud answers.
async fn checked(field: &str, text: &str) -> Result<Url, FilesFault> {
    let wrong = || {
        FilesFault::invalid(
            format!("`iceberg.catalog.{field}`: `{text}` is no address of a server"),
            "write it like `https://catalog.example.com/api/catalog`",
        )
    };
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    let host = url.host_str().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_string();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| {
        let what = format!("the catalog at `{host}` is not found: {error}");
        fault(FaultKind::Unavailable, what, "check the address")
    })?;
    let is_local_link = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local())
        }
    };
    let forbidden = "the address of a cloud's own metadata is no catalog";
    if found.into_iter().any(|address| is_local_link(address.ip())) {
        return Err(fault(FaultKind::Denied, format!("`{host}`: {forbidden}"), "name a catalog"));
    }
    Ok(url)
}

fn below(url: &Url, parts: &[&str]) -> Url {
    let mut url = url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
        segments.extend(parts);
    }
    url
}

async fn body_of(mut response: Response) -> Result<Vec<u8>, FilesFault> {
    let gone = |error: reqwest::Error| {
        fault(FaultKind::Unavailable, format!("the catalog's answer ended early: {error}"), "try again")
    };
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(gone)? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(FilesFault::invalid("the catalog's answer is too large", "check the address"));
        }
    }
    Ok(body)
}

/// The answer to a request. Errors: none, or a refusal, with the catalog's reason.
async fn answer(request: RequestBuilder, what: &str) -> Result<Vec<u8>, FilesFault> {
    let response = request.send().await.map_err(|error| {
        let error = tarn_core::chain_text(&error.without_url());
        fault(FaultKind::Unavailable, format!("the catalog does not answer: {error}"), "check the address")
    })?;
    let status = response.status();
    let body = body_of(response).await?;
    if status.is_success() {
        return Ok(body);
    }
    let said: Option<Value> = serde_json::from_slice(&body).ok();
    let said = said.as_ref().and_then(|said| {
        said.pointer("/error/message").or_else(|| said.get("error_description")).or_else(|| said.get("error"))
    });
    let said = said.and_then(Value::as_str).map(|said| format!(": {}", crate::files::infer::cut(said, 300)));
    let (kind, hint) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (FaultKind::Denied, "check token or client and secret")
        }
        StatusCode::NOT_FOUND => {
            (FaultKind::NotFound, "check the table's name (`namespace.table`), address and warehouse")
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            (FaultKind::Unavailable, "try again later")
        }
        _ => (FaultKind::Invalid, "check address, warehouse and the table's name"),
    };
    Err(fault(
        kind,
        format!("{what}: the catalog answers {}{}", status.as_u16(), said.unwrap_or_default()),
        hint,
    ))
}

fn parsed<T: for<'de> Deserialize<'de>>(body: &[u8], what: &str) -> Result<T, FilesFault> {
    serde_json::from_slice(body).map_err(|error| {
        FilesFault::invalid(
            format!("{what}: the answer is none of an Iceberg REST catalog: {error}"),
            "check the address",
        )
    })
}

async fn token(client: &Client, options: &CatalogOptions, url: &Url) -> Result<Option<String>, FilesFault> {
    let (id, secret) = match (&options.token, &options.client_id, &options.client_secret) {
        (Some(token), None, None) => return Ok(Some(token.expose().to_string())),
        (None, None, None) => return Ok(None),
        (None, Some(id), Some(secret)) => (id, secret),
        _ => {
            return Err(FilesFault::invalid(
                "`iceberg.catalog` has neither a token alone nor a client with its secret",
                "give `token`, or `client_id` and `client_secret`",
            ));
        }
    };
    let at = match &options.oauth_url {
        Some(oauth) => checked("oauth_url", oauth).await?,
        None => below(url, &["v1", "oauth", "tokens"]),
    };
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret.expose()),
        ("scope", options.scope.as_deref().unwrap_or("catalog")),
    ];
    let what = "a token";
    let answer: TokenAnswer = parsed(&answer(client.post(at).form(&form), what).await?, what)?;
    Ok(Some(answer.access_token))
}

/// Loads a table by its name, `namespace.table`. Errors: those of the catalog.
pub(super) async fn load(options: &CatalogOptions, table: &str) -> Result<Loaded, FilesFault> {
    let (namespace, name) =
        table.trim().rsplit_once('.').filter(|(a, b)| !a.is_empty() && !b.is_empty()).ok_or_else(|| {
            FilesFault::invalid(
                format!("`{table}` is no table of a catalog"),
                "with a catalog, `path` is the table's name there: `namespace.table`",
            )
        })?;
    let url = checked("url", &options.url).await?;
    let client =
        Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build().map_err(
            |error| fault(FaultKind::Internal, format!("no client can be made: {error}"), "report this"),
        )?;
    let token = token(&client, options, &url).await?;
    let get = |url: Url| {
        let request = client.get(url);
        match &token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    let mut at = below(&url, &["v1", "config"]);
    if let Some(warehouse) = &options.warehouse {
        at.query_pairs_mut().append_pair("warehouse", warehouse);
    }
    let what = "the catalog's configuration";
    let config: ConfigAnswer = parsed(&answer(get(at), what).await?, what)?;
    let of = |name: &str| {
        let own = config.overrides.get(name).or_else(|| config.defaults.get(name));
        own.cloned().flatten()
    };
    let prefix = of("prefix").unwrap_or_default();
    let mut parts = vec!["v1"];
    parts.extend(prefix.split('/').filter(|part| !part.is_empty()));
    let levels = namespace.replace('.', LEVELS);
    parts.extend(["namespaces", levels.as_str(), "tables", name]);
    let request = get(below(&url, &parts)).header("X-Iceberg-Access-Delegation", "vended-credentials");
    let what = format!("table `{table}`");
    let answer: TableAnswer = parsed(&answer(request, &what).await?, &what)?;
    let metadata = serde_json::from_value(answer.metadata).map_err(|error| {
        FilesFault::invalid(
            format!("{what}: its metadata cannot be read: {error}"),
            "versions 1, 2 and 3 are read",
        )
    })?;
    let mut properties: HashMap<String, String> =
        config.defaults.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    properties.extend(answer.config);
    properties.extend(config.overrides.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if let Some(first) = answer.credentials.into_iter().next() {
        properties.extend(first.config);
    }
    Ok(Loaded { metadata, credentials: Credentials::of(&properties) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_put_together_and_names_stay_whole() {
        let url = Url::parse("https://host/api/catalog/").expect("a URL");
        let levels = format!("a{LEVELS}b c");
        let made = below(&url, &["v1", "p", "namespaces", &levels, "tables", "x/y"]);
        assert_eq!(made.as_str(), "https://host/api/catalog/v1/p/namespaces/a%1Fb%20c/tables/x%2Fy");
    }

    #[tokio::test]
    async fn a_cloud_s_own_addresses_are_refused() {
        for (address, kind) in [
            ("http://169.254.169.254/latest", FaultKind::Denied),
            ("http://[fe80::1]/", FaultKind::Denied),
            ("http://[::ffff:169.254.169.254]/", FaultKind::Denied),
            ("ftp://127.0.0.1/", FaultKind::Invalid),
            ("http://user:pass@127.0.0.1/", FaultKind::Invalid),
            ("nonsense", FaultKind::Invalid),
        ] {
            assert_eq!(checked("url", address).await.expect_err(address).0.kind, kind, "{address}");
        }
        assert!(checked("url", "http://127.0.0.1:8181").await.is_ok());
    }

    #[test]
    fn keys_of_a_catalog_stand_back_behind_those_that_are_given() {
        let properties =
            [("s3.access-key-id", "id"), ("s3.secret-access-key", "s"), ("s3.endpoint", "http://h")];
        let properties = properties.into_iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let given = Credentials::of(&properties).expect("keys");
        let config = |json: Value| FilesConfig::parse(&json).expect("valid");
        let made = given.over(&config(serde_json::json!({ "path": "a.b" })));
        assert_eq!((made.s3.access_key_id.as_deref(), made.s3.allow_http), (Some("id"), true));
        let own = config(
            serde_json::json!({ "path": "a.b", "s3": { "access_key_id": "mine", "endpoint": "https://e" } }),
        );
        let made = given.over(&own);
        assert_eq!(made.s3.access_key_id.as_deref(), Some("mine"));
        assert_eq!((made.s3.endpoint.as_deref(), made.s3.secret_access_key), (Some("https://e"), None));
        assert!(Credentials::of(&HashMap::new()).is_none());
    }
}
