//! What operators order: `POST /pause` and `POST /resume`, for all databases or one of them
//! (`/pause/app`), and `GET /status`, which tells what came of it.
//!
//! PAUSE is answered when no connection to the server is left; who does not wait for the answer has
//! paused it all the same. RESUME is answered when clients go on, or with 503 when the server can't be
//! asked for its catalogue: then the database stays paused. A web page that somebody happens to have
//! open may not order anything: browsers name the page that a request comes from.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::ORIGIN;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::text;
use crate::database::Database;
use crate::proxy::{Drain, Proxy};

/// What is ordered.
#[derive(Debug, Clone, Copy)]
enum Order {
    Pause,
    Resume,
}

/// Does what a request orders, if it is an order.
pub(super) async fn obey(
    request: &Request<Incoming>,
    proxy: &Proxy,
) -> Option<Response<Full<Bytes>>> {
    let mut path = request.uri().path().splitn(3, '/').skip(1);
    let order = match path.next()? {
        "pause" => Order::Pause,
        "resume" => Order::Resume,
        _ => return None,
    };
    if request.method() != Method::POST {
        return Some(text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n"));
    }
    if request.headers().contains_key(ORIGIN) || request.headers().contains_key("sec-fetch-site") {
        return Some(text(StatusCode::FORBIDDEN, "not from a web page\n"));
    }
    let databases = match path.next() {
        None => proxy.databases(),
        Some(name) => match named(proxy, name) {
            Some(database) => vec![database],
            None => return Some(text(StatusCode::NOT_FOUND, "no such database\n")),
        },
    };
    Some(match order {
        Order::Pause => pause(&databases).await,
        Order::Resume => resume(&databases).await,
    })
}

fn named(proxy: &Proxy, name: &str) -> Option<Arc<Database>> {
    proxy.opened(&percent_decode_str(name).decode_utf8().ok()?)
}

async fn pause(databases: &[Arc<Database>]) -> Response<Full<Bytes>> {
    // All at once, so that one which takes long does not let the others go on.
    databases.iter().for_each(|database| database.pause());
    for database in databases {
        if !database.paused().await {
            let message = format!("{}: resumed meanwhile\n", database.name());
            return text(StatusCode::CONFLICT, message);
        }
    }
    text(StatusCode::OK, "paused\n")
}

async fn resume(databases: &[Arc<Database>]) -> Response<Full<Bytes>> {
    let mut failures = String::new();
    for database in databases {
        if let Err(error) = database.resume().await {
            failures += &format!("{}: still paused: {error}\n", database.name());
        }
    }
    match failures.is_empty() {
        true => text(StatusCode::OK, "resumed\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, failures),
    }
}

/// What the process does now.
pub(super) fn status(proxy: &Proxy) -> Value {
    let process = match *proxy.drain().borrow() {
        Drain::Running => "running",
        Drain::HandingOver => "handing_over",
        Drain::Draining => "draining",
        Drain::Closing => "closing",
    };
    let databases: Vec<Value> = proxy.databases().iter().map(|it| shown(it)).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": process,
        "client_connections": proxy.metrics().client_connections.value(),
        "databases": databases,
    })
}

fn shown(database: &Database) -> Value {
    let pool = database.pool().occupancy();
    json!({
        "name": database.name(),
        "state": database.state().as_str(),
        "catalog_read": database.is_fresh(),
        "server_connections": { "active": pool.active, "idle": pool.idle },
        "waiting_clients": pool.waiting,
    })
}
