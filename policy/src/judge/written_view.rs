//! Views that are written to: INSERT, UPDATE and DELETE through what PostgreSQL updates by itself.
//!
//! The view stays in the statement, so that its own conditions, defaults and WITH CHECK OPTION are the
//! server's business, and the tenant's predicate compares the view's column that shows the tenant
//! column of the table behind it. That is the same predicate once the server has put the table in the
//! view's place. It takes a view that shows columns of one table (or of such a view): nothing else
//! is in its query that would have to be guarded, and no condition of its own can leak, for those
//! may run before ours. Rules and INSTEAD OF triggers run statements of their own and are refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, LimitOption, Node, RangeVar, SelectStmt, SetOperation};

use super::names::{Env, strings};
use super::relation::Found;
use super::view::{columns_of, unreadable};
use super::{Decision, EntryId, EntryKind, Judge, Places, unsupported};
use crate::bind::{Guard, Key};
use crate::catalog::{Relation, RelationKind};
use crate::deny::{Denial, DenyReason};
use crate::rules::{MissingFilter, MissingValue};

/// How deep views may stand on views.
const GENERATIONS: u8 = 16;

/// The table that a view shows.
struct Behind {
    /// Its keys, by the names of the view's columns.
    keys: Vec<Key>,
    kind: EntryKind,
    table: String,
    guard: String,
    wishes: (MissingFilter, MissingValue),
}

impl Judge<'_> {
    /// Resolves the target of an INSERT, UPDATE or DELETE.
    pub(super) fn write_target(&mut self, range: &mut RangeVar) -> Result<EntryId, Denial> {
        let location = range.location;
        self.written(range)
            .map_err(|denial| self.missing_at(denial, location))
    }

    fn written(&mut self, range: &mut RangeVar) -> Result<EntryId, Denial> {
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        let is_view = relation.kind == RelationKind::View
            && matches!(self.guarded(relation)?.guard, Guard::View(_));
        if !is_view || !range.catalogname.is_empty() {
            return self.relation_reference(range, true);
        }
        let relation = relation.clone();
        self.written_view(range, relation)
    }

    fn written_view(
        &mut self,
        range: &mut RangeVar,
        relation: Relation,
    ) -> Result<EntryId, Denial> {
        if !range.inh {
            return Err(
                unsupported("ONLY of a view").hint("Leave ONLY out: it means nothing there.")
            );
        }
        let behind = self.behind(&relation, GENERATIONS)?;
        let Some((view, listed)) = self.bound.view(&relation, false) else {
            return Err(unsupported("this view"));
        };
        let (mut query, listed) = (view.query.clone(), listed.to_vec());
        let shown = format!("{}.{}", relation.schema, relation.name);
        // The query is judged, not sent: no parameter of it goes with the statement.
        let hidden = self.findings.hidden.len();
        let (output, inside) = self
            .inside_view(|judge| judge.select(&mut query, None, &Env::default()))
            .map_err(|denial| unreadable(&shown, denial))?;
        self.findings.hidden.truncate(hidden);
        if !listed.is_empty() && listed != behind.keys {
            return Err(refused(
                &relation,
                "its key is not that of the table behind it",
            ));
        }
        refuse_leaks(&relation, &inside)?;
        let mut columns = columns_of(&relation, &output, false);
        for column in &mut columns {
            let key = behind.keys.iter().find(|key| key.column == column.name);
            column.tenant = key.filter(|key| key.via.is_none()).map(|key| key.slot);
        }
        let kind = match behind.kind {
            EntryKind::Scoped { nullable, .. } => EntryKind::Scoped {
                keys: behind.keys.clone(),
                table: shown.clone(),
                nullable,
            },
            other => other,
        };
        self.uses(behind.table, true, behind.guard);
        self.uses(shown, true, "its table".to_owned());
        self.refer(
            range,
            Found {
                decision: Decision::WrittenView {
                    schema: relation.schema.clone(),
                    name: relation.name.clone(),
                    scoped: behind.keys,
                    inside,
                },
                relation,
                kind,
                columns,
                wishes: behind.wishes,
            },
        )
    }

    /// The table that a view shows, and its keys as the view names them.
    fn behind(&self, relation: &Relation, generations: u8) -> Result<Behind, Denial> {
        if relation.redirects_writes {
            return Err(refused(relation, "it has a rule or an INSTEAD OF trigger"));
        }
        let nested = generations < GENERATIONS;
        let plain = self.bound.view(relation, nested);
        let plain = plain.filter(|(view, _)| view.tree().is_some_and(|it| !it.holds("SubLink")));
        let plain = plain.and_then(|(view, _)| plain_parts(&view.query));
        let Some((range, columns)) = plain.filter(|_| generations > 0) else {
            return Err(refused(
                relation,
                "its query is more than columns of one table",
            ));
        };
        let table = self.find_relation(&range.schemaname, &range.relname)?;
        let behind = if table.kind == RelationKind::View {
            self.behind(table, generations - 1)?
        } else {
            let guarded = self.bound.guarded(table)?;
            let (kind, _, guard) = self.entry_kind(&guarded.guard, table, true)?;
            let keys = match &kind {
                EntryKind::Scoped { keys, .. } => keys.clone(),
                _ => Vec::new(),
            };
            Behind {
                keys,
                kind,
                table: format!("{}.{}", table.schema, table.name),
                guard,
                wishes: (guarded.missing_filter, guarded.missing_value),
            }
        };
        let keys = behind.keys.iter().map(|key| {
            let name = shown_as(relation, &columns, &key.column)?;
            Ok(Key {
                column: name.to_owned(),
                ..key.clone()
            })
        });
        let keys = keys.collect::<Result<_, Denial>>()?;
        Ok(Behind { keys, ..behind })
    }
}

/// The relation of a query that PostgreSQL could update through, and the columns of it that the query
/// shows plainly, by position.
fn plain_parts(query: &SelectStmt) -> Option<(&RangeVar, Vec<Option<&str>>)> {
    let [from] = query.from_clause.as_slice() else {
        return None;
    };
    let Some(NodeEnum::RangeVar(range)) = from.node.as_ref() else {
        return None;
    };
    let rest = SelectStmt {
        target_list: Vec::new(),
        from_clause: Vec::new(),
        where_clause: None,
        ..query.clone()
    };
    let nothing = SelectStmt {
        limit_option: LimitOption::Default as i32,
        op: SetOperation::SetopNone as i32,
        ..SelectStmt::default()
    };
    let renames = |alias: &Alias| !alias.colnames.is_empty();
    if rest != nothing || range.schemaname.is_empty() || range.alias.as_ref().is_some_and(renames) {
        return None;
    }
    let columns = query.target_list.iter().map(plain_column);
    Some((range, columns.collect()))
}

/// The column that an output column shows as it is.
fn plain_column(target: &Node) -> Option<&str> {
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else {
        return None;
    };
    let Some(NodeEnum::ColumnRef(reference)) = target.val.as_deref()?.node.as_ref() else {
        return None;
    };
    let (last, _) = reference.fields.split_last()?;
    let names = strings(std::slice::from_ref(last)).ok()?;
    names.first().copied()
}

/// The view's only column that shows a column of the table.
fn shown_as<'r>(
    view: &'r Relation,
    columns: &[Option<&str>],
    wanted: &str,
) -> Result<&'r str, Denial> {
    let pairs = view.columns.iter().zip(columns);
    let mut shown = pairs.filter(|(_, column)| **column == Some(wanted));
    match (shown.next(), shown.next()) {
        (Some((column, _)), None) if view.columns.len() == columns.len() => Ok(&column.name),
        _ => {
            let why = format!("it does not show the table's column \"{wanted}\" once");
            Err(refused(view, &why))
        }
    }
}

/// A view's own conditions run before the tenant's, or in whatever order the server likes.
fn refuse_leaks(view: &Relation, inside: &Places) -> Result<(), Denial> {
    let quiet = inside.is_quiet();
    match inside.decisions.as_slice() {
        [(_, Decision::Relation { .. })] if quiet => Ok(()),
        [(_, Decision::View { inside, .. })] if quiet => refuse_leaks(view, inside),
        [_] => Err(refused(
            view,
            "a condition of its query can fail on another tenant's row",
        )),
        _ => Err(refused(view, "its query reads more than one table")),
    }
}

fn refused(view: &Relation, why: &str) -> Denial {
    let shown = format!("{}.{}", view.schema, view.name);
    Denial::new(
        DenyReason::OpaqueRelation,
        format!("view \"{shown}\" can't be written to: {why}"),
    )
    .table(shown)
    .hint("Write to the table behind the view.")
}
