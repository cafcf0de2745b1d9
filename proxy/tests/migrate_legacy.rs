//! The system that pgwarden comes from, migrated while its application goes on writing, killed
//! again and again: nothing is lost, the audit's findings go to none, and the proxy serves it.
//!
//! `PGWARDEN_LEGACY_ROWS` (call logs) and `PGWARDEN_KILLS` make it larger.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod migrate;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use migrate::{Place, answer, one, statements, sums};
use pgwarden_tests::fixture::script;
use pgwarden_tests::random::Random;
use pgwarden_tests::wire::Client;
use serde_json::json;

/// Findings that people decide about, and why they stay here.
const LEFT: &[&str] = &[
    // Telephone numbers are unique in the world.
    "unique_without_tenant:public.user_phone_numbers.user_phone_numbers_number_key",
];

fn number(name: &str, usual: u64) -> u64 {
    let wanted = std::env::var(name).ok();
    wanted.and_then(|it| it.parse().ok()).unwrap_or(usual)
}

/// What the application has written: what it was told is committed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    leads: u64,
    calls: u64,
    late: u64,
    payments: u64,
}

/// The application, which knows no tenants: it takes no error for an answer.
fn write(client: &mut Client, tag: &str, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    let mut turn = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let user = format!("00000000-0000-0000-0000-{:012}", turn * 7 % 1000 + 1);
        // A parent and its child, a child of an old parent, and one that gets its parent later.
        script(
            client,
            &format!(
                "BEGIN;
                 INSERT INTO leads (user_id, phone, tag) VALUES ('{user}', 'new', '{tag}');
                 INSERT INTO call_logs (lead_id, seconds, tag) SELECT id, 1, '{tag}' FROM leads WHERE user_id = '{user}' AND phone = 'new' LIMIT 1;
                 INSERT INTO call_logs (lead_id, seconds, tag) SELECT id, 2, '{tag}' FROM leads WHERE user_id = '{user}' AND phone = '+11' LIMIT 1;
                 UPDATE leads SET name = 'changed' WHERE user_id = '{user}' AND tag = '{tag}';
                 COMMIT;
                 INSERT INTO payments (user_id, payload) VALUES ('{user}', '{{\"tag\": \"{tag}\"}}');
                 BEGIN;
                 INSERT INTO call_logs (seconds, tag) VALUES (-{turn}, '{tag}');
                 COMMIT;
                 UPDATE call_logs SET lead_id = (SELECT id FROM leads WHERE user_id = '{user}' AND phone = '+12')
                   WHERE seconds = -{turn} AND tag = '{tag}' AND id > (SELECT max(id) - 1000 FROM call_logs)"
            ),
        );
        written.leads += 1;
        written.calls += 2;
        written.late += 1;
        written.payments += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    written
}

struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Written>>,
}

impl Writers {
    fn start(place: &Place) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = ["w0", "w1"].map(|tag| {
            let (stop, database) = (Arc::clone(&stop), place.database.clone());
            let address = place.server.address();
            std::thread::spawn(move || {
                let client = Client::connect(address, "legacy_app", &database, &[], None);
                write(&mut client.unwrap(), tag, &stop)
            })
        });
        Self {
            stop,
            threads: threads.into_iter().collect(),
        }
    }

    /// Stops them, and compares what they wrote with what is there.
    fn stop(self, admin: &mut Client) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut turns = 0;
        for (at, thread) in self.threads.into_iter().enumerate() {
            let written = thread.join().unwrap();
            let mut count = |of: &str| -> u64 {
                let sql = format!(
                    "SELECT count(*) FROM {}",
                    of.replace("{tag}", &format!("w{at}"))
                );
                one(admin, &sql).parse().unwrap()
            };
            let there = Written {
                leads: count("leads WHERE tag = '{tag}'"),
                calls: count("call_logs WHERE tag = '{tag}' AND seconds > 0"),
                late: count(
                    "call_logs WHERE tag = '{tag}' AND seconds < 0 AND lead_id IS NOT NULL",
                ),
                payments: count("payments WHERE payload ->> 'tag' = '{tag}'"),
            };
            assert_eq!(written, there);
            turns += written.late;
        }
        turns
    }
}

/// Runs it until so many steps have begun and a little longer, and kills it; `false` if it was
/// through before.
fn killed(place: &Place, steps: u64, longer: Duration) -> bool {
    let mut command = place.command(&["migrate", "apply", "--pause", "2ms"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut begun = 0;
    while begun < steps
        && let Some(Ok(line)) = lines.next()
    {
        begun += u64::from(line.starts_with('['));
    }
    std::thread::sleep(longer);
    child.kill().unwrap();
    // What is left in the pipe must not keep it.
    drop(lines);
    !child.wait().unwrap().success() && begun == steps
}

/// As many call logs as wanted, by copies of those that are there.
fn more_calls(admin: &mut Client, rows: u64) {
    let mut there = 20_000;
    while there < rows {
        let more = (rows - there).min(20_000);
        let copy = "INSERT INTO call_logs (lead_id, seconds, cost, transcript) SELECT lead_id, seconds, cost, transcript FROM call_logs ORDER BY id LIMIT";
        script(admin, &format!("{copy} {more}"));
        there += more;
    }
    script(admin, "ANALYZE call_logs");
}

#[test]
fn the_legacy_system_is_migrated_under_load() {
    let rows = number("PGWARDEN_LEGACY_ROWS", 20_000);
    let kills = number("PGWARDEN_KILLS", 50);
    let place = Place::new("legacy");
    let mut admin = place.admin();
    // A million rows take their time.
    admin.set_timeout(Duration::from_secs(300));
    more_calls(&mut admin, rows);
    let old = "coalesce(to_jsonb(t) ->> 'tag', to_jsonb(t) -> 'payload' ->> 'tag') IS NULL";
    let before = sums(&mut admin, &["org_id", "name", "updated_at"], old);
    let policy = ["--policy", "policy.toml"];
    let errors = |it: &&(String, String, String)| it.0 == "error";
    let found = place.findings(&policy);
    let found = found.iter().filter(errors).count();
    assert!(found >= 10, "{found}");

    place.plan("migration");
    let steps = std::fs::read_dir(place.folder.path().join("migration")).unwrap();
    let steps = steps.count() as u64;
    let writers = Writers::start(&place);
    let mut random = Random::new(number("PGWARDEN_SEED", 7));
    let (started, mut done) = (Instant::now(), 0);
    for _ in 0..kills {
        // Few enough that the last one still finds something to do.
        let next = 1 + random.below((steps / kills / 2).max(2) as usize) as u64;
        let longer = Duration::from_millis(random.below(15) as u64);
        done += u64::from(killed(&place, next, longer));
    }
    place.run(&["migrate", "apply"], 0);
    assert_eq!(place.run(&["migrate", "apply"], 0), "");
    let took = started.elapsed();
    let turns = writers.stop(&mut admin);
    println!(
        "{steps} steps, {rows} call logs, killed {done} times, {took:?}, the application wrote {turns} times"
    );
    assert!(turns > 20 && done * 2 >= kills, "{turns} {done}");

    assert_eq!(
        sums(&mut admin, &["org_id", "name", "updated_at"], old),
        before
    );
    right(&mut admin);
    place.run(&["migrate", "apply", "--through", "contract"], 0);
    let findings = place.findings(&policy);
    let left = findings.iter().filter(|it| it.0 != "note");
    let left = left.map(|it| format!("{}:{}", it.1, it.2));
    let left: Vec<String> = left.filter(|it| !LEFT.contains(&it.as_str())).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert!(place.plan("again").contains("nothing to do"));
    served(&place);
}

/// Whose rows are whose.
fn right(admin: &mut Client) {
    let default = "'a0000000-0000-0000-0000-000000000001'";
    for sql in [
        format!("SELECT count(*) FROM leads l LEFT JOIN user_organizations u USING (user_id) WHERE l.org_id <> coalesce(u.org_id, {default})"),
        "SELECT count(*) FROM call_logs c JOIN leads l ON l.id = c.lead_id WHERE c.org_id <> l.org_id".to_owned(),
        "SELECT count(*) FROM call_logs WHERE lead_id IS NULL AND org_id <> 'a0000000-0000-0000-0000-0000000000ff'".to_owned(),
        "SELECT count(*) FROM voicemail_audit_log v JOIN call_logs c ON c.id = v.call_log_id WHERE c.org_id <> v.org_id".to_owned(),
        "SELECT count(*) FROM embeddings e JOIN knowledge_base_documents d ON d.id = e.document_id WHERE d.org_id <> e.org_id".to_owned(),
        format!("SELECT count(*) FROM payments p LEFT JOIN user_organizations u USING (user_id) WHERE p.org_id <> coalesce(u.org_id, {default})"),
        "SELECT sum(changes) FROM user_phone_numbers".to_owned(),
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid".to_owned(),
        "SELECT count(*) FROM pg_constraint WHERE NOT convalidated".to_owned(),
        "SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'".to_owned(),
        "SELECT count(*) - 40 FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relforcerowsecurity \
         AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'org_id' AND attnotnull)".to_owned(),
        "SELECT count(*) - 22 FROM organizations".to_owned(),
        // Each row that the quarantine holds of what was there is listed once.
        "SELECT count(*) FROM call_logs c WHERE org_id = 'a0000000-0000-0000-0000-0000000000ff' AND tag IS NULL AND 1 <> \
         (SELECT count(*) FROM pgwarden_migrate.quarantine q WHERE table_name = 'public.call_logs' AND row_key = ARRAY[c.id::text])".to_owned(),
    ] {
        assert_eq!(one(admin, &sql), "0", "{sql}");
    }
}

/// Tenants see through the proxy what row level security shows them.
fn served(place: &Place) {
    place.grant();
    let serve = place.serve();
    for tenant in [0, 7, 19] {
        let claims = json!({ "org_id": format!("b0000000-0000-0000-0000-{tenant:012}") });
        let (mut proxied, mut guarded) = (serve(&claims), place.guarded(&claims));
        for sql in statements("legacy") {
            let (through, beside) = (answer(&mut proxied, &sql), answer(&mut guarded, &sql));
            assert_eq!(through, beside, "{sql}");
            assert!(
                through.0.is_empty() && !through.1.is_empty(),
                "{sql}: {}",
                through.0
            );
        }
    }
}
