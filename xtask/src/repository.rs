//! What the checks look at: the files that git knows or would add, and the manifests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The working tree.
pub(crate) struct Repository {
    /// Its root.
    pub(crate) root: PathBuf,
    /// Files relative to the root, `/` between folders, sorted. Ignored files are not among them.
    pub(crate) files: Vec<String>,
}

/// A crate of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A line under `[dependencies]`, `[dev-dependencies]` or `[build-dependencies]`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Dependency {
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Repository {
    pub(crate) fn open() -> Result<Self> {
        // Told by `cargo run`: several checkouts may share one target folder, and with it this program.
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().context("xtask lies in the repository")?.to_path_buf();
        let listed = output(Command::new("git").current_dir(&root).args([
            "ls-files",
            "-z",
            "-co",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<String> = listed
            .split('\0')
            .filter(|file| !file.is_empty() && root.join(file).is_file())
            .map(str::to_string)
            .collect();
        files.sort();
        Ok(Self { root, files })
    }

    pub(crate) fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(file)).with_context(|| format!("could not read {file}"))
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.files.binary_search_by(|known| known.as_str().cmp(file)).is_ok()
    }

    /// Whether a file or folder of that name lies in the repository.
    pub(crate) fn has_path(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.has(path) || path.is_empty() || self.files.iter().any(|file| file.starts_with(&folder))
    }

    /// All crates, as cargo reads the manifests.
    pub(crate) fn packages(&self) -> Result<Vec<Package>> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        let text = output(Command::new(env!("CARGO")).current_dir(&self.root).args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version=1",
        ]))?;
        let metadata: Metadata = serde_json::from_str(&text).context("could not read cargo's metadata")?;
        Ok(metadata.packages)
    }

    /// A file as the last commit has it; `None` if it has none.
    pub(crate) fn committed(&self, file: &str) -> Option<String> {
        output(Command::new("git").current_dir(&self.root).args(["show", &format!("HEAD:{file}")])).ok()
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} gave no UTF-8"))
}
