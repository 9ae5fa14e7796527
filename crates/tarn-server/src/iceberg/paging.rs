//! Pages of a sorted list of names. A token holds the last name of the page before.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::error::IcebergError;

const PAGE_SIZE_MAX: usize = 1_000;

/// The part of a query string that asks for a page. No `pageToken` at all means that the client knows no pages and
/// wants everything; an empty one is the first page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageRequest {
    pub page_token: Option<String>,
    pub page_size: Option<usize>,
    pub parent: Option<String>,
}

/// Cuts the page out of `names`, which need not be sorted. Returns it with the token of the next one.
pub(crate) fn page(
    mut names: Vec<String>,
    request: &PageRequest,
) -> Result<(Vec<String>, Option<String>), IcebergError> {
    names.sort_unstable();
    let Some(token) = &request.page_token else { return Ok((names, None)) };
    let size = request.page_size.unwrap_or(PAGE_SIZE_MAX).clamp(1, PAGE_SIZE_MAX);
    if !token.is_empty() {
        let last = decode(token)?;
        names.retain(|name| *name > last);
    }
    if names.len() <= size {
        return Ok((names, None));
    }
    names.truncate(size);
    let next = names.last().map(|name| BASE64_URL_SAFE_NO_PAD.encode(name));
    Ok((names, next))
}

fn decode(token: &str) -> Result<String, IcebergError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| IcebergError::bad_request("the page token is not one of ours; start again without it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_every_name_once() {
        let names: Vec<String> = (0..25).map(|n| format!("n{n:02}")).rev().collect();
        let mut request = PageRequest { page_token: Some(String::new()), page_size: Some(10), parent: None };
        let mut seen = Vec::new();
        loop {
            let (part, next) = page(names.clone(), &request).unwrap();
            assert!(part.len() <= 10);
            seen.extend(part);
            if next.is_none() {
                break;
            }
            request.page_token = next;
        }
        assert_eq!(seen, (0..25).map(|n| format!("n{n:02}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_client_without_pages_gets_everything_and_a_foreign_token_is_refused() {
        let names = vec!["a".to_string(), "b".to_string()];
        let without = PageRequest { page_size: Some(1), ..PageRequest::default() };
        assert_eq!(page(names.clone(), &without).unwrap(), (names.clone(), None));
        let foreign = PageRequest { page_token: Some("§".to_string()), ..PageRequest::default() };
        assert!(page(names, &foreign).is_err());
    }
}
