//! G5: depth and size.

use std::time::Duration;

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::proxy::session;

use super::sound;

#[test]
fn g5_depth_and_size_are_bounded() {
    let arena = Arena::take();
    let texts = [
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
        format!("SELECT {}true", "NOT ".repeat(100_000)),
        format!("SELECT 1{}", "::int".repeat(10_000)),
        format!("SELECT 1{}", " + 1".repeat(100_000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(50_000)),
        format!(
            "SELECT * FROM {}leads{}",
            "(SELECT * FROM ".repeat(3_000),
            ") x".repeat(3_000)
        ),
        format!(
            "SELECT {}1{}",
            "CASE WHEN true THEN ".repeat(5_000),
            " END".repeat(5_000)
        ),
        format!("SELECT {}1{}", "ARRAY[".repeat(20_000), "]".repeat(20_000)),
        format!("SELECT {}1{}", "abs(".repeat(20_000), ")".repeat(20_000)),
        format!(
            "SELECT * FROM leads{}",
            " JOIN leads USING (id)".repeat(5_000)
        ),
        format!("SELECT {}", "/*".repeat(200_000)),
        format!("SELECT '{}", "x".repeat(900_000)),
        format!(
            "SELECT id FROM leads WHERE {}",
            vec!["score = 1"; 20_000].join(" OR ")
        ),
        "(".repeat(300_000),
        "SELECT 1;".repeat(50_000),
        "x".repeat(3 << 20),
    ];
    for text in texts {
        let start: String = text.chars().take(40).collect();
        let mut client = session(&arena.plain(), Tenant::A);
        // What would take the parser minutes is refused, or this gives up waiting.
        client.set_timeout(Duration::from_secs(120));
        for extended in [false, true] {
            let reply = if extended {
                client.extended(&text, &[])
            } else {
                client.query(&text)
            };
            assert!(reply.status != 0, "{start}: the session ended");
            if reply.error.is_some() {
                let known = [
                    "54001", "54000", "42601", "0A000", "53400", "42712", "54011", "42701",
                    "54023", "42846",
                ];
                assert!(known.contains(&reply.code()), "{start}: {:?}", reply.error);
            }
        }
        sound(&mut client);
    }
}

#[test]
fn g5_long_lists_work() {
    let mut twins = Twins::new();
    let list: Vec<_> = (0..20_000).map(|n| n.to_string()).collect();
    twins.same(&Frames::new().query(&format!(
        "SELECT id FROM leads WHERE score IN ({})",
        list.join(",")
    )));
    let rows: Vec<_> = (0..2_000)
        .map(|n| format!("({}, 'r')", n + 10_000))
        .collect();
    twins.same(&Frames::new().query(&format!(
        "INSERT INTO notes (id, txt) VALUES {}",
        rows.join(",")
    )));
}
