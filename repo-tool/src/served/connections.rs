//! Accepts HTTP connections within limits.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The time limit for finishing responses when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failure to accept a connection, for example because this process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits that protect the server from slow clients and from clients that open many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The time limit for sending the headers of a request.
    pub(crate) headers: Duration,
    /// The time limit for a whole connection.
    pub(crate) connection: Duration,
    /// The maximum number of simultaneous connections. Further clients wait until a connection ends.
    pub(crate) connections: usize,
}

/// Answers requests until `stop` is ready. Then takes at most 5 seconds to finish the responses that have begun.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    mut protocol: http1::Builder,
    limits: Limits,
    service: S,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let mut stop = pin!(stop);
    let connections = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.headers);
    loop {
        let accept = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let Ok((connection, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without this option, the last part of a response can be delayed by 40 ms, until the client has acknowledged
        // the earlier parts.
        let _ = connection.set_nodelay(true);
        let answering = connections.watch(protocol.serve_connection(TokioIo::new(connection), service.clone()));
        tokio::spawn(async move {
            // An error on one connection does not affect the others.
            let _ = timeout(limits.connection, answering).await;
            drop(permit);
        });
    }
    drop(listener);
    let _ = timeout(STOP_TIMEOUT, connections.shutdown()).await;
}
