//! Reads of rows by a key, as prepared statements.
//!
//! Reading and planning a text takes the server longer than finding a row by its key. A Query has no
//! parameters, so that is done anew for each; but where a text differs from the last only in the values
//! that columns are compared with, the session may have it prepared once, with parameters in place of
//! these literals and of its own values, and bind them.
//!
//! The rows, their description and their order are the same:
//!
//! - An integer is a constant of type `integer`, and so is its parameter. A quoted string has no type
//!   before it is compared; neither has its parameter, and the server resolves both alike. All other
//!   literals stay in the text, or there is no lookup.
//! - The holes are those of the [`Template`](crate::template::Template), which the proof has paired; nothing else of the
//!   proven text is touched.
//! - The server may choose a plan for all values once it has seen some. So one row at most is found: each
//!   column of a unique index is compared with a value, and there is one way to look that up.
//!
//! What the server refuses may have another error than the text itself would have had (another place, no
//! cast to point at). The session sends the text then.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, BoolExprType, Node, ParseResult, SelectStmt, SetOperation,
    a_const::Val,
};

use crate::cache::Judged;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::deny::Denial;
use crate::plan::RelationUse;
use crate::scan::{Literal, LiteralKind};
use crate::template::{self, Cut, Fill};
use crate::tenant::ScopeValues;

/// `integer`.
const INT4: u32 = 23;

/// Of a parameter that takes the type of what it is compared with.
const UNSPECIFIED: u32 = 0;

/// So many digits are an `integer`, whatever they are.
const DIGITS_MAX: usize = 9;

/// A shape's text with a parameter in each hole.
#[derive(Debug)]
pub(crate) struct Prepared {
    text: Box<str>,
    /// The parameters' types.
    types: Box<[u32]>,
    /// What they are bound to.
    fills: Box<[Fill]>,
}

impl Prepared {
    /// About how many bytes it takes beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.types) + size_of_val(&*self.fills)
    }
}

/// A Query that may be sent as a Bind of a prepared statement.
pub struct Lookup<'a> {
    judged: Arc<Judged>,
    request: &'a str,
    literals: &'a [Literal],
    values: &'a ScopeValues,
}

impl std::fmt::Debug for Lookup<'_> {
    /// Leaves texts and values out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl<'a> Lookup<'a> {
    /// The lookup that a request is, if its shape is one and its literals can be bound.
    pub(crate) fn of(
        judged: &Arc<Judged>,
        request: &'a str,
        literals: &'a [Literal],
        values: &'a ScopeValues,
    ) -> Option<Self> {
        judged.template.prepared()?;
        let lookup = Self {
            judged: Arc::clone(judged),
            request,
            literals,
            values,
        };
        let mut fills = lookup.prepared()?.fills.iter();
        fills
            .all(|fill| lookup.is_bindable(*fill))
            .then_some(lookup)
    }

    fn prepared(&self) -> Option<&Prepared> {
        self.judged.template.prepared()
    }

    /// The text to prepare.
    pub fn text(&self) -> &str {
        self.prepared().map_or("", |prepared| &prepared.text)
    }

    /// The types of its parameters.
    pub fn types(&self) -> &[u32] {
        self.prepared().map_or(&[], |prepared| &prepared.types)
    }

    /// Calls `write` with each parameter's value, in the text format.
    pub fn each_value(&self, mut write: impl FnMut(&[u8])) {
        let fills = self.prepared().map_or(&[][..], |prepared| &prepared.fills);
        for fill in fills {
            match fill {
                Fill::Literal(index) => write(self.value(*index).unwrap_or_default()),
                Fill::Value(slot) | Fill::Compared(slot) => {
                    // Each has one (`is_bindable`).
                    if let Some(value) = self.values.get(*slot) {
                        value.with_text(|text| write(text.as_bytes()));
                    }
                }
            }
        }
    }

    fn is_bindable(&self, fill: Fill) -> bool {
        match fill {
            Fill::Literal(index) => self.value(index).is_some(),
            Fill::Value(slot) | Fill::Compared(slot) => self.values.get(slot).is_some(),
        }
    }

    /// What a literal means, if that is what stands there.
    fn value(&self, index: usize) -> Option<&'a [u8]> {
        let literal = self.literals.get(index)?;
        let written = self.request.as_bytes().get(literal.start..literal.end)?;
        match literal.kind {
            LiteralKind::Integer => {
                let plain = written.len() <= DIGITS_MAX && written.iter().all(u8::is_ascii_digit);
                plain.then_some(written)
            }
            LiteralKind::Text => {
                let inside = written.strip_prefix(b"'")?.strip_suffix(b"'")?;
                let plain = !inside.iter().any(|byte| matches!(byte, b'\'' | b'\\' | 0));
                plain.then_some(inside)
            }
            LiteralKind::Wide | LiteralKind::Number => None,
        }
    }
}

/// A lookup's text and parameters, if each of the client's literals that has a hole is in one of these
/// places. All of its literals have holes.
pub(crate) fn prepare(
    text: &str,
    cuts: &[Cut],
    places: &[Place],
) -> Result<Option<Prepared>, Denial> {
    let type_of = |cut: &Cut| match cut.fill() {
        Fill::Literal(_) => {
            let place = places.iter().find(|place| place.at == cut.start());
            place.map(|place| place.type_oid)
        }
        // The text has its type.
        Fill::Value(_) | Fill::Compared(_) => Some(UNSPECIFIED),
    };
    let Some(types) = cuts.iter().map(type_of).collect::<Option<Box<[u32]>>>() else {
        return Ok(None);
    };
    Ok(Some(Prepared {
        text: template::number(text, cuts)?,
        types,
        fills: cuts.iter().map(Cut::fill).collect(),
    }))
}

/// The table, if a statement uses one and nothing else.
fn only_relation<'c>(used: &[RelationUse], catalog: &'c Catalog) -> Option<&'c Relation> {
    let [only] = used else {
        return None;
    };
    let mut dots = only.name.match_indices('.');
    let found = dots.find_map(|(at, _)| {
        let (schema, name) = only.name.split_at_checked(at)?;
        catalog.relation(schema, name.get(1..)?)
    });
    found.filter(|relation| relation.kind == RelationKind::Table)
}

/// A literal that may be a parameter.
pub(crate) struct Place {
    /// Its byte in the text.
    at: usize,
    type_oid: u32,
}

/// The literals of a rewritten statement that reads one table by a key of it, and does nothing but that;
/// `None` for all others.
pub(crate) fn places(
    tree: &ParseResult,
    used: &[RelationUse],
    catalog: &Catalog,
) -> Option<Vec<Place>> {
    let relation = only_relation(used, catalog)?;
    let [statement] = tree.stmts.as_slice() else {
        return None;
    };
    let Some(NodeEnum::SelectStmt(select)) = statement.stmt.as_ref()?.node.as_ref() else {
        return None;
    };
    let filter = conditions(select)?;
    let mut reading = Reading {
        relation,
        columns: Vec::new(),
        places: Vec::new(),
    };
    reading.condition(filter)?;
    if let Some(limit) = select.limit_count.as_deref() {
        reading.limit(limit)?;
    }
    let compared = |key: &Vec<i16>| key.iter().all(|column| reading.columns.contains(column));
    relation.keys.iter().any(compared).then_some(reading.places)
}

/// What a plain SELECT of columns is filtered by.
fn conditions(select: &SelectStmt) -> Option<&Node> {
    let SelectStmt {
        distinct_clause,
        into_clause,
        target_list,
        from_clause,
        where_clause,
        group_clause,
        group_distinct: _,
        having_clause,
        window_clause,
        values_lists,
        sort_clause,
        limit_offset,
        limit_count: _,
        limit_option: _,
        locking_clause,
        with_clause,
        op,
        all: _,
        larg,
        rarg,
    } = select;
    let lists = [
        distinct_clause,
        group_clause,
        window_clause,
        values_lists,
        locking_clause,
    ];
    let plain = lists.iter().all(|list| list.is_empty())
        && into_clause.is_none()
        && having_clause.is_none()
        && limit_offset.is_none()
        && with_clause.is_none()
        && SetOperation::try_from(*op) == Ok(SetOperation::SetopNone)
        && larg.is_none()
        && rarg.is_none();
    let [from] = from_clause.as_slice() else {
        return None;
    };
    let of_table = matches!(from.node, Some(NodeEnum::RangeVar(_)));
    let of_columns = target_list.iter().all(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => {
            target.indirection.is_empty() && is_column(target.val.as_deref())
        }
        _ => false,
    });
    let by_columns = sort_clause.iter().all(|sort| match &sort.node {
        Some(NodeEnum::SortBy(by)) => by.use_op.is_empty() && is_column(by.node.as_deref()),
        _ => false,
    });
    (plain && of_table && of_columns && by_columns)
        .then_some(where_clause.as_deref())
        .flatten()
}

fn is_column(node: Option<&Node>) -> bool {
    matches!(
        node.and_then(|it| it.node.as_ref()),
        Some(NodeEnum::ColumnRef(_))
    )
}

/// What is found in a statement's conditions.
struct Reading<'a> {
    relation: &'a Relation,
    /// The numbers of the columns that are equal to a value.
    columns: Vec<i16>,
    places: Vec<Place>,
}

impl Reading<'_> {
    /// `None` for a condition that is no part of a lookup.
    fn condition(&mut self, node: &Node) -> Option<()> {
        match node.node.as_ref()? {
            NodeEnum::BoolExpr(of) if of.boolop() == BoolExprType::AndExpr => {
                of.args.iter().try_for_each(|part| self.condition(part))
            }
            NodeEnum::BoolExpr(of) if of.boolop() == BoolExprType::NotExpr => {
                of.args.iter().all(|it| is_column(Some(it))).then_some(())
            }
            NodeEnum::ColumnRef(_) => Some(()),
            NodeEnum::NullTest(test) => is_column(test.arg.as_deref()).then_some(()),
            NodeEnum::AExpr(expr) => self.equality(expr),
            _ => None,
        }
    }

    fn equality(&mut self, expr: &AExpr) -> Option<()> {
        let name: Option<Vec<&str>> = expr.name.iter().map(string).collect();
        let equals = matches!(name?.as_slice(), ["="] | ["pg_catalog", "="]);
        if expr.kind() != AExprKind::AexprOp || !equals {
            return None;
        }
        let Some(NodeEnum::ColumnRef(left)) = expr.lexpr.as_ref()?.node.as_ref() else {
            return None;
        };
        let column = self.relation.column(string(left.fields.last()?)?)?.number;
        self.value(expr.rexpr.as_deref()?)?;
        self.columns.push(column);
        Some(())
    }

    /// A literal, a value of the session, or either with its type.
    fn value(&mut self, node: &Node) -> Option<()> {
        match node.node.as_ref()? {
            NodeEnum::ParamRef(_) => Some(()),
            NodeEnum::AConst(literal) => self.literal(literal),
            NodeEnum::TypeCast(cast) => {
                let to = cast.type_name.as_ref()?;
                let plain = to.typmods.is_empty() && to.array_bounds.is_empty() && !to.setof;
                let arg = cast.arg.as_ref()?;
                let once = !matches!(arg.node.as_ref()?, NodeEnum::TypeCast(_));
                (plain && once).then(|| self.value(arg)).flatten()
            }
            _ => None,
        }
    }

    fn literal(&mut self, literal: &AConst) -> Option<()> {
        let type_oid = match literal.val.as_ref()? {
            Val::Ival(_) => INT4,
            Val::Sval(_) => UNSPECIFIED,
            // A word of the grammar, which stays where it is.
            Val::Boolval(_) => return Some(()),
            Val::Fval(_) | Val::Bsval(_) => return None,
        };
        let at = usize::try_from(literal.location).ok()?;
        self.places.push(Place { at, type_oid });
        Some(())
    }

    fn limit(&mut self, node: &Node) -> Option<()> {
        match node.node.as_ref()? {
            NodeEnum::AConst(literal) => match literal.val.as_ref()? {
                Val::Ival(_) => self.literal(literal),
                Val::Sval(_) | Val::Boolval(_) | Val::Fval(_) | Val::Bsval(_) => None,
            },
            _ => None,
        }
    }
}

fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(name) => Some(&name.sval),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
