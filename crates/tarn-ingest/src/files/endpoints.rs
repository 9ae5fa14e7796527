//! Which servers imports may ask: S3 servers and catalogs. Whoever may import could otherwise let this server call any address of its network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::files::FilesFault;
use tarn_core::{ByteSize, FaultKind, FaultReport};
use url::{Host, Url};

use super::config::FilesConfig;

/// What imports may reach and hold.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// S3-compatible servers and Iceberg REST catalogs that an import or `read_csv(...)` may name, beside Amazon's own and
    /// those of `lakehouse.storage` and `query.exports`: `"https://minio.example.com:9000"`, `"http://10.0.0.5:9000"`, a
    /// host (`https` is meant), `"*.aliyuncs.com"` for all hosts of a domain, or `"*"`. While all protocols listen on
    /// loopback only, every server may be named. Link-local addresses, where clouds keep credentials of machines, never may.
    pub endpoints: Vec<String>,
    /// Largest Excel workbook that is read, such as `"256MiB"`. It is held in memory, and its texts may take twice as much.
    pub workbook_max: ByteSize,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { endpoints: Vec::new(), workbook_max: ByteSize(256 << 20) }
    }
}

/// Amazon's own servers.
const AMAZON: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// One server, or all of a domain.
#[derive(Clone, Debug, PartialEq)]
struct Allowed {
    scheme: String,
    /// In small letters; `.example.com` for all hosts of a domain.
    host: String,
    port: u16,
}

/// The servers that may be asked.
#[derive(Clone, Debug, Default)]
pub struct EndpointRules {
    allowed: Vec<Allowed>,
    any: bool,
}

/// The host of an entry with `*.` in front stands below this one, since a star is no host.
const BELOW: &str = "star-stands-here";

fn allowed(entry: &str) -> Result<Allowed, String> {
    let wrong = || format!("`{entry}` is no address of a server; write `https://host:port` or `*.domain`");
    let full = if entry.contains("://") { entry.to_string() } else { format!("https://{entry}") };
    let readable = full.replacen("://*.", &format!("://{BELOW}."), 1);
    let url = Url::parse(&readable).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    let host = host.strip_prefix(BELOW).unwrap_or(host).to_string();
    let is_plain = matches!(url.scheme(), "http" | "https")
        && !host.contains('*')
        && url.username().is_empty()
        && matches!(url.path(), "" | "/");
    let port = url.port_or_known_default().filter(|_| is_plain).ok_or_else(wrong)?;
    Ok(Allowed { scheme: url.scheme().to_string(), host, port })
}

impl Allowed {
    fn is(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let is_host = match self.host.starts_with('.') {
            true => host.ends_with(&self.host),
            false => host == self.host,
        };
        is_host && self.scheme == url.scheme() && Some(self.port) == url.port_or_known_default()
    }
}

/// Where clouds keep credentials of machines.
fn is_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => {
            let mapped = address.to_ipv4_mapped().is_some_and(|address| address.is_link_local());
            // Amazon's own lies among the unique local ones.
            let amazon = address.segments().starts_with(&[0xfd00, 0xec2]);
            mapped || amazon || address.segments()[0] & 0xffc0 == 0xfe80
        }
        _ => false,
    }
}

impl EndpointRules {
    /// `listed`: those of the configuration; `known`: those that the installation itself uses; `is_local`: whether only
    /// this machine can reach the server. Errors: an entry that is no address.
    pub fn new(listed: &[String], known: &[String], is_local: bool) -> Result<Self, String> {
        let any = is_local || listed.iter().any(|entry| entry == "*");
        let entries = listed.iter().filter(|entry| *entry != "*").chain(known);
        let allowed = entries.map(|entry| allowed(entry)).collect::<Result<_, _>>()?;
        Ok(Self { allowed, any })
    }

    /// Errors: `Denied` for a server that may not be asked.
    pub(crate) fn check(&self, endpoint: &str) -> Result<(), FilesFault> {
        let denied = |hint: String| {
            Err(FilesFault(FaultReport {
                kind: FaultKind::Denied,
                message: format!("`{endpoint}` is no server that imports may ask"),
                hint: Some(hint),
            }))
        };
        let Ok(url) = Url::parse(endpoint) else {
            let hint = "write it as `https://host:port`";
            return Err(FilesFault::invalid(format!("`{endpoint}` is no address of a server"), hint));
        };
        if is_link_local(&url) {
            return denied("a cloud's own metadata lies at such addresses; they are never asked".to_string());
        }
        let host = url.host_str().unwrap_or_default();
        let is_amazon = url.scheme() == "https"
            && url.port_or_known_default() == Some(443)
            && AMAZON.iter().any(|domain| host.ends_with(domain));
        if self.any || is_amazon || self.allowed.iter().any(|allowed| allowed.is(&url)) {
            return Ok(());
        }
        let origin = url.origin().ascii_serialization();
        denied(format!("an administrator can allow it in tarn.toml: `[ingest]` `endpoints = [\"{origin}\"]`"))
    }

    /// Whether the buckets and the catalog of a configuration may be read. Errors: `Denied`; a region that is none.
    pub(crate) fn check_config(&self, config: &FilesConfig) -> Result<(), FilesFault> {
        if let Some(catalog) = &config.iceberg.catalog {
            self.check(catalog.url.trim())?;
            catalog.oauth_url.as_deref().map_or(Ok(()), |url| self.check(url.trim()))?;
        }
        if let Some(endpoint) = &config.s3.endpoint {
            self.check(endpoint)?;
        }
        // It becomes a part of the host's name.
        match &config.s3.region {
            Some(region) if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                let hint = "write it as `eu-central-1`";
                Err(FilesFault::invalid(format!("`s3.region`: `{region}` is no region"), hint))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(listed: &[&str], is_local: bool, endpoint: &str) -> bool {
        let listed: Vec<String> = listed.iter().map(|entry| (*entry).to_string()).collect();
        let known = ["http://warehouse:9000".to_string()];
        EndpointRules::new(&listed, &known, is_local).expect("valid").check(endpoint).is_ok()
    }

    #[test]
    fn a_server_of_the_network_asks_only_what_is_listed() {
        for endpoint in [
            "https://s3.eu-central-1.amazonaws.com",
            "http://warehouse:9000",
            "https://minio.example.com",
            "https://minio.example.com:443/",
            "http://10.0.0.5:9000",
            "https://oss-cn-hangzhou.aliyuncs.com",
        ] {
            let listed = ["minio.example.com", "http://10.0.0.5:9000", "*.aliyuncs.com"];
            assert!(passes(&listed, false, endpoint), "{endpoint}");
            assert_eq!(
                passes(&[], false, endpoint),
                endpoint.contains("amazon") || endpoint.contains("warehouse")
            );
        }
        for endpoint in [
            "http://127.0.0.1:9000",
            "http://localhost:8080",
            "http://10.0.0.5:9001",
            "https://10.0.0.5:9000",
            "http://minio.example.com",
            "https://minio.example.com:8443",
            "https://minio.example.com@evil.example",
            "https://evilaliyuncs.com",
            "https://amazonaws.com.evil.example",
            "http://s3.amazonaws.com",
            "https://s3.amazonaws.com:8443",
            "http://[::1]:9000",
            "http://2130706433:9000",
            "file:///etc/passwd",
            "nonsense",
        ] {
            let listed = ["minio.example.com", "http://10.0.0.5:9000", "*.aliyuncs.com"];
            assert!(!passes(&listed, false, endpoint), "{endpoint}");
        }
    }

    #[test]
    fn a_server_of_one_machine_asks_all_but_the_addresses_of_credentials() {
        assert!(passes(&[], true, "http://127.0.0.1:9000"));
        assert!(passes(&["*"], false, "http://127.0.0.1:9000"));
        for endpoint in [
            "http://169.254.169.254",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::1]/",
        ] {
            assert!(!passes(&["*"], true, endpoint), "{endpoint}");
        }
    }

    #[test]
    fn entries_that_are_no_servers_are_told() {
        for entry in ["https://a/b", "ftp://a", "https://u@a", "a*b.com", ""] {
            let error = EndpointRules::new(&[entry.to_string()], &[], false).expect_err(entry);
            assert!(error.contains("no address"), "{error}");
        }
    }

    #[test]
    fn catalogs_are_checked_like_buckets() {
        let config = |catalog: serde_json::Value| {
            let config =
                serde_json::json!({ "path": "a.b", "format": "iceberg", "iceberg": { "catalog": catalog } });
            FilesConfig::parse(&config).expect("parsed")
        };
        let listed = ["https://catalog.example.com".to_string()];
        let rules = EndpointRules::new(&listed, &[], false).expect("valid");
        let known = "https://catalog.example.com/api/catalog";
        assert!(rules.check_config(&config(serde_json::json!({ "url": known }))).is_ok());
        for denied in [
            serde_json::json!({ "url": "http://10.0.0.5:8181" }),
            serde_json::json!({ "url": "http://catalog.example.com/api" }),
            serde_json::json!({ "url": known, "oauth_url": "https://evil.example/token" }),
        ] {
            let fault = rules.check_config(&config(denied.clone())).expect_err("denied");
            assert_eq!(fault.0.kind, FaultKind::Denied, "{denied}");
        }
    }

    #[test]
    fn a_region_cannot_move_the_host() {
        let config = |region: &str| {
            FilesConfig::parse(&serde_json::json!({ "path": "s3://b/", "s3": { "region": region } }))
                .expect("parsed")
        };
        let rules = EndpointRules::default();
        assert!(rules.check_config(&config("eu-central-1")).is_ok());
        assert!(rules.check_config(&config("evil.example/#")).is_err());
    }
}
