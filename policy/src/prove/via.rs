//! References to parents: the EXISTS that admits a row by its parent, and the check of a written
//! reference. Both are read field by field; what they must say is what the key says.

use super::forms::{self, Predicate};
use super::{Claims, Gap, Step, Walk, need, wrapped};
use crate::judge::{Key, Parent, Via};
use crate::tenant::ValueType;
use crate::tree::{Node, Value};

/// The parents' aliases begin with this, which no client's may.
const ALIAS_PREFIX: &str = "pgwarden_parent_";

const EXISTS_SUBLINK: i64 = 1;
const EXPR_SUBLINK: i64 = 5;
const LIMIT_OPTION_DEFAULT: i64 = 1;
const LIMIT_OPTION_COUNT: i64 = 2;
const SETOP_NONE: i64 = 1;
const AND: i64 = 1;

/// A parent in a rewritten text.
#[derive(PartialEq, Eq)]
pub(super) struct Link<'a> {
    schema: &'a str,
    table: &'a str,
    key: &'a str,
    column: &'a str,
}

impl<'a> Link<'a> {
    fn of(parent: &'a Parent) -> Self {
        Self {
            schema: &parent.schema,
            table: &parent.table,
            key: &parent.key,
            column: &parent.column,
        }
    }
}

/// What an EXISTS says: a value leads through parents to a slot's value.
struct Way<'a> {
    value: &'a Node,
    links: Vec<Link<'a>>,
    slot: usize,
    value_type: ValueType,
}

/// Reads the predicate of a relation that is reached through a parent.
pub(super) fn predicate<'a>(node: &'a Node, claims: Claims<'_>) -> Option<Predicate<'a>> {
    let way = way(node, claims, &mut Vec::new())?;
    let (qualifier, column) = column(way.value)?;
    Some(Predicate {
        qualifier,
        column,
        slot: way.slot,
        value_type: way.value_type,
        via: way.links,
    })
}

/// Whether the parents of a predicate are a key's.
pub(super) fn leads_as(links: &[Link<'_>], via: Option<&Via>) -> bool {
    let parents = via.map_or(&[][..], |via| &via.parents);
    links.len() == parents.len()
        && links
            .iter()
            .zip(parents)
            .all(|(link, parent)| *link == Link::of(parent))
}

/// Reads `EXISTS (SELECT FROM schema.table AS p WHERE p.key = <value> AND <p.column goes on>)`.
fn way<'a>(node: &'a Node, claims: Claims<'_>, around: &mut Vec<&'a str>) -> Option<Way<'a>> {
    let (relation, alias, condition) = exists(node)?;
    if around.contains(&alias) {
        return None;
    }
    let [refers, goes_on] = condition.list("args") else {
        return None;
    };
    let (refers, goes_on) = (refers.as_node()?, goes_on.as_node()?);
    let (key, value) = forms::equality(refers)?;
    let own = |(qualifier, name): (Vec<&'a str>, &'a str)| (qualifier == [alias]).then_some(name);
    let key = own(column(key)?)?;
    // A name in the value must not be caught by the alias.
    if around.is_empty() && column(value).is_none_or(|(qualifier, _)| qualifier.contains(&alias)) {
        return None;
    }
    let link = |column| Link {
        schema: relation.text("schemaname"),
        table: relation.text("relname"),
        key,
        column,
    };
    if let Some((last, session)) = forms::equality(goes_on) {
        let (slot, value_type) = forms::session_value(session, claims)?;
        return Some(Way {
            value,
            links: vec![link(own(column(last)?)?)],
            slot,
            value_type,
        });
    }
    around.push(alias);
    let mut rest = way(goes_on, claims, around)?;
    around.pop();
    rest.links.insert(0, link(own(column(rest.value)?)?));
    Some(Way { value, ..rest })
}

/// The relation, its alias and the two conditions of an EXISTS.
fn exists(node: &Node) -> Option<(&Node, &str, &Node)> {
    let select = sublink(node, EXISTS_SUBLINK)?;
    let plain = select.has_only(&["from_clause", "where_clause", "limit_option", "op"])
        && select.int("limit_option") == LIMIT_OPTION_DEFAULT
        && select.int("op") == SETOP_NONE;
    let [relation] = select.list("from_clause") else {
        return None;
    };
    let relation = relation.as_node().filter(|node| node.kind == "RangeVar")?;
    let whole = relation.has_only(&["schemaname", "relname", "inh", "relpersistence", "alias"])
        && *relation.field("inh") == Value::True
        && !relation.text("schemaname").is_empty();
    let alias = relation
        .node("alias")
        .filter(|alias| alias.has_only(&["aliasname"]))?
        .text("aliasname");
    let condition = select.node("where_clause")?;
    let both = condition.kind == "BoolExpr"
        && condition.has_only(&["boolop", "args"])
        && condition.int("boolop") == AND;
    (plain && whole && both && alias.starts_with(ALIAS_PREFIX))
        .then_some((relation, alias, condition))
}

fn sublink(node: &Node, kind: i64) -> Option<&Node> {
    let whole = node.kind == "SubLink"
        && node.has_only(&["sub_link_type", "subselect"])
        && node.int("sub_link_type") == kind;
    node.node("subselect")
        .filter(|select| whole && select.kind == "SelectStmt")
}

fn column(node: &Node) -> Option<(Vec<&str>, &str)> {
    if node.kind != "ColumnRef" || !node.has_only(&["fields"]) {
        return None;
    }
    let mut names = forms::names(node.list("fields"))?;
    let column = names.pop()?;
    Some((names, column))
}

impl<'a> Walk<'a> {
    /// A written reference: `(SELECT CASE WHEN <the value leads to the session's> THEN <the value>
    /// ELSE <raises> END FROM (SELECT <the client's expression>::<type> OFFSET 0) AS …)`.
    pub(super) fn reference(&mut self, original: &'a Node, written: &'a Node, key: &Key) -> Step {
        let inside = self.referred(written, key)?;
        self.node(original, inside)
    }

    /// The same of the column in place `at` of a wrapped query.
    pub(super) fn referring_column(&self, written: &'a Node, at: usize, key: &Key) -> Step {
        let inside = self.referred(written, key)?;
        let its_own = wrapped::column(inside) == Some(at + 1);
        need(its_own, "a reference is another column")
    }

    /// What the client computed for a reference that is looked up.
    fn referred(&self, written: &'a Node, key: &Key) -> Result<&'a Node, Gap> {
        let via = key.via.as_deref().ok_or(Gap("not a reference"))?;
        let (value, result) = computed_once(written).ok_or(Gap("a reference is not checked"))?;
        let inside = cast(value, via.column_type).ok_or(Gap("a reference has another type"))?;
        let (when, then, other) = forms::case(result).ok_or(Gap("a reference is not checked"))?;
        let way = way(when, self.claims, &mut Vec::new());
        let way = way.ok_or(Gap("a reference is not looked up"))?;
        let leads = leads_as(&way.links, Some(via))
            && way.slot == key.slot
            && way.value_type == key.value_type
            && is_value(way.value);
        need(leads, "a reference is looked up elsewhere")?;
        need(is_value(then), "another value is written")?;
        let raises = cast(other, via.column_type).and_then(|text| cast(text, "text"));
        need(
            raises.is_some_and(forms::raises),
            "a foreign reference passes",
        )?;
        Ok(inside)
    }
}

/// Reads `(SELECT <result> FROM (SELECT <value> OFFSET 0) AS pgwarden_value (v))`.
fn computed_once(node: &Node) -> Option<(&Node, &Node)> {
    let select = sublink(node, EXPR_SUBLINK)?;
    let plain = select.has_only(&["target_list", "from_clause", "limit_option", "op"])
        && select.int("limit_option") == LIMIT_OPTION_DEFAULT
        && select.int("op") == SETOP_NONE;
    let [source] = select.list("from_clause") else {
        return None;
    };
    let source = source
        .as_node()
        .filter(|node| node.kind == "RangeSubselect" && node.has_only(&["subquery", "alias"]))?;
    let alias = source.node("alias")?;
    let named = alias.has_only(&["aliasname", "colnames"])
        && alias.text("aliasname") == "pgwarden_value"
        && forms::names(alias.list("colnames"))? == ["v"];
    let inner = source.node("subquery")?;
    let fenced = inner.kind == "SelectStmt"
        && inner.has_only(&["target_list", "limit_offset", "limit_option", "op"])
        && inner.int("limit_option") == LIMIT_OPTION_COUNT
        && inner.int("op") == SETOP_NONE
        && inner.node("limit_offset").is_some_and(forms::is_zero);
    (plain && named && fenced).then_some((only_target(inner)?, only_target(select)?))
}

fn only_target(select: &Node) -> Option<&Node> {
    let [target] = select.list("target_list") else {
        return None;
    };
    let target = target
        .as_node()
        .filter(|target| target.has_only(&["val"]))?;
    target.node("val")
}

fn is_value(node: &Node) -> bool {
    column(node).is_some_and(|(names, column)| names == ["pgwarden_value"] && column == "v")
}

/// What stands in `<this>::pg_catalog.<name>`.
fn cast<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let whole = node.kind == "TypeCast" && node.has_only(&["arg", "type_name"]);
    let to = node.node("type_name").filter(|_| whole)?;
    let fits = to.has_only(&["names", "typemod"])
        && to.int("typemod") == -1
        && forms::names(to.list("names"))? == ["pg_catalog", name];
    node.node("arg").filter(|_| fits)
}
