//! Accepting connections and speaking HTTP/1.1 and HTTP/2 on them, with TLS, limits and an orderly end. Both the HTTP
//! API and Flight SQL are served by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tarn_core::Env;
use tarn_observe::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::meter::OpenConnection;

/// How long a client may take to send the head of a request or to finish the TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system refused to accept, such as when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Address of the other side, in the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServeLimits {
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: u32,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
}

/// What a listener answers with, and where its open connections are counted.
pub(crate) struct Answering {
    pub router: Router,
    pub tls: Option<TlsAcceptor>,
    pub connections: Gauge,
}

/// Answers until `stop` fires; then requests in progress are finished and connections closed, and it returns.
/// The caller bounds how long it waits for that.
pub(crate) async fn serve(
    listener: TcpListener,
    answering: Answering,
    limits: ServeLimits,
    env: Env,
    stop: CancellationToken,
) {
    let Answering { router, tls, connections: gauge } = answering;
    let slots = Arc::new(Semaphore::new(limits.connections_max.max(1) as usize));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .keep_alive_interval(Some(Duration::from_secs(60)));
    let builder = Arc::new(builder);
    let connections = TaskTracker::new();
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = stop.cancelled() => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                env.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (builder, router, tls, stop) = (Arc::clone(&builder), router.clone(), tls.clone(), stop.clone());
        let timeout = env.clock.sleep(HEAD_TIMEOUT);
        let open = OpenConnection::new(&gauge);
        env.spawner.spawn(connections.track_future(async move {
            let (_slot, _open) = (slot, open);
            let _ = stream.set_nodelay(true);
            match tls {
                None => serve_connection(&builder, stream, peer, router, stop).await,
                Some(tls) => {
                    let handshake = tokio::select! {
                        handshake = tls.accept(stream) => handshake,
                        () = timeout => return,
                        () = stop.cancelled() => return,
                    };
                    match handshake {
                        Ok(stream) => serve_connection(&builder, stream, peer, router, stop).await,
                        Err(error) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    }
                }
            }
        }));
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection<S>(
    builder: &Builder<TokioExecutor>,
    stream: S,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled().fuse() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}
