//! What the expression of a row policy means, as far as findings need it.

use serde_json::Value;

/// A parsed expression.
#[derive(Debug)]
pub(crate) struct Expression {
    root: Value,
}

impl Expression {
    /// `None` when it can't be read.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let tree = pgwarden_policy::parse(&format!("SELECT {text}")).ok()?;
        let tree = serde_json::to_value(&tree).ok()?;
        let value = tree.pointer("/stmts/0/stmt/node/SelectStmt/target_list/0/node/ResTarget/val");
        Some(Self {
            root: value.cloned()?,
        })
    }

    /// Whether it lets every row through, whatever the session.
    pub(crate) fn is_always_true(&self) -> bool {
        always_true(&self.root)
    }

    /// Whether every way to true looks at one of these columns. A table behind a parent has none
    /// of its own: there any column will do.
    /// `setting` is the setting that holds the tenant, if one does; `is_open` says of a table's name
    /// whether a sub-select gets all of its rows.
    pub(crate) fn restricts(
        &self,
        columns: &[&str],
        setting: Option<&str>,
        is_open: impl Fn(&str) -> bool,
    ) -> bool {
        let asked = Asked {
            columns,
            setting,
            is_open: &is_open,
        };
        asked.restricts(&self.root)
    }

    /// The functions that are called once for each row although no row decides their value.
    pub(crate) fn repeated_calls(&self) -> Vec<String> {
        let mut calls = Vec::new();
        repeated(&self.root, &mut calls);
        calls.dedup();
        calls
    }
}

/// The kind and the fields of a node; `{"node": {"FuncCall": {…}}}`.
fn node(value: &Value) -> Option<(&str, &Value)> {
    let (kind, fields) = value.get("node")?.as_object()?.iter().next()?;
    Some((kind, fields))
}

/// The fields of a node of this kind.
pub(crate) fn fields<'v>(value: &'v Value, kind: &str) -> Option<&'v Value> {
    node(value).filter(|it| it.0 == kind).map(|it| it.1)
}

fn list<'v>(fields: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    fields
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The texts of a list of names.
pub(crate) fn names<'v>(fields: &'v Value, name: &str) -> Vec<&'v str> {
    list(fields, name)
        .filter_map(|it| it.pointer("/node/String/sval").and_then(Value::as_str))
        .collect()
}

/// `AND_EXPR` and `OR_EXPR` of `BoolExprType`.
const AND: i64 = 1;
const OR: i64 = 2;

fn always_true(value: &Value) -> bool {
    match node(value) {
        Some(("AConst", fields)) => fields.pointer("/val/Boolval/boolval") == Some(&true.into()),
        Some(("BoolExpr", fields)) => match fields.get("boolop").and_then(Value::as_i64) {
            Some(AND) => list(fields, "args").all(always_true),
            Some(OR) => list(fields, "args").any(always_true),
            _ => false,
        },
        Some(("AExpr", fields)) if names(fields, "name") == ["="] => {
            match (fields.get("lexpr"), fields.get("rexpr")) {
                (Some(left), Some(right)) => without_places(left) == without_places(right),
                _ => false,
            }
        }
        _ => false,
    }
}

/// What a restriction is looked for by.
struct Asked<'a> {
    columns: &'a [&'a str],
    setting: Option<&'a str>,
    is_open: &'a dyn Fn(&str) -> bool,
}

impl Asked<'_> {
    fn restricts(&self, value: &Value) -> bool {
        if always_true(value) {
            return false;
        }
        if let Some(fields) = fields(value, "BoolExpr") {
            let arms = || list(fields, "args");
            match fields.get("boolop").and_then(Value::as_i64) {
                Some(AND) => return arms().any(|it| self.restricts(it)),
                Some(OR) => {
                    return arms().any(|it| self.restricts(it))
                        && arms().all(|it| self.restricts(it) || self.lets_in(it));
                }
                _ => {}
            }
        }
        if fields(value, "NullTest").is_some() {
            return false;
        }
        mentions(value, self.columns) && looks_at_row(value) && !self.lists_all(value)
    }

    /// Whether it lets somebody in who is above tenants.
    fn lets_in(&self, value: &Value) -> bool {
        asks_for_role(value) || self.names_no_tenant(value)
    }

    /// Whether the setting that holds the tenant says something that is no tenant: who can set it can be
    /// any tenant anyway. Where it is empty or missing, nobody has said anything.
    fn names_no_tenant(&self, value: &Value) -> bool {
        let value = sub_select(value).unwrap_or(value);
        let Some(fields) = fields(value, "AExpr").filter(|it| names(it, "name") == ["="]) else {
            return false;
        };
        let sides = [fields.get("lexpr"), fields.get("rexpr")];
        let sides = || sides.into_iter().flatten();
        let asks = |it: &Value| {
            let texts = texts(it);
            texts.len() == 1 && texts.first().map(String::as_str) == self.setting
        };
        let says = |it: &Value| {
            let texts = texts(it);
            texts.len() == 1 && !texts.contains(&String::new()) && !calls(it)
        };
        !mentions(value, &[]) && sides().any(|it| calls(it) && asks(it)) && sides().any(says)
    }

    /// Whether it compares with the rows of other tables, all of them, whoever asks.
    fn lists_all(&self, value: &Value) -> bool {
        let (mut tables, mut session, mut guarded) = (0_usize, false, false);
        visit(value, &mut |kind, fields| match kind {
            "FuncCall" | "SqlvalueFunction" => session = true,
            "RangeVar" => {
                tables += 1;
                let name = fields.get("relname").and_then(Value::as_str);
                guarded |= !name.is_some_and(self.is_open);
            }
            _ => {}
        });
        tables > 0 && !session && !guarded
    }
}

/// Whether it looks at the session alone, and not merely at whether somebody is logged in.
fn asks_for_role(value: &Value) -> bool {
    let texts = texts(value);
    let everybody = |it: &String| matches!(it.as_str(), "authenticated" | "anon");
    let setting = |it: &String| it.contains('.') && !it.starts_with("request.jwt");
    calls(value)
        && !mentions(value, &[])
        && !always_true(value)
        && !texts.iter().any(everybody)
        && !texts.iter().any(setting)
}

/// The literals of a text's kind.
fn texts(value: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    visit(value, &mut |_, fields| {
        if let Some(text) = fields.pointer("/val/Sval/sval").and_then(Value::as_str) {
            texts.push(text.to_owned());
        }
    });
    texts
}

fn calls(value: &Value) -> bool {
    let mut calls = false;
    visit(value, &mut |kind, _| calls |= kind == "FuncCall");
    calls
}

/// The only column of a sub-select without tables, as it stands around a call that shall run once.
fn sub_select(value: &Value) -> Option<&Value> {
    let query = fields(value, "SubLink")?.pointer("/subselect/node/SelectStmt")?;
    let bare = list(query, "from_clause").next().is_none() && query.get("where_clause")?.is_null();
    let mut columns = list(query, "target_list");
    let column = columns.next()?;
    let only = bare && columns.next().is_none();
    fields(column, "ResTarget")?.get("val").filter(|_| only)
}

/// Whether it names one of the columns, or any at all when there are none to name.
fn mentions(value: &Value, columns: &[&str]) -> bool {
    let mut found = false;
    visit(value, &mut |kind, fields| {
        if kind == "ColumnRef" {
            let last = names(fields, "fields").pop().unwrap_or_default();
            found |= columns.is_empty() || columns.contains(&last);
        }
    });
    found
}

/// Whether it looks at the row that it decides about. In `EXISTS (SELECT … FROM m WHERE m.org_id =
/// org_id)` it does not where `m` has a column of that name: PostgreSQL takes the nearest.
fn looks_at_row(value: &Value) -> bool {
    let mut inner = Vec::new();
    visit(value, &mut |kind, fields| {
        let alias = fields.pointer("/alias/aliasname").and_then(Value::as_str);
        let own = (kind == "RangeVar").then(|| fields.get("relname").and_then(Value::as_str));
        inner.extend(alias.filter(|it| !it.is_empty()).or_else(|| own.flatten()));
    });
    let mut found = false;
    visit(value, &mut |kind, fields| {
        if kind == "ColumnRef" {
            let names = names(fields, "fields");
            let whole = names.len() < list(fields, "fields").count();
            let qualifier = names.iter().rev().nth(usize::from(!whole));
            found |= qualifier.is_none_or(|it| !inner.contains(it));
        }
    });
    found
}

fn repeated(value: &Value, calls: &mut Vec<String>) {
    match node(value) {
        Some(("SubLink", _)) => return,
        Some(("FuncCall", fields)) => {
            let name = names(fields, "funcname");
            let own = match name.as_slice() {
                ["pg_catalog", name] | [name] => *name == "current_setting",
                _ => true,
            };
            if own && !mentions(value, &[]) {
                calls.push(format!("{}()", name.join(".")));
                return;
            }
        }
        _ => {}
    }
    match value {
        Value::Object(object) => object.values().for_each(|it| repeated(it, calls)),
        Value::Array(values) => values.iter().for_each(|it| repeated(it, calls)),
        _ => {}
    }
}

/// Every node under a value, with its kind.
pub(crate) fn visit<'v>(value: &'v Value, see: &mut impl FnMut(&'v str, &'v Value)) {
    match value {
        Value::Object(object) => {
            // As a field of its own it stands there without its kind.
            if object.contains_key("relname") && object.contains_key("relpersistence") {
                see("RangeVar", value);
            }
            for (name, inner) in object {
                if name != "RangeVar" && name.starts_with(|it: char| it.is_ascii_uppercase()) {
                    see(name, inner);
                }
                visit(inner, see);
            }
        }
        Value::Array(values) => values.iter().for_each(|it| visit(it, see)),
        _ => {}
    }
}

fn without_places(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .iter()
                .filter(|(name, _)| *name != "location")
                .map(|(name, inner)| (name.clone(), without_places(inner)))
                .collect(),
        ),
        Value::Array(values) => values.iter().map(without_places).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Expression {
        Expression::parse(text).expect("an expression")
    }

    #[test]
    fn what_is_true_for_every_row() {
        for text in [
            "true",
            "(1 = 1)",
            "a = b OR true",
            "org_id = org_id",
            "true AND 'x' = 'x'",
        ] {
            assert!(parsed(text).is_always_true(), "{text}");
        }
        for text in ["false", "org_id = x", "true AND a = b"] {
            assert!(!parsed(text).is_always_true(), "{text}");
        }
    }

    #[test]
    fn every_way_to_true_must_look_at_the_tenant() {
        let yes = [
            "org_id = f()",
            "org_id = f() AND a",
            "member(org_id)",
            "org_id IN (SELECT org_id FROM m WHERE u = auth.uid())",
            "org_id = f() OR auth.role() = 'service_role'",
            "org_id IN (SELECT id FROM guarded)",
            "EXISTS (SELECT FROM a.members x WHERE x.org_id = leads.org_id AND x.u = auth.uid())",
            "org_id IN (SELECT id FROM orgs WHERE owner = CURRENT_USER)",
            "(SELECT (current_setting('app.tenant'::text) = 'worker'::text)) OR org_id = f()",
            "org_id = f() OR current_setting('app.tenant', true) = 'worker'",
        ];
        let no = [
            "auth.role() = 'authenticated'",
            "org_id = f() OR public",
            "org_id IS NOT NULL",
            "org_id = f() OR auth.role() = 'authenticated'",
            "user_id = auth.uid()",
            "org_id IN (SELECT id FROM orgs)",
            "EXISTS (SELECT FROM orgs o WHERE o.id = org_id AND o.active)",
            "EXISTS (SELECT FROM m WHERE m.org_id = m.org_id AND m.u = auth.uid())",
            "EXISTS (SELECT FROM a.members x WHERE x.org_id = x.org_id AND x.u = auth.uid())",
            "org_id = f() OR current_setting('app.tenant', true) = ''",
            "org_id = f() OR current_setting('app.tenant', true) IS NULL",
            "org_id = f() OR current_setting('app.tenant', true) <> 'x'",
            "org_id = f() OR coalesce(current_setting('app.tenant', true), '') = ''",
            "org_id = f() OR current_setting('app.all', true) = 'on'",
            "org_id = f() OR nullif(current_setting('app.tenant', true), 'x') = 'y'",
        ];
        for text in yes {
            assert!(
                parsed(text).restricts(&["org_id"], Some("app.tenant"), |it| it == "orgs"),
                "{text}"
            );
        }
        for text in no {
            assert!(
                !parsed(text).restricts(&["org_id"], Some("app.tenant"), |it| it == "orgs"),
                "{text}"
            );
        }
    }

    #[test]
    fn calls_in_a_sub_select_run_once() {
        assert!(parsed("a = (SELECT f.g())").repeated_calls().is_empty());
        assert!(parsed("f.member(a)").repeated_calls().is_empty());
        assert_eq!(parsed("a = f.g()").repeated_calls(), ["f.g()"]);
        assert_eq!(
            parsed("a = (current_setting('x'))::uuid").repeated_calls(),
            ["current_setting()"]
        );
    }
}
