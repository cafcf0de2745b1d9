//! `pgwarden migrate` from outside, on a schema of users that knows no tenants.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod migrate;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use migrate::{Place, one};
use pgwarden_tests::fixture::script;
use pgwarden_tests::wire::Client;
use serde_json::json;

/// The sums of all rows of these tables that were there at first, without the tenant.
fn sums(client: &mut Client) -> Vec<String> {
    let tables = [
        "profiles",
        "plans",
        "user_credits",
        "leads",
        "campaigns",
        "call_logs",
        "campaign_leads",
        "user_phone_numbers",
        "notes",
    ];
    let sum = |table: &str| {
        format!(
            "SELECT count(*) || ' ' || coalesce(sum(hashtextextended((to_jsonb(t) - 'org_id')::text, 0)::numeric), 0) \
             FROM {table} t WHERE to_jsonb(t) ->> 'phone' IS DISTINCT FROM 'new' AND to_jsonb(t) ->> 'seconds' IS DISTINCT FROM '-1'"
        )
    };
    tables
        .iter()
        .map(|it| format!("{it} {}", one(client, &sum(it))))
        .collect()
}

/// An application that knows no tenants and is not stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(place: &Place) -> Self {
        let (stop, written) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (address, database) = (place.server.address(), place.database.clone());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(address, "legacy_app", &database, &[], None).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                // A parent and its child, the oldest lead's child, and a change.
                let user = format!(
                    "00000000-0000-0000-0000-{:012}",
                    count.load(Ordering::Relaxed) % 43 + 1
                );
                script(
                    &mut client,
                    &format!(
                        "BEGIN; INSERT INTO leads (user_id, phone) VALUES ('{user}', 'new'); \
                         INSERT INTO call_logs (lead_id, seconds) SELECT id, -1 FROM leads WHERE phone = 'new' AND user_id = '{user}' LIMIT 1; \
                         INSERT INTO call_logs (lead_id, seconds) SELECT id, -1 FROM leads ORDER BY created_at, id LIMIT 1; \
                         UPDATE leads SET note = '{{\"changed\": true}}' WHERE phone = 'new' AND user_id = '{user}'; COMMIT"
                    ),
                );
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            stop,
            written,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|it| it.unwrap().path())
        .map(|it| {
            let name = it.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(it).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_plan_is_the_same_each_time_and_says_what_it_does() {
    let place = Place::new("users");
    let said = place.plan("one");
    assert!(
        said.contains("left as they are: public.plans, public.user_credits"),
        "{said}"
    );
    place.plan("two");
    let plan = files(&place.folder.path().join("one"));
    assert_eq!(plan, files(&place.folder.path().join("two")));

    let at = |name: &str| {
        let found = plan.iter().position(|it| it.0.contains(name));
        found.unwrap_or_else(|| {
            panic!(
                "{name} is not in {:#?}",
                plan.iter().map(|it| &it.0).collect::<Vec<_>>()
            )
        })
    };
    // Parents before their children.
    assert!(at("backfill_public_leads") < at("backfill_public_call_logs"));
    let backfill = &plan[at("backfill_public_call_logs")].1;
    assert!(
        backfill.contains("lead_id through its parent public.leads"),
        "{backfill}"
    );
    for (name, text) in &plan {
        for key in ["phase", "run", "lock", "rows", "time", "reversible"] {
            assert!(
                text.contains(&format!("-- {key}:")),
                "{name} does not say its {key}"
            );
        }
    }
    // What is excluded, or guarded by something else, has no step of its own.
    for name in ["profiles", "user_credits_keys", "plans"] {
        assert!(!plan.iter().any(|it| it.0.contains(name)), "{name}");
    }
    let said = place.run(
        &[
            "migrate",
            "plan",
            "--plan",
            "one",
            "--tenant-column",
            "team_id",
        ],
        2,
    );
    assert!(said.contains("holds another plan"), "{said}");
}

#[test]
fn mistakes_in_the_mapping_are_shown_where_they_stand() {
    let place = Place::new("users");
    place.write(
        "wrong.toml",
        "version = 1\nbatch_size = 3\nexclude = [\"public.profiles\", \"leads\"]\n[[table]]\nname = \"public.leads\"\norphans = \"quarantine\"\n",
    );
    let said = place.run(&["migrate", "plan", "--mapping", "wrong.toml"], 2);
    assert!(
        said.contains("wrong.toml:2:1") && said.contains("wrong.toml:3:31"),
        "{said}"
    );
    assert!(said.contains("quarantine that has no tenant"), "{said}");
    place.write(
        "wrong.toml",
        "version = 1\n[[table]]\nname = \"public.lead\"\n[[table]]\nname = \"public.leads\"\nhold = [\"x\"]\n",
    );
    let said = place.run(&["migrate", "plan", "--mapping", "wrong.toml"], 2);
    assert!(
        said.contains("wrong.toml:3:8") && said.contains("wrong.toml:5:8"),
        "{said}"
    );
}

/// How often a run is killed. More with PGWARDEN_KILLS.
fn kills() -> u64 {
    let wanted = std::env::var("PGWARDEN_KILLS").ok();
    wanted.and_then(|it| it.parse().ok()).unwrap_or(12)
}

#[test]
fn a_migration_is_killed_resumed_audited_and_served() {
    let place = Place::new("users");
    let mut admin = place.admin();
    place.plan("migration");
    let before = sums(&mut admin);
    let writer = Writer::start(&place);
    for at in 0..kills() {
        let mut command = place.command(&["migrate", "apply", "--pause", "15ms"]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        // From the start of the process to the middle of the work, in uneven steps.
        std::thread::sleep(Duration::from_millis(40 + at * 977 % 700));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = place.run(&["migrate", "apply"], 0);
    let again = place.run(&["migrate", "apply"], 0);
    assert_eq!(again, "", "{said}");
    let written = writer.stop();
    assert!(written > 10, "{written}");
    assert_eq!(sums(&mut admin), before);
    let status = place.run(&["migrate", "status"], 0);
    assert!(
        !status.contains("begun") && status.contains("open     "),
        "{status}"
    );

    // Whose is what: by user, through the parent, nobody's.
    let wrong = [
        "SELECT count(*) FROM leads l JOIN profiles p USING (user_id) WHERE l.org_id <> coalesce(p.org, 'a0000000-0000-0000-0000-000000000001')",
        "SELECT count(*) FROM call_logs c JOIN leads l ON l.id = c.lead_id WHERE c.org_id <> l.org_id",
        "SELECT count(*) FROM call_logs WHERE lead_id IS NULL AND org_id <> 'a0000000-0000-0000-0000-0000000000ff'",
        "SELECT count(*) - 7 FROM pgwarden_migrate.quarantine",
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
        "SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'",
    ];
    for sql in wrong {
        assert_eq!(one(&mut admin, sql), "0", "{sql}");
    }
    place.run(&["migrate", "apply", "--through", "contract"], 0);
    let audit = [
        "audit",
        "--policy",
        "policy.toml",
        "--proxy-role",
        "tenant_app",
    ];
    place.run(&audit, 0);
    served(&place, &mut admin);

    // Nothing is planned twice.
    assert!(place.plan("again").contains("nothing to do"));
}

/// Each tenant sees its rows through the proxy, as under row level security.
fn served(place: &Place, admin: &mut Client) {
    let serve = place.serve();
    for tenant in 0..4 {
        let org = format!("b0000000-0000-0000-0000-00000000000{tenant}");
        let mut client = serve(&json!({ "org_id": org }));
        for table in ["leads", "call_logs", "campaigns", "campaign_leads", "notes"] {
            let own = one(
                admin,
                &format!("SELECT count(*) FROM {table} WHERE org_id = '{org}'"),
            );
            assert_ne!(own, "0");
            assert_eq!(
                one(&mut client, &format!("SELECT count(*) FROM {table}")),
                own,
                "{table}"
            );
        }
        script(
            &mut client,
            "INSERT INTO campaigns (user_id, name) VALUES (gen_random_uuid(), 'through the proxy')",
        );
        assert_eq!(
            one(
                &mut client,
                "SELECT org_id FROM campaigns WHERE name = 'through the proxy'"
            ),
            org
        );
    }
}

#[test]
fn phases_are_undone_while_nothing_depends_on_them() {
    let place = Place::new("users");
    let mut admin = place.admin();
    place.plan("migration");
    let shape = "SELECT string_agg(c.relname || ' ' || a.attname || ' ' || a.attnotnull, ',' ORDER BY c.relname, a.attnum) \
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped";
    let before = (one(&mut admin, shape), sums(&mut admin));
    place.run(&["migrate", "apply"], 0);
    let said = place.run(&["migrate", "rollback", "--phase", "expand"], 2);
    assert!(said.contains("backfill was begun"), "{said}");

    // What was reviewed is what is run and undone.
    let name = files(&place.folder.path().join("migration"))[0].0.clone();
    let path = place.folder.path().join("migration").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n")).unwrap();
    let said = place.run(&["migrate", "apply"], 2);
    assert!(said.contains("is not the file that was run"), "{said}");
    std::fs::write(&path, text).unwrap();

    for phase in ["enforce", "constrain", "backfill", "expand"] {
        place.run(&["migrate", "rollback", "--phase", phase], 0);
    }
    assert_eq!((one(&mut admin, shape), sums(&mut admin)), before);
    place.run(&["migrate", "apply"], 0);
}

#[test]
fn a_trigger_that_changes_more_than_the_tenant_stops_the_backfill() {
    let place = Place::new("users");
    let mapping = place.read("mapping.toml");
    let mapping = mapping.replace("hold = [\"count_changes\"]", "hold = []");
    place.write("mapping.toml", &mapping);
    place.plan("migration");
    let said = place.run(&["migrate", "apply"], 1);
    assert!(
        said.contains("a trigger changes more than the tenant"),
        "{said}"
    );
    let mut admin = place.admin();
    let changed = "SELECT count(*) FROM user_phone_numbers WHERE changes > 0 OR org_id IS NOT NULL";
    assert_eq!(one(&mut admin, changed), "0");
}

#[test]
fn an_index_that_was_left_invalid_is_made_again() {
    let place = Place::new("users");
    let mut admin = place.admin();
    place.plan("migration");
    place.run(&["migrate", "apply", "--through", "backfill"], 0);
    script(
        &mut admin,
        "CREATE INDEX leads_org_id_idx ON leads (org_id)",
    );
    script(
        &mut admin,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'leads_org_id_idx'::regclass",
    );
    place.run(&["migrate", "apply"], 0);
    assert_eq!(
        one(
            &mut admin,
            "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        ),
        "0"
    );
}

#[test]
fn locks_of_others_are_waited_for_and_two_runs_exclude_each_other() {
    let place = Place::new("users");
    let mut admin = place.admin();
    place.plan("migration");
    script(&mut admin, "BEGIN; LOCK leads IN ACCESS SHARE MODE");
    let mut command = place.command(&["migrate", "apply", "--lock-timeout", "50ms"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    // It has not blocked a reader for longer than its timeout, nor given up.
    script(&mut place.admin(), "SELECT count(*) FROM leads");
    assert!(child.try_wait().unwrap().is_none());
    script(&mut admin, "COMMIT");
    // The second waits for the first, and finds nothing to do, or the rest.
    place.run(&["migrate", "apply"], 0);
    assert!(child.wait().unwrap().success());
}
