//! COPY of a scoped table. TO is a query over the table's own rows, with the columns that COPY
//! writes; FROM is read by a guard that knows the format and where the keys stand.

use super::{Gap, Step, Walk, need};
use crate::catalog::{Relation, RelationKind};
use crate::copy::{Format, Style};
use crate::judge::Key;
use crate::tree::{Node, Value};

/// `SETOP_NONE` and `LIMIT_OPTION_DEFAULT`.
const PLAIN: i64 = 1;

impl<'a> Walk<'a> {
    pub(super) fn copy(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let was = (original.node("relation"), original.node("query"));
        let is = (rewritten.node("relation"), rewritten.node("query"));
        let (table, query) = match (was, is) {
            ((Some(table), None), (None, Some(query))) => (table, query),
            ((Some(table), None), (Some(there), None)) => {
                return self.copied_as_it_is((original, table), (rewritten, there));
            }
            _ => {
                self.options(original, rewritten)?;
                return self.fields(original, rewritten, &["options"]);
            }
        };
        self.options(original, rewritten)?;
        need(
            *original.field("is_from") == Value::Default && original.node("where_clause").is_none(),
            "COPY FROM became a query",
        )?;
        need(rewritten.list("attlist").is_empty(), "columns were added")?;
        let simple = query.kind == "SelectStmt"
            && query.has_only(&[
                "target_list",
                "from_clause",
                "where_clause",
                "limit_option",
                "op",
            ])
            && query.int("op") == PLAIN
            && query.int("limit_option") == PLAIN;
        need(simple, "COPY is of another query")?;
        let [range] = query.list("from_clause") else {
            return Err(Gap("COPY is of several relations"));
        };
        let range = range.as_node().ok_or(Gap("not a relation"))?;
        let known = self.decided_table(table)?;
        own_rows(known, range)?;
        same_columns(known, original.list("attlist"), query.list("target_list"))?;
        self.levels.push(Vec::new());
        self.pair(table, range);
        let keys = self.relation_but(table, range, &["inh"])?;
        let source = self.source(table, range, keys, true)?;
        self.levels.last_mut().ok_or(Gap("no query"))?.push(source);
        self.filter(None, query.node("where_clause"))?;
        self.all_guarded()?;
        let apart = ["relation", "query", "attlist", "options"];
        self.fields(original, rewritten, &apart)
    }

    /// The options are the same. The deparser writes one that is on in one way, however it was written.
    fn options(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let (before, after) = (original.list("options"), rewritten.list("options"));
        need(before.len() == after.len(), "COPY has other options")?;
        for (before, after) in before.iter().zip(after) {
            let (Some(option), Some(there)) = (before.as_node(), after.as_node()) else {
                return Err(Gap("not an option"));
            };
            let is_switch = matches!(option.text("defname"), "header" | "freeze");
            let state = switched_on(option).filter(|_| is_switch);
            if state.is_some() && state == switched_on(there) {
                self.fields(option, there, &["arg"])?;
            } else {
                self.node(option, there)?;
            }
        }
        Ok(())
    }

    /// A table that is not scoped, or rows for a scoped one that are checked as they come.
    fn copied_as_it_is(
        &mut self,
        (original, table): (&'a Node, &'a Node),
        (rewritten, there): (&'a Node, &'a Node),
    ) -> Step {
        self.pair(table, there);
        let keys = self.relation(table, there)?;
        self.options(original, rewritten)?;
        if keys.is_empty() {
            return self.fields(original, rewritten, &["relation", "options"]);
        }
        let is_from = *original.field("is_from") == Value::True;
        need(is_from, "a scoped relation is copied out")?;
        let findings = self.claims.findings;
        need(findings.statements == 1, "COPY is not alone")?;
        let rows = findings.rows.as_ref().ok_or(Gap("rows are not checked"))?;
        let columns = stored_columns(self.decided_table(table)?, original.list("attlist"))?;
        let written: Option<Vec<&str>> = rewritten
            .list("attlist")
            .iter()
            .map(Value::as_name)
            .collect();
        let written = written.ok_or(Gap("not a column's name"))?;
        let (given, filled) = written
            .split_at_checked(columns.len())
            .ok_or(Gap("COPY lacks a column"))?;
        need(
            given == columns.as_slice()
                && rows.columns == columns.len()
                && rows.fills.len() == filled.len(),
            "COPY is of other columns",
        )?;
        let once = |name: &str| written.iter().filter(|it| **it == name).count() == 1;
        let holds = |key: &Key| {
            if key.via.is_some() || !once(&key.column) {
                return false;
            }
            let is_key = |name: &&str| **name == *key.column;
            match (
                given.iter().position(is_key),
                filled.iter().position(is_key),
            ) {
                (Some(at), None) => rows
                    .keys
                    .iter()
                    .any(|it| it.column == at && it.slot == key.slot),
                (None, Some(at)) => rows.fills.get(at).is_some_and(|it| it.slot == key.slot),
                _ => false,
            }
        };
        need(
            keys.iter().all(holds) && rows.keys.len() + rows.fills.len() == keys.len(),
            "a key is not checked",
        )?;
        need(
            format(original.list("options")).as_ref() == Some(&rows.format),
            "rows are in another format",
        )?;
        self.fields(original, rewritten, &["relation", "attlist", "options"])
    }
}

/// The format that options mean, if all of them are known.
fn format(options: &[Value]) -> Option<Format> {
    let options: Option<Vec<&Node>> = options.iter().map(Value::as_node).collect();
    let options = options?;
    let known = [
        "format",
        "delimiter",
        "null",
        "quote",
        "escape",
        "header",
        "force_not_null",
    ];
    if options
        .iter()
        .any(|it| !known.contains(&it.text("defname")))
    {
        return None;
    }
    let find = |name: &str| {
        options
            .iter()
            .find(|it| it.text("defname") == name)
            .copied()
    };
    let text = |name: &str, default: &'static str| match find(name) {
        None => Some(default.to_owned()),
        Some(option) => option.field("arg").as_name().map(str::to_owned),
    };
    let byte = |name: &str, default: &'static str| match text(name, default)?.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    };
    let name = text("format", "text")?;
    let csv = name == "csv";
    let quote = byte("quote", "\"")?;
    let escaped = find("escape").is_none() || byte("escape", "\"")? == quote;
    let style = Style {
        delimiter: byte("delimiter", if csv { "," } else { "\t" })?,
        quote,
        null: text("null", if csv { "" } else { "\\N" })?
            .into_bytes()
            .into(),
        header: find("header").map_or(Some(false), switched_on)?,
    };
    match name.as_str() {
        "text" => Some(Format::Text(style)),
        "csv" if escaped => Some(Format::Csv(style)),
        "binary" => Some(Format::Binary),
        _ => None,
    }
}

fn switched_on(option: &Node) -> Option<bool> {
    match option.node("arg") {
        None => Some(true),
        Some(arg) if arg.kind == "Boolean" => Some(*arg.field("boolval") == Value::True),
        Some(arg) if arg.kind == "Integer" => match arg.int("ival") {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Some(arg) if arg.kind == "String" => {
            let word = arg.text("sval").to_ascii_lowercase();
            match word.as_str() {
                "true" | "on" => Some(true),
                "false" | "off" => Some(false),
                _ => None,
            }
        }
        Some(_) => None,
    }
}

/// COPY writes the rows of the table itself.
fn own_rows(table: &Relation, range: &Node) -> Step {
    need(
        table.kind == RelationKind::Table && *range.field("inh") == Value::Default,
        "COPY is of other rows",
    )
}

/// The columns that were named, or all that are stored, in order.
fn stored_columns<'c>(table: &'c Relation, named: &'c [Value]) -> Result<Vec<&'c str>, Gap> {
    let named: Option<Vec<&str>> = named.iter().map(Value::as_name).collect();
    let named = named.ok_or(Gap("not a column's name"))?;
    if named.is_empty() {
        let stored = table.columns.iter().filter(|column| !column.generated);
        return Ok(stored.map(|column| column.name.as_str()).collect());
    }
    let known = named.iter().all(|name| table.column(name).is_some());
    need(known, "a column is not the table's")?;
    Ok(named)
}

/// A query's outputs are these columns.
fn same_columns(table: &Relation, named: &[Value], targets: &[Value]) -> Step {
    let columns = stored_columns(table, named)?;
    let written: Option<Vec<&str>> = targets.iter().map(plain_column).collect();
    need(
        written.as_deref() == Some(columns.as_slice()),
        "COPY is of other columns",
    )
}

/// The name of an output that is a column and nothing else.
fn plain_column(target: &Value) -> Option<&str> {
    let target = target.as_node()?;
    let value = target.node("val")?;
    let plain = target.kind == "ResTarget"
        && target.has_only(&["val"])
        && value.kind == "ColumnRef"
        && value.has_only(&["fields"]);
    match value.list("fields") {
        [name] if plain => name.as_name(),
        _ => None,
    }
}
