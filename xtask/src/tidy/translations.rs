//! The console speaks the same in English and Chinese.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Problem;
use crate::repository::Repository;

const ENGLISH: &str = "web/src/i18n/en.json";
const CHINESE: &str = "web/src/i18n/zh-CN.json";

pub(super) fn check(repository: &Repository) -> Result<Vec<Problem>> {
    if !repository.has(ENGLISH) && !repository.has(CHINESE) {
        return Ok(Vec::new());
    }
    let read = |file: &str| -> Result<BTreeMap<String, String>> {
        serde_json::from_str(&repository.read(file)?).with_context(|| format!("could not read {file}"))
    };
    Ok(compare(&read(ENGLISH)?, &read(CHINESE)?))
}

fn compare(english: &BTreeMap<String, String>, chinese: &BTreeMap<String, String>) -> Vec<Problem> {
    let missing =
        |from: &BTreeMap<String, String>, to: &BTreeMap<String, String>, file: &str| -> Vec<Problem> {
            let keys = from.keys().filter(|key| !to.contains_key(*key));
            keys.map(|key| format!("{file}: key `{key}` is missing")).collect()
        };
    let mut problems = missing(english, chinese, CHINESE);
    problems.extend(missing(chinese, english, ENGLISH));
    for (key, text) in english {
        if let Some(translated) = chinese.get(key)
            && parameters(text) != parameters(translated)
        {
            problems.push(format!("{CHINESE}: `{key}` names other parameters than in English"));
        }
    }
    problems
}

/// Names in braces, such as `count` in `{count, plural, one {# row} other {# rows}}`.
fn parameters(text: &str) -> BTreeSet<&str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| {
            let name: &str = rest.split(['}', ',']).next()?;
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            // A plural's wording has a space or a number sign in it, or no name at all.
            is_name.then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect()
    }

    #[test]
    fn both_languages_have_the_same_keys_and_parameters() {
        let english =
            dictionary(&[("a", "{count, plural, one {# row} other {# rows}}"), ("b", "Hello {name}")]);
        assert_eq!(
            compare(&english, &dictionary(&[("a", "{count} 行"), ("b", "{name}，你好")])),
            [] as [&str; 0]
        );
        assert_eq!(
            compare(&english, &dictionary(&[("a", "{count} 行"), ("b", "你好"), ("c", "多")])),
            [
                "web/src/i18n/en.json: key `c` is missing",
                "web/src/i18n/zh-CN.json: `b` names other parameters than in English"
            ]
        );
    }
}
