//! A PostgreSQL server of the test's own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const PASSWORD: &str = "correct horse";

pub struct Postgres {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

/// Whether the server's programs are installed; then the suite must run on it.
pub fn is_installed() -> bool {
    Path::new(BIN).join("postgres").exists()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}

// The server refuses to run as root. It ends with the test, however the test ends.
fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.args(["--pdeathsig=KILL", &format!("{BIN}/{program}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command
}

impl Postgres {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if is_root() {
            let owned = Command::new("chown").arg("-R").arg("postgres").arg(folder.path()).status().unwrap();
            assert!(owned.success());
        }
        let made = command("initdb")
            .current_dir("/tmp")
            .args(["-U", "tarn", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"])
            .arg("-D")
            .arg(&data)
            .arg(format!("--pwfile={}", password.display()))
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = command("postgres")
            .current_dir("/tmp")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "unix_socket_directories="])
            .spawn()
            .unwrap();
        let server = Self { child, port, _folder: folder };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let port = self.port.to_string();
        while Instant::now() < deadline {
            let ready = command("pg_isready").args(["-h", "127.0.0.1", "-p", &port, "-q"]).status().unwrap();
            if ready.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, database: &str) -> String {
        self.url_with(database, "correct%20horse")
    }

    pub fn url_with(&self, database: &str, password: &str) -> String {
        format!("postgres://tarn:{password}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-QUIT").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
