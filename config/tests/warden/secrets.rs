//! Secrets: where they come from, which are refused, and that none is shown.

use pgwarden_config::{File, read_settings};

use super::{MINIMAL, assert_shows, environment, problems_of, read};

#[test]
fn secrets_are_never_shown() {
    let written = [
        "[databases.x]\nurl = \"postgres://bob:hunter2@h:0/x\"\n",
        "[databases.x]\nurl = \"postgres://h:0/x?password=hunter2\"\n",
        "[databases.x]\npassword = \"hunter2\"\n",
        "[databases.x]\npassword = hunter2\n",
        "[[auth.key]]\nsecret = \"hunter2\"\n",
        "[[auth.key]]\nkey = \"hunter2\"\n",
        "[auth]\nkeys = [{ secret = \"hunter2\" }]\n",
    ];
    for addition in written {
        let shown = problems_of(addition);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let settings = read(
        MINIMAL,
        &[("PGWARDEN_DATABASES__APP__URL", "postgres://u:hunter2@h")],
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
    let shown = read(
        MINIMAL,
        &[("PGWARDEN_DATABASES__APP__URL", "postgres://u:hunter2@h:0")],
    );
    assert!(!shown.unwrap_err().contains("hunter2"));
}

#[test]
fn a_short_secret_is_refused() {
    let shown = read(
        &MINIMAL.replace("PGWARDEN_JWT_SECRET", "SHORT"),
        &[("SHORT", "hunter2")],
    );
    assert_shows(
        &shown.unwrap_err(),
        r#"
warden.toml:8:1: the secret is shorter than 32 bytes
  |
8 | secret_env = "SHORT"
  | ^^^^^^^^^^
  = help: make one with: openssl rand -base64 48
"#,
    );
}

#[test]
fn a_private_key_is_not_taken_for_a_public_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k.pem"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let text = format!("{MINIMAL}[[auth.key]]\nalgorithm='ES256'\npublic_key_file='k.pem'\n");
    let file = File::new("warden.toml", text);
    let problems = read_settings(&file, folder.path(), &environment(&[])).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("the file holds a private key")
    );
}

#[test]
fn passwords_come_from_the_url_the_environment_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "from the file\n").unwrap();
    let text = format!(
        "{MINIMAL}
[databases.url]
url = 'postgres://u:from%20the%20url@h'
[databases.variable]
url = 'postgres://u@h'
password_env = 'PGWARDEN_DB__PASSWORD'
[databases.file]
url = 'postgres://u@h'
password_file = 'pw'
[databases.'*']
url = 'postgres://u@h'
"
    );
    let file = File::new("warden.toml", text);
    let variables = environment(&[("PGWARDEN_DB__PASSWORD", "from the environment")]);
    let settings = read_settings(&file, folder.path(), &variables).unwrap();
    let password = |name: &str| {
        settings
            .databases
            .get(name)
            .unwrap()
            .password
            .clone()
            .unwrap()
    };
    assert_eq!(password("url").expose(), "from the url");
    assert_eq!(password("variable").expose(), "from the environment");
    assert_eq!(password("file").expose(), "from the file");
    let any = settings.databases.get("whatever").unwrap();
    assert_eq!(any.dbname_for("whatever"), "whatever");
    assert_eq!(
        settings.databases.get("url").unwrap().dbname_for("url"),
        "url"
    );
}
