//! PostgreSQL's own client, as the peer and as the writer of changes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::cli::Failure;

/// Rows of one statement of the writer.
const STATEMENT_ROWS: u32 = 20;

/// Runs `psql` against one database.
pub struct Psql {
    url: String,
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::invalid(
        format!("`psql` cannot be run: {error}"),
        "install PostgreSQL's client (postgresql-client)",
    )
}

impl Psql {
    /// For the database at an address.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_string() }
    }

    /// For another database of the same server.
    pub fn database(&self, name: &str) -> Self {
        let (before, query) =
            self.url.split_once('?').map_or((self.url.as_str(), None), |(a, b)| (a, Some(b)));
        let server = before.rsplit_once('/').map_or(before, |(server, _)| server);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self { url: format!("{server}/{name}{query}") }
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn command(&self) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url]);
        command
    }

    /// Runs statements. Errors: what the server said.
    pub fn run(&self, sql: &str) -> Result<String, Failure> {
        let output =
            self.command().args(["-c", sql]).stdin(Stdio::null()).output().map_err(|e| failed(&e))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(Failure::invalid(
                format!("PostgreSQL refused the bench: {said}"),
                "name a server with `wal_level = logical` and a user that may make a schema and replicate",
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    }

    /// Seconds that a command takes.
    #[expect(clippy::disallowed_methods, reason = "a bench measures the real clock")]
    pub fn timed(&self, sql: &str) -> Result<f64, Failure> {
        let started = Instant::now();
        self.run(sql)?;
        Ok(started.elapsed().as_secs_f64())
    }
}

/// Numbers that a process of psql prints, each with a time.
#[expect(clippy::disallowed_methods, reason = "pipes of a child process block; each ends with the child")]
fn marks_of(output: std::process::ChildStdout) -> Receiver<(u64, i64)> {
    let (sender, marks) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let parsed = line.split_once('|').and_then(|(id, us)| Some((id.parse().ok()?, us.parse().ok()?)));
            if parsed.is_some_and(|mark| sender.send(mark).is_err()) {
                return;
            }
        }
    });
    marks
}

/// Looks again and again at a number, such as the largest key of a table.
pub struct Watcher {
    process: Child,
    marks: Receiver<(u64, i64)>,
}

impl Watcher {
    /// Starts to look. `sql`: gives one number. Errors: psql cannot be run.
    pub fn start(psql: &Psql, sql: &str, pause_s: f64) -> Result<Self, Failure> {
        let mut command = psql.command();
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| failed(&error))?;
        let gone = || Failure::internal("psql was started without pipes");
        let mut input = process.stdin.take().ok_or_else(gone)?;
        let output = process.stdout.take().ok_or_else(gone)?;
        let look = format!("SELECT ({sql}), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
        writeln!(input, "{look} \\watch {pause_s}").map_err(|error| failed(&error))?;
        Ok(Self { process, marks: marks_of(output) })
    }

    /// What was seen since the last call: the number, and when, microseconds since 1970 UTC by the server's clock.
    pub fn seen(&self) -> Vec<(u64, i64)> {
        self.marks.try_iter().collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It ended by itself where this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Changes rows at a steady rate on a connection of its own: in each statement half of the rows are new, the others are
/// updates of old ones.
pub struct Writer {
    process: Child,
    marks: Receiver<(u64, i64)>,
    thread: Option<std::thread::JoinHandle<std::io::Result<f64>>>,
}

impl Writer {
    /// Starts to write: `rows` rows exist, `changes_per_s` are wanted for `seconds`.
    #[expect(clippy::disallowed_methods, reason = "pipes of a child process block; each ends with the child")]
    pub fn start(psql: &Psql, rows: u64, changes_per_s: u32, seconds: u64) -> Result<Self, Failure> {
        let mut process = psql
            .command()
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let gone = || Failure::internal("psql was started without pipes");
        let mut input = process.stdin.take().ok_or_else(gone)?;
        let output = process.stdout.take().ok_or_else(gone)?;
        let marks = marks_of(output);
        let thread = std::thread::spawn(move || write_changes(&mut input, rows, changes_per_s, seconds));
        Ok(Self { process, marks, thread: Some(thread) })
    }

    /// Whether all changes are made.
    pub fn is_done(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
    }

    /// New rows since the last call: identifier, and when its statement ran, microseconds since 1970 UTC by the
    /// server's clock.
    pub fn marks(&self) -> Vec<(u64, i64)> {
        self.marks.try_iter().collect()
    }

    /// Changes per second that were made. Errors: psql ended before its time.
    pub fn finish(mut self) -> Result<f64, Failure> {
        let status = self.process.wait().map_err(|error| failed(&error))?;
        let written = self.thread.take().map(std::thread::JoinHandle::join);
        match written {
            Some(Ok(Ok(rate))) if status.success() => Ok(rate),
            _ => Err(Failure::internal("psql ended while it made changes; its message is above")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the real clock")]
fn write_changes(input: &mut impl Write, rows: u64, per_s: u32, seconds: u64) -> std::io::Result<f64> {
    let half = u64::from(STATEMENT_ROWS / 2);
    let statements = u64::from(per_s) * seconds / u64::from(STATEMENT_ROWS);
    let pause = f64::from(STATEMENT_ROWS) / f64::from(per_s);
    let started = Instant::now();
    for n in 0..statements {
        let (first, last) = (rows + n * half + 1, rows + (n + 1) * half);
        // Old rows all over the table, none twice in one statement.
        let old = (n * 7919) % rows.saturating_sub(half).max(1);
        writeln!(
            input,
            "BEGIN; UPDATE tarn_bench.orders SET amount = amount + 1, paid = NOT paid WHERE id > {old} AND id <= {};
             INSERT INTO tarn_bench.orders SELECT n, 'customer ' || n % 977, n / 7.0, true, now(), 'note ' || n
               FROM generate_series({first}, {last}) n;
             SELECT {last}, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint; COMMIT;",
            old + half
        )?;
        input.flush()?;
        let ahead = (n + 1) as f64 * pause - started.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(std::time::Duration::from_secs_f64(ahead));
        }
    }
    Ok((statements * u64::from(STATEMENT_ROWS)) as f64 / started.elapsed().as_secs_f64())
}
