//! F1 at start-up: parameters and the user's name choose nothing.

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::proxy::{connect, token};
use pgwarden_tests::wire::Client;

use super::{FOREIGN, still_a};

#[test]
fn f1_start_up_parameters_do_not_change_who_it_is() {
    let arena = Arena::take();
    let foreign_option = format!("-c request.jwt.claims={}", FOREIGN.replace(' ', "\\ "));
    let attacks: Vec<(&str, &str)> = vec![
        ("request.jwt.claims", FOREIGN),
        ("Request.JWT.claims", FOREIGN),
        ("options", &foreign_option),
        ("options", "-crequest.jwt.claims={}"),
        ("options", "--request.jwt.claims={}"),
        ("options", "--request.jwt-claims={}"),
        ("options", "-c role=platform_admin"),
        ("options", "-c session_authorization=platform_admin"),
        ("options", "-c search_path=hidden"),
        ("options", "--search-path=hidden"),
        ("options", "--search_path=hidden,app"),
        ("options", "-c row_security=off"),
        ("options", "-e -c statement_timeout=5s"),
        ("options", "-O -P"),
        ("options", "-c statement_timeout=5s -c search_path=hidden"),
        ("options", "-c\\ search_path=hidden"),
        (
            "options",
            "-c statement_timeout=5s\\ -c\\ role=platform_admin",
        ),
        ("role", "platform_admin"),
        ("ROLE", "platform_admin"),
        ("session_authorization", "platform_admin"),
        ("is_superuser", "on"),
        ("search_path", "hidden"),
        ("search_path", "app, public"),
        ("search_path", "pg_temp, public"),
        ("Search_Path", "hidden"),
        ("row_security", "off"),
        ("default_transaction_isolation", "serializable"),
        ("session_preload_libraries", "auto_explain"),
        ("local_preload_libraries", "auto_explain"),
        ("org_id", Tenant::B.org()),
        ("app_metadata.org_id", Tenant::B.org()),
        ("tenant", Tenant::B.org()),
        ("application_name", Tenant::B.org()),
        ("pgwarden.token", "x"),
        ("_pq_.protocol_managed_params", "x"),
        ("user", "postgres"),
    ];
    for (name, value) in attacks {
        match connect(&arena.plain(), &token(Tenant::A), &[(name, value)]) {
            Ok(mut client) => {
                client.forbid(Tenant::A.markers());
                still_a(&mut client, &format!("{name}={value}"));
            }
            Err(error) => assert!(
                ["42501", "08P01", "28000", "28P01", "0A000", "22023"].contains(&error.code()),
                "{name}={value}: {error:?}"
            ),
        }
    }
}

#[test]
fn f1_drivers_start_up_parameters_work() {
    let arena = Arena::take();
    for (name, value) in [
        ("application_name", "psql"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("datestyle", "ISO"),
        ("TimeZone", "Europe/Berlin"),
        ("extra_float_digits", "3"),
        ("statement_timeout", "5000"),
        ("options", "-c statement_timeout=5000"),
        ("options", "-c statement_timeout=5s -c application_name=x"),
        ("client_min_messages", "warning"),
    ] {
        let mut client = connect(&arena.plain(), &token(Tenant::A), &[(name, value)])
            .unwrap_or_else(|error| panic!("{name}={value}: {error:?}"));
        still_a(&mut client, name);
        if name != "options" && name != "client_encoding" && !name.eq_ignore_ascii_case("datestyle")
        {
            let shown = client.query(&format!("SHOW {name}")).ok().value().unwrap();
            assert!(
                shown == value || shown.trim_end_matches('s') == "5",
                "{name}: {shown}"
            );
        }
    }
}

#[test]
fn f1_of_several_values_the_one_that_wins_is_judged() {
    let arena = Arena::take();
    let settings = |switch, parameter| {
        connect(
            &arena.plain(),
            &token(Tenant::A),
            &[("options", switch), ("client_encoding", parameter)],
        )
    };
    let mut client = settings("-c Client_Encoding=LATIN1 --client-encoding=SJIS", "UTF8").unwrap();
    still_a(&mut client, "a switch that the parameter overrides");
    assert_eq!(client.parameter("client_encoding"), Some("UTF8"));
    let refused = settings("-c client_encoding=UTF8", "LATIN1").unwrap_err();
    assert_eq!(refused.code(), "0A000");
    let twice = [("options", "-c role=platform_admin -c ROLE=none")];
    let refused = connect(&arena.plain(), &token(Tenant::A), &twice).unwrap_err();
    assert_eq!(refused.code(), "42501");
}

#[test]
fn f1_the_user_name_chooses_nothing() {
    let arena = Arena::take();
    for user in [
        "postgres",
        "platform_admin",
        Tenant::B.org(),
        "b",
        "pgwarden_app",
    ] {
        let mut client = Client::connect(
            pgwarden_tests::proxy::address(),
            user,
            &arena.plain(),
            &[],
            Some(&token(Tenant::A)),
        )
        .unwrap();
        still_a(&mut client, user);
    }
}

#[test]
fn f5_unknown_database() {
    let error = connect("nosuch", &token(Tenant::A), &[]).expect_err("there is none");
    assert_eq!(error.code(), "3D000", "{error:?}");
    let error = connect("nosuch", "bad", &[]).expect_err("and nobody learns it without a token");
    assert_eq!(error.code(), "28P01", "{error:?}");
}
