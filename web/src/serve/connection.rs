//! One connection, from its first byte to its last.

use super::front::{Front, Side};
use super::idle::Idle;
use crate::caller::{FromPort, Peer};
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Headers that take longer than this are given up; so is a connection that is kept open without a request.
const HEADERS: Duration = Duration::from_secs(15);
const HEADER_BYTES_MAX: usize = 32 * 1024;
const STREAMS_MAX: u32 = 64;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(15);
/// Streams that a peer may open and reset before it is cut off (rapid reset).
const RESETS_MAX: usize = 32;

/// How long open requests may take after a stop was asked for.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// Serves one connection until it ends; after a stop, until its open requests have been answered.
pub(crate) async fn serve<T>(
    io: T,
    http2: bool,
    (peer, port): (Peer, Option<u16>),
    side: Side,
    front: Arc<Front>,
    stop: CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (front, peer) = (front.clone(), peer.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            if let Some(port) = port {
                request.extensions_mut().insert(FromPort(port));
            }
            Ok::<_, Infallible>(front.answer(side, request).await)
        }
    });
    let io = TokioIo::new(Idle::new(io));
    let ended = if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX as u32)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(RESETS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_headers(64)
            .max_buf_size(HEADER_BYTES_MAX);
        // A terminal goes on after its request, and ends by itself when the node stops.
        let mut connection = std::pin::pin!(builder.serve_connection(io, service).with_upgrades());
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
