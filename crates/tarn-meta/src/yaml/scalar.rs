//! What a plain word means: the core schema of YAML 1.2. `yes`, `no`, `on` and `off` are text.

use serde_json::{Number, Value};

/// The value of an unquoted word. Errors: a number that JSON cannot hold.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(value) = whole(text) {
        return value;
    }
    if is_float(text) {
        return match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(format!("the number `{text}` is too large; put it in quotes")),
        };
    }
    if is_not_finite(text) {
        return Err(format!("the number `{text}` is not finite; put it in quotes"));
    }
    Ok(Value::String(text.to_string()))
}

/// The value of a word with a tag of the core schema, `None` if it does not fit.
pub(super) fn tagged(text: &str, tag: &str) -> Option<Value> {
    let value = plain(text).ok()?;
    let fits = match tag {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        _ => false,
    };
    fits.then_some(value)
}

/// Whether a word, unquoted, is read back as the same text by this and by older YAML readers.
pub(super) fn is_plain_text(text: &str) -> bool {
    const OLD_BOOLEANS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let lower = text.to_ascii_lowercase();
    // Older readers take 1_000, 12:30:45, 0777, 0b1 and dates for numbers and times.
    let number_like = lower.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    (!number_like || is_amount(text))
        && !OLD_BOOLEANS.contains(&lower.as_str())
        && text != "<<"
        && text != "="
        && matches!(plain(text), Ok(Value::String(_)))
}

// Such as `30s` or `10GB`, which no reader takes for a number.
fn is_amount(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = &text[digits..];
    digits > 0
        && !text.starts_with('0')
        && !unit.is_empty()
        && unit.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn whole(text: &str) -> Option<Result<Value, String>> {
    let too_large = || Err(format!("the number `{text}` is too large; put it in quotes"));
    let radix = |digits: &str, radix: u32| {
        let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        all.then(|| u64::from_str_radix(digits, radix).map(Value::from).or_else(|_| too_large()))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let value = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from));
    Some(value.or_else(|_| too_large()))
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
fn is_float(text: &str) -> bool {
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) =
        text.find(['e', 'E']).map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_ok = is_digits(before) && is_digits(after) && !(before.is_empty() && after.is_empty());
    let exponent_ok = exponent.is_none_or(|part| {
        let digits = part.strip_prefix(['-', '+']).unwrap_or(part);
        !digits.is_empty() && is_digits(digits)
    });
    mantissa_ok && exponent_ok
}

fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_mean_what_the_core_schema_says() {
        let cases = [
            ("~", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("12", json!(12)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.50", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3", json!("1.2.3")),
            ("e3", json!("e3")),
            (".", json!(".")),
            ("-", json!("-")),
            ("12:30", json!("12:30")),
            ("2024-01-01", json!("2024-01-01")),
        ];
        for (text, value) in cases {
            assert_eq!(plain(text), Ok(value), "{text}");
        }
        for text in [".inf", "-.INF", ".nan", "99999999999999999999", "1e999"] {
            assert!(plain(text).unwrap_err().contains("quotes"), "{text}");
        }
        assert_eq!(tagged("12", "int"), Some(json!(12)));
        assert_eq!(tagged("twelve", "int"), None);
    }

    #[test]
    fn text_that_looks_like_something_else_is_not_plain() {
        for text in
            ["", "yes", "No", "ON", "0x1", "0b1", "1e3", "1_000", "1.2.3", "12:30", "null", "+x", "<<", "-x"]
        {
            assert!(!is_plain_text(text), "{text}");
        }
        for text in ["shop", "public.orders", "a b", "nothing", "门店", "30s", "10GB"] {
            assert!(is_plain_text(text), "{text}");
        }
    }
}
