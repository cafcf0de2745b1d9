//! What says something of lasting objects: comments on tables of no tenant, and the columns of such that own a sequence.

use super::temporary::names;
use super::{Gap, Step, Walk, need};
use crate::tree::Node;

impl<'a> Walk<'a> {
    /// A comment on a lasting table, or on a column of it: it is sent with the schema that its name means.
    pub(super) fn described(
        &mut self,
        (original, rewritten): (&'a Node, &'a Node),
        (before, sent): (&[&'a str], &[&'a str]),
        columns: usize,
    ) -> Step {
        need(self.claims.ddl, "lasting DDL is not allowed")?;
        let [schema, table, rest @ ..] = sent else {
            return Err(Gap("a comment on what is not known"));
        };
        need(rest.len() == columns, "a comment on what is not a table")?;
        self.sent_with_its_schema(before, sent)?;
        self.of_no_tenant(schema, table)?;
        self.fields(original, rewritten, &["object"])
    }

    /// ALTER SEQUENCE: only `OWNED BY` a column of a table of no tenant.
    pub(super) fn owned(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        need(self.claims.ddl, "lasting DDL is not allowed")?;
        self.the_sequence(original, rewritten)?;
        let ([option], [there]) = (original.list("options"), rewritten.list("options")) else {
            return Err(Gap("a sequence is changed otherwise"));
        };
        let (Some(option), Some(there)) = (option.as_node(), there.as_node()) else {
            return Err(Gap("not an option"));
        };
        need(
            there.text("defname") == "owned_by",
            "a sequence is changed otherwise",
        )?;
        let (before, sent) = (names(option.field("arg"))?, names(there.field("arg"))?);
        let [schema, table, _] = sent.as_slice() else {
            return Err(Gap("a sequence is owned by what is not known"));
        };
        self.sent_with_its_schema(&before, &sent)?;
        self.of_no_tenant(schema, table)?;
        self.fields(option, there, &["arg"])?;
        self.fields(original, rewritten, &["sequence", "options"])
    }

    /// The sequence itself is sent with the schema that its name means. (What the message has made is found nowhere: its name
    /// was nobody's.)
    fn the_sequence(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let (Some(named), Some(there)) = (original.node("sequence"), rewritten.node("sequence"))
        else {
            return Err(Gap("no sequence is changed"));
        };
        self.pair(named, there);
        let (schema, name) = (there.text("schemaname"), there.text("relname"));
        let written = named.text("schemaname");
        let made = self.is_unsure(name) && self.claims.catalog.relation(schema, name).is_none();
        let first = self.claims.search_path.first().map(String::as_str);
        let meant = match written {
            "" if made => first == Some(schema),
            "" => self.means(name) == Some(schema),
            written => written == schema,
        };
        need(
            meant && !schema.is_empty() && schema != "pg_temp",
            "another sequence is changed",
        )?;
        self.fields(named, there, &["schemaname"])
    }

    fn sent_with_its_schema(&self, before: &[&'a str], sent: &[&'a str]) -> Step {
        let same = before == sent
            || sent.split_first().is_some_and(|(schema, rest)| {
                rest == before && before.first().and_then(|name| self.means(name)) == Some(*schema)
            });
        need(same, "a name means another relation")
    }

    /// A relation that was used as one that holds nothing of a tenant.
    fn of_no_tenant(&self, schema: &str, table: &str) -> Step {
        need(self.is_there(schema, table), "a relation is not there")?;
        let used = format!("{schema}.{table}");
        let uses = &self.claims.findings.relations;
        let open = uses
            .iter()
            .any(|it| it.name == used && it.guard == "global");
        need(
            self.is_made(schema, table) || open,
            "what is described is not of no tenant",
        )
    }
}
