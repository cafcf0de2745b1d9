//! Random conversations of several clients at once, through the proxy and straight to PostgreSQL with row
//! level security: the same messages, in both pool modes, with fewer server connections than clients.
//!
//! `PGWARDEN_SEED` and `PGWARDEN_CONVERSATIONS` change what is said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::SocketAddr;
use std::time::Duration;

use pgwarden_config::LoadedPolicy;
use pgwarden_config::settings::PoolMode;
use pgwarden_tests::fixture::Arena;
use pgwarden_tests::patience::patience;
use pgwarden_tests::pipelines::{
    Batch, Heard, POLICY, Pieces, Speaker, TAIL, conversation, is_by_design, talk,
};
use pgwarden_tests::pooled::Pooled;
use pgwarden_tests::proxy::policy_of;
use pgwarden_tests::wire::Client;

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// One client, on both sides.
struct Talker<'a> {
    arena: &'a Arena,
    address: SocketAddr,
    speaker: Speaker,
    proxied: Client,
    direct: Client,
}

impl<'a> Talker<'a> {
    fn new(pooled: &'a Pooled, speaker: Speaker) -> Self {
        let (arena, address) = (pooled.arena(), pooled.address());
        let mut talker = Self {
            arena,
            address,
            speaker,
            proxied: speaker.proxied(address, arena),
            direct: speaker.direct(arena),
        };
        talker.afresh();
        talker
    }

    fn afresh(&mut self) {
        self.proxied.send(b'X', b"");
        self.direct.send(b'X', b"");
        self.proxied = self.speaker.proxied(self.address, self.arena);
        self.direct = self.speaker.direct(self.arena);
        for client in [&mut self.proxied, &mut self.direct] {
            client.set_timeout(patience());
        }
        self.direct
            .query("SELECT 'no unnamed statement is left'")
            .ok();
        // What a conversation that was broken off has written.
        let number = self.speaker.number;
        for client in [&mut self.proxied, &mut self.direct] {
            let from = number * 100 + 1000;
            client.query(&format!(
                "DELETE FROM campaigns WHERE id BETWEEN {from} AND {}",
                from + 9
            ));
            client.query(&format!(
                "DELETE FROM holidays WHERE day BETWEEN '2030-{0:02}-01' AND '2030-{0:02}-20'",
                number + 1
            ));
        }
    }

    /// Gives what differs first.
    fn compare(&mut self, batches: &[Batch], pieces: Pieces) -> Option<String> {
        for batch in batches {
            let mut heard = Heard::default();
            let theirs = talk(&mut self.direct, batch, Pieces::Whole, &mut heard);
            heard.demand();
            let ours = talk(&mut self.proxied, batch, pieces, &mut heard);
            if ours != theirs && is_by_design(&ours, &theirs) {
                self.afresh();
                return None;
            }
            if ours != theirs {
                let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
                let from = at.saturating_sub(9);
                let part = |lines: &[String]| -> Vec<String> {
                    let lines = lines.iter().skip(from).take(14);
                    lines.map(|it| it.chars().take(240).collect()).collect()
                };
                return Some(format!(
                    "in {batch:#?}\n  ours   {:#?}\n  oracle {:#?}",
                    part(&ours),
                    part(&theirs)
                ));
            }
        }
        self.speaker.put_on(&mut self.direct);
        self.direct
            .query("SELECT 'no unnamed statement is left'")
            .ok();
        None
    }

    /// Fewer messages that differ, too.
    fn shrunk(&mut self, mut batches: Vec<Batch>, pieces: Pieces) -> Option<String> {
        let mut why = None;
        let last = batches.len() - 1;
        for b in (0..last).rev() {
            let mut at = batches[b].len();
            while at > TAIL {
                at -= 1;
                let at = at - TAIL;
                let mut fewer = batches.clone();
                fewer[b].remove(at);
                self.afresh();
                if let Some(difference) = self.compare(&fewer, pieces) {
                    (batches, why) = (fewer, Some(difference));
                }
            }
        }
        why
    }
}

fn pieces(index: u64) -> Pieces {
    match index % 4 {
        0 => Pieces::Messages,
        1 => Pieces::Of(1 + usize::try_from(index).unwrap() % 23),
        _ => Pieces::Whole,
    }
}

fn policy() -> LoadedPolicy {
    let text = include_str!("../fixtures/policy.toml");
    let text = text.replace("\"search_path\"]", "\"search_path\", \"work_mem\"]");
    policy_of(&[&text, POLICY].concat())
}

/// How many server connections there are, and who talks over them.
struct Round {
    mode: PoolMode,
    server_connections: usize,
    speakers: Vec<Speaker>,
    pieces: fn(u64) -> Pieces,
    salt: u64,
}

fn all_talk(round: Round) {
    let Round {
        mode,
        server_connections,
        speakers,
        pieces,
        salt,
    } = round;
    let pooled = Pooled::under(policy(), server_connections, |settings| {
        settings.pool.mode = mode;
        settings.pool.multiplex_wait = Duration::from_secs(60);
        settings.pool.checkout_timeout = Duration::from_secs(60);
    });
    let (seed, count) = (
        number("PGWARDEN_SEED", 7) + salt,
        number("PGWARDEN_CONVERSATIONS", 20),
    );
    let only = number("PGWARDEN_ONLY", u64::MAX);
    pooled.arena().restore();
    let talkers = speakers.into_iter();
    let talkers: Vec<_> = talkers
        .map(|speaker| Talker::new(&pooled, speaker))
        .collect();
    let different: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = talkers
            .into_iter()
            .map(|talker| scope.spawn(move || converse(talker, pieces, seed, count, only)))
            .collect();
        all.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    println!(
        "{} lines were shared",
        pooled.metric("pgwarden_multiplexed_reads_total")
    );
    assert!(
        different.is_empty(),
        "{} conversations differ",
        different.len()
    );
}

fn converse(
    mut talker: Talker<'_>,
    pieces: fn(u64) -> Pieces,
    seed: u64,
    count: u64,
    only: u64,
) -> Vec<String> {
    let mut different = Vec::new();
    let own = u64::try_from(talker.speaker.number).unwrap() << 32;
    for index in 0..count {
        if only != u64::MAX && only != index {
            continue;
        }
        let batches = conversation(seed, own | index, talker.speaker);
        if let Some(why) = talker.compare(&batches, pieces(index)) {
            let alone =
                number("PGWARDEN_ONLY", u64::MAX) != u64::MAX && number("PGWARDEN_SHRINK", 0) == 1;
            let smaller = alone
                .then(|| talker.shrunk(batches, pieces(index)))
                .flatten();
            talker.afresh();
            let why = smaller.unwrap_or(why);
            println!(
                "client {} conversation {index}: {why}\n",
                talker.speaker.number
            );
            different.push(why);
            if different.len() > 5 {
                break;
            }
        }
    }
    different
}

fn different(count: usize) -> Vec<Speaker> {
    (0..count).map(Speaker::different).collect()
}

#[test]
fn h_clients_that_share_one_server_connection_are_answered_as_by_postgresql() {
    all_talk(Round {
        mode: PoolMode::Transaction,
        server_connections: 1,
        speakers: different(4),
        pieces,
        salt: 0,
    });
}

#[test]
fn h_clients_that_share_some_server_connections_are_answered_as_by_postgresql() {
    all_talk(Round {
        mode: PoolMode::Transaction,
        server_connections: 3,
        speakers: different(6),
        pieces,
        salt: 1,
    });
}

#[test]
fn h_clients_whose_reads_go_behind_each_others_are_answered_as_by_postgresql() {
    all_talk(Round {
        mode: PoolMode::Transaction,
        server_connections: 1,
        speakers: (0..5).map(Speaker::alike).collect(),
        pieces: |_| Pieces::Rounds,
        salt: 3,
    });
}

#[test]
fn clients_with_their_own_server_connections_are_answered_as_by_postgresql() {
    all_talk(Round {
        mode: PoolMode::Session,
        server_connections: 6,
        speakers: different(5),
        pieces,
        salt: 2,
    });
}
