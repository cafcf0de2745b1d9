//! `pgwarden migrate` from outside, on a schema of users that knows no tenants.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::Path;
use std::process::Command;

use pgwarden_tests::fixture::{script, superuser};
use pgwarden_tests::server::Server;

const LEGACY: &str = include_str!("migrate/legacy.sql");
const POLICY: &str = include_str!("migrate/policy.toml");
const MAPPING: &str = include_str!("migrate/mapping.toml");

/// A server with the legacy schema, and a folder with the files.
struct Place {
    server: Server,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let server = Server::start();
        script(&mut superuser(server.address(), "postgres"), LEGACY);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
        std::fs::write(folder.path().join("mapping.toml"), MAPPING).unwrap();
        Self { server, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let dsn = format!("postgres://postgres@{}/postgres", self.server.address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.args(arguments).args(["--dsn", &dsn]);
        command.current_dir(self.folder.path());
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], status: i32) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{text}");
        text
    }

    #[track_caller]
    fn plan(&self, folder: &str) -> String {
        let files = ["--policy", "policy.toml", "--mapping", "mapping.toml"];
        let plan = ["--plan", folder];
        self.run(&[&["migrate", "plan"], &files[..], &plan].concat(), 0)
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
    let place = Place::new();
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
    let place = Place::new();
    std::fs::write(
        place.folder.path().join("wrong.toml"),
        "version = 1\nbatch_size = 3\nexclude = [\"public.profiles\", \"leads\"]\n[[table]]\nname = \"public.leads\"\norphans = \"quarantine\"\n",
    )
    .unwrap();
    let said = place.run(&["migrate", "plan", "--mapping", "wrong.toml"], 2);
    assert!(
        said.contains("wrong.toml:2:1") && said.contains("wrong.toml:3:31"),
        "{said}"
    );
    assert!(said.contains("quarantine that has no tenant"), "{said}");
    std::fs::write(
        place.folder.path().join("wrong.toml"),
        "version = 1\n[[table]]\nname = \"public.lead\"\n[[table]]\nname = \"public.leads\"\nhold = [\"x\"]\n",
    )
    .unwrap();
    let said = place.run(&["migrate", "plan", "--mapping", "wrong.toml"], 2);
    assert!(
        said.contains("wrong.toml:3:8") && said.contains("wrong.toml:5:8"),
        "{said}"
    );
}
