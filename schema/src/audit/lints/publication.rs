//! A publication sends scoped tables elsewhere.
//!
//! Why: A subscriber gets every tenant's rows, whatever the policies say.
//!
//! Fix: Take the table out; where the subscriber may hold all tenants' rows, accept it by a
//! suppression.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "publication",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let all = facts
        .snapshot
        .publications
        .iter()
        .filter(|it| it.all_tables);
    let all = all.filter(|_| facts.guarded().next().is_some()).map(|it| {
        Draft::new(
            it.name.clone(),
            "it sends every table, those of all tenants included",
        )
    });
    let some = facts
        .snapshot
        .publications
        .iter()
        .filter(|it| !it.all_tables);
    let some = some.flat_map(|it| {
        let tables = it.tables.iter().filter_map(|oid| facts.relation(*oid));
        let tables = tables.filter(|table| facts.is_scoped(table.oid));
        tables.map(move |table| {
            let why = format!("{} sends every tenant's rows of it", it.name);
            let draft = Draft::new(format!("{}.{}", it.name, table.full_name()), why);
            // What is sent with its whole schema can't be taken out alone.
            match it.named.contains(&table.oid) {
                true => draft.fix(format!(
                    "ALTER PUBLICATION {} DROP TABLE {};",
                    it.sql, table.sql
                )),
                false => draft,
            }
        })
    });
    all.chain(some).collect()
}
