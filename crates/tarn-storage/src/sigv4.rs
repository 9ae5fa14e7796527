//! Signature Version 4 of Amazon Web Services, for requests that others send.
//!
//! The object store signs its own requests; this one signs a request as it was described, whatever its headers are
//! (AWS General Reference, "Create a signed AWS API request").

use chrono::{DateTime, Utc};
use ring::hmac;
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Keys of an account or of a role.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key.
    pub id: String,
    /// Secret of the access key.
    pub secret: String,
    /// Token of temporary keys.
    pub token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

/// What is signed of a request.
#[derive(Clone, Debug)]
pub struct Signable<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// The path, not encoded.
    pub path: &'a str,
    /// The query, not encoded.
    pub query: &'a [(String, String)],
    /// Names in small letters, values as they are sent; all are signed. `host` and `x-amz-date` are among them.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body in hexadecimal, or a word such as `UNSIGNED-PAYLOAD`.
    pub payload: &'a str,
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A time as the header `x-amz-date` has it.
pub fn amz_date(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Percent encoding of everything but the unreserved characters of RFC 3986; `keep` stays too.
fn encoded(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if keep.contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The value of the header `authorization`.
pub fn authorization(
    request: &Signable<'_>,
    keys: &Keys,
    at: DateTime<Utc>,
    region: &str,
    service: &str,
) -> String {
    let mut query: Vec<(String, String)> =
        request.query.iter().map(|(key, value)| (encoded(key, b""), encoded(value, b""))).collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let one_space = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut headers: Vec<(&str, String)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), one_space(value))).collect();
    headers.sort();
    let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let path = if request.path.is_empty() { "/" } else { request.path };
    let canonical = [
        request.method,
        // S3 encodes once; the only other service here has the path `/`.
        &encoded(path, b"/"),
        &query.join("&"),
        &lines,
        &signed,
        request.payload,
    ]
    .join("\n");
    let day = at.format("%Y%m%d").to_string();
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = [ALGORITHM, &amz_date(at), &scope, &sha256_hex(canonical.as_bytes())].join("\n");
    let mut key = hmac_sha256(format!("AWS4{}", keys.secret).as_bytes(), &day);
    for part in [region, service, "aws4_request"] {
        key = hmac_sha256(&key, part);
    }
    let signature = hex::encode(hmac_sha256(&key, &to_sign));
    format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", keys.id)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        payload: &str,
    ) -> String {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_string(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_string(),
            token: None,
        };
        let mut headers = pairs(headers);
        headers.extend(pairs(&[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", "20130524T000000Z"),
        ]));
        let query = pairs(query);
        let request = Signable { method, path, query: &query, headers: &headers, payload };
        let at = Utc.with_ymd_and_hms(2013, 5, 24, 0, 0, 0).unwrap();
        let text = authorization(&request, &keys, at, "us-east-1", "s3");
        text.rsplit_once("Signature=").unwrap().1.to_string()
    }

    /// The examples of the S3 API reference, "Authenticating Requests: Using the Authorization Header".
    #[test]
    fn the_examples_of_amazon_are_signed_as_amazon_signs_them() {
        assert_eq!(
            signature("GET", "/test.txt", &[], &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let put = signature(
            "PUT",
            "/test$file.text",
            &[],
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            &sha256_hex(b"Welcome to Amazon S3."),
        );
        assert_eq!(put, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
        assert_eq!(
            signature("GET", "/", &[("lifecycle", "")], &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", "/", &[("max-keys", "2"), ("prefix", "J")], &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }
}
