//! Pages point at what exists, in both languages, and their lists are complete.

use anyhow::Result;

use super::Problem;
use crate::repository::{Package, Repository};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "docs/adr/";
const GUIDE: &str = "docs/guide/";

pub(super) fn check(repository: &Repository, packages: &[Package]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for page in
        repository.files.iter().filter(|file| file.ends_with(".md") && !file.starts_with("web/node_modules"))
    {
        let text = repository.read(page)?;
        let broken = links(&text).into_iter().filter(|link| !repository.has_path(&resolve(page, link)));
        problems.extend(broken.map(|link| format!("{page}: the link `{link}` leads nowhere")));
    }
    problems.extend(check_decisions(repository)?);
    problems.extend(check_translated(&repository.files));
    if repository.has(ARCHITECTURE) {
        let text = repository.read(ARCHITECTURE)?;
        let missing = packages.iter().filter(|package| !text.contains(&format!("`{}`", package.name)));
        problems
            .extend(missing.map(|package| format!("{ARCHITECTURE}: crate `{}` is missing", package.name)));
    }
    Ok(problems)
}

fn check_decisions(repository: &Repository) -> Result<Vec<Problem>> {
    let index = format!("{DECISIONS}README.md");
    if !repository.has(&index) {
        return Ok(Vec::new());
    }
    let text = repository.read(&index)?;
    let records = repository.files.iter().filter_map(|file| file.strip_prefix(DECISIONS));
    let missing = records.filter(|record| *record != "README.md" && !text.contains(&format!("({record})")));
    Ok(missing.map(|record| format!("{index}: `{record}` is missing")).collect())
}

/// Each page of the guide has a Chinese counterpart, and the reverse.
fn check_translated(files: &[String]) -> Vec<Problem> {
    let english = files.iter().filter_map(|file| file.strip_prefix(GUIDE)).filter(|page| !page.contains('/'));
    let chinese_folder = format!("{GUIDE}zh-CN/");
    let chinese = files.iter().filter_map(|file| file.strip_prefix(&chinese_folder));
    let has = |file: String| files.contains(&file);
    let to_chinese = english.filter(|page| !has(format!("{chinese_folder}{page}")));
    let to_english = chinese.filter(|page| !has(format!("{GUIDE}{page}")));
    to_chinese
        .map(|page| format!("{GUIDE}{page}: the Chinese page {chinese_folder}{page} is missing"))
        .chain(
            to_english
                .map(|page| format!("{chinese_folder}{page}: the English page {GUIDE}{page} is missing")),
        )
        .collect()
}

/// Targets of Markdown links that stay in the repository, without their anchors. Code blocks are skipped.
fn links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or("").split('#').next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target);
            }
        }
    }
    found
}

/// A link's target relative to the repository's root.
fn resolve(page: &str, link: &str) -> String {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "[a](b.md#top) and ![c](../d.png), [e](https://f)\n```\n[g](h.md)\n```\n[i](#j)";
        assert_eq!(links(text), ["b.md", "../d.png"]);
    }

    #[test]
    fn a_link_is_relative_to_its_page() {
        assert_eq!(resolve("docs/guide/query.md", "../adr/README.md"), "docs/adr/README.md");
        assert_eq!(resolve("README.md", "docs/"), "docs");
    }

    #[test]
    fn a_page_without_translation_is_found() {
        let files = ["docs/guide/a.md", "docs/guide/b.md", "docs/guide/zh-CN/a.md", "docs/guide/zh-CN/c.md"];
        let files: Vec<String> = files.iter().map(|file| file.to_string()).collect();
        assert_eq!(
            check_translated(&files),
            [
                "docs/guide/b.md: the Chinese page docs/guide/zh-CN/b.md is missing",
                "docs/guide/zh-CN/c.md: the English page docs/guide/c.md is missing",
            ]
        );
    }
}
