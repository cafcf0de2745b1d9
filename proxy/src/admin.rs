//! The admin server: `/livez`, `/readyz`, `/metrics`, `/status`, and the orders of [`orders`], over
//! HTTP/1.1. It shows no secrets, asks for no password, and is meant for a loopback or management
//! address.

mod orders;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::proxy::{Drain, Proxy};

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;

/// A request's head must have come after this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that are open, the oldest first.
#[derive(Debug, Default)]
struct Open(VecDeque<AbortHandle>);

impl Open {
    /// One more. Where there are too many the one that has waited longest is closed: requests that never end, or
    /// orders that wait for clients, must keep nobody from asking whether the process lives, or from RESUME.
    fn add(&mut self, connection: AbortHandle) {
        self.0.retain(|open| !open.is_finished());
        if self.0.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

/// Answers requests until the listener breaks.
pub(crate) async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = serve_connection(stream, peer, Arc::clone(&proxy));
                open.add(tokio::spawn(connection).abort_handle());
            }
            // Out of file descriptors, mostly: it passes.
            Err(error) => {
                tracing::warn!(%error, "the admin listener");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, proxy: Arc<Proxy>) {
    let service = service_fn(|request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(respond(&request, &proxy).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Connections that somebody keeps open would take the places of others.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "admin connection");
    }
}

async fn respond(request: &Request<Incoming>, proxy: &Proxy) -> Response<Full<Bytes>> {
    if let Some(response) = orders::obey(request, proxy).await {
        return response;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(proxy),
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            respond_with(StatusCode::OK, kind, proxy.render_metrics())
        }
        "/status" => {
            let body = orders::status(proxy).to_string() + "\n";
            respond_with(StatusCode::OK, "application/json", body)
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn readiness(proxy: &Proxy) -> Response<Full<Bytes>> {
    if *proxy.drain().borrow() != Drain::Running {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let mut stale: Vec<_> = proxy
        .databases()
        .iter()
        .filter(|database| !database.is_fresh())
        .map(|database| format!("the catalogue of {:?} can't be read\n", database.name()))
        .collect();
    stale.sort();
    let (status, said) = match stale.is_empty() {
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, stale.concat()),
    };
    text(status, said + &hosts(proxy))
}

/// A line for each host of the databases that have several.
fn hosts(proxy: &Proxy) -> String {
    let databases = proxy.databases();
    let hosts = databases.iter().flat_map(|database| database.hosts());
    let mut lines: Vec<String> = hosts
        .map(|it| {
            let serves = if it.serves { ", serves" } else { "" };
            format!("{:?} at {}: {}{serves}\n", it.database, it.host, it.state)
        })
        .collect();
    lines.sort();
    lines.concat()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond_with(status, "text/plain; charset=utf-8", body)
}

fn respond_with(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
