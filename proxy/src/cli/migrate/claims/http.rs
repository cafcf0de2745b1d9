//! Requests to one site, one after the other, with patience: not more often than it is asked for, again
//! after a failure that may pass, later when the site says so.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use pgwarden_config::settings::{RootCertificates, SslMode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{random, tls};

/// An answer is no longer than this.
const BODY_BYTES: usize = 32 << 20;

/// How often a request is tried.
const ATTEMPTS: u32 = 8;

/// The first pause after a failure; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// However long the site says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How much of an error's text is shown.
const SHOWN: usize = 200;

/// A site and the key to it.
pub(super) struct Site {
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<Arc<rustls::ClientConfig>>,
    key: HeaderValue,
    bearer: HeaderValue,
}

/// How much the site is asked of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For one request.
    pub(super) timeout: Duration,
    /// Requests a second.
    pub(super) rate: u32,
}

/// A request.
pub(super) struct Errand {
    method: Method,
    path: String,
    body: Bytes,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// `X-Total-Count`.
    pub(super) total: Option<i64>,
    retry_after: Option<Duration>,
}

/// Why an errand could not be run.
enum Trouble {
    /// It may be gone the next time.
    Passing(String),
    /// It stays: a certificate that is not trusted, a request that can't be made.
    Lasting(String),
}

/// Runs errands on one connection, which is opened anew when it breaks.
pub(super) struct Runner {
    site: Site,
    patience: Patience,
    sender: Option<SendRequest<Full<Bytes>>>,
    next: Instant,
}

impl Errand {
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: Bytes::new(),
        }
    }

    pub(super) fn put(path: String, body: String) -> Self {
        Self {
            method: Method::PUT,
            path,
            body: body.into(),
        }
    }
}

impl Answer {
    /// For people: the status, and the beginning of what was said.
    pub(super) fn described(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let plain = text
            .chars()
            .map(|it| if it.is_control() { ' ' } else { it });
        let shown: String = plain.take(SHOWN).collect();
        format!("HTTP {} {shown}", self.status)
            .trim_end()
            .to_owned()
    }

    /// Whether the same request may get another answer later.
    fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..=599)
    }
}

impl Site {
    /// The site at a URL. A key goes over TLS, or to this machine.
    pub(super) fn new(url: &str, key: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "--gotrue: not a URL".to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("--gotrue: write https://host/path".to_owned());
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let encrypted = match scheme {
            "https" => true,
            "http" if is_here(&host) => false,
            "http" => return Err("--gotrue: the service key is not sent without TLS".to_owned()),
            _ => return Err("--gotrue: write https://host/path".to_owned()),
        };
        let secret = |text: String| {
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| "the service key can't be a header".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        Ok(Self {
            port: authority
                .port_u16()
                .unwrap_or(if encrypted { 443 } else { 80 }),
            host,
            authority: authority
                .as_str()
                .rsplit('@')
                .next()
                .unwrap_or_default()
                .to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
            tls: encrypted.then(|| client_config(ca_file)).transpose()?,
            key: secret(key.to_owned())?,
            bearer: secret(format!("Bearer {key}"))?,
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(passing)?;
        match &self.tls {
            None => shake_hands(TokioIo::new(tcp)).await,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone());
                let name = name.map_err(|error| Trouble::Lasting(error.to_string()))?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name, tcp).await;
                shake_hands(TokioIo::new(stream.map_err(|error| untrusted(&error))?)).await
            }
        }
    }

    fn request(&self, errand: &Errand) -> Result<Request<Full<Bytes>>, String> {
        let host = HeaderValue::try_from(self.authority.as_str());
        let host = host.map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(errand.method.clone())
            .uri(format!("{}{}", self.path, errand.path))
            .header(HOST, host)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(HeaderName::from_static("apikey"), self.key.clone())
            .header(AUTHORIZATION, self.bearer.clone())
            .body(Full::new(errand.body.clone()));
        request.map_err(|error| error.to_string())
    }
}

impl Runner {
    pub(super) fn new(site: Site, patience: Patience) -> Self {
        Self {
            site,
            patience,
            sender: None,
            next: Instant::now(),
        }
    }

    /// Runs an errand, again and again where that may help. The error is why it can't be run at all.
    pub(super) async fn run(&mut self, errand: &Errand) -> Result<Answer, String> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            self.wait_for_turn().await;
            let tried = tokio::time::timeout(self.patience.timeout, self.attempt(errand)).await;
            let tried = tried.unwrap_or_else(|_| {
                // Its answer, should it come, would be taken for that of the next request.
                self.sender = None;
                Err(Trouble::Passing("it took too long".to_owned()))
            });
            let (tried, rest) = match tried {
                Ok(answer) if !answer.may_pass() => return Ok(answer),
                Ok(answer) => {
                    let rest = answer.retry_after.map(|it| it.min(RETRY_AFTER_MAX));
                    (Ok(answer), rest)
                }
                Err(Trouble::Lasting(why)) => return Err(why),
                Err(Trouble::Passing(why)) => (Err(why), None),
            };
            if attempt == ATTEMPTS {
                return tried;
            }
            attempt += 1;
            tokio::time::sleep(rest.unwrap_or_else(|| jittered(pause))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn wait_for_turn(&mut self) {
        let now = Instant::now();
        let turn = self.next.max(now);
        self.next = turn + Duration::from_secs(1) / self.patience.rate.max(1);
        tokio::time::sleep(turn - now).await;
    }

    async fn attempt(&mut self, errand: &Errand) -> Result<Answer, Trouble> {
        let request = self.site.request(errand).map_err(Trouble::Lasting)?;
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            Some(_) | None => self.site.connect().await?,
        };
        sender.ready().await.map_err(passing)?;
        let response = sender.send_request(request).await.map_err(passing)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES).collect().await;
        let body = body.map_err(passing)?.to_bytes();
        self.sender = Some(sender);
        Ok(Answer {
            status: parts.status.as_u16(),
            body,
            total: header(&parts.headers, "x-total-count").and_then(|it| it.parse().ok()),
            retry_after: header(&parts.headers, RETRY_AFTER.as_str())
                .and_then(|it| retry_after(it, SystemTime::now())),
        })
    }
}

fn passing(error: impl ToString) -> Trouble {
    Trouble::Passing(error.to_string())
}

/// A certificate that is not trusted now won't be in a moment.
fn untrusted(error: &std::io::Error) -> Trouble {
    let tls = error.get_ref().and_then(|it| it.downcast_ref());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => Trouble::Lasting(error.to_string()),
        _ => passing(error),
    }
}

async fn shake_hands<T>(io: T) -> Result<SendRequest<Full<Bytes>>, Trouble>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(passing)?;
    tokio::spawn(async move {
        // It ends with the sender, which sees its errors, too.
        let _ = connection.await;
    });
    Ok(sender)
}

fn client_config(ca_file: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, String> {
    let roots = match ca_file {
        Some(path) => RootCertificates::File(path.to_owned()),
        None => RootCertificates::System,
    };
    let config = tls::client_config(SslMode::VerifyFull, Some(&roots));
    let config = config.map_err(|error| error.to_string())?;
    let mut config = config.map(Arc::unwrap_or_clone).ok_or("no TLS")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How long a site wants to be left alone: seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    // A date that is over asks for nothing more.
    Some(at.duration_since(now).unwrap_or_default())
}

/// Between half and the whole, so that several runs don't come back at once.
fn jittered(pause: Duration) -> Duration {
    let byte = random::bytes(1).ok().and_then(|it| it.first().copied());
    pause / 2 + pause / 2 * u32::from(byte.unwrap_or(0)) / 255
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Site, retry_after};

    #[test]
    fn a_site_says_when_by_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text| retry_after(text, now).map(|it| it.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0));
        for text in ["", "soon", "-1", "Sun, 06 Nov 1994"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_sent_over_tls_or_to_this_machine() {
        for url in [
            "http://127.0.0.1:9999/auth/v1",
            "http://[::1]/",
            "http://localhost:1",
        ] {
            assert!(Site::new(url, "key", None).is_ok(), "{url}");
        }
        for url in [
            "http://example.com/auth/v1",
            "ftp://localhost",
            "example.com",
            "",
        ] {
            assert!(Site::new(url, "key", None).is_err(), "{url}");
        }
    }
}
