//! Starting and stopping all protocols.

use std::net::SocketAddr;
use std::sync::Arc;

use tarn_access::Peer;
use tarn_core::{Env, HumanDuration};
use tarn_observe::{Gauge, Metric};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bind::{Bound, bind};
use crate::config::{Installation, ServerConfig};
use crate::error::ServerError;
use crate::flight::FlightSql;
use crate::http::{self, App};
use crate::pgwire::{self, PgServer};
use crate::serve::{Answering, ServeLimits, serve};
use crate::sql::{Protocol, QueryMeter};
use crate::state::ServerState;
use crate::tls::TlsIdentity;

/// Requests at once on one HTTP/2 connection of the HTTP port.
const HTTP_STREAMS_MAX: u32 = 128;

/// All wire protocols.
#[derive(Debug)]
pub struct Server;

/// A server that answers. Dropping it does not stop it; it ends with [`RunningServer::shutdown`], or with the spawner of
/// the environment that it was started in.
#[derive(Debug)]
pub struct RunningServer {
    /// Where HTTP is answered; `None` when off.
    pub http_addr: Option<SocketAddr>,
    /// Where PostgreSQL clients are answered; `None` when off.
    pub pgwire_addr: Option<SocketAddr>,
    /// Where Flight SQL is answered; `None` when off.
    pub flight_addr: Option<SocketAddr>,
    /// Whether clients reach it by TLS.
    pub is_secure: bool,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    env: Env,
    limit: HumanDuration,
}

impl Server {
    /// Takes the ports, then answers on all of them. Nothing is answered when one of them cannot be had.
    ///
    /// Errors: `Address`, `PortInUse`, `Bind`; `Exposed` for an address that other machines reach while no user or key
    /// exists; `Tls`; `Setup`.
    pub async fn start(
        config: ServerConfig,
        installation: Installation,
        state: ServerState,
        env: Env,
    ) -> Result<RunningServer, ServerError> {
        let tls = config.tls.as_ref().map(TlsIdentity::load).transpose()?;
        let guarded = state.access.is_authentication_required(&Peer::local()).await.map_err(|error| {
            ServerError::Setup { part: "access control", what: tarn_core::chain_text(&error) }
        })?;
        let http_bound = bind(&config.http.listen, "--http", guarded).await?;
        let pgwire_bound = bind(&config.pgwire.listen, "--pgwire", guarded).await?;
        let flight_bound = bind(&config.flight.listen, "--flight", guarded).await?;
        let is_loopback =
            |bound: &Option<Bound>| bound.as_ref().is_none_or(|bound| bound.address.ip().is_loopback());
        let loopback = is_loopback(&http_bound);

        let stop = env.spawner.stopping().child_token();
        state.engine.observe(Arc::new(QueryMeter(Arc::clone(&state.metrics))));
        let app = App::new(config.clone(), installation, state, env.clone(), loopback, stop.clone());
        let mut running = RunningServer {
            http_addr: http_bound.as_ref().map(|bound| bound.address),
            pgwire_addr: pgwire_bound.as_ref().map(|bound| bound.address),
            flight_addr: flight_bound.as_ref().map(|bound| bound.address),
            is_secure: tls.is_some(),
            stop,
            tasks: Vec::new(),
            env,
            limit: config.shutdown_timeout,
        };
        if let Some(bound) = pgwire_bound {
            running.start_pgwire(&app, bound, tls.as_ref()).await?;
        }
        if let Some(bound) = flight_bound {
            running.start_flight(&app, bound, tls.as_ref())?;
        }
        if let Some(bound) = http_bound {
            running.start_http(app, bound, tls.as_ref());
        }
        Ok(running)
    }
}

fn connections(app: &App, protocol: Protocol) -> Gauge {
    app.state.metrics.gauge(Metric::ServerConnections, protocol.as_str())
}

impl RunningServer {
    fn start_http(&mut self, app: App, bound: Bound, tls: Option<&TlsIdentity>) {
        let limits =
            ServeLimits { connections_max: app.config.http.connections_max, streams_max: HTTP_STREAMS_MAX };
        let tls = tls.map(|tls| tls.acceptor(&[b"h2", b"http/1.1"]));
        let connections = connections(&app, Protocol::Http);
        let answering = Answering { router: http::router(app), tls, connections };
        let serving = serve(bound.listener, answering, limits, self.env.clone(), self.stop.clone());
        self.tasks.push(self.env.spawner.spawn(serving));
    }

    fn start_flight(
        &mut self,
        app: &App,
        bound: Bound,
        tls: Option<&TlsIdentity>,
    ) -> Result<(), ServerError> {
        let limits = ServeLimits {
            connections_max: app.config.http.connections_max,
            streams_max: app.config.flight.streams_max,
        };
        let service =
            FlightSql::new(app.clone()).map_err(|what| ServerError::Setup { part: "Flight SQL", what })?;
        let tls = tls.map(|tls| tls.acceptor(&[b"h2"]));
        let connections = connections(app, Protocol::Flight);
        let answering = Answering { router: service.router(), tls, connections };
        let serving = serve(bound.listener, answering, limits, self.env.clone(), self.stop.clone());
        self.tasks.push(self.env.spawner.spawn(serving));
        Ok(())
    }

    async fn start_pgwire(
        &mut self,
        app: &App,
        bound: Bound,
        tls: Option<&TlsIdentity>,
    ) -> Result<(), ServerError> {
        let server = PgServer::new(app.clone())
            .await
            .map_err(|what| ServerError::Setup { part: "the PostgreSQL catalog", what })?;
        let tls = tls.map(|tls| tls.acceptor(&[pgwire::ALPN]));
        let serving = pgwire::serve(server, bound.listener, tls, self.stop.clone());
        self.tasks.push(self.env.spawner.spawn(serving));
        Ok(())
    }

    /// Takes no more connections, lets requests in progress end, at most for `shutdown_timeout`. Returns whether all
    /// listeners ended.
    pub async fn shutdown(self) -> bool {
        self.stop.cancel();
        let ends = futures::future::join_all(self.tasks);
        tokio::select! {
            _ = ends => true,
            () = self.env.clock.sleep(self.limit.0) => false,
        }
    }
}
