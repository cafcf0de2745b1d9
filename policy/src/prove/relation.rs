//! The name of a relation in both trees, against what the judge decided that it means.

use super::{Decision, Gap, Step, Walk, need};
use crate::judge::Key;
use crate::tree::Node;

impl<'a> Walk<'a> {
    /// A relation that stands where it can't be guarded.
    pub(super) fn bare_relation(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let keys = self.relation(original, rewritten)?;
        need(
            keys.is_empty(),
            "a scoped relation stands where it can't be guarded",
        )
    }

    /// A relation's name in both trees, against the judge's decision; gives the keys to guard.
    pub(super) fn relation(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
    ) -> Result<&'a [Key], Gap> {
        self.relation_but(original, rewritten, &[])
    }

    /// The same where the caller compares some fields itself.
    pub(super) fn relation_but(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        apart: &[&str],
    ) -> Result<&'a [Key], Gap> {
        need(
            original.kind == "RangeVar" && rewritten.kind == "RangeVar",
            "not a relation",
        )?;
        if !self.claims.enforce {
            self.fields(original, rewritten, &[])?;
            return Ok(&[]);
        }
        let (schema, name) = (original.text("schemaname"), original.text("relname"));
        let unqualified = schema.is_empty() && original.text("catalogname").is_empty();
        let is_cte = unqualified && self.ctes.has(name);
        match self.decision(original.location()) {
            None => Err(Gap("a relation was not decided on")),
            Some(Decision::View { .. }) => Err(Gap("a view is not replaced by its query")),
            Some(Decision::Cte) => {
                need(is_cte && !self.at_target, "a relation was taken for a CTE")?;
                self.same(original, rewritten)?;
                Ok(&[])
            }
            Some(
                decision @ (Decision::Relation {
                    schema: decided,
                    name: decided_name,
                    scoped,
                }
                | Decision::WrittenView {
                    schema: decided,
                    name: decided_name,
                    scoped,
                    ..
                }),
            ) => {
                if let Decision::WrittenView { inside, .. } = decision {
                    self.written_view((decided, name), original, scoped, inside)?;
                }
                need(!is_cte || self.at_target, "a CTE was taken for a relation")?;
                need(decided_name == name, "a relation has another name")?;
                need(
                    self.resolves(schema, name, decided),
                    "a relation is in another schema",
                )?;
                let sent = rewritten.text("schemaname");
                let as_sent = !self.claims.findings.changed && sent == schema;
                self.temporary_is_named(decided, sent)?;
                self.lasting_is_there(decided, name, !scoped.is_empty())?;
                need(sent == decided || as_sent, "a relation is not qualified")?;
                self.fields(original, rewritten, &[&["schemaname"], apart].concat())?;
                self.scoped += usize::from(!scoped.is_empty());
                Ok(scoped)
            }
        }
    }

    pub(super) fn decision(&self, location: i32) -> Option<&'a Decision> {
        self.index.decisions.get(&location).copied()
    }

    /// Whether the name means the relation of the decided schema, by the search path alone.
    pub(super) fn resolves(&self, schema: &str, name: &str, decided: &str) -> bool {
        if !schema.is_empty() {
            return schema == decided;
        }
        if self.in_view {
            // A stored query leaves out only the schema that an empty path finds.
            return decided == "pg_catalog";
        }
        self.means(name) == Some(decided)
    }
}
