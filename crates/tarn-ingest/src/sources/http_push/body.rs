//! Splits a pushed body into records.

use serde_json::{Map, Value};

use crate::error::IngestError;

/// A record, or the text of what is none and why.
pub(super) type Record = Result<Map<String, Value>, (String, String)>;

const ADVICE: &str = "send a JSON object, an array of objects, or one object per line";

/// The deepest nesting of arrays and objects in JSON text, without parsing it.
fn depth(body: &[u8]) -> u32 {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0u32, 0, false, false);
    for byte in body {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn record_of(value: Value) -> Record {
    match value {
        Value::Object(fields) if fields.is_empty() => {
            Err(("{}".to_string(), "the record has no fields".to_string()))
        }
        Value::Object(fields) => Ok(fields),
        other => Err((other.to_string(), "the record is not a JSON object".to_string())),
    }
}

fn line_record(line: &str) -> Record {
    match serde_json::from_str(line) {
        Ok(value) => record_of(value),
        Err(error) => Err((line.to_string(), format!("the line is not JSON: {error}"))),
    }
}

/// Records of a body. A line or an array element that cannot be used stands for itself; a body that is no JSON at all
/// is refused as a whole. Errors: `InvalidPush`.
pub(super) fn split(
    body: &[u8],
    content_type: Option<&str>,
    depth_max: u32,
) -> Result<Vec<Record>, IngestError> {
    let invalid = |what: String| IngestError::InvalidPush { what, advice: ADVICE.to_string() };
    let text = std::str::from_utf8(body).map_err(|error| invalid(format!("it is not UTF-8: {error}")))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(invalid("it is empty".to_string()));
    }
    let is_array = text.starts_with('[');
    // An array of records adds a level that is not the records'.
    if depth(text.as_bytes()) > depth_max + u32::from(is_array) {
        return Err(IngestError::InvalidPush {
            what: format!("it is nested deeper than {depth_max} levels"),
            advice: "flatten the records, or raise `depth_max` of the source".to_string(),
        });
    }
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let by_lines =
        content_type.is_some_and(|kind| ["ndjson", "jsonl", "json-lines"].iter().any(|n| kind.contains(n)));
    if by_lines {
        return Ok(lines().map(line_record).collect());
    }
    match serde_json::from_str(text) {
        Ok(Value::Array(values)) => Ok(values.into_iter().map(record_of).collect()),
        Ok(value) => Ok(vec![record_of(value)]),
        // Several objects in lines: the first line is one by itself.
        Err(_)
            if !is_array
                && lines().next().is_some_and(|line| serde_json::from_str::<Value>(line).is_ok()) =>
        {
            Ok(lines().map(line_record).collect())
        }
        Err(error) => Err(invalid(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(body: &str, content_type: Option<&str>) -> Vec<bool> {
        split(body.as_bytes(), content_type, 4).expect("readable").iter().map(Result::is_ok).collect()
    }

    #[test]
    fn the_body_decides_what_it_is() {
        assert_eq!(shapes(r#"{"a": 1}"#, None), [true]);
        assert_eq!(shapes("{\n\"a\": 1\n}", Some("application/json")), [true]);
        assert_eq!(shapes(r#"[{"a": 1}, 7, {}]"#, None), [true, false, false]);
        assert_eq!(shapes("{\"a\": 1}\n\n{\"a\": }\r\n{\"a\": 2}\n", None), [true, false, true]);
        assert_eq!(shapes("nonsense\n{\"a\": 2}", Some("application/x-ndjson")), [false, true]);
        assert_eq!(shapes("[1]\n{\"a\": 2}", Some("application/jsonl")), [false, true]);
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let error = split(b"{\"a\": 1,\n \"b\": }", None, 4).expect_err("not JSON");
        assert!(error.to_string().contains("line 2 column 7"), "{error}");
        for body in [&b""[..], b"  \n", b"\xff\xfe", b"[{\"a\": 1}"] {
            assert!(matches!(split(body, None, 4), Err(IngestError::InvalidPush { .. })), "{body:?}");
        }
    }

    #[test]
    fn nesting_is_bounded_before_parsing() {
        assert!(split(br#"{"a": [[["]]]]"]]]}"#, None, 4).is_ok());
        assert!(split(br#"[{"a": [[[1]]]}]"#, None, 4).is_ok());
        let error = split(br#"{"a": [[[[1]]]]}"#, None, 4).expect_err("too deep");
        assert!(matches!(error, IngestError::InvalidPush { .. }), "{error}");
        let bomb = "[".repeat(1_000_000);
        assert!(split(bomb.as_bytes(), None, 4).is_err());
    }
}
