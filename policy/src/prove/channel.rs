//! The channel of `pg_notify`: listed where it is written out, looked up in the list where it is computed
//! (form I13). Of one that is bound, Bind sees to it.

use super::forms::{call, names, raises};
use super::{Gap, Step, Walk, need};
use crate::plan::{TextCheck, TextPart};
use crate::tree::{Node, Value};

impl<'a> Walk<'a> {
    /// A call; that of `pg_notify` sends to a channel of the list, and to no other.
    pub(super) fn called(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce || !notifies(original) {
            return self.fields(original, rewritten, &[]);
        }
        let (before, after) = (original.list("args"), rewritten.list("args"));
        let (Some((channel, rest)), Some((sent, behind))) =
            (before.split_first(), after.split_first())
        else {
            return self.fields(original, rewritten, &[]);
        };
        let (Some(channel), Some(sent)) = (channel.as_node(), sent.as_node()) else {
            return Err(Gap("not a channel"));
        };
        match (looked_up(sent, self.claims.channels), written(channel)) {
            (Some(name), _) => self.node(channel, name)?,
            (None, Some(Written::Text(name))) => {
                let listed = self.claims.channels.iter().any(|it| it == name);
                need(listed, "a channel is not listed")?;
                self.node(channel, sent)?;
            }
            (None, Some(Written::Parameter(number))) => {
                let bound = |check: &TextCheck| {
                    let channels = self.claims.channels;
                    i64::from(check.parameter) == number
                        && matches!(&check.says, TextPart::Channel(listed) if **listed == *channels)
                };
                let checked = self.claims.findings.texts.iter().any(bound);
                need(checked, "a channel is not checked at Bind")?;
                self.node(channel, sent)?;
            }
            (None, None) => return Err(Gap("a channel is not looked up")),
        }
        self.list(rest, behind)?;
        self.fields(original, rewritten, &["args"])
    }
}

/// A channel that is not computed.
enum Written<'a> {
    Text(&'a str),
    /// Its number.
    Parameter(i64),
}

fn notifies(call: &Node) -> bool {
    let name = names(call.list("funcname"));
    matches!(
        name.as_deref(),
        Some(["pg_notify"] | ["pg_catalog", "pg_notify"])
    )
}

/// Reads a constant or a parameter, perhaps cast. What casts keep of it the judge has looked at.
fn written(node: &Node) -> Option<Written<'_>> {
    match node.kind {
        "TypeCast" => written(node.node("arg")?),
        "ParamRef" => Some(Written::Parameter(node.int("number"))),
        "AConst" => {
            let value = node.node("val").filter(|value| value.kind == "String");
            Some(Written::Text(value?.text("sval")))
        }
        _ => None,
    }
}

/// Reads `COALESCE(<listed>[pg_catalog.array_position(<listed>, <name>::pg_catalog.text COLLATE
/// pg_catalog."C")], <raises>::pg_catalog.text)`: the name. Whatever it is, the whole is a listed text.
fn looked_up<'a>(node: &'a Node, listed: &[String]) -> Option<&'a Node> {
    if node.kind != "CoalesceExpr" || !node.has_only(&["args"]) {
        return None;
    }
    let [found, otherwise] = node.list("args") else {
        return None;
    };
    if !raises(to_text(otherwise.as_node()?, false)?) {
        return None;
    }
    let found = found.as_node().filter(|it| it.kind == "AIndirection")?;
    let [step] = found.list("indirection") else {
        return None;
    };
    let step = step
        .as_node()
        .filter(|step| step.kind == "AIndices" && step.has_only(&["uidx"]))?;
    let [searched, name] = call(step.node("uidx")?, "array_position")? else {
        return None;
    };
    let collated = name
        .as_node()
        .filter(|it| it.kind == "CollateClause" && it.has_only(&["arg", "collname"]))?;
    let both = is_list(found.node("arg")?, listed) && is_list(searched.as_node()?, listed);
    let plain = names(collated.list("collname"))? == ["pg_catalog", "C"];
    to_text(collated.node("arg")?, false).filter(|_| both && plain)
}

/// Reads `<arg>::pg_catalog.text`, or of an array of texts.
fn to_text(node: &Node, array: bool) -> Option<&Node> {
    let name = node.node("type_name")?;
    let bounds = match name.list("array_bounds") {
        [] => !array,
        [bound] => array && bound.as_node().is_some_and(|it| it.int("ival") == -1),
        _ => false,
    };
    let plain = node.kind == "TypeCast"
        && node.has_only(&["arg", "type_name"])
        && name.has_only(&["names", "typemod", "array_bounds"])
        && name.int("typemod") == -1
        && names(name.list("names"))? == ["pg_catalog", "text"];
    node.node("arg").filter(|_| plain && bounds)
}

/// Whether a node is `ARRAY[<listed>]::pg_catalog.text[]`.
fn is_list(node: &Node, listed: &[String]) -> bool {
    let Some(array) = to_text(node, true).filter(|it| it.kind == "AArrayExpr") else {
        return false;
    };
    let text = |item: &Value| {
        let constant = item.as_node().filter(|it| it.kind == "AConst");
        let value = constant.and_then(|it| it.node("val"));
        value.map(|value| value.text("sval").to_owned())
    };
    let texts: Option<Vec<String>> = array.list("elements").iter().map(text).collect();
    texts.is_some_and(|texts| texts == listed)
}
