//! The trigger that keeps a row's tenant.

use crate::audit::lints::keeps_tenant;
use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

/// What the trigger's error says, by which its function is known.
const SAYS: &str = "the tenant of a row can''t be changed";

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    let column = model.facts.tenant_column(target.table);
    if column.is_some_and(|it| keeps_tenant(model.facts, &it)) {
        return None;
    }
    let (table, column) = (&target.table.sql, &target.sql);
    let wished = joined(&["prevent", &target.column, "change"]);
    // A function of that name that somebody else made may do more, or nothing.
    let functions = model.facts.snapshot.functions.iter();
    let mut named = functions.filter(|it| it.schema == target.table.schema && it.name == wished);
    let base = match named.any(|it| !it.source.contains(SAYS)) {
        true => joined(&[&wished, "tenant"]),
        false => wished,
    };
    let (unfollow, follow) = super::column::unfollow_sql(target);
    let taken = target.table.triggers.iter().any(|it| it.name == base);
    let name = ident(&match taken {
        true => joined(&[&base, "tenant"]),
        false => base.clone(),
    });
    let function = format!("{}.{}", ident(&target.table.schema), ident(&base));
    Some(Step {
        phase: Phase::Enforce,
        slug: format!("{}_guard", target.slug()),
        title: format!("the tenant of a row of {} stays", target.table.full_name()),
        run: Run::Transaction,
        lock: "SHARE ROW EXCLUSIVE on the table, for a moment".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes; the function, which tables share, stays".to_owned(),
        look_at: match super::constraints::follows_new_key(model, target) {
            true => vec![
                "a tenant can't get another key from now on, though its rows would follow"
                    .to_owned(),
            ],
            false => Vec::new(),
        },
        up: format!(
            "{unfollow}CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  \
             IF NEW.{column} IS DISTINCT FROM OLD.{column} THEN\n    \
             RAISE EXCEPTION '{SAYS}' USING ERRCODE = '42501';\n  END IF;\n  \
             RETURN NEW;\nEND $$;\n\
             CREATE TRIGGER {name} BEFORE UPDATE OF {column} ON {table}\n  FOR EACH ROW EXECUTE FUNCTION {function}();"
        ),
        verify: Vec::new(),
        down: format!("DROP TRIGGER {name} ON {table};\n{follow}"),
    })
}
