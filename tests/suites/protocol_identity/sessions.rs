//! H: one session after another, and side by side.

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::proxy::session;

use super::claims;

#[test]
fn h_nothing_is_left_for_the_next_session() {
    let arena = Arena::take();
    let mut a = session(&arena.plain(), Tenant::A);
    let pid = a.key.0;
    a.query("SET statement_timeout = 4321").ok();
    a.query("SET TIME ZONE 'Asia/Tokyo'").ok();
    a.query("SET search_path = app");
    Frames::new()
        .parse("left", "SELECT full_name FROM leads")
        .sync()
        .exchange(&mut a);
    a.query("BEGIN").ok();
    a.query("UPDATE public.notes SET txt = 'uncommitted'").ok();
    drop(a);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut reused = false;
    for _ in 0..3 {
        let mut b = session(&arena.plain(), Tenant::B);
        reused |= b.key.0 == pid;
        assert!(claims(&mut b).contains(Tenant::B.org()));
        assert_eq!(
            b.query("SELECT count(DISTINCT org_id), min(org_id::text) FROM leads")
                .ok()
                .value()
                .as_deref(),
            Some("1")
        );
        assert_eq!(
            b.query("SELECT min(org_id::text) FROM leads")
                .ok()
                .value()
                .as_deref(),
            Some(Tenant::B.org())
        );
        assert_eq!(
            b.query("SHOW statement_timeout").ok().value().as_deref(),
            Some("0")
        );
        assert_ne!(
            b.query("SHOW TimeZone").ok().value().as_deref(),
            Some("Asia/Tokyo")
        );
        let messages = Frames::new()
            .bind("", "left", &[])
            .execute("", 0)
            .sync()
            .exchange(&mut b);
        assert_eq!(messages[0].error().code(), "26000");
        let mut a = session(&arena.plain(), Tenant::A);
        reused |= a.key.0 == pid;
        assert_eq!(
            a.query("SELECT txt FROM notes WHERE id = 1")
                .ok()
                .value()
                .as_deref(),
            Some("n1")
        );
    }
    println!("server connection reused: {reused}");
}

#[test]
fn h_sessions_of_two_tenants_side_by_side() {
    let arena = Arena::take();
    let mut a = session(&arena.plain(), Tenant::A);
    let mut b = session(&arena.plain(), Tenant::B);
    for round in 0..20 {
        // The same text and shape, with other literals: a shared plan must not carry a tenant over.
        let sql = format!(
            "SELECT count(*), min(org_id::text), {round} FROM leads WHERE score IS NOT NULL OR score = {round}"
        );
        let (from_a, from_b) = (a.query(&sql).ok(), b.query(&sql).ok());
        let org = |reply: &pgwarden_tests::wire::Reply| {
            String::from_utf8(reply.results[0].rows[0][1].clone().unwrap()).unwrap()
        };
        assert_eq!(
            (org(&from_a).as_str(), org(&from_b).as_str()),
            (Tenant::A.org(), Tenant::B.org())
        );
        let (from_a, from_b) = (a.extended(&sql, &[]).ok(), b.extended(&sql, &[]).ok());
        assert_eq!(
            (org(&from_a).as_str(), org(&from_b).as_str()),
            (Tenant::A.org(), Tenant::B.org())
        );
    }
}
