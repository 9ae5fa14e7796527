//! One connection: who is connected, what runs, and how it is stopped.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use pgwire::api::auth::StartupHandler;
use pgwire::api::cancel::CancelHandler;
use pgwire::api::copy::CopyHandler;
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::{ClientInfo, ErrorHandler, PgWireServerHandlers};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tarn_access::ScramLogin;
use tarn_core::RequestContext;
use tarn_query::Session;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::PgServer;
use super::copy::Incoming;
use super::cursor::Cursors;
use super::error::user_error;
use crate::http::App;

/// What runs on a connection, and how to stop it from another one.
#[derive(Debug)]
pub(crate) struct Running {
    current: Mutex<Option<Statement>>,
    is_abandoned: AtomicBool,
    busy: watch::Sender<usize>,
}

#[derive(Clone, Debug)]
struct Statement {
    query_id: String,
    token: CancellationToken,
}

/// Held while a statement runs, until its last row is sent.
#[derive(Debug)]
pub(crate) struct Busy {
    running: Arc<Running>,
    pub query_id: String,
    /// Fires when the client asks to stop.
    pub token: CancellationToken,
}

impl Running {
    fn new() -> Arc<Self> {
        let (is_abandoned, busy) = (AtomicBool::new(false), watch::Sender::new(0));
        Arc::new(Self { current: Mutex::default(), is_abandoned, busy })
    }

    /// Notes that a statement starts.
    pub(crate) fn start(self: &Arc<Self>, query_id: String) -> Busy {
        let token = CancellationToken::new();
        *self.current.lock() = Some(Statement { query_id: query_id.clone(), token: token.clone() });
        if self.is_abandoned.load(Ordering::SeqCst) {
            token.cancel();
        }
        self.busy.send_modify(|count| *count += 1);
        Busy { running: Arc::clone(self), query_id, token }
    }

    /// Waits until nothing runs.
    pub(crate) async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // The sender lives in `self`.
        let _ = busy.wait_for(|count| *count == 0).await;
    }

    /// Stops what runs and what would be started, as nobody waits for it.
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::SeqCst);
        if let Some(query_id) = self.stop() {
            tracing::debug!(query_id, "cancelled, its client is gone");
        }
    }

    fn stop(&self) -> Option<String> {
        let current = self.current.lock().clone()?;
        current.token.cancel();
        Some(current.query_id)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut current = self.running.current.lock();
        if current.as_ref().is_some_and(|statement| statement.query_id == self.query_id) {
            *current = None;
        }
        drop(current);
        self.running.busy.send_modify(|count| *count -= 1);
    }
}

/// One client.
pub(crate) struct Connection {
    /// The library asks the connection for itself as its parser.
    this: Weak<Self>,
    server: Arc<PgServer>,
    is_full: bool,
    session: OnceLock<Session>,
    pid: OnceLock<i32>,
    running: Arc<Running>,
    /// A login that awaits the client's next message.
    pub(super) login: Mutex<Option<ScramLogin>>,
    pub(super) cursors: Cursors,
    /// Rows that the client is sending.
    pub(super) incoming: Mutex<Option<Box<Incoming>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Connection {
    /// `is_full`: the server has no place left, which the client is told.
    pub(crate) fn new(server: Arc<PgServer>, is_full: bool) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            server,
            is_full,
            session: OnceLock::new(),
            pid: OnceLock::new(),
            running: Running::new(),
            login: Mutex::default(),
            cursors: Cursors::default(),
            incoming: Mutex::default(),
        })
    }

    pub(super) fn itself(&self) -> Arc<Self> {
        self.this.upgrade().expect("a connection that is being used is alive")
    }

    pub(super) fn server(&self) -> &PgServer {
        &self.server
    }

    pub(super) fn app(&self) -> &App {
        &self.server.app
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }

    /// The session of a client that is logged in.
    pub(super) fn session(&self) -> PgWireResult<&Session> {
        self.session.get().ok_or_else(|| user_error("28000", "this connection is not logged in"))
    }

    /// Logs the client in. Returns the number and the key by which its statements can be cancelled.
    pub(super) fn open(&self, ctx: &RequestContext, is_long_key: bool) -> (i32, SecretKey) {
        let session = self.app().state.engine.session(ctx);
        let _ = self.session.set(session);
        let mut bytes = vec![0; if is_long_key { 32 } else { 4 }];
        self.app().env.entropy.fill(&mut bytes);
        let key = match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(short) => SecretKey::I32(i32::from_be_bytes(short)),
            Err(_) => SecretKey::Bytes(bytes.into()),
        };
        let pid = self.server.next_pid();
        let _ = self.pid.set(pid);
        self.server.running.lock().insert(pid, (key.clone(), Arc::clone(&self.running)));
        (pid, key)
    }

    /// Forgets the connection and stops what still runs on it.
    pub(super) fn close(&self) {
        // Rows that did not come to their end leave nothing.
        drop(self.incoming.lock().take());
        if let Some(pid) = self.pid.get() {
            self.server.running.lock().remove(pid);
        }
        if let Some(session) = self.session.get() {
            session.context().cancel.cancel();
        }
    }
}

#[async_trait]
impl CancelHandler for Connection {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let running = {
            let all = self.server.running.lock();
            let known = all.get(&request.pid).filter(|(key, _)| key.eq_value(&request.secret_key));
            known.map(|(_, running)| Arc::clone(running))
        };
        if let Some(query_id) = running.and_then(|running| running.stop()) {
            tracing::debug!(query_id, "cancelled by its client");
        }
    }
}

impl ErrorHandler for Connection {
    fn on_error<C: ClientInfo>(&self, _: &C, error: &mut PgWireError) {
        tracing::debug!(%error, "a statement failed");
    }
}

/// The connection in every role that the library asks for.
pub(crate) struct Handlers(pub Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.0)
    }

    fn copy_handler(&self) -> Arc<impl CopyHandler> {
        Arc::clone(&self.0)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::clone(&self.0)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.0)
    }
}
