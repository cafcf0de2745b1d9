//! Two proxies behind a round robin: a cancel finds its session by whatever proxy it comes in, and
//! no other session.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwarden::server::Running;
use pgwarden_config::settings::Peers;
use pgwarden_tests::server::free_address;
use pgwarden_tests::wire::{Client, cancel};
use pgwarden_tests::world::{World, another_proxy, session, token};

const LONG: &str = "SELECT count(*) FROM generate_series(1, 1000000000)";

/// Gives its clients to these in turn.
fn round_robin(behind: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (client, at) in listener.incoming().flatten().zip(behind.iter().cycle()) {
            let server = TcpStream::connect(at).unwrap();
            join(client.try_clone().unwrap(), server.try_clone().unwrap());
            join(server, client);
        }
    });
    address
}

fn join(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

struct Proxies {
    world: World,
    other: Running,
    balancer: SocketAddr,
}

impl Proxies {
    fn start(mode: &str) -> Self {
        let at = [free_address(), free_address()];
        let peers = |number: u8| Peers {
            addresses: at.map(|address| address.to_string()).into(),
            number,
        };
        let world = World::start(mode, |settings| {
            settings.listen[0].address = at[0];
            settings.peers = Some(peers(1));
        });
        let hosts = world.server().address().to_string();
        let other = another_proxy(mode, &hosts, "", |settings| {
            settings.listen[0].address = at[1];
            settings.peers = Some(peers(2));
        });
        let balancer = round_robin(at.into());
        Self {
            world,
            other,
            balancer,
        }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [self.world.address(), self.other.addresses()[0]]
    }
}

/// Runs a long statement that only a cancel ends; each cancel goes another way.
fn is_cancelled(client: &mut Client, mut ask: impl FnMut() + Send) {
    client.send_query(LONG);
    let over = AtomicBool::new(false);
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                ask();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let reply = client.reply();
        over.store(true, Ordering::Relaxed);
        reply
    });
    assert_eq!(reply.code(), "57014", "{reply:?}");
    // One may come late.
    let reply = client.query("SELECT 1");
    assert!(["", "57014"].contains(&reply.code()), "{reply:?}");
}

#[test]
fn g3_a_cancel_finds_its_proxy() {
    for mode in ["transaction", "session"] {
        let proxies = Proxies::start(mode);
        let [first, second] = proxies.addresses();
        // Only by the other proxy, each way, with the short key of protocol 3.0.
        for (own, other) in [(first, second), (second, first)] {
            let mut client = session(own, 1, &[]).unwrap();
            let key = client.key.clone();
            assert_eq!(key.1.len(), 4);
            is_cancelled(&mut client, || cancel(other, &key));
        }
        // By the round robin, with the long key of protocol 3.2.
        let mut client = Client::raw(proxies.balancer).unwrap();
        client.send_startup_of(2, &[("user", "anyone"), ("database", "world")]);
        client.log_in(Some(&token(1))).unwrap();
        let key = client.key.clone();
        assert_eq!(key.1.len(), 32);
        is_cancelled(&mut client, || cancel(proxies.balancer, &key));
    }
}

#[test]
fn h_a_cancel_by_another_proxy_hits_its_own_session_or_nothing() {
    let proxies = Proxies::start("transaction");
    let [first, second] = proxies.addresses();
    let over = AtomicBool::new(false);
    let running = || !over.load(Ordering::Relaxed);
    let short = "SELECT count(*) FROM generate_series(1, 3000)";
    std::thread::scope(|scope| {
        let mut attacker = session(first, 1, &[]).unwrap();
        let key = attacker.key.clone();
        scope.spawn(move || {
            while running() {
                cancel(second, &key);
            }
        });
        scope.spawn(move || {
            while running() {
                let reply = attacker.query(short);
                assert!(["", "57014"].contains(&reply.code()), "{reply:?}");
            }
        });
        let mut victims = [first, second].map(|at| session(at, 2, &[]).unwrap());
        let replies = (0..60).map(|n| victims[n % 2].query(short));
        let bad = replies.filter(|reply| reply.code() != "").count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(bad, 0);
    });
}

#[test]
fn g3_guessed_numbers_of_proxies_reach_nobody() {
    let proxies = Proxies::start("session");
    let [first, second] = proxies.addresses();
    let mut client = session(first, 1, &[]).unwrap();
    let (pid, secret) = client.key.clone();
    client.send_query("SELECT count(*) FROM generate_series(1, 300000)");
    for number in 0..=255_u8 {
        let mut guess = secret.clone();
        guess[0] = number;
        // Its own number, and its own as it is passed on, are the right key.
        if number >> 1 != 1 {
            cancel(second, &(pid, guess.clone()));
        }
        guess[3] ^= 1;
        cancel(first, &(pid, guess));
    }
    let reply = client.reply();
    assert_eq!(reply.code(), "", "{reply:?}");
}
