//! GoTrue's admin API of users, in this process: a real HTTP server that keeps users in memory, and
//! fails when it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The most that it gives at once, whatever it is asked for.
const PAGE_MAX: usize = 40;

#[derive(Default)]
struct State {
    users: Mutex<BTreeMap<String, Value>>,
    key: String,
    requests: AtomicUsize,
    changes: AtomicUsize,
    failures: AtomicUsize,
    failing: AtomicBool,
    refusing: AtomicBool,
}

/// The API, until it is dropped.
pub(crate) struct Api {
    state: Arc<State>,
    port: u16,
    scheme: &'static str,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    /// With so many users: the second is of another organisation, the third of the right one.
    pub(crate) fn start(users: usize, key: &str) -> Self {
        Self::start_with(users, key, None)
    }

    /// The same over TLS, and its certificate, which is for localhost.
    pub(crate) fn start_encrypted(users: usize, key: &str) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let own = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(own))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (
            Self::start_with(users, key, Some(acceptor)),
            made.cert.pem(),
        )
    }

    fn start_with(users: usize, key: &str, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let id = |number: usize| format!("00000000-0000-0000-0000-{number:012}");
        let mut all = BTreeMap::new();
        for number in 1..=users {
            let mut user = json!({"id": id(number), "app_metadata": {"provider": "email"}});
            if number == 2 {
                user["app_metadata"]["org_id"] = json!("b0000000-0000-0000-0000-000000000002");
            }
            if number == 3 {
                user["app_metadata"]["org_id"] = json!("a0000000-0000-0000-0000-000000000001");
            }
            all.insert(id(number), user);
        }
        let state = Arc::new(State {
            users: Mutex::new(all),
            key: key.to_owned(),
            ..State::default()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(serve(listener, Arc::clone(&state), tls));
        Self {
            state,
            port,
            scheme,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        let host = if self.scheme == "https" {
            "localhost"
        } else {
            "127.0.0.1"
        };
        format!("{}://{host}:{}/auth/v1", self.scheme, self.port)
    }

    pub(crate) fn users(&self) -> Vec<Value> {
        self.state.users.lock().unwrap().values().cloned().collect()
    }

    /// How many changes were made.
    pub(crate) fn changes(&self) -> usize {
        self.state.changes.load(Ordering::SeqCst)
    }

    /// How many requests have failed.
    pub(crate) fn failures(&self) -> usize {
        self.state.failures.load(Ordering::SeqCst)
    }

    pub(crate) fn fail_now_and_then(&self) {
        self.state.failing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn refuse_changes(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        let tls = tls.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&state)));
            let http = http1::Builder::new();
            match tls {
                None => {
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                }
                // Who does not trust the certificate goes away.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    }
                }
            }
        });
    }
}

fn response(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status.try_into().unwrap();
    response
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
    let bearer = format!("Bearer {}", state.key);
    if header("apikey") != Some(&state.key) || header("authorization") != Some(&bearer) {
        return Ok(response(401, "who are you"));
    }
    let number = state.requests.fetch_add(1, Ordering::SeqCst);
    let fault = state
        .failing
        .load(Ordering::SeqCst)
        .then(|| fault(number))
        .flatten();
    if fault.is_some() {
        state.failures.fetch_add(1, Ordering::SeqCst);
    }
    match fault {
        Some(Fault::Before(response)) => return Ok(response),
        // The change is made, and nobody is told.
        Some(Fault::Silence) => {
            let _ = carry_out(request, &state).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Ok(response(200, "{}"));
        }
        None => {}
    }
    Ok(carry_out(request, &state).await)
}

const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

enum Fault {
    Before(Response<Full<Bytes>>),
    Silence,
}

fn fault(number: usize) -> Option<Fault> {
    match number {
        it if it % 97 == 50 => Some(Fault::Silence),
        it if it % 17 == 5 => {
            let mut response = response(429, "slow down");
            response.headers_mut().insert(
                "retry-after",
                if number.is_multiple_of(2) {
                    "0"
                } else {
                    LONG_AGO
                }
                .parse()
                .unwrap(),
            );
            Some(Fault::Before(response))
        }
        it if it % 23 == 7 => Some(Fault::Before(response(500, "out of order"))),
        _ => None,
    }
}

async fn carry_out(request: Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (request.method(), path.strip_prefix("/auth/v1/admin/users")) {
        (&Method::GET, Some("")) => list(state, &query),
        (&Method::PUT, Some(id)) => {
            let id = id.trim_start_matches('/').to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            change(state, &id, &serde_json::from_slice(&body).unwrap())
        }
        _ => response(404, "nothing here"),
    }
}

fn list(state: &State, query: &str) -> Response<Full<Bytes>> {
    let parameter = |name: &str| -> usize {
        let pairs = query.split('&').filter_map(|it| it.split_once('='));
        let found = pairs.filter(|(key, _)| *key == name).map(|it| it.1).next();
        found.unwrap().parse().unwrap()
    };
    let size = parameter("per_page").min(PAGE_MAX);
    let users = state.users.lock().unwrap();
    let page = users
        .values()
        .skip((parameter("page") - 1) * size)
        .take(size);
    let page: Vec<&Value> = page.collect();
    let mut response = response(200, json!({ "users": page, "aud": "x" }).to_string());
    let total = users.len().to_string().parse().unwrap();
    response.headers_mut().insert("x-total-count", total);
    response
}

/// As GoTrue does it: the members that are named are replaced, the others stay.
fn change(state: &State, id: &str, body: &Value) -> Response<Full<Bytes>> {
    if state.refusing.load(Ordering::SeqCst) {
        return response(422, "no such thing");
    }
    let mut users = state.users.lock().unwrap();
    let Some(user) = users.get_mut(id) else {
        return response(404, "no such user");
    };
    for (name, value) in body["app_metadata"].as_object().unwrap() {
        user["app_metadata"][name] = value.clone();
    }
    state.changes.fetch_add(1, Ordering::SeqCst);
    response(200, user.to_string())
}
