//! Which crate names which.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Problem;
use crate::layers::{CRATES, Crate, DEV_ONLY, FENCES, Fence, ONE_VERSION, PRODUCT_LAYER, PRODUCT_SEES};
use crate::repository::{Dependency, Package};

fn find(name: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|known| known.name == name)
}

/// Arrows between our crates point downward.
pub(super) fn check_layers(packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        let Some(from) = find(&package.name) else {
            problems.push(format!("crate `{}` has no layer: add it to xtask/src/layers.rs", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let ours = packages.iter().any(|other| other.name == dependency.name);
            if let Some(to) = find(&dependency.name).filter(|_| ours)
                && let Err(reason) = check_edge(from, to, dependency)
            {
                problems.push(format!("crate `{}` names `{}`: {reason}", from.name, to.name));
            }
        }
    }
    problems
}

fn check_edge(from: &Crate, to: &Crate, dependency: &Dependency) -> Result<(), String> {
    if to.name == DEV_ONLY {
        return if dependency.is_dev() { Ok(()) } else { Err("move it to [dev-dependencies]".to_string()) };
    }
    // The testkit holds the contract suites of ports, which live one layer up; nobody ships it.
    if from.name == DEV_ONLY && to.layer <= 1 {
        return Ok(());
    }
    if from.layer == PRODUCT_LAYER && to.layer > PRODUCT_SEES {
        return Err("a product reaches engines through a port in tarn-core".to_string());
    }
    if to.layer < from.layer || from.beside.contains(&to.name) {
        return Ok(());
    }
    Err(format!(
        "layer {} may name lower layers and {:?} only (xtask/src/layers.rs)",
        from.layer, from.beside
    ))
}

/// Heavy dependencies are named in few crates.
pub(super) fn check_fences(packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            for fence in FENCES.iter().filter(|fence| is_outside(fence, package, dependency)) {
                problems.push(format!(
                    "crate `{}` names `{}`, which is for {} only: {} (docs/adr/0003)",
                    package.name,
                    dependency.name,
                    fence.allowed.join(", "),
                    fence.why,
                ));
            }
        }
    }
    problems
}

fn is_outside(fence: &Fence, package: &Package, dependency: &Dependency) -> bool {
    let named = fence.dependencies.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => dependency.name.starts_with(start),
        None => dependency.name == *pattern,
    });
    let allowed = fence.allowed.contains(&package.name.as_str());
    named && !allowed && !(fence.free_in_tests && dependency.is_dev())
}

/// One version of the crates whose types cross borders. Errors: the lock file is not TOML.
pub(super) fn check_lock(lock: &str) -> Result<Vec<Problem>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(lock).context("could not read Cargo.lock")?;
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &lock.package {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let problems = ONE_VERSION
        .iter()
        .filter_map(|name| Some((name, versions.get(name)?)))
        .filter(|(_, found)| found.len() > 1)
        .map(|(name, found)| {
            format!(
                "Cargo.lock holds {} versions of `{name}` ({}): `cargo tree -i {name}@VERSION` says who asks",
                found.len(),
                found.join(", ")
            )
        });
    Ok(problems.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: name.to_string(), kind: kind.map(str::to_string) })
            .collect();
        Package { name: name.to_string(), dependencies }
    }

    fn layers(from: &str, to: &str, kind: Option<&str>) -> Vec<Problem> {
        check_layers(&[package(from, &[(to, kind)]), package(to, &[])])
    }

    #[test]
    fn arrows_point_downward_or_to_a_named_neighbour() {
        assert_eq!(layers("tarn-query", "tarn-core", None), [] as [&str; 0]);
        assert_eq!(layers("tarn-query", "tarn-lakehouse", None), [] as [&str; 0]);
        assert_eq!(layers("tarn-access", "tarn-meta", None), [] as [&str; 0]);
        assert_eq!(layers("tarn", "tarn-server", None), [] as [&str; 0]);
        for (from, to) in [
            ("tarn-core", "tarn-meta"),
            ("tarn-lakehouse", "tarn-query"),
            ("tarn-ingest", "tarn-lakehouse"),
            ("tarn-meta", "tarn-access"),
            ("tarn-server", "tarn"),
        ] {
            assert_eq!(layers(from, to, None).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert_eq!(layers("tarn-eventlog", "tarn-testkit", Some("dev")), [] as [&str; 0]);
        assert_eq!(layers("tarn-eventlog", "tarn-testkit", None).len(), 1);
        assert_eq!(layers("tarn-testkit", "tarn-eventlog", None), [] as [&str; 0]);
        assert_eq!(layers("tarn-testkit", "tarn-query", None).len(), 1);
    }

    #[test]
    fn a_crate_needs_a_layer() {
        assert_eq!(
            check_layers(&[package("tarn-magic", &[])]),
            ["crate `tarn-magic` has no layer: add it to xtask/src/layers.rs"]
        );
    }

    #[test]
    fn heavy_dependencies_stay_behind_their_fence() {
        let problems = |name, dependency, kind| check_fences(&[package(name, &[(dependency, kind)])]).len();
        assert_eq!(problems("tarn-query", "datafusion-functions-json", None), 0);
        assert_eq!(problems("tarn-meta", "datafusion", None), 1);
        assert_eq!(problems("tarn-meta", "datafusion", Some("dev")), 1);
        assert_eq!(problems("tarn-meta", "anyhow", None), 1);
        assert_eq!(problems("tarn-meta", "anyhow", Some("dev")), 0);
        assert_eq!(problems("tarn-ingest", "parquet", None), 0);
        assert_eq!(problems("tarn-ingest", "iceberg", None), 0);
        assert_eq!(problems("tarn-eventlog", "iceberg", None), 1);
        assert_eq!(problems("tarn-meta", "iceberg", Some("dev")), 1);
    }

    #[test]
    fn the_lock_file_holds_one_arrow() {
        let entry = |version| format!("[[package]]\nname = \"arrow-array\"\nversion = \"{version}\"\n");
        assert_eq!(check_lock(&entry("58.4.1")).expect("TOML"), [] as [&str; 0]);
        let two = check_lock(&(entry("58.4.1") + &entry("59.0.0"))).expect("TOML");
        assert!(two[0].contains("2 versions of `arrow-array` (58.4.1, 59.0.0)"), "{two:?}");
    }
}
