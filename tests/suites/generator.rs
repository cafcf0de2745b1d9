//! Random statements, compared with the oracle.

use std::collections::BTreeMap;

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::generator::Generator;

#[test]
fn the_generator_writes_what_postgresql_understands() {
    let arena = Arena::take();
    let mut errors: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let count = 3000;
    let mut session = arena.oracle_session(Tenant::A);
    session.query("SET statement_timeout = 1000").ok();
    for index in 0..count {
        let statement = Generator::statement(7, index, Tenant::A);
        session.query("BEGIN").ok();
        let reply = session.query(&statement.sql);
        if let Some(error) = &reply.error
            && !statement.hostile
        {
            let entry = errors.entry(format!("{} {}", error.code(), error.message())).or_default();
            entry.0 += 1;
            entry.1 = statement.sql;
        }
        session.query("ROLLBACK").ok();
    }
    let failed: usize = errors.values().map(|(times, _)| times).sum();
    let mut list: Vec<_> = errors.into_iter().collect();
    list.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    for (error, (times, sql)) in list.iter().take(40) {
        println!("{times} × {error}\n      {sql}");
    }
    println!("{failed} of {count} fail on the oracle itself");
    assert!(failed * 100 < usize::try_from(count).unwrap() * 6, "{failed} of {count}");
}
