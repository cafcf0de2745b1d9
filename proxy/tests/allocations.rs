//! A statement that has come before costs no call of the allocator: counted in this process, which is
//! the proxy, while another is the client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgwarden_config::settings::PoolMode;
use pgwarden_tests::fixture::Tenant;
use pgwarden_tests::frames::Frames;
use pgwarden_tests::pooled::Pooled;
use pgwarden_tests::proxy::session_at;
use pgwarden_tests::wire::tags_and_codes;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// More often than anything must come before all that belongs to it has been made.
const WARM_UP: usize = 300;
const TIMES: usize = 1_000;

const DONE: &str = "DONE";

/// What the client's process is told where to go by.
const PLACE: &str = "PGWARDEN_ALLOCATIONS_PLACE";

/// What a driver sends again and again, with a value that changes.
type Habit = (&'static str, fn(&str) -> Frames);

const HABITS: [Habit; 7] = [
    ("a Query by a key", |id| {
        Frames::new().query(&format!("SELECT name, email FROM agents WHERE id = {id}"))
    }),
    ("a Query", |score| {
        Frames::new().query(&format!("SELECT count(*) FROM leads WHERE score > {score}"))
    }),
    ("a Query over nothing of a tenant", |id| {
        Frames::new().query(&format!("SELECT name FROM plans WHERE id = {id}"))
    }),
    ("an unnamed statement by a key", |id| {
        let sql = "SELECT name, email FROM agents WHERE id = $1";
        Frames::new().run(sql, &[id]).sync()
    }),
    ("an unnamed statement", |score| {
        Frames::new().run(COUNT, &[score]).sync()
    }),
    ("a named statement", |score| {
        let bound = Frames::new().bind("", "named", &[score]);
        bound.target(b'D', b'P', "").execute("", 0).sync()
    }),
    ("a transaction", |id| {
        let update = format!("UPDATE agents SET active = active WHERE id = {id}");
        let transaction = Frames::new().query("BEGIN").query(&update);
        transaction.query("COMMIT")
    }),
];

const COUNT: &str = "SELECT count(*) FROM leads WHERE score > $1";

/// The client's process: waits for a line before and behind what is counted.
#[test]
#[ignore = "the other test's client"]
fn client() {
    let Ok(place) = std::env::var(PLACE) else {
        return;
    };
    let (address, database) = place.split_once(' ').expect("address and database");
    let mut client = session_at(address.parse().unwrap(), database, Tenant::A);
    Frames::new()
        .parse("named", COUNT)
        .sync()
        .exchange(&mut client);
    let mut lines = std::io::stdin().lines();
    for (name, frames) in HABITS {
        let mut run = |at: usize| {
            let messages = frames(&(at % 50).to_string()).exchange(&mut client);
            let got = tags_and_codes(&messages);
            assert!(got.ends_with('Z') && !got.contains('['), "{name}: {got}");
        };
        for times in [WARM_UP, TIMES] {
            (0..times).for_each(&mut run);
            println!("\n{DONE}");
            lines.next().unwrap().unwrap();
        }
    }
}

/// Numbers of calls of the allocator meanwhile, by habit.
fn count(pooled: &Pooled) -> Vec<u64> {
    let place = format!("{} {}", pooled.address(), pooled.arena().plain());
    let mut client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "client", "--ignored", "--nocapture"])
        .env(PLACE, place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut orders = client.stdin.take().unwrap();
    let mut step = || {
        let done = lines.find(|line| line.as_ref().unwrap() == DONE);
        done.expect("the client goes on").unwrap();
        let blocks = dhat::HeapStats::get().total_blocks;
        orders.write_all(b"\n").unwrap();
        blocks
    };
    let counts = HABITS.map(|_| {
        let before = step();
        step() - before
    });
    assert!(client.wait().unwrap().success());
    counts.to_vec()
}

#[test]
fn what_comes_again_takes_no_allocation() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let pooled = Pooled::with(4, |settings| {
            settings.pool.mode = mode;
            for database in settings.databases.named.values_mut() {
                database.catalog_interval = Duration::from_secs(3600);
            }
        });
        for ((name, _), count) in HABITS.iter().zip(count(&pooled)) {
            eprintln!("{mode:?}, {name}: {count} for {TIMES}");
            // Some come from other tasks than the session's.
            assert!(count < TIMES as u64 / 10, "{mode:?}, {name}: {count}");
        }
    }
}
