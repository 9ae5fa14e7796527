//! Access to one folder of a bucket for somebody else: keys of a role for a while, or signatures of single requests.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ClientOptions;
use object_store::aws::AwsCredentialProvider;
use object_store::client::{HttpConnector, HttpRequestBody, ReqwestConnector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::HumanDuration;

use crate::error::StorageError;
use crate::sigv4::{Keys, Signable, amz_date, authorization, sha256_hex};

const TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The bounds of Amazon below, and ours above: keys that are lost should not live long.
const LIFETIME_MIN: Duration = Duration::from_secs(15 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

/// How clients of the catalog get at the files of a table in a bucket without keys of their own.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DelegationConfig {
    /// Role whose keys clients get for one table at a time, such as `arn:aws:iam::123456789012:role/lake`. Whatever it
    /// may do, they can do no more than read (viewers) or read and write (editors) below the table's location. Without it
    /// no keys are given out.
    pub role_arn: Option<String>,
    /// Address of the security token service. Without it, Amazon's of the region.
    pub sts_endpoint: Option<String>,
    /// How long keys live, from `"15m"` to `"1h"`.
    pub lifetime: HumanDuration,
    /// Word that the role asks for of whoever takes it on.
    pub external_id: Option<String>,
    /// Whether requests of clients are signed for them, one by one, which works with any S3.
    pub signing: bool,
}

impl Default for DelegationConfig {
    fn default() -> Self {
        Self {
            role_arn: None,
            sts_endpoint: None,
            lifetime: HumanDuration(Duration::from_secs(30 * 60)),
            external_id: None,
            signing: false,
        }
    }
}

impl DelegationConfig {
    /// Errors: `InvalidConfig`, a lifetime out of its bounds, a role that is none.
    pub fn check(&self) -> Result<(), StorageError> {
        let wrong = |what: &str, advice: &str| {
            Err(StorageError::InvalidConfig { what: what.to_string(), advice: advice.to_string() })
        };
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&self.lifetime.0) {
            return wrong("`lifetime` of delegated keys is out of bounds", "choose 15m to 1h");
        }
        match &self.role_arn {
            Some(arn) if !(arn.starts_with("arn:") && arn.split(':').count() >= 6) => wrong(
                "`role_arn` is not the name of a role",
                "write it like `arn:aws:iam::123456789012:role/lake`",
            ),
            _ => Ok(()),
        }
    }
}

/// A bucket as its owner reaches it.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) virtual_hosted: bool,
    pub(crate) allow_http: bool,
    pub(crate) keys: AwsCredentialProvider,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.name)
    }
}

/// Keys of a role, limited to a folder.
#[derive(Clone, Debug)]
pub struct VendedKeys {
    /// The keys.
    pub keys: Keys,
    /// When they end, in milliseconds since 1970-01-01 UTC.
    pub expires_ms: i64,
}

/// A request that was signed: what to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The address.
    pub uri: String,
    /// Headers to send beside those that the request has, names in small letters.
    pub headers: Vec<(String, String)>,
}

/// A request to S3, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Request {
    /// Scheme and authority.
    pub origin: String,
    /// The path with the bucket where it is part of it, decoded.
    pub path: String,
    /// The object's key; empty for the bucket itself.
    pub key: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
}

fn refused(what: impl Into<String>) -> StorageError {
    StorageError::InvalidConfig {
        what: what.into(),
        advice: "send requests for objects below the table's location".to_string(),
    }
}

/// Takes percent encoding away. `None`: it is broken, or not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) =
                    (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

impl Bucket {
    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the bucket is in this region, as far as we know.
    pub fn is_in(&self, region: &str) -> bool {
        region == self.region
    }

    /// Settings with which clients reach the bucket, by their usual names.
    pub fn client_settings(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("client.region", self.region.clone()), ("s3.region", self.region.clone())];
        if let Some(endpoint) = &self.endpoint {
            all.push(("s3.endpoint", endpoint.clone()));
            all.push(("s3.path-style-access", (!self.virtual_hosted).to_string()));
        }
        all
    }

    async fn own_keys(&self) -> Result<Keys, StorageError> {
        let found = self.keys.get_credential().await;
        let found = found.map_err(|error| StorageError::of(format!("s3://{}", self.name), error))?;
        Ok(Keys { id: found.key_id.clone(), secret: found.secret_key.clone(), token: found.token.clone() })
    }

    /// Takes a request apart. Errors: it is not for this bucket, or its path is not plain.
    pub fn parse(&self, uri: &str) -> Result<S3Request, StorageError> {
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| refused("the address lacks its scheme"))?;
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').map_or((before, ""), |(host, path)| (host, path));
        if uri.contains(['#', '\\', ' ', '\n', '\r']) || authority.contains('@') {
            return Err(refused("the address has parts that requests to S3 do not have"));
        }
        let path = decoded(path).ok_or_else(|| refused("the path is not encoded as it must be"))?;
        if path.split('/').any(|part| matches!(part, "." | "..")) || path.contains(['\\', '\0']) {
            return Err(refused("the path has `.` or `..` in it"));
        }
        let own_path = format!("{}/", self.name);
        let in_path = || match path == self.name {
            true => Some(String::new()),
            false => path.strip_prefix(&own_path).map(str::to_string),
        };
        let host = authority.to_ascii_lowercase();
        let key = match &self.endpoint {
            Some(endpoint) => {
                let (own_scheme, own_host) = endpoint.split_once("://").unwrap_or(("", endpoint));
                let own_host = own_host.trim_end_matches('/').to_ascii_lowercase();
                match scheme == own_scheme {
                    true if host == own_host => in_path(),
                    true if host == format!("{}.{own_host}", self.name) => Some(path.clone()),
                    _ => None,
                }
            }
            None => {
                let regional = format!("s3.{}.amazonaws.com", self.region);
                let known = [regional.as_str(), "s3.amazonaws.com"];
                let named: Vec<String> = known.iter().map(|host| format!("{}.{host}", self.name)).collect();
                match scheme == "https" {
                    true if known.contains(&host.as_str()) => in_path(),
                    true if named.contains(&host) => Some(path.clone()),
                    _ => None,
                }
            }
        };
        let key = key.ok_or_else(|| refused(format!("the address is not one of bucket `{}`", self.name)))?;
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
        });
        let query = pairs.collect::<Option<Vec<_>>>();
        let query = query.ok_or_else(|| refused("the query is not encoded as it must be"))?;
        Ok(S3Request { origin: format!("{scheme}://{authority}"), path: format!("/{path}"), key, query })
    }

    /// Signs a request with the bucket's own keys. `headers`: names in small letters. Errors: no keys are to be had.
    pub async fn sign(
        &self,
        uri: &str,
        request: &S3Request,
        method: &str,
        headers: Vec<(String, String)>,
        at: DateTime<Utc>,
    ) -> Result<SignedRequest, StorageError> {
        let keys = self.own_keys().await?;
        let given = headers.iter().find(|(name, _)| name == "x-amz-content-sha256");
        let payload = given.map_or_else(|| "UNSIGNED-PAYLOAD".to_string(), |(_, value)| value.clone());
        let given_payload = given.is_some();
        let own = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];
        // Headers that say something to S3; others may change on their way.
        let says = |name: &str| {
            (name.starts_with("x-amz-") && !own.contains(&name)) || matches!(name, "content-md5" | "range")
        };
        let mut signed: Vec<(String, String)> =
            headers.into_iter().filter(|(name, _)| says(name.as_str())).collect();
        let mut new = vec![
            ("x-amz-date".to_string(), amz_date(at)),
            ("x-amz-content-sha256".to_string(), payload.clone()),
        ];
        if let Some(token) = &keys.token {
            new.push(("x-amz-security-token".to_string(), token.clone()));
        }
        let host = request.origin.split_once("://").map_or("", |(_, host)| host);
        signed.push(("host".to_string(), host.to_string()));
        signed.extend(new.iter().cloned());
        let signable = Signable {
            method,
            path: &request.path,
            query: &request.query,
            headers: &signed,
            payload: &payload,
        };
        let value = authorization(&signable, &keys, at, &self.region, "s3");
        if given_payload {
            new.retain(|(name, _)| name != "x-amz-content-sha256");
        }
        new.push(("authorization".to_string(), value));
        Ok(SignedRequest { uri: uri.to_string(), headers: new })
    }

    /// Keys of the role in `config` that reach nothing but what lies below `folder` of the bucket. Errors: the service
    /// does not answer or refuses.
    pub async fn vend(
        &self,
        config: &DelegationConfig,
        folder: &str,
        writes: bool,
        who: &str,
        at: DateTime<Utc>,
    ) -> Result<VendedKeys, StorageError> {
        let Some(role) = &config.role_arn else { return Err(refused("no role is set to give out keys of")) };
        let endpoint = match &config.sts_endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_string(),
            None => format!("https://sts.{}.amazonaws.com", self.region),
        };
        let policy = policy(role, &self.name, folder, writes);
        let session: String = who
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "=,.@-".contains(c) { c } else { '-' })
            .take(48)
            .collect();
        let seconds = config.lifetime.0.as_secs().to_string();
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role.as_str()),
            ("DurationSeconds", seconds.as_str()),
            ("Policy", policy.as_str()),
        ];
        let session = format!("tarn-{session}");
        form.push(("RoleSessionName", &session));
        if let Some(word) = &config.external_id {
            form.push(("ExternalId", word));
        }
        let body: Vec<String> =
            form.iter().map(|(key, value)| format!("{key}={}", form_encoded(value))).collect();
        let answer = self.ask_sts(&endpoint, body.join("&"), at).await?;
        let part = |name: &str| tag(&answer, name);
        let (Some(id), Some(secret), Some(expires)) =
            (part("AccessKeyId"), part("SecretAccessKey"), part("Expiration"))
        else {
            return Err(unreadable(&endpoint));
        };
        let expires = DateTime::parse_from_rfc3339(&expires).map_err(|_| unreadable(&endpoint))?;
        let keys = Keys { id, secret, token: part("SessionToken") };
        Ok(VendedKeys { keys, expires_ms: expires.timestamp_millis() })
    }

    async fn ask_sts(&self, endpoint: &str, body: String, at: DateTime<Utc>) -> Result<String, StorageError> {
        let failed = |what: String| StorageError::InvalidConfig {
            what,
            advice: "check `role_arn` and `sts_endpoint` in `[lakehouse.delegation]`, and that the keys of \
                     `[lakehouse.storage]` may take the role on"
                .to_string(),
        };
        let keys = self.own_keys().await?;
        let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
        let payload = sha256_hex(body.as_bytes());
        let mut headers = vec![
            ("content-type".to_string(), "application/x-www-form-urlencoded; charset=utf-8".to_string()),
            ("host".to_string(), host.to_string()),
            ("x-amz-date".to_string(), amz_date(at)),
        ];
        if let Some(token) = &keys.token {
            headers.push(("x-amz-security-token".to_string(), token.clone()));
        }
        let signable =
            Signable { method: "POST", path: "/", query: &[], headers: &headers, payload: &payload };
        let value = authorization(&signable, &keys, at, &self.region, "sts");
        headers.push(("authorization".to_string(), value));
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(TIMEOUT)
            .with_allow_http(self.allow_http);
        let client = ReqwestConnector::default().connect(&options);
        let client = client.map_err(|error| failed(format!("the token service cannot be asked: {error}")))?;
        let mut request = http::Request::builder().method("POST").uri(format!("{endpoint}/"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(HttpRequestBody::from(Bytes::from(body)));
        let request = request.map_err(|_| failed("`sts_endpoint` is not an address".to_string()))?;
        let response = client.execute(request).await;
        let response = response.map_err(|_| failed(format!("`{endpoint}` does not answer")))?;
        let status = response.status().as_u16();
        let text =
            response.into_body().bytes().await.map_err(|_| failed(format!("`{endpoint}` broke off")))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        match status {
            200 => Ok(text),
            _ => {
                let why = tag(&text, "Message").unwrap_or_else(|| format!("status {status}"));
                Err(failed(format!("the token service refuses: {why}")))
            }
        }
    }
}

fn unreadable(endpoint: &str) -> StorageError {
    StorageError::InvalidConfig {
        what: format!("the answer of `{endpoint}` has no keys"),
        advice: "check that `sts_endpoint` in `[lakehouse.delegation]` is a security token service"
            .to_string(),
    }
}

/// The text between the first tags of a name.
fn tag(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = value.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(plain.replace("&apos;", "'").replace("&amp;", "&"))
}

fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// What keys may do: nothing but read, or read and write, below a folder.
fn policy(role: &str, bucket: &str, folder: &str, writes: bool) -> String {
    // `aws`, `aws-cn`, ...
    let partition = role.split(':').nth(1).unwrap_or("aws");
    let plain = folder.trim_matches('/').replace('$', "${$}").replace('*', "${*}").replace('?', "${?}");
    let mut actions = vec!["s3:GetObject", "s3:GetObjectVersion"];
    if writes {
        actions.extend([
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ]);
    }
    let bucket = format!("arn:{partition}:s3:::{bucket}");
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": actions, "Resource": format!("{bucket}/{plain}/*") },
            {
                "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket,
                "Condition": { "StringLike": { "s3:prefix": [format!("{plain}/*"), format!("{plain}/")] } },
            },
            { "Effect": "Allow", "Action": "s3:GetBucketLocation", "Resource": bucket },
        ],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::StaticCredentialProvider;
    use object_store::aws::AwsCredential;

    use super::*;

    fn bucket(endpoint: Option<&str>) -> Bucket {
        let credential = AwsCredential { key_id: "id".into(), secret_key: "secret".into(), token: None };
        Bucket {
            name: "lake".into(),
            region: "eu-west-1".into(),
            endpoint: endpoint.map(str::to_string),
            virtual_hosted: false,
            allow_http: true,
            keys: Arc::new(StaticCredentialProvider::new(credential)),
        }
    }

    #[test]
    fn addresses_of_the_bucket_are_taken_apart_and_no_others() {
        let own = bucket(Some("http://127.0.0.1:9000"));
        let parsed =
            own.parse("http://127.0.0.1:9000/lake/a%20b/c.parquet?partNumber=1&uploadId=x%2By").unwrap();
        assert_eq!(parsed.key, "a b/c.parquet");
        let query = [("partNumber", "1"), ("uploadId", "x+y")]
            .map(|(key, value)| (key.to_string(), value.to_string()));
        assert_eq!(parsed.query, query);
        assert_eq!(own.parse("http://127.0.0.1:9000/lake?list-type=2").unwrap().key, "");
        assert_eq!(own.parse("http://lake.127.0.0.1:9000/k").unwrap().key, "k");
        for other in [
            "http://127.0.0.1:9000/other/k",
            "http://127.0.0.1:9000/lakes/k",
            "https://127.0.0.1:9000/lake/k",
            "http://127.0.0.1:9001/lake/k",
            "http://evil.example/lake/k",
            "http://127.0.0.1:9000@evil.example/lake/k",
            "http://other.127.0.0.1:9000/k",
            "http://127.0.0.1:9000/lake/../other/k",
            "http://127.0.0.1:9000/lake/t/%2e%2e/u/k",
            "http://127.0.0.1:9000/lake/t/%2E./u/k",
            "http://127.0.0.1:9000/lake/t/%2f../k",
            "http://127.0.0.1:9000/lake/t/%zz",
            "http://127.0.0.1:9000/lake/t\\..\\u",
            "/lake/k",
        ] {
            assert!(own.parse(other).is_err(), "{other}");
        }
        let amazon = bucket(None);
        for good in [
            "https://lake.s3.eu-west-1.amazonaws.com/k",
            "https://s3.eu-west-1.amazonaws.com/lake/k",
            "https://lake.s3.amazonaws.com/k",
        ] {
            assert_eq!(amazon.parse(good).unwrap().key, "k", "{good}");
        }
        assert!(amazon.parse("https://lake.s3.us-east-1.amazonaws.com/k").is_err());
        assert!(amazon.parse("http://lake.s3.eu-west-1.amazonaws.com/k").is_err());
    }

    #[test]
    fn a_policy_names_one_folder_and_its_wildcards_are_plain() {
        let read: serde_json::Value =
            serde_json::from_str(&policy("arn:aws-cn:iam::1:role/r", "lake", "w/t*$x", false)).unwrap();
        let statement = &read["Statement"][0];
        assert_eq!(statement["Resource"], "arn:aws-cn:s3:::lake/w/t${*}${$}x/*");
        assert!(!statement.to_string().contains("PutObject"));
        assert!(policy("arn:aws:iam::1:role/r", "lake", "w", true).contains("s3:PutObject"));
    }

    #[test]
    fn keys_are_read_from_the_answer() {
        let xml = "<R><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>b/c+d&amp;</SecretAccessKey></Credentials></R>";
        assert_eq!(
            (tag(xml, "AccessKeyId").as_deref(), tag(xml, "SecretAccessKey").as_deref()),
            (Some("A"), Some("b/c+d&"))
        );
        assert_eq!(tag(xml, "SessionToken"), None);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        assert!(DelegationConfig::default().check().is_ok());
        let long = DelegationConfig {
            lifetime: HumanDuration(Duration::from_secs(7200)),
            ..DelegationConfig::default()
        };
        assert!(long.check().is_err());
        let none = DelegationConfig { role_arn: Some("lake".into()), ..DelegationConfig::default() };
        assert!(none.check().is_err());
    }
}
