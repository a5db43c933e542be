//! Serves metrics over HTTP, for Prometheus.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::served::connections::{self, Limits};

pub(crate) const PATH: &str = "/metrics";
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// The limits for connections. They can be strict, because Prometheus sends only short requests.
const LIMITS: Limits = Limits { headers: Duration::from_secs(5), connection: Duration::from_secs(10), connections: 32 };
/// The maximum length of the request headers, in bytes.
const MAX_HEADERS_LENGTH: usize = 16 * 1024;

/// A server that is bound to an address but not yet running.
pub(crate) struct MetricsServer(TcpListener);

impl MetricsServer {
    /// Port 0 chooses a free port.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves the newest value of `metrics` until its sender is dropped.
    pub(crate) async fn run(self, metrics: watch::Receiver<Bytes>) {
        let mut protocol = http1::Builder::new();
        protocol.keep_alive(false).max_buf_size(MAX_HEADERS_LENGTH);
        let newest = metrics.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&request, &newest);
            async { Ok::<_, Infallible>(response) }
        });
        let stop = async {
            let mut metrics = metrics;
            while metrics.changed().await.is_ok() {}
        };
        connections::serve(self.0, protocol, LIMITS, service, stop).await;
    }
}

/// Returns whether the header `Host` names a loopback address.
///
/// This check prevents DNS rebinding. In that attack, a host name of the attacker resolves to this machine, so that a
/// web page in a local browser can send requests to this server.
fn names_loopback(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn answer(request: &Request<Incoming>, metrics: &watch::Receiver<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if !names_loopback(request) {
        *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    } else if request.uri().path() != PATH {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if request.method() != Method::GET && request.method() != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    } else {
        response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
        // hyper sends no body in the response to HEAD.
        *response.body_mut() = Full::new(metrics.borrow().clone());
    }
    response
}
