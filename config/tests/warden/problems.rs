//! Every problem is shown at once, where it is and with what would be right.

use std::path::Path;

use pgwarden_config::load_settings;

use super::{assert_shows, environment, problems_of, read};

#[test]
fn all_problems_are_shown_at_once() {
    let text = r#"
[[listen]]
address = "localhost:6432"
aut = "password"

[pol]
mode = "session"

[pool]
mode = "sesion"
checkout_timeout = 5
idle_timeout = "soon"

[databases.app]
url = "postgres://bob:hunter2@a,b/app?target_session_attrs=primar"

[auth]
require_tls = "true"
[[auth.key]]
algorithm = "HS265"
secret_env = "PGWARDEN_JWT_SECRET"
[[auth.key]]
algorithm = "RS256"
secret_env = "PGWARDEN_JWT_SECRET"

[limits]
message_bytes = "64MB"
client_connections = 0
"#;
    assert_shows(
        &read(text, &[]).unwrap_err(),
        r#"
warden.toml:3:11: expected an IP address and a port
  |
3 | address = "localhost:6432"
  |           ^^^^^^^^^^^^^^^^
  = help: write "127.0.0.1:6432"

warden.toml:4:1: unknown key "aut" in [[listen]]
  |
4 | aut =…
  | ^^^
  = help: did you mean "auth"?

warden.toml:6:2: unknown key "pol"
  |
6 | [pol]
  |  ^^^
  = help: did you mean "pool"?

warden.toml:10:8: unknown value "sesion"
   |
10 | mode = "sesion"
   |        ^^^^^^^^
   = help: did you mean "session"?

warden.toml:11:20: duration has no unit
   |
11 | checkout_timeout = 5
   |                    ^
   = help: write "5s" for seconds

warden.toml:12:16: not a duration
   |
12 | idle_timeout = "soon"
   |                ^^^^^^
   = help: write a number with ms, s, m, h or d, such as "30s"

warden.toml:15:7: unknown target_session_attrs
   |
15 | url = "postgres://bob:…@a,b/app?target_session_attrs=primar"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = help: did you mean "primary"?

warden.toml:18:15: expected a boolean, found a string
   |
18 | require_tls = "true"
   |               ^^^^^^
   = help: write true without quotes

warden.toml:20:13: unknown algorithm "HS265"
   |
20 | algorithm = "HS265"
   |             ^^^^^^^
   = help: did you mean "HS256"?

warden.toml:24:1: RS256 has a public key, not a secret
   |
24 | secret_env = "PGWARDEN_JWT_SECRET"
   | ^^^^^^^^^^
   = help: write public_key_file

warden.toml:27:17: not a size in bytes
   |
27 | message_bytes = "64MB"
   |                 ^^^^^^
   = help: did you mean "MiB"?

warden.toml:28:22: expected an integer greater than 0
   |
28 | client_connections = 0
   |                      ^
"#,
    );
}

#[test]
fn syntax_errors_do_not_hide_other_problems() {
    let shown = problems_of("[pool]\nmode = \nidle_timeout = \"soon\"\n[log]\nformat = text\n");
    assert_shows(
        &shown,
        r#"
warden.toml:10:8: string values must be quoted, expected literal string
   |
10 | mode =
   |        ^

warden.toml:11:16: not a duration
   |
11 | idle_timeout = "soon"
   |                ^^^^^^
   = help: write a number with ms, s, m, h or d, such as "30s"

warden.toml:13:10: invalid boolean, expected `true`
   |
13 | format = text
   |          ^^^^
"#,
    );
}

#[test]
fn an_empty_file_lacks_everything() {
    let shown = read("", &[]).unwrap_err();
    for part in ["[[listen]]", "[databases.<name>]", "[[auth.key]]"] {
        assert!(shown.contains(&format!("there is no {part}")), "{shown}");
    }
}

#[test]
fn what_is_not_built_is_refused() {
    let cases = [
        (
            "[[listen]]\naddress = '[::1]:1'\nauth = 'oauthbearer'",
            "auth = \"oauthbearer\"",
        ),
        ("[auth.jwks]\nfile = 'keys.json'", "\"jwks\""),
        (
            "[databases.x]\nurl = 'postgres://u@h/?connect_timeout=5'",
            "parameter \"connect_timeout\"",
        ),
    ];
    for (addition, what) in cases {
        let shown = problems_of(addition);
        assert!(
            shown.contains(&format!("{what} is not supported yet")),
            "{shown}"
        );
    }
}

#[test]
fn a_missing_file_is_a_problem() {
    let problems = load_settings(Path::new("/nowhere/warden.toml"), &environment(&[]));
    let shown = problems.unwrap_err().to_string();
    assert!(
        shown.starts_with("/nowhere/warden.toml: can't be read: "),
        "{shown}"
    );
}

#[test]
fn files_that_are_not_there_are_problems() {
    let addition = "[databases.x]\nurl = 'postgres://u@h/?sslmode=verify-ca&sslrootcert=no.pem'
[[listen]]\naddress = '[::1]:1'\n[listen.tls]\ncertificate = 'no.crt'\nkey = 'no.key'\n
[databases.y]\nurl = 'postgres://u@h/'\npassword_file = 'no.password'\n";
    let shown = problems_of(addition);
    for name in ["no.pem", "no.crt", "no.key", "no.password"] {
        assert!(
            shown.contains(&format!("{name} can't be read: ")),
            "{shown}"
        );
    }
}
