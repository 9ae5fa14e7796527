//! Sizes, names and forbidden words of source files.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Problem;
use crate::repository::Repository;

const RATCHET: &str = "xtask/tidy-ratchet.toml";
/// Lines of a Rust or TypeScript file, without its tests.
const LINES_MAX: usize = 500;
/// Lines of a React component's file.
const COMPONENT_LINES_MAX: usize = 250;
const README_LINES_MAX: usize = 60;
const NAMES_REFUSED: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];
const CODE: &[&str] = &["rs", "ts", "tsx", "js", "py", "sh"];

/// Lines a file may have today although they are too many.
#[derive(Debug, Default, Deserialize)]
struct Ratchet {
    #[serde(default)]
    lines: BTreeMap<String, usize>,
}

pub(super) fn check(repository: &Repository) -> Result<Vec<Problem>> {
    let parse =
        |text: &str| toml::from_str::<Ratchet>(text).with_context(|| format!("could not read {RATCHET}"));
    let ratchet = parse(&repository.read(RATCHET)?)?;
    let committed = repository.committed(RATCHET).map(|text| parse(&text)).transpose()?;
    let mut problems = check_ratchet(&ratchet, committed.as_ref());
    for file in repository.files.iter().filter(|file| CODE.contains(&extension(file))) {
        problems.extend(check_name(file));
        let text = repository.read(file)?;
        problems.extend(check_words(file, &text));
        problems.extend(check_length(file, &text, ratchet.lines.get(file).copied()));
    }
    for file in ratchet.lines.keys().filter(|file| !repository.has(file)) {
        problems.push(format!("{RATCHET}: `{file}` is gone: remove its line"));
    }
    problems.extend(check_readmes(repository)?);
    Ok(problems)
}

fn extension(file: &str) -> &str {
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn check_name(file: &str) -> Option<Problem> {
    let name = file.rsplit('/').next()?.split('.').next()?;
    NAMES_REFUSED
        .contains(&name)
        .then(|| format!("{file}: name the file after the noun that it holds, not `{name}`"))
}

fn is_test(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name == "tests.rs"
        || name.contains(".test.")
        || name.contains(".spec.")
        || file.split('/').any(|folder| matches!(folder, "tests" | "benches" | "e2e" | "mock"))
}

/// Lines before the tests at the end of a file.
fn lines_without_tests(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

fn check_length(file: &str, text: &str, allowed: Option<usize>) -> Option<Problem> {
    let limit = match extension(file) {
        "rs" | "ts" => LINES_MAX,
        "tsx" => COMPONENT_LINES_MAX,
        _ => return None,
    };
    let generated = text.lines().next().is_some_and(|line| line.contains("generated"));
    if is_test(file) || generated {
        return None;
    }
    let lines = lines_without_tests(text);
    match allowed {
        None if lines > limit => {
            Some(format!("{file}: {lines} lines without tests, {limit} are allowed: split it by noun"))
        }
        Some(_) if lines <= limit => Some(format!("{RATCHET}: `{file}` fits the limit now: remove its line")),
        Some(allowed) if lines > allowed => Some(format!(
            "{file}: grew from {allowed} to {lines} lines, {limit} are allowed: split it by noun"
        )),
        Some(allowed) if lines < allowed => {
            Some(format!("{RATCHET}: lower `{file}` from {allowed} to {lines}"))
        }
        _ => None,
    }
}

fn check_ratchet(now: &Ratchet, committed: Option<&Ratchet>) -> Vec<Problem> {
    let Some(committed) = committed else { return Vec::new() };
    now.lines
        .iter()
        .filter(|(file, lines)| committed.lines.get(*file).is_none_or(|before| before < *lines))
        .map(|(file, _)| format!("{RATCHET}: the list may only shrink, but `{file}` is new or higher"))
        .collect()
}

fn check_words(file: &str, text: &str) -> Vec<Problem> {
    // Put together here, so that this file does not hold them.
    let refused = [concat!("FIX", "ME"), concat!("X", "XX"), concat!("todo", "!("), concat!("dbg", "!(")];
    let unfinished = concat!("TO", "DO");
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in refused.iter().filter(|word| contains_word(line, word)) {
            problems.push(format!("{file}:{}: `{word}` is for work in progress: finish it", number + 1));
        }
        if contains_word(line, unfinished) && !line.contains(&format!("{unfinished}(#")) {
            problems
                .push(format!("{file}:{}: `{unfinished}` needs an issue: `{unfinished}(#17)`", number + 1));
        }
    }
    problems
}

/// Whether `line` has `word` with no letter, digit or underscore beside it.
fn contains_word(line: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|rest| rest.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|rest| rest.chars().next());
        !before.is_some_and(is_letter) && (word.ends_with('(') || !after.is_some_and(is_letter))
    })
}

fn check_readmes(repository: &Repository) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let manifests =
        repository.files.iter().filter(|file| file.starts_with("crates/") || file.starts_with("xtask/"));
    for folder in manifests.filter_map(|file| file.strip_suffix("/Cargo.toml")) {
        let readme = format!("{folder}/README.md");
        if !repository.has(&readme) {
            problems.push(format!("{folder}: write README.md: purpose, nouns, invariants, where to start"));
            continue;
        }
        let lines = repository.read(&readme)?.lines().count();
        if lines > README_LINES_MAX {
            problems.push(format!(
                "{readme}: {lines} lines, {README_LINES_MAX} are allowed: move detail to docs/"
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> String {
        "x\n".repeat(count)
    }

    #[test]
    fn a_file_is_measured_without_its_tests() {
        let text = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(LINES_MAX), lines(900));
        assert_eq!(check_length("crates/a/src/a.rs", &text, None), None);
        let too_long = check_length("crates/a/src/a.rs", &lines(501), None).expect("too long");
        assert_eq!(too_long, "crates/a/src/a.rs: 501 lines without tests, 500 are allowed: split it by noun");
        assert_eq!(check_length("crates/a/tests/it/a.rs", &lines(900), None), None);
        assert_eq!(check_length("crates/a/src/a/tests.rs", &lines(900), None), None);
        assert!(check_length("web/src/ui/A.tsx", &lines(251), None).is_some());
        assert_eq!(
            check_length("web/src/api/types.ts", &format!("// generated\n{}", lines(900)), None),
            None
        );
    }

    #[test]
    fn a_long_file_may_only_shrink() {
        let verdict = |count, allowed| check_length("a.rs", &lines(count), Some(allowed));
        assert_eq!(verdict(700, 700), None);
        assert!(verdict(701, 700).expect("grew").contains("grew from 700 to 701"));
        assert!(verdict(650, 700).expect("shrank").contains("lower `a.rs` from 700 to 650"));
        assert!(verdict(400, 700).expect("fits").contains("remove its line"));
    }

    #[test]
    fn the_list_of_long_files_may_only_shrink() {
        let ratchet = |entries: &[(&str, usize)]| Ratchet {
            lines: entries.iter().map(|(file, lines)| (file.to_string(), *lines)).collect(),
        };
        let before = ratchet(&[("a.rs", 700), ("b.rs", 600)]);
        assert_eq!(check_ratchet(&ratchet(&[("a.rs", 650)]), Some(&before)), [] as [&str; 0]);
        assert_eq!(check_ratchet(&ratchet(&[("a.rs", 701)]), Some(&before)).len(), 1);
        assert_eq!(check_ratchet(&ratchet(&[("c.rs", 600)]), Some(&before)).len(), 1);
        assert_eq!(check_ratchet(&ratchet(&[("c.rs", 600)]), None), [] as [&str; 0]);
    }

    #[test]
    fn a_file_is_named_after_a_noun() {
        assert!(check_name("crates/a/src/utils.rs").is_some());
        assert!(check_name("web/src/ui/helpers.ts").is_some());
        assert_eq!(check_name("crates/a/src/segment.rs"), None);
    }

    #[test]
    fn words_of_unfinished_work_are_refused() {
        let todo = concat!("TO", "DO");
        assert_eq!(check_words("a.rs", concat!("let x = 1; // FIX", "ME")).len(), 1);
        assert_eq!(check_words("a.rs", concat!("dbg", "!(x);\ntodo", "!()")).len(), 2);
        assert_eq!(check_words("a.rs", &format!("// {todo}: later")).len(), 1);
        assert_eq!(check_words("a.rs", &format!("// {todo}(#17): later")), [] as [&str; 0]);
        assert_eq!(
            check_words("a.rs", concat!("let METHODS_TO", "DOC = 1; let MAXXX", " = 2;")),
            [] as [&str; 0]
        );
    }
}
