//! Folders: a project with its `tarn.toml` and resources, and the folder where everything is stored.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::Failure;

/// Where everything of one installation is stored.
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The folder that was named, else `.tarn` in the project.
    pub fn of(project: &Path, named: Option<&Path>) -> Self {
        Self(named.map_or_else(|| project.join(".tarn"), Path::to_path_buf))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The SQLite file of the metadata store.
    pub fn metadata(&self) -> PathBuf {
        self.0.join("meta.db")
    }

    /// The event log.
    pub fn eventlog(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The tables, unless they lie in an object store.
    pub fn lake(&self) -> PathBuf {
        self.0.join("lake")
    }

    /// Keys of the rows of tables; a cache, made anew where it is missing.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Files of running queries; emptied at each start.
    pub fn spill(&self) -> PathBuf {
        self.0.join("spill")
    }

    /// Where the running server says how to reach it.
    fn running(&self) -> PathBuf {
        self.0.join("server.json")
    }
}

/// Addresses of the server that runs on a data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningServer {
    /// Process identifier.
    pub pid: u32,
    /// Console and HTTP API.
    pub http: Option<String>,
    /// PostgreSQL wire.
    pub pgwire: Option<String>,
    /// Flight SQL.
    pub flight: Option<String>,
    /// Whether the addresses want TLS.
    pub tls: bool,
}

impl RunningServer {
    /// What a server wrote; `None` if none runs.
    pub fn read(data: &DataFolder) -> Option<Self> {
        let text = std::fs::read_to_string(data.running()).ok()?;
        let running: Self = serde_json::from_str(&text).ok()?;
        Path::new("/proc").join(running.pid.to_string()).exists().then_some(running)
    }

    /// Says how to reach this server.
    pub fn write(&self, data: &DataFolder) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| Failure::internal(error.to_string()))?;
        let path = data.running();
        std::fs::write(&path, text).map_err(|error| crate::cli::io_failure("write", &path, &error))
    }

    /// Takes the note away at a clean stop.
    pub fn remove(data: &DataFolder) {
        if let Err(error) = std::fs::remove_file(data.running()) {
            tracing::debug!(%error, "the note about the running server stays behind");
        }
    }

    /// Address of the HTTP API.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.http.as_deref().unwrap_or("127.0.0.1:8080"))
    }
}

/// Resource files of a project, by path relative to it, in order.
pub fn resource_files(project: &Path) -> Result<Vec<PathBuf>, Failure> {
    let root = project.join("resources");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder == root => continue,
            Err(error) => return Err(crate::cli::io_failure("read", &folder, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| crate::cli::io_failure("read", &folder, &error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
