//! Which crate may name which. Arrows point downward; the exceptions stand here and nowhere else.

/// A crate of ours.
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    /// 0 base, 1 services, 2 engines, 3 products, 4 edge, 5 binary.
    pub(crate) layer: u8,
    /// Crates of the same layer that it may name.
    pub(crate) beside: &'static [&'static str],
}

const fn krate(name: &'static str, layer: u8, beside: &'static [&'static str]) -> Crate {
    Crate { name, layer, beside }
}

/// All crates, in the order of `ARCHITECTURE.md`.
pub(crate) const CRATES: &[Crate] = &[
    krate("tarn-core", 0, &[]),
    krate("tarn-component", 0, &["tarn-core"]),
    krate("tarn-testkit", 0, &["tarn-core"]),
    krate("tarn-storage", 1, &[]),
    krate("tarn-meta", 1, &["tarn-storage"]),
    krate("tarn-access", 1, &["tarn-meta"]),
    krate("tarn-eventlog", 1, &["tarn-storage"]),
    krate("tarn-observe", 1, &[]),
    krate("tarn-ingest", 2, &[]),
    krate("tarn-lakehouse", 2, &[]),
    krate("tarn-query", 2, &["tarn-lakehouse"]),
    krate("tarn-server", 4, &[]),
    krate("tarn", 5, &[]),
    krate("xtask", 5, &[]),
];

/// Products reach engines through ports in `tarn-core`, never by name.
pub(crate) const PRODUCT_LAYER: u8 = 3;
/// The highest layer that products may name.
pub(crate) const PRODUCT_SEES: u8 = 1;
/// Named only under `[dev-dependencies]`.
pub(crate) const DEV_ONLY: &str = "tarn-testkit";

/// A dependency that only some crates may name.
pub(crate) struct Fence {
    /// Names; one that ends with `*` stands for all that begin so.
    pub(crate) dependencies: &'static [&'static str],
    pub(crate) allowed: &'static [&'static str],
    /// Whether any crate may name it under `[dev-dependencies]`.
    pub(crate) free_in_tests: bool,
    pub(crate) why: &'static str,
}

/// `docs/adr/0003-layers-and-fences.md` gives the reasons at length.
pub(crate) const FENCES: &[Fence] = &[
    Fence {
        dependencies: &["datafusion*"],
        allowed: &["tarn-sql", "tarn-query", "tarn-server"],
        free_in_tests: false,
        why: "an upgrade of the engine touches two crates, and the tests of others link in seconds",
    },
    Fence {
        dependencies: &["iceberg*"],
        allowed: &["tarn-lakehouse", "tarn-query", "tarn-server", "tarn-ingest"],
        free_in_tests: false,
        why: "the table format is the lakehouse's; the server speaks its REST types, and imports read metadata of others",
    },
    Fence {
        dependencies: &["parquet"],
        allowed: &["tarn-lakehouse", "tarn-query", "tarn-ingest"],
        free_in_tests: true,
        why: "files are read by the lakehouse, by scans, and by the sources `file` and `replay`",
    },
    Fence {
        dependencies: &["axum*", "utoipa*", "pgwire", "arrow-flight"],
        allowed: &["tarn-server", "tarn-gateway"],
        free_in_tests: true,
        why: "protocols meet people at the edge",
    },
    Fence {
        dependencies: &["clap*"],
        allowed: &["tarn"],
        free_in_tests: true,
        why: "the command line is the binary's",
    },
    Fence {
        dependencies: &["anyhow"],
        allowed: &["tarn", "xtask", "tarn-testkit"],
        free_in_tests: true,
        why: "a library's errors have kinds",
    },
];

/// Crates of which the lock file holds exactly one version: their types cross our crates' borders.
pub(crate) const ONE_VERSION: &[&str] = &["arrow-array", "arrow-schema", "parquet", "object_store"];

/// A folder whose members stand by hand in a list.
pub(crate) struct Family {
    pub(crate) folder: &'static str,
    /// What the list holds of each member, with `{}` for its name.
    pub(crate) entry: &'static str,
}

pub(crate) const FAMILIES: &[Family] =
    &[Family { folder: "crates/tarn-ingest/src/sources", entry: "{}::SPEC" }];
