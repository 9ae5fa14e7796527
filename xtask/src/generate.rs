//! Pages that the binary writes from doc comments: `docs/reference/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repository::Repository;

const FOLDER: &str = "docs/reference";
const VARIABLE: &str = "TARN_BIN";

/// Writes the reference. Errors: no binary is named.
pub(crate) fn write(repository: &Repository) -> Result<()> {
    let binary = binary()?.with_context(|| format!("name the built binary: {VARIABLE}=target/debug/tarn"))?;
    run(&binary, &repository.root.join(FOLDER))
}

/// Compares the reference with what the binary says; without a binary there is nothing to compare with.
/// Errors: the files that differ.
pub(crate) fn check(repository: &Repository) -> Result<()> {
    let Some(binary) = binary()? else {
        println!("generate: {VARIABLE} is not set, so {FOLDER} was not compared");
        return Ok(());
    };
    let fresh = repository.root.join("target").join("reference");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).context("could not empty the folder for comparison")?;
    }
    std::fs::create_dir_all(&fresh).context("could not make the folder for comparison")?;
    run(&binary, &fresh)?;
    let differing = compare(&read_folder(&repository.root.join(FOLDER))?, &read_folder(&fresh)?);
    if !differing.is_empty() {
        bail!("{}\n\nrun: {VARIABLE}={} cargo xtask generate", differing.join("\n"), binary.display());
    }
    println!("generate: {FOLDER} is up to date");
    Ok(())
}

fn binary() -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Ok(None) };
    if !path.is_file() {
        bail!("{VARIABLE} names {}, which is no file", path.display());
    }
    Ok(Some(path))
}

fn run(binary: &Path, folder: &Path) -> Result<()> {
    let status = Command::new(binary).args(["reference", "--out"]).arg(folder).status();
    let status = status.with_context(|| format!("could not run {}", binary.display()))?;
    if !status.success() {
        bail!("{} reference failed with {status}", binary.display());
    }
    Ok(())
}

/// Text files by path relative to `folder`; an absent folder is empty.
fn read_folder(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("could not list {}", next.display()))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            files.insert(name, text);
        }
    }
    Ok(files)
}

fn compare(kept: &BTreeMap<String, String>, fresh: &BTreeMap<String, String>) -> Vec<String> {
    let changed = fresh.iter().filter_map(|(name, text)| match kept.get(name) {
        None => Some(format!("{FOLDER}/{name}: missing")),
        Some(kept) if kept != text => Some(format!("{FOLDER}/{name}: out of date")),
        Some(_) => None,
    });
    let extra = kept.keys().filter(|name| !fresh.contains_key(*name));
    changed.chain(extra.map(|name| format!("{FOLDER}/{name}: nothing writes it any more"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let files = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
            entries.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
        };
        let kept = files(&[("a.md", "1"), ("b.md", "2"), ("c.md", "3")]);
        assert_eq!(compare(&kept, &kept), [] as [&str; 0]);
        assert_eq!(
            compare(&kept, &files(&[("a.md", "1"), ("b.md", "x"), ("d.md", "4")])),
            [
                "docs/reference/b.md: out of date",
                "docs/reference/d.md: missing",
                "docs/reference/c.md: nothing writes it any more",
            ]
        );
    }
}
