//! A real PostgreSQL server for a test: own folder, own port, nothing left behind.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Where to find the programs, before the folders of Debian and the search path.
const BIN_VARIABLE: &str = "TARN_TEST_POSTGRES_BIN";
const START_ATTEMPTS: usize = 3;
const READY_POLLS: usize = 600;
const POLL_PAUSE: Duration = Duration::from_millis(50);

/// How a test server is set up.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    settings: Vec<(String, String)>,
    access: Vec<String>,
}

impl PostgresOptions {
    /// Adds a line to `postgresql.conf`; the last one wins. The defaults are `wal_level = logical`, `fsync = off`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_string(), value.to_string()));
        self
    }

    /// Puts a line before the ones of `pg_hba.conf` that trust everyone on loopback, such as
    /// `host all reader 127.0.0.1/32 scram-sha-256`.
    pub fn access(mut self, line: &str) -> Self {
        self.access.push(line.to_string());
        self
    }

    /// Makes the data folder and starts the server. Errors: no PostgreSQL on this machine, or it did not start.
    pub fn start(self) -> Result<PostgresServer> {
        PostgresServer::start_with(&self)
    }
}

/// A running server with superuser `postgres` without password. It stops when dropped and its data is removed.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    folder: TempDir,
    owner: Option<(u32, u32)>,
    port: u16,
    process: Option<Child>,
}

impl PostgresServer {
    /// A server ready for logical replication. Errors: no PostgreSQL on this machine, or it did not start.
    pub fn start() -> Result<Self> {
        Self::options().start()
    }

    /// A server with other settings.
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    fn start_with(options: &PostgresOptions) -> Result<Self> {
        let bin = find_bin()?;
        let folder = tempfile::Builder::new().prefix("tarn-postgres-").tempdir()?;
        let owner = server_user()?;
        if let Some((uid, gid)) = owner {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let mut server = Self { bin, folder, owner, port: 0, process: None };
        server.initialise(options)?;
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            // Another process may take the port between our test and the server's start.
            server.port = free_port()?;
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt to start")?)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command.current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8").env("HOME", self.folder.path());
        command
    }

    fn initialise(&self, options: &PostgresOptions) -> Result<()> {
        let output = self
            .command("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-sync",
                "--no-instructions",
            ])
            .arg("--pgdata")
            .arg(self.data())
            .output()
            .context("could not run initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut lines = String::from(
            "\nlisten_addresses = '127.0.0.1'\nwal_level = logical\nfsync = off\nmax_wal_senders = 20\n\
             max_replication_slots = 20\nmax_connections = 60\nshared_buffers = 64MB\nautovacuum = off\n\
             logging_collector = off\nwal_sender_timeout = 60s\n",
        );
        for (name, value) in &options.settings {
            lines.push_str(&format!("{name} = '{value}'\n"));
        }
        fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))?
            .write_all(lines.as_bytes())?;
        if !options.access.is_empty() {
            let path = self.data().join("pg_hba.conf");
            let defaults = fs::read_to_string(&path)?;
            fs::write(&path, format!("{}\n{defaults}", options.access.join("\n")))?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let _ = fs::set_permissions(self.log_path(), fs::Permissions::from_mode(0o666));
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("could not start postgres")?;
        self.process = Some(child);
        for _ in 0..READY_POLLS {
            if let Some(status) = self.process.as_mut().context("just started")?.try_wait()? {
                self.process = None;
                bail!("postgres ended with {status}: {}", self.log());
            }
            if self.psql("SELECT 1").is_ok() {
                return Ok(());
            }
            thread::sleep(POLL_PAUSE);
        }
        bail!("postgres did not become ready: {}", self.log())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the data and the socket; readable by tests for extra files such as certificates.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of a database as superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The address of a database as another user.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL in the database `postgres`; the output without header or alignment. Errors: the server's message.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.psql_in("postgres", sql)
    }

    /// Runs SQL in a database. Several statements run one by one, each in its own transaction unless `sql` says
    /// otherwise.
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut child = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-d", database, "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not run psql")?;
        // The statements are short; they fit the pipe before psql reads them.
        child.stdin.take().context("piped")?.write_all(sql.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("psql failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim_end_matches('\n').to_string())
    }

    /// Makes a database and returns its address.
    pub fn database(&self, name: &str) -> Result<String> {
        self.psql(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url(name))
    }

    /// Stops the server in order (sessions are ended); [`PostgresServer::resume`] starts it again.
    pub fn stop(&mut self) -> Result<()> {
        self.shut_down("fast")
    }

    fn shut_down(&mut self, mode: &str) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let output =
            self.command("pg_ctl").args(["stop", "-s", "-w", "-m", mode, "-D"]).arg(self.data()).output()?;
        if !output.status.success() {
            process.kill()?;
        }
        process.wait()?;
        Ok(())
    }

    /// Kills the server as `kill -9` does: no checkpoint, no goodbye.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Starts the server again on the same port and data.
    pub fn resume(&mut self) -> Result<()> {
        let mut last = None;
        // After a kill the old sessions need a moment to notice and to let go of the shared memory.
        for _ in 0..100 {
            match self.launch() {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
            thread::sleep(POLL_PAUSE);
        }
        Err(last.context("no attempt to start")?)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.shut_down("immediate").is_err() {
            let _ = self.kill();
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn find_bin() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BIN_VARIABLE) {
        return Ok(folder.into());
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/postgres").exists())
        .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    if let Some(entry) = newest {
        return Ok(entry.path().join("bin"));
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .find(|folder| folder.join("initdb").exists())
        .with_context(|| format!("no PostgreSQL server found; install it or set {BIN_VARIABLE}"))
}

/// PostgreSQL refuses to run as root: then it runs as `postgres`.
fn server_user() -> Result<Option<(u32, u32)>> {
    let probe = tempfile::NamedTempFile::new()?;
    if std::os::unix::fs::MetadataExt::uid(&probe.as_file().metadata()?) != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.into_iter().find(|fields| fields.len() > 3 && fields[0] == "postgres");
    let fields = found.context("running as root, and there is no user `postgres` to run the server as")?;
    Ok(Some((fields[2].parse()?, fields[3].parse()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_server_comes_back_with_its_data() {
        let mut server = PostgresServer::start().expect("starts");
        server.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (7);").expect("runs");
        server.kill().expect("killed");
        assert!(server.psql("SELECT 1").is_err());
        server.resume().expect("starts again");
        assert_eq!(server.psql("SELECT id FROM t").expect("runs"), "7");
        assert_eq!(server.psql("SHOW wal_level").expect("runs"), "logical");
    }
}
