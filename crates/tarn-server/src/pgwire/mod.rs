//! The PostgreSQL wire protocol: a session per connection over the query engine.

mod attributes;
mod catalog;
mod connection;
mod control;
mod copy;
mod cursor;
mod encode;
mod error;
mod extended;
mod keys;
mod params;
mod rewrite;
mod settings;
mod simple;
mod split;
mod startup;
mod text;
mod views;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pgwire::messages::startup::SecretKey;
use pgwire::tokio::process_socket;
use tarn_core::{RequestContext, Sealed, TenantId};
use tarn_observe::Metric;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::App;
use crate::http::envelope::new_trace;
use crate::meter::{OpenConnection, RequestMeter};
use crate::sql::Protocol;
use catalog::SystemCatalog;
use connection::{Connection, Handlers, Running};

/// Name by which clients ask for this protocol within TLS.
pub(crate) const ALPN: &[u8] = b"postgresql";
/// Process numbers start where those of PostgreSQL rarely are.
const FIRST_PID: i32 = 100_000;
/// Connections beyond the limit that are answered with an error instead of silence.
const TURNED_AWAY_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct PgServer {
    app: App,
    catalog: Sealed<SystemCatalog>,
    meter: RequestMeter,
    next_pid: AtomicI32,
    /// By process number: the key that may cancel, and what runs.
    running: Mutex<HashMap<i32, (SecretKey, Arc<Running>)>>,
}

impl PgServer {
    /// Sets up the emulated catalog. Errors: a text that says why not.
    pub(crate) async fn new(app: App) -> Result<Arc<Self>, String> {
        let ctx = RequestContext::system(TenantId::default(), new_trace(&app));
        let session = app.state.engine.session(&ctx);
        let tables = Arc::clone(&app.state.tables);
        let catalog = SystemCatalog::new(&session, tables, &app.installation.version).await?;
        let catalog = Sealed::new(catalog);
        let meter = RequestMeter::new(&app.state.metrics, Protocol::Pgwire);
        let next_pid = AtomicI32::new(FIRST_PID);
        Ok(Arc::new(Self { app, catalog, meter, next_pid, running: Mutex::default() }))
    }

    fn next_pid(&self) -> i32 {
        self.next_pid.fetch_add(1, Ordering::Relaxed)
    }
}

/// Serves connections until `stop` fires; then idle ones are closed and busy ones after their statement.
pub(crate) async fn serve(
    server: Arc<PgServer>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let connections_max = server.app.config.pgwire.connections_max.max(1) as usize;
    let seats = Arc::new(Semaphore::new(connections_max));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                server.app.env.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (seat, is_full) = match Arc::clone(&seats).try_acquire_owned() {
            Ok(seat) => (seat, false),
            Err(_) => match Arc::clone(&turned_away).try_acquire_owned() {
                Ok(seat) => (seat, true),
                Err(_) => continue,
            },
        };
        tracing::debug!(%peer, is_full, "PostgreSQL client connected");
        let connection = Connection::new(Arc::clone(&server), is_full);
        let serving = serve_connection(connection, stream, tls.clone(), seat, stop.clone());
        server.app.env.spawner.spawn(connections.track_future(serving));
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(
    connection: Arc<Connection>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    seat: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let _seat = seat;
    let gauge =
        connection.server().app.state.metrics.gauge(Metric::ServerConnections, Protocol::Pgwire.as_str());
    let _open = OpenConnection::new(&gauge);
    if let Err(error) = speak(&connection, stream, tls, stop).await {
        tracing::debug!(%error, "PostgreSQL connection ended early");
    }
    connection.close();
}

async fn speak(
    connection: &Arc<Connection>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) -> io::Result<()> {
    let (stream, line) = twice(stream)?;
    let running = connection.running();
    let serving = process_socket(stream, tls, Arc::new(Handlers(Arc::clone(connection))));
    let stopped = async {
        stop.cancelled().await;
        running.idle().await;
    };
    tokio::pin!(serving, stopped);
    let mut is_gone = false;
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            () = &mut stopped => return Ok(()),
            // What was sent before is still read: a request to cancel comes on a line that is closed at once.
            () = hung_up(&line), if !is_gone => {
                is_gone = true;
                running.abandon();
            }
        }
    }
}

/// The same socket twice: one to speak on, one to watch.
fn twice(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let line = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(line)?))
}

/// Waits until the client has closed its side. Nothing is read, and what arrives is no reason to wake up: of a pipelining
/// client there is always something to read.
#[cfg(target_os = "linux")]
async fn hung_up(line: &TcpStream) {
    // Urgent data is not part of the protocol, and this interest also ends with the reading side.
    if line.ready(Interest::PRIORITY).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Elsewhere nothing tells an end from data without reading it; a statement then ends with its next row.
#[cfg(not(target_os = "linux"))]
async fn hung_up(_: &TcpStream) {
    std::future::pending::<()>().await;
}
