//! Every member of a family stands in the family's list.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Problem;
use crate::layers::{FAMILIES, Family};
use crate::repository::Repository;

pub(super) fn check(repository: &Repository) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for family in FAMILIES {
        let list = format!("{}/mod.rs", family.folder);
        if repository.has(&list) {
            problems.extend(check_family(
                family,
                &members(family, &repository.files),
                &repository.read(&list)?,
            ));
        }
    }
    Ok(problems)
}

/// Names of the folders and single files below a family's folder.
fn members<'a>(family: &Family, files: &'a [String]) -> BTreeSet<&'a str> {
    files
        .iter()
        .filter_map(|file| file.strip_prefix(family.folder)?.strip_prefix('/'))
        .filter_map(|rest| match rest.split_once('/') {
            Some((folder, _)) => Some(folder),
            None => rest.strip_suffix(".rs"),
        })
        .filter(|name| !matches!(*name, "mod" | "tests"))
        .collect()
}

fn check_family(family: &Family, members: &BTreeSet<&str>, list: &str) -> Vec<Problem> {
    members
        .iter()
        .filter(|name| {
            let entry = family.entry.replace("{}", name);
            !list.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(&entry))
        })
        .map(|name| {
            format!(
                "{0}/mod.rs: `{name}` is missing in the list: add `&{1}`",
                family.folder,
                family.entry.replace("{}", name)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: Family = Family { folder: "src/sources", entry: "{}::SPEC" };

    #[test]
    fn a_member_that_is_not_listed_is_found() {
        let files: Vec<String> = [
            "src/sources/mod.rs",
            "src/sources/file/mod.rs",
            "src/sources/file/csv.rs",
            "src/sources/replay.rs",
            "src/lib.rs",
        ]
        .map(str::to_string)
        .to_vec();
        let members = members(&SOURCES, &files);
        assert_eq!(members, BTreeSet::from(["file", "replay"]));
        assert_eq!(check_family(&SOURCES, &members, "&[&file::SPEC, &replay::SPEC]"), [] as [&str; 0]);
        let problems = check_family(&SOURCES, &members, "// &replay::SPEC\n&[&file::SPEC]");
        assert_eq!(problems, ["src/sources/mod.rs: `replay` is missing in the list: add `&replay::SPEC`"]);
    }
}
