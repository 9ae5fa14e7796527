//! The embedded database: one file in write-ahead mode, one writing connection, several reading ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, SqlitePool, Transaction};
use tarn_core::Env;

use super::fault;
use super::row::{self, Param, Row};
use crate::error::MetaError;

const READERS: u32 = 4;
// A larger file would make the start slow; damage in it is still found where it is read.
const CHECKED_BYTES_MAX: u64 = 64 << 20;

/// Bounds of the embedded database.
#[derive(Clone, Debug)]
pub(crate) struct SqliteLimits {
    /// How long to wait for another process's lock.
    pub(crate) lock_wait: Duration,
    /// Largest size of the file in pages of 4 KiB.
    pub(crate) pages_max: Option<u32>,
}

impl Default for SqliteLimits {
    fn default() -> Self {
        Self { lock_wait: Duration::from_secs(5), pages_max: None }
    }
}

/// A pool with one connection to write, since the file has one writer at a time: callers of this process queue in
/// order instead of polling the lock. Another pool reads, undisturbed by the writer.
pub(crate) struct SqliteEngine {
    place: Arc<str>,
    writer: SqlitePool,
    readers: SqlitePool,
}

/// The file that an address names. Errors: `InvalidAddress`.
pub(crate) fn path_of(address: &str) -> Result<PathBuf, MetaError> {
    let invalid = |what: String| MetaError::InvalidAddress { what };
    let path = match address.split_once(':') {
        Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some((scheme, rest)) if rest.starts_with("//") => {
            return Err(invalid(format!("`{scheme}` is neither `sqlite` nor `postgres`")));
        }
        _ => address,
    };
    if path.is_empty() || path == ":memory:" || path.contains('\0') {
        return Err(invalid("it names no file".to_string()));
    }
    if path.contains('?') {
        return Err(invalid("options after `?` are not supported for SQLite".to_string()));
    }
    Ok(PathBuf::from(path))
}

fn io_fault(action: &'static str, path: &Path, source: std::io::Error) -> MetaError {
    let place = path.display().to_string();
    match source.kind() {
        std::io::ErrorKind::StorageFull => MetaError::DiskFull { place, source: sqlx::Error::Io(source) },
        std::io::ErrorKind::PermissionDenied => {
            MetaError::NotPermitted { place, source: sqlx::Error::Io(source) }
        }
        _ => MetaError::Io { action, path: place, source },
    }
}

// The file holds password hashes and sealed secrets, so it is made for its owner alone; SQLite gives the mode to
// the files that it puts beside it.
fn make_private_file(path: &Path) -> Result<u64, MetaError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| io_fault("make folder", folder, error))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| io_fault("open", path, error))?;
    Ok(file.metadata().map_err(|error| io_fault("read", path, error))?.len())
}

impl SqliteEngine {
    pub(crate) async fn open(path: &Path, limits: &SqliteLimits, env: &Env) -> Result<Self, MetaError> {
        let place: Arc<str> = path.display().to_string().into();
        let owned = path.to_path_buf();
        let bytes = env
            .spawner
            .spawn_blocking(move || make_private_file(&owned))
            .await
            .map_err(|error| io_fault("open", path, std::io::Error::other(error)))??;
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(limits.lock_wait)
            .optimize_on_close(false, None);
        if let Some(pages) = limits.pages_max {
            options = options.pragma("max_page_count", pages.to_string());
        }
        // The pool would retry and then only say that it timed out; a first connection says what is wrong.
        let fail = |error| fault::of(error, &place);
        let mut first = SqliteConnection::connect_with(&options).await.map_err(fail)?;
        check(&mut first, bytes, &place).await?;
        first.close().await.map_err(fail)?;
        let pool = |connections: u32| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(limits.lock_wait * 4)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                // A full disk makes SQLite itself roll back, after which the driver still counts a transaction
                // as open: such a connection is of no more use.
                .before_acquire(|connection, _| {
                    let is_usable = !connection.is_in_transaction();
                    Box::pin(async move { Ok(is_usable) })
                })
        };
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options);
        Ok(Self { place, writer, readers })
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        // Last, so that it moves the write-ahead file into the main one.
        self.writer.close().await;
    }

    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, MetaError> {
        self.readers.begin().await.map_err(|error| fault::of(error, &self.place))
    }

    // An immediate transaction takes the write lock at its start, where the wait for other processes is honoured;
    // a lock upgraded later fails at once.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, MetaError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fault::of(error, &self.place))
    }

    pub(crate) async fn rows(&self, sql: &'static str, params: &[Param]) -> Result<Vec<Row>, MetaError> {
        let rows = row::bind(sqlx::query(sql), params).fetch_all(&self.readers).await;
        Ok(rows.map_err(|error| fault::of(error, &self.place))?.into_iter().map(Row::Sqlite).collect())
    }
}

async fn check(connection: &mut SqliteConnection, bytes: u64, place: &str) -> Result<(), MetaError> {
    if bytes > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| fault::of(error, place))?;
    if found == "ok" {
        return Ok(());
    }
    Err(MetaError::Damaged { place: place.to_string(), source: sqlx::Error::Protocol(found) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{DocumentStore, Expected};
    use crate::sql::{Engine, SqlStore};
    use crate::store::MetaStore;
    use tarn_core::{Fault, FaultKind, RequestContext, TenantId, TraceId};

    async fn open(path: &Path, limits: &SqliteLimits) -> Result<SqlStore, MetaError> {
        let env = Env::system();
        SqlStore::with_engine(Engine::Sqlite(SqliteEngine::open(path, limits, &env).await?), env).await
    }

    #[test]
    fn addresses_name_files() {
        assert_eq!(path_of("sqlite:///a/meta.db").unwrap(), PathBuf::from("/a/meta.db"));
        assert_eq!(path_of("data/meta.db").unwrap(), PathBuf::from("data/meta.db"));
        assert_eq!(path_of("sqlite:data/meta.db").unwrap(), PathBuf::from("data/meta.db"));
        for bad in ["mysql://host/db", "", "sqlite://", "sqlite:///a.db?mode=ro", ":memory:"] {
            let error = path_of(bad).unwrap_err();
            assert_eq!(error.kind(), FaultKind::Invalid, "{bad}");
            assert!(error.hint().is_some());
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.db");
        let ctx = RequestContext::system(TenantId::default(), TraceId(1));
        let limits = SqliteLimits { pages_max: Some(80), ..SqliteLimits::default() };
        let store = open(&path, &limits).await.unwrap();
        let small = serde_json::json!("small");
        store.put_document(&ctx, "test", "kept", &small, Expected::Any).await.unwrap();
        let large = serde_json::json!("x".repeat(1 << 20));
        let error = store.put_document(&ctx, "test", "large", &large, Expected::Any).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Exhausted, "{error:?}");
        assert!(error.hint().unwrap().contains("free space"));
        assert_eq!(store.documents(&ctx, "test", "").await.unwrap().len(), 1);
        // Room again: the same call succeeds without a restart.
        store.put_document(&ctx, "test", "small", &small, Expected::Any).await.unwrap();
    }

    #[tokio::test]
    async fn another_process_that_holds_the_lock_is_named_as_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.db");
        let ctx = RequestContext::system(TenantId::default(), TraceId(1));
        let limits = SqliteLimits { lock_wait: Duration::from_millis(100), pages_max: None };
        let store = open(&path, &limits).await.unwrap();
        let options = SqliteConnectOptions::new().filename(&path);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let value = serde_json::json!(1);
        let error = store.put_document(&ctx, "test", "key", &value, Expected::Any).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Unavailable);
        assert!(error.to_string().contains("locked by another process"), "{error}");
        assert_eq!(store.count_documents(&ctx, "test").await.unwrap(), 0, "reads go on");
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        store.put_document(&ctx, "test", "key", &value, Expected::Any).await.unwrap();
    }

    #[tokio::test]
    async fn damaged_files_are_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign.db");
        std::fs::write(&foreign, "this is no database, only text that is longer than a header\n".repeat(100))
            .unwrap();
        let error = open(&foreign, &SqliteLimits::default()).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Corrupt, "{error:?}");
        assert!(error.hint().unwrap().contains("backup"));

        let path = folder.path().join("meta.db");
        open(&path, &SqliteLimits::default()).await.unwrap().close().await;
        assert!(!folder.path().join("meta.db-wal").exists());
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[4096..end].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path, &SqliteLimits::default()).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Corrupt, "{error:?}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/meta.db");
        let _store = open(&path, &SqliteLimits::default()).await.unwrap();
        for name in ["meta.db", "meta.db-wal"] {
            let mode = std::fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
