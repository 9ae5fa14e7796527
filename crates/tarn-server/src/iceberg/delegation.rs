//! Access of clients to the files of one table: keys for a while (`vended-credentials`), or signatures of single requests
//! (`remote-signing`). Viewers get what reads and nothing that writes.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use chrono::DateTime;
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use tarn_core::{RequestContext, Role, TableName, chain_text};
use tarn_lakehouse::LoadedTable;
use tarn_storage::{Bucket, S3Request, VendedKeys};

use super::TablePath;
use super::error::IcebergError;
use super::extract::{IcebergJson, IcebergPath, Reader};
use super::names::table_to_read;
use crate::http::App;

const ASKED: HeaderName = HeaderName::from_static("x-iceberg-access-delegation");
const KEYS_KEPT_MAX: u64 = 10_000;
/// The longest that keys live.
const KEPT_MAX: Duration = Duration::from_secs(60 * 60);

/// Keys by who has them, of what, and whether they write.
static KEPT: LazyLock<Cache<(String, String, bool), VendedKeys>> =
    LazyLock::new(|| Cache::builder().max_capacity(KEYS_KEPT_MAX).time_to_live(KEPT_MAX).build());

type Settings = BTreeMap<String, String>;

/// What a client gets beside a table's metadata.
#[derive(Default)]
pub(super) struct Delegated {
    /// Settings, with keys where there are some.
    pub(super) config: Settings,
    /// The same keys with the place that they are for.
    pub(super) credentials: Vec<Credential>,
}

/// Keys and the place that they are for.
#[derive(Clone, Serialize)]
pub(super) struct Credential {
    prefix: String,
    config: Settings,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Credentials {
    storage_credentials: Vec<Credential>,
}

/// A request that a client wants signed (`RemoteSignRequest` of the specification).
#[derive(Deserialize)]
pub(super) struct SignRequest {
    region: String,
    uri: String,
    method: String,
    headers: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
pub(super) struct SignResult {
    uri: String,
    headers: BTreeMap<String, Vec<String>>,
}

/// The folder of a table in its bucket, without slashes around it.
fn folder(bucket: &Bucket, location: &str) -> Result<String, IcebergError> {
    let inside = location.split_once("://").and_then(|(_, rest)| rest.strip_prefix(bucket.name()));
    match inside.map(|rest| rest.trim_matches('/')) {
        Some(folder) if !folder.is_empty() => Ok(folder.to_string()),
        _ => Err(IcebergError::bad_request("the table does not lie in the bucket of this catalog")),
    }
}

/// What the header of a request asks for, if there is any of it for the table.
pub(super) async fn delegated(
    app: &App,
    ctx: &RequestContext,
    headers: &HeaderMap,
    name: &TableName,
    table: &LoadedTable,
) -> Result<Delegated, IcebergError> {
    let asked = headers.get_all(ASKED).iter().filter_map(|value| value.to_str().ok());
    let asked: Vec<&str> = asked.flat_map(|value| value.split(',')).map(str::trim).collect();
    let Some(bucket) = app.catalog().warehouse().bucket() else { return Ok(Delegated::default()) };
    let delegation = &app.installation.delegation;
    if asked.contains(&"vended-credentials") && delegation.role_arn.is_some() {
        let credential = vended(app, ctx, bucket, table.metadata.location()).await?;
        return Ok(Delegated { config: credential.config.clone(), credentials: vec![credential] });
    }
    if asked.contains(&"remote-signing") && delegation.signing {
        let mut config: Settings =
            bucket.client_settings().into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        let place =
            format!("v1/namespaces/{}/tables/{}/sign", name.namespace(), name.name().replace('$', "%24"));
        for (key, value) in [
            ("s3.remote-signing-enabled", "true"),
            // By which PyIceberg knows it.
            ("s3.signer", "S3V4RestSigner"),
            ("s3.signer.endpoint", &place),
            ("signer.endpoint", &place),
        ] {
            config.insert(key.to_string(), value.to_string());
        }
        return Ok(Delegated { config, credentials: Vec::new() });
    }
    Ok(Delegated::default())
}

async fn vended(
    app: &App,
    ctx: &RequestContext,
    bucket: &Bucket,
    location: &str,
) -> Result<Credential, IcebergError> {
    let folder = folder(bucket, location)?;
    let writes = ctx.allows(Role::Editor);
    let delegation = &app.installation.delegation;
    let who = ctx.principal.name.to_string();
    let key = (format!("{}/{who}", ctx.tenant), folder.clone(), writes);
    let now_ms = app.env.clock.now_ms();
    let half_ms = i64::try_from(delegation.lifetime.0.as_millis() / 2).unwrap_or(i64::MAX);
    let known = KEPT.get(&key).await.filter(|known| known.expires_ms - now_ms > half_ms);
    let vended = match known {
        Some(known) => known,
        None => {
            let at = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
            let fresh = bucket.vend(delegation, &folder, writes, &who, at).await.map_err(|error| {
                tracing::error!(error = chain_text(&error), "keys for a table cannot be given out");
                IcebergError {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    kind: "ServiceUnavailableException",
                    message: "keys for this table cannot be had now; the server's log says why".to_string(),
                }
            })?;
            KEPT.insert(key, fresh.clone()).await;
            fresh
        }
    };
    let mut config: Settings =
        bucket.client_settings().into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    config.insert("s3.access-key-id".to_string(), vended.keys.id);
    config.insert("s3.secret-access-key".to_string(), vended.keys.secret);
    if let Some(token) = vended.keys.token {
        config.insert("s3.session-token".to_string(), token);
    }
    config.insert("s3.session-token-expires-at-ms".to_string(), vended.expires_ms.to_string());
    Ok(Credential { prefix: format!("s3://{}/{folder}/", bucket.name()), config })
}

/// Keys for a table anew, before the old ones end.
pub(super) async fn credentials(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<TablePath>,
) -> Result<Json<Credentials>, IcebergError> {
    let name = table_to_read(&path.namespace, &path.table)?;
    let table = app.catalog().load_table(&ctx, &name).await?;
    let storage_credentials = match app.catalog().warehouse().bucket() {
        Some(bucket) if app.installation.delegation.role_arn.is_some() => {
            vec![vended(&app, &ctx, bucket, table.metadata.location()).await?]
        }
        _ => Vec::new(),
    };
    Ok(Json(Credentials { storage_credentials }))
}

/// Signs one request for a file of the table.
pub(super) async fn sign(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<TablePath>,
    IcebergJson(body): IcebergJson<SignRequest>,
) -> Result<Json<SignResult>, IcebergError> {
    let name = table_to_read(&path.namespace, &path.table)?;
    let table = app.catalog().load_table(&ctx, &name).await?;
    let bucket = match app.catalog().warehouse().bucket() {
        Some(bucket) if app.installation.delegation.signing => bucket,
        _ => {
            return Err(IcebergError::bad_request(
                "this catalog signs no requests; set `signing` in `[lakehouse.delegation]`",
            ));
        }
    };
    let folder = folder(bucket, table.metadata.location())?;
    let request = bucket.parse(&body.uri).map_err(|error| IcebergError::forbidden(error.to_string()))?;
    if !body.region.is_empty() && !bucket.is_in(&body.region) {
        return Err(IcebergError::bad_request(format!("the bucket is not in region `{}`", body.region)));
    }
    let method = body.method.to_ascii_uppercase();
    let headers: Vec<(String, String)> =
        body.headers.into_iter().map(|(key, values)| (key.to_ascii_lowercase(), values.join(","))).collect();
    check(&method, &request, &headers, &folder, ctx.allows(Role::Editor)).map_err(IcebergError::forbidden)?;
    let at = DateTime::from_timestamp_millis(app.env.clock.now_ms()).unwrap_or_default();
    let signed = bucket.sign(&body.uri, &request, &method, headers, at).await.map_err(|error| {
        tracing::error!(error = chain_text(&error), "a request cannot be signed");
        IcebergError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "ServiceUnavailableException",
            message: "requests cannot be signed now; the server's log says why".to_string(),
        }
    })?;
    let headers = signed.headers.into_iter().map(|(key, value)| (key, vec![value])).collect();
    Ok(Json(SignResult { uri: signed.uri, headers }))
}

const LISTING: &[&str] = &[
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "max-keys",
    "prefix",
    "start-after",
    "x-id",
];
/// Headers that reach beyond the object of a request, or change who may read it.
const FORBIDDEN: &[&str] = &[
    "x-amz-acl",
    "x-amz-bypass-",
    "x-amz-copy-source",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-tagging",
    "x-amz-website-",
];

/// Whether a request stays below `folder` and does what its caller may. The error says what it does instead.
fn check(
    method: &str,
    request: &S3Request,
    headers: &[(String, String)],
    folder: &str,
    writes: bool,
) -> Result<(), String> {
    let below = format!("{folder}/");
    if let Some((name, _)) =
        headers.iter().find(|(name, _)| FORBIDDEN.iter().any(|bad| name.starts_with(bad)))
    {
        return Err(format!("requests with the header `{name}` are not signed"));
    }
    let has = |name: &str| request.query.iter().any(|(key, _)| key == name);
    let only = |known: &[&str]| match request.query.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => Err(format!("requests with `?{key}` are not signed")),
        None => Ok(()),
    };
    if request.key.is_empty() {
        if method == "HEAD" {
            return only(&[]);
        }
        if has("delete") {
            return Err("files are deleted one by one here, not many at once".to_string());
        }
        only(LISTING)?;
        let prefixes = request.query.iter().filter(|(key, _)| key == "prefix").map(|(_, value)| value);
        let mut prefixes = prefixes.peekable();
        let lists_below = prefixes.peek().is_some() && prefixes.all(|prefix| prefix.starts_with(&below));
        return match method == "GET" && lists_below {
            true => Ok(()),
            false => Err("only what lies below the table's location is listed".to_string()),
        };
    }
    if !request.key.starts_with(&below) {
        return Err("the object does not lie below the table's location".to_string());
    }
    let reads = matches!(method, "GET" | "HEAD");
    if !reads && !writes {
        return Err("writing files needs the role editor".to_string());
    }
    match method {
        "GET" | "HEAD" => only(&["partNumber", "x-id"]),
        "PUT" => only(&["partNumber", "uploadId", "x-id"]),
        "DELETE" => only(&["uploadId", "x-id"]),
        "POST" if has("uploads") || has("uploadId") => only(&["uploads", "uploadId", "x-id"]),
        _ => Err(format!("requests of the method {method} are not signed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, query: &[(&str, &str)]) -> S3Request {
        let query = query.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        S3Request { key: key.to_string(), query, ..S3Request::default() }
    }

    fn verdict(method: &str, key: &str, query: &[(&str, &str)], writes: bool) -> bool {
        check(method, &request(key, query), &[], "w/main/s/t-1", writes).is_ok()
    }

    #[test]
    fn only_what_lies_below_the_table_is_signed() {
        assert!(verdict("GET", "w/main/s/t-1/data/a.parquet", &[("x-id", "GetObject")], false));
        assert!(verdict("HEAD", "w/main/s/t-1/metadata/0.json", &[], false));
        assert!(verdict(
            "PUT",
            "w/main/s/t-1/data/a.parquet",
            &[("partNumber", "1"), ("uploadId", "u")],
            true
        ));
        assert!(verdict("POST", "w/main/s/t-1/data/a.parquet", &[("uploads", "")], true));
        assert!(verdict("DELETE", "w/main/s/t-1/data/a.parquet", &[], true));
        assert!(verdict("GET", "", &[("list-type", "2"), ("prefix", "w/main/s/t-1/data")], false));
        for key in ["w/main/s/t-10/a", "w/main/s/t-1", "w/main/s/u/a", "a"] {
            assert!(!verdict("GET", key, &[], true), "{key}");
        }
        for query in [
            &[("prefix", "w/main/s")][..],
            &[],
            &[("prefix", "w/main/s/t-1/"), ("prefix", "")],
            &[("acl", "")],
        ] {
            assert!(!verdict("GET", "", query, true), "{query:?}");
        }
        for query in ["acl", "tagging", "versionId", "torrent", "policy"] {
            assert!(!verdict("GET", "w/main/s/t-1/a", &[(query, "")], true), "{query}");
        }
        assert!(!verdict("POST", "", &[("delete", "")], true));
        assert!(!verdict("POST", "w/main/s/t-1/a", &[], true));
        assert!(!verdict("PATCH", "w/main/s/t-1/a", &[], true));
    }

    #[test]
    fn viewers_read() {
        for method in ["PUT", "DELETE", "POST"] {
            assert!(!verdict(method, "w/main/s/t-1/a", &[("uploadId", "u")], false), "{method}");
        }
        let copy = [("x-amz-copy-source".to_string(), "/lake/other".to_string())];
        assert!(check("PUT", &request("w/main/s/t-1/a", &[]), &copy, "w/main/s/t-1", true).is_err());
    }
}
