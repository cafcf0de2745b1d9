//! Builders of everything that is ever injected into a statement, and nothing else.
//!
//! Injected SQL trusts no name of the session: operators, types and functions are written with
//! their schema, so that no object of a client's search_path can stand in for them.

use pg_query::protobuf::{
    self as pb, AArrayExpr, AConst, AExpr, AExprKind, AIndices, AIndirection, Alias, BoolExpr,
    BoolExprType, CaseExpr, CaseWhen, CoalesceExpr, CollateClause, ColumnRef, FuncCall, JoinExpr,
    JoinType, Node, NullTest, ParamRef, RangeSubselect, RangeVar, SelectStmt, SubLink, SubLinkType,
    TypeCast, TypeName, a_const,
};

use pg_query::NodeEnum;

/// Aliases of injected relations begin with this; a client's may not.
pub(crate) const RESERVED_PREFIX: &str = "pgwarden_";

/// The alias of a query that was wrapped.
const SOURCE: &str = "pgwarden_source";
/// The alias of the row that is always there.
const ROW: &str = "pgwarden_row";
/// The row and column of [`computed_once`].
const VALUE: &str = "pgwarden_value";
const VALUE_COLUMN: &str = "v";

/// The text that a conflicting row of another tenant raises, as an invalid boolean.
pub(crate) const CONFLICT_MARKER: &str = "pgwarden: conflicting row belongs to another tenant";

/// The text that a row of another tenant raises where an INSERT computes its tenant.
pub(crate) const WRITTEN_MARKER: &str = "pgwarden: the row to insert belongs to another tenant";
/// The text that a reference to another tenant's row, or to none, raises, as an invalid boolean.
pub(crate) const REFERENCE_MARKER: &str = "pgwarden: reference to a row of another tenant";
/// The text that a computed channel raises which the policy does not list, as an invalid boolean.
pub(crate) const CHANNEL_MARKER: &str = "pgwarden: channel is not listed in the policy";

pub(crate) fn node(inner: NodeEnum) -> Node {
    Node { node: Some(inner) }
}

pub(crate) fn string(text: &str) -> Node {
    node(NodeEnum::String(pb::String {
        sval: text.to_owned(),
    }))
}

/// `a.b` or `schema.a.b`.
pub(crate) fn column(path: &[&str]) -> Node {
    let fields = path.iter().map(|part| string(part)).collect();
    node(NodeEnum::ColumnRef(ColumnRef {
        fields,
        location: -1,
    }))
}

pub(crate) fn type_name(name: &str) -> TypeName {
    TypeName {
        names: vec![string("pg_catalog"), string(name)],
        typemod: -1,
        location: -1,
        ..TypeName::default()
    }
}

/// `arg::pg_catalog.<name>`.
pub(crate) fn cast(arg: Node, name: &str) -> Node {
    node(NodeEnum::TypeCast(Box::new(TypeCast {
        arg: Some(Box::new(arg)),
        type_name: Some(type_name(name)),
        location: -1,
    })))
}

/// `$number::pg_catalog.<type>`.
pub(crate) fn parameter(number: i32, type_name: &str) -> Node {
    cast(
        node(NodeEnum::ParamRef(ParamRef {
            number,
            location: -1,
        })),
        type_name,
    )
}

/// `left OPERATOR(pg_catalog.<operator>) right`.
pub(crate) fn operator(left: Node, operator: &str, right: Node) -> Node {
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprOp as i32,
        name: vec![string("pg_catalog"), string(operator)],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        location: -1,
        ..AExpr::default()
    })))
}

/// The conjunction of one or more conditions.
pub(crate) fn and(mut conditions: Vec<Node>) -> Option<Node> {
    if conditions.len() < 2 {
        return conditions.pop();
    }
    Some(node(NodeEnum::BoolExpr(Box::new(BoolExpr {
        boolop: BoolExprType::AndExpr as i32,
        args: conditions,
        location: -1,
        ..BoolExpr::default()
    }))))
}

/// `left OR right`.
pub(crate) fn or(left: Node, right: Node) -> Node {
    node(NodeEnum::BoolExpr(Box::new(BoolExpr {
        boolop: BoolExprType::OrExpr as i32,
        args: vec![left, right],
        location: -1,
        ..BoolExpr::default()
    })))
}

/// `arg IS NULL`.
pub(crate) fn is_null(arg: Node) -> Node {
    node(NodeEnum::NullTest(Box::new(NullTest {
        arg: Some(Box::new(arg)),
        nulltesttype: pb::NullTestType::IsNull as i32,
        location: -1,
        ..NullTest::default()
    })))
}

/// `arg IS DISTINCT FROM NULL`: unlike IS NOT NULL also for a row with a NULL in it.
pub(crate) fn is_distinct_from_null(arg: Node) -> Node {
    let null = AConst {
        isnull: true,
        location: -1,
        ..AConst::default()
    };
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprDistinct as i32,
        name: vec![string("=")],
        lexpr: Some(Box::new(arg)),
        rexpr: Some(Box::new(node(NodeEnum::AConst(null)))),
        location: -1,
        ..AExpr::default()
    })))
}

pub(crate) fn boolean(value: bool) -> Node {
    node(NodeEnum::AConst(AConst {
        val: Some(a_const::Val::Boolval(pb::Boolean { boolval: value })),
        isnull: false,
        location: -1,
    }))
}

pub(crate) fn integer(value: i32) -> Node {
    node(NodeEnum::AConst(AConst {
        val: Some(a_const::Val::Ival(pb::Integer { ival: value })),
        isnull: false,
        location: -1,
    }))
}

pub(crate) fn text(value: &str) -> Node {
    node(NodeEnum::AConst(AConst {
        val: Some(a_const::Val::Sval(pb::String {
            sval: value.to_owned(),
        })),
        isnull: false,
        location: -1,
    }))
}

/// `CASE WHEN condition THEN result ELSE otherwise END`.
pub(crate) fn case(condition: Node, result: Node, otherwise: Node) -> Node {
    let when = node(NodeEnum::CaseWhen(Box::new(CaseWhen {
        expr: Some(Box::new(condition)),
        result: Some(Box::new(result)),
        location: -1,
        ..CaseWhen::default()
    })));
    node(NodeEnum::CaseExpr(Box::new(CaseExpr {
        args: vec![when],
        defresult: Some(Box::new(otherwise)),
        location: -1,
        ..CaseExpr::default()
    })))
}

/// `CASE WHEN condition THEN result END`.
pub(crate) fn case_or_null(condition: Node, result: Node) -> Node {
    let mut built = case(condition, result, Node::default());
    if let Some(NodeEnum::CaseExpr(case)) = built.node.as_mut() {
        case.defresult = None;
    }
    built
}

/// `pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0`: always true, and known only after grouping. It
/// keeps a HAVING condition from being moved into WHERE, where it would see foreign rows.
pub(crate) fn after_grouping() -> Node {
    let count = node(NodeEnum::FuncCall(Box::new(FuncCall {
        funcname: vec![string("pg_catalog"), string("count")],
        agg_star: true,
        funcformat: pb::CoercionForm::CoerceExplicitCall as i32,
        location: -1,
        ..FuncCall::default()
    })));
    operator(count, ">=", integer(0))
}

/// An expression of type boolean that raises 22P02 with the marker when it is evaluated, and not
/// before: it depends on the row, through `left(num_nulls(<column>)::text, 0)`, which is never NULL.
pub(crate) fn raise_at(marker: &str, column: Node) -> Node {
    raise(marker, call("num_nulls", vec![column]))
}

/// `CASE WHEN CASE WHEN <value> = <own> THEN true ELSE <raises> END THEN <own> END`: the session's
/// value, after a look at what the client computed. The inner CASE keeps the types apart.
pub(crate) fn checked(value: Node, own: Node) -> Node {
    // The clock is volatile, so that planning can't evaluate what must only happen to a row.
    let clock = call("clock_timestamp", Vec::new());
    let equal = operator(value, "=", own.clone());
    let admitted = case(equal, boolean(true), raise(WRITTEN_MARKER, clock));
    let when = node(NodeEnum::CaseWhen(Box::new(CaseWhen {
        expr: Some(Box::new(admitted)),
        result: Some(Box::new(own)),
        location: -1,
        ..CaseWhen::default()
    })));
    node(NodeEnum::CaseExpr(Box::new(CaseExpr {
        args: vec![when],
        location: -1,
        ..CaseExpr::default()
    })))
}

/// `COALESCE(<listed>[pg_catalog.array_position(<listed>, <name>::pg_catalog.text COLLATE pg_catalog."C")],
/// <raises>::pg_catalog.text)`: one of the listed texts, whatever the client computes, and computed once.
pub(crate) fn listed(texts: &[String], name: Node) -> Node {
    let array = || {
        let elements = texts.iter().map(|it| text(it)).collect();
        node(NodeEnum::TypeCast(Box::new(TypeCast {
            arg: Some(Box::new(node(NodeEnum::AArrayExpr(AArrayExpr {
                elements,
                list_start: -1,
                list_end: -1,
                location: -1,
            })))),
            type_name: Some(TypeName {
                array_bounds: vec![node(NodeEnum::Integer(pb::Integer { ival: -1 }))],
                ..type_name("text")
            }),
            location: -1,
        })))
    };
    let name = node(NodeEnum::CollateClause(Box::new(CollateClause {
        arg: Some(Box::new(cast(name, "text"))),
        collname: vec![string("pg_catalog"), string("C")],
        location: -1,
    })));
    let place = call("array_position", vec![array(), name]);
    let found = node(NodeEnum::AIndirection(Box::new(AIndirection {
        arg: Some(Box::new(array())),
        indirection: vec![node(NodeEnum::AIndices(Box::new(AIndices {
            uidx: Some(Box::new(place)),
            ..AIndices::default()
        })))],
    })));
    let clock = call("clock_timestamp", Vec::new());
    let nothing = cast(raise(CHANNEL_MARKER, clock), "text");
    node(NodeEnum::CoalesceExpr(Box::new(CoalesceExpr {
        args: vec![found, nothing],
        location: -1,
        ..CoalesceExpr::default()
    })))
}

fn raise(marker: &str, row: Node) -> Node {
    let nothing = call("left", vec![cast(row, "text"), integer(0)]);
    cast(operator(text(marker), "||", nothing), "bool")
}

/// `pg_catalog.<name>(<args>)`.
fn call(name: &str, args: Vec<Node>) -> Node {
    node(NodeEnum::FuncCall(Box::new(FuncCall {
        funcname: vec![string("pg_catalog"), string(name)],
        args,
        funcformat: pb::CoercionForm::CoerceExplicitCall as i32,
        location: -1,
        ..FuncCall::default()
    })))
}

/// `(relation JOIN (SELECT) AS pgwarden_<number> ON predicate)`.
pub(crate) fn guard_join(relation: Node, number: usize, predicate: Node) -> Node {
    let empty = nothing(&format!("{RESERVED_PREFIX}{number}"));
    node(NodeEnum::JoinExpr(Box::new(JoinExpr {
        jointype: JoinType::JoinInner as i32,
        larg: Some(Box::new(relation)),
        rarg: Some(Box::new(empty)),
        quals: Some(Box::new(predicate)),
        ..JoinExpr::default()
    })))
}

/// `(SELECT) AS alias`: one row without columns.
fn nothing(alias: &str) -> Node {
    node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        subquery: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(
            plain_select(),
        ))))),
        alias: Some(Alias {
            aliasname: alias.to_owned(),
            colnames: Vec::new(),
        }),
        ..RangeSubselect::default()
    })))
}

/// `(SELECT * FROM join OFFSET 0) AS alias`.
pub(crate) fn fenced_join(join: Node, alias: Option<Alias>) -> Node {
    let query = SelectStmt {
        target_list: vec![target(star())],
        from_clause: vec![join],
        limit_offset: Some(Box::new(integer(0))),
        ..plain_select()
    };
    node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        subquery: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(query))))),
        alias,
        ..RangeSubselect::default()
    })))
}

/// `*`.
fn star() -> Node {
    node(NodeEnum::ColumnRef(ColumnRef {
        fields: vec![node(NodeEnum::AStar(pb::AStar {}))],
        location: -1,
    }))
}

/// Whether a FROM item is the empty side of a guard join.
pub(crate) fn is_injected(range: &RangeSubselect) -> bool {
    range
        .alias
        .as_ref()
        .is_some_and(|alias| alias.aliasname.starts_with(RESERVED_PREFIX))
}

/// `EXISTS (SELECT FROM schema.table AS alias WHERE condition)`.
pub(crate) fn exists(schema: &str, table: &str, alias: &str, condition: Node) -> Node {
    let relation = node(NodeEnum::RangeVar(RangeVar {
        schemaname: schema.to_owned(),
        relname: table.to_owned(),
        inh: true,
        relpersistence: "p".to_owned(),
        alias: Some(Alias {
            aliasname: alias.to_owned(),
            colnames: Vec::new(),
        }),
        location: -1,
        ..RangeVar::default()
    }));
    sublink(
        SubLinkType::ExistsSublink,
        SelectStmt {
            from_clause: vec![relation],
            where_clause: Some(Box::new(condition)),
            ..plain_select()
        },
    )
}

/// `(SELECT result FROM (SELECT value OFFSET 0) AS pgwarden_value (v))`: the value is computed
/// once, and the result is not known before.
pub(crate) fn computed_once(value: Node, result: Node) -> Node {
    let inner = SelectStmt {
        target_list: vec![target(value)],
        limit_offset: Some(Box::new(integer(0))),
        limit_option: pb::LimitOption::Count as i32,
        ..plain_select()
    };
    let source = node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        subquery: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(inner))))),
        alias: Some(Alias {
            aliasname: VALUE.to_owned(),
            colnames: vec![string(VALUE_COLUMN)],
        }),
        ..RangeSubselect::default()
    })));
    sublink(
        SubLinkType::ExprSublink,
        SelectStmt {
            target_list: vec![target(result)],
            from_clause: vec![source],
            ..plain_select()
        },
    )
}

/// The value of [`computed_once`].
pub(crate) fn computed_value() -> Node {
    column(&[VALUE, VALUE_COLUMN])
}

fn sublink(kind: SubLinkType, select: SelectStmt) -> Node {
    node(NodeEnum::SubLink(Box::new(SubLink {
        sub_link_type: kind as i32,
        subselect: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(select))))),
        location: -1,
        ..SubLink::default()
    })))
}

fn plain_select() -> SelectStmt {
    SelectStmt {
        limit_option: pb::LimitOption::Default as i32,
        op: pb::SetOperation::SetopNone as i32,
        ..SelectStmt::default()
    }
}

/// Puts predicates before a WHERE clause.
pub(crate) fn prepend(clause: &mut Option<Box<Node>>, mut predicates: Vec<Node>) {
    if let Some(original) = clause.take() {
        predicates.push(*original);
    }
    *clause = and(predicates).map(Box::new);
}

/// Takes a node out of its place, leaving an empty one.
pub(crate) fn take(place: &mut Node) -> Node {
    std::mem::take(place)
}

/// A select list's item.
pub(crate) fn target(value: Node) -> Node {
    node(NodeEnum::ResTarget(Box::new(pb::ResTarget {
        val: Some(Box::new(value)),
        location: -1,
        ..pb::ResTarget::default()
    })))
}

/// Turns a query of `width` columns into `SELECT pgwarden_source.pgwarden_1, … FROM (query) AS
/// pgwarden_source (pgwarden_1, …)`, where each column can be named.
pub(crate) fn wrap_columns(select: &mut SelectStmt, width: usize) {
    wrap(select);
    let names: Vec<String> = (1..=width)
        .map(|at| format!("{RESERVED_PREFIX}{at}"))
        .collect();
    let source = select.from_clause.first_mut();
    if let Some(NodeEnum::RangeSubselect(range)) = source.and_then(|s| s.node.as_mut())
        && let Some(alias) = range.alias.as_mut()
    {
        alias.colnames = names.iter().map(|name| string(name)).collect();
    }
    let columns = names.iter().map(|name| column(&[SOURCE, name]));
    select.target_list = columns.map(target).collect();
}

/// As [`wrap_columns`], but `FROM (SELECT) AS pgwarden_row LEFT JOIN (query) … ON true`: a query without
/// rows gives a row of NULLs, as it does where one row is wanted of it.
pub(crate) fn one_row(select: &mut SelectStmt, width: usize) {
    wrap_columns(select, width);
    let query = select.from_clause.pop().map(Box::new);
    select
        .from_clause
        .push(node(NodeEnum::JoinExpr(Box::new(JoinExpr {
            jointype: JoinType::JoinLeft as i32,
            larg: Some(Box::new(nothing(ROW))),
            rarg: query,
            quals: Some(Box::new(boolean(true))),
            ..JoinExpr::default()
        }))));
}

/// Turns a query into `SELECT * FROM (query) AS pgwarden_source`, to which a column can be added.
pub(crate) fn wrap(select: &mut SelectStmt) {
    let inner = std::mem::take(select);
    let source = node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        subquery: Some(Box::new(node(NodeEnum::SelectStmt(Box::new(inner))))),
        alias: Some(Alias {
            aliasname: SOURCE.to_owned(),
            colnames: Vec::new(),
        }),
        ..RangeSubselect::default()
    })));
    *select = SelectStmt {
        target_list: vec![target(star())],
        from_clause: vec![source],
        ..plain_select()
    };
}
