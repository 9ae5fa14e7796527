//! Where an object store lies and how it is reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_component::Secret;

/// A folder or a bucket prefix, and how to reach it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Where the objects lie: a folder (`lake`, `/data/lake`, `file:///data/lake`; a relative one lies in the data
    /// folder) or a bucket with an optional prefix (`s3://bucket/prefix`). Written as it is, without percent encoding.
    pub url: String,
    /// Address of an S3-compatible server, such as `http://127.0.0.1:9000`. Without it, Amazon's of the region.
    pub endpoint: Option<String>,
    /// Region of the bucket. Without it, `AWS_REGION`, then `us-east-1`.
    pub region: Option<String>,
    /// Access key. Without it, the environment (`AWS_ACCESS_KEY_ID`), then the machine's role.
    pub access_key_id: Option<String>,
    /// Secret of the access key.
    pub secret_access_key: Option<Secret>,
    /// Token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Whether plain HTTP is allowed; a plain endpoint is refused without it.
    pub allow_http: bool,
    /// Whether the bucket is part of the host name (`bucket.host`) and not of the path (`host/bucket`).
    pub virtual_hosted: bool,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            url: "lake".to_string(),
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            allow_http: false,
            virtual_hosted: false,
        }
    }
}

impl StorageConfig {
    /// A store at `url` with everything else by default.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}
