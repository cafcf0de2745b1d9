//! Several proxies behind one load balancer: a CancelRequest may come to another than the one whose
//! client it is for.
//!
//! The first byte of each cancel key holds the number of the proxy that gave it out, and one bit that
//! is set where a request is passed on. So a request goes to the proxy that it is for by one hop, and
//! one that was passed on goes no further, whatever the lists of the proxies say. It travels as the
//! client has sent it: who can read between the proxies can cancel, and no more. With a key of protocol 3.0 this
//! leaves 24 bits to guess, beside the server process.

use std::time::Duration;

use pgwarden_config::settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::backend::cancel_request;

/// Requests that are passed on at once, at most: anybody can send some.
const PASSING_MAX: usize = 64;

/// Passing a request on takes no longer than this; the other proxy passes it on to its server.
const PASSING_TIME: Duration = Duration::from_secs(10);

/// A request comes from another proxy.
const PASSED_ON: u8 = 1;

/// The proxies of one load balancer.
#[derive(Debug)]
pub(crate) struct Peers {
    settings: settings::Peers,
    passing: Semaphore,
}

/// Where a cancel key leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// To this proxy, whose key it is.
    Here(Vec<u8>),
    /// To another, with this key.
    To(&'a str, Vec<u8>),
    /// Nowhere.
    Nowhere,
}

impl Peers {
    /// These proxies.
    pub(crate) fn new(settings: settings::Peers) -> Self {
        Self {
            settings,
            passing: Semaphore::new(PASSING_MAX),
        }
    }

    /// The first byte of this proxy's keys.
    pub(crate) fn mark(&self) -> u8 {
        self.settings.number << 1
    }

    /// Where a key leads.
    pub(crate) fn route(&self, secret: &[u8]) -> Route<'_> {
        let Some((mark, rest)) = secret.split_first() else {
            return Route::Nowhere;
        };
        let (number, passed_on) = (mark >> 1, mark & PASSED_ON != 0);
        let with = |mark: u8| [&[mark], rest].concat();
        if number == self.settings.number {
            return Route::Here(with(self.mark()));
        }
        let at = usize::from(number).checked_sub(1);
        match at.and_then(|at| self.settings.addresses.get(at)) {
            Some(address) if !passed_on => Route::To(address, with(mark | PASSED_ON)),
            Some(_) | None => Route::Nowhere,
        }
    }

    /// Passes a request on, and waits until the other proxy has done with it.
    pub(crate) async fn pass_on(&self, address: &str, pid: i32, secret: &[u8]) {
        let Ok(_place) = self.passing.try_acquire() else {
            tracing::warn!("too many cancels for other proxies");
            return;
        };
        let work = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(&cancel_request(pid, secret)?).await?;
            // It is never answered, but its end is told.
            stream.read(&mut [0; 16]).await
        };
        let failed = match tokio::time::timeout(PASSING_TIME, work).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::warn!(address, error = failed, "can't pass a cancel on to a peer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(number: u8) -> Peers {
        let addresses = ["a:1", "b:1", "c:1"].map(str::to_owned).into();
        Peers::new(settings::Peers { addresses, number })
    }

    #[test]
    fn a_key_leads_to_its_proxy_by_one_hop() {
        let (first, second) = (peers(1), peers(2));
        let key = [second.mark(), 7, 8, 9];
        assert_eq!(second.route(&key), Route::Here(key.to_vec()));
        let Route::To("b:1", passed_on) = first.route(&key) else {
            panic!("{:?}", first.route(&key))
        };
        assert_eq!(second.route(&passed_on), Route::Here(key.to_vec()));
        // A third one, whose list is another, does not send it round.
        assert_eq!(peers(3).route(&passed_on), Route::Nowhere);
    }

    #[test]
    fn keys_of_nobody_lead_nowhere() {
        for key in [&[][..], &[0, 1, 2, 3], &[8, 1, 2, 3], &[255, 1, 2, 3]] {
            assert_eq!(peers(1).route(key), Route::Nowhere);
        }
    }
}
