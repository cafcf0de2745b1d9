//! The names of output columns that the client did not name.

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

/// The name that PostgreSQL gives a column without AS (`FigureColname`).
pub(super) fn figured_name(value: &Node) -> String {
    match value.node.as_ref() {
        Some(NodeEnum::ColumnRef(reference)) => last_name(&reference.fields),
        Some(NodeEnum::AIndirection(steps)) => {
            let name = last_name(&steps.indirection);
            let arg = steps.arg.as_deref();
            if name.is_empty() {
                arg.map(figured_name).unwrap_or_default()
            } else {
                name
            }
        }
        Some(NodeEnum::FuncCall(call)) => last_name(&call.funcname),
        Some(NodeEnum::TypeCast(cast)) => {
            let inner = cast.arg.as_deref().map(figured_name).unwrap_or_default();
            if inner.is_empty() || inner == "?column?" {
                cast.type_name
                    .as_ref()
                    .map(|name| last_name(&name.names))
                    .unwrap_or_default()
            } else {
                inner
            }
        }
        Some(NodeEnum::CollateClause(collate)) => {
            collate.arg.as_deref().map(figured_name).unwrap_or_default()
        }
        Some(NodeEnum::CaseExpr(case)) => {
            let inner = case
                .defresult
                .as_deref()
                .map(figured_name)
                .unwrap_or_default();
            if inner.is_empty() || inner == "?column?" {
                "case".to_owned()
            } else {
                inner
            }
        }
        Some(NodeEnum::CoalesceExpr(_)) => "coalesce".to_owned(),
        Some(NodeEnum::AArrayExpr(_)) => "array".to_owned(),
        Some(NodeEnum::RowExpr(_)) => "row".to_owned(),
        Some(NodeEnum::GroupingFunc(_)) => "grouping".to_owned(),
        Some(NodeEnum::MinMaxExpr(expr)) => {
            let greatest = pg_query::protobuf::MinMaxOp::IsGreatest as i32;
            if expr.op == greatest {
                "greatest"
            } else {
                "least"
            }
            .to_owned()
        }
        Some(NodeEnum::SubLink(link)) => sublink_name(link),
        _ => "?column?".to_owned(),
    }
}

fn sublink_name(link: &pg_query::protobuf::SubLink) -> String {
    use pg_query::protobuf::SubLinkType;
    match SubLinkType::try_from(link.sub_link_type) {
        Ok(SubLinkType::ExistsSublink) => "exists".to_owned(),
        Ok(SubLinkType::ArraySublink) => "array".to_owned(),
        Ok(SubLinkType::ExprSublink) => {
            let Some(NodeEnum::SelectStmt(select)) = link
                .subselect
                .as_deref()
                .and_then(|node| node.node.as_ref())
            else {
                return "?column?".to_owned();
            };
            match select
                .target_list
                .first()
                .and_then(|target| target.node.as_ref())
            {
                Some(NodeEnum::ResTarget(target)) if !target.name.is_empty() => target.name.clone(),
                Some(NodeEnum::ResTarget(target)) => {
                    target.val.as_deref().map(figured_name).unwrap_or_default()
                }
                _ => "?column?".to_owned(),
            }
        }
        _ => "?column?".to_owned(),
    }
}

fn last_name(fields: &[Node]) -> String {
    let names = fields
        .iter()
        .rev()
        .find_map(|field| match field.node.as_ref() {
            Some(NodeEnum::String(name)) => Some(name.sval.clone()),
            _ => None,
        });
    names.unwrap_or_default()
}
