//! `cargo xtask tidy`: every check, every problem, one exit code.

mod edges;
mod families;
mod files;
mod pages;
mod translations;

use anyhow::{Result, bail};

use crate::repository::Repository;

/// Something to mend: where, what, and what to do.
pub(crate) type Problem = String;

/// Runs every check. Errors: what to mend, one line each.
pub(crate) fn run(repository: &Repository) -> Result<()> {
    let packages = repository.packages()?;
    let mut problems = edges::check_layers(&packages);
    problems.extend(edges::check_fences(&packages));
    problems.extend(edges::check_lock(&repository.read("Cargo.lock")?)?);
    problems.extend(files::check(repository)?);
    problems.extend(families::check(repository)?);
    problems.extend(translations::check(repository)?);
    problems.extend(pages::check(repository, &packages)?);
    if !problems.is_empty() {
        bail!("{}\n\ntidy: {} to mend", problems.join("\n"), problems.len());
    }
    println!("tidy: {} files, {} crates, nothing to mend", repository.files.len(), packages.len());
    Ok(())
}
