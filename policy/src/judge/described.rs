//! What says something of lasting objects without changing what they hold: `COMMENT ON`, and `ALTER SEQUENCE … OWNED BY`.
//!
//! Under `ddl = "unscoped"`, of tables that hold nothing of a tenant. A sequence belongs to no tenant; to own it, as
//! the server wants it of both, is not in a client's power where the proxy's role owns no tenant's table.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterSeqStmt, Node};

use super::names::strings;
use super::statement::ddl;
use super::temporary::is_temporary;
use super::{Judge, Named, unsupported};
use crate::catalog::RelationKind;
use crate::deny::Denial;
use crate::plan::StatementKind;
use crate::rewrite::string;
use crate::temporary::SCHEMA;

impl Judge<'_> {
    /// A comment on a lasting table, or on a column of it.
    pub(super) fn described(&mut self, schema: &str, name: &str) -> Result<(), Denial> {
        if !self.may_change() {
            return Err(ddl().table(format!("{schema}.{name}")));
        }
        let relation = self.find_relation(schema, name)?;
        self.unscoped(relation, "COMMENT")?;
        self.uses(format!("{schema}.{name}"), true, "global".to_owned());
        Ok(())
    }

    /// Judges `ALTER SEQUENCE … OWNED BY`.
    pub(super) fn alter_sequence(
        &mut self,
        alter: &mut AlterSeqStmt,
    ) -> Result<StatementKind, Denial> {
        let Some(range) = alter.sequence.as_mut().filter(|it| !is_temporary(it)) else {
            return Err(ddl());
        };
        if !self.may_change() || alter.missing_ok || alter.for_identity {
            return Err(ddl());
        }
        let [option] = alter.options.as_mut_slice() else {
            return Err(only_owned());
        };
        let schema = self.discovered_sequence(&range.schemaname, &range.relname)?;
        if range.schemaname.is_empty() {
            range.schemaname = schema;
            self.named = Named::Later;
        }
        self.owned_by(option)?;
        Ok(StatementKind::Utility)
    }

    /// The schema of a sequence that is made by the message, or known where names are discovered.
    fn discovered_sequence(&self, schema: &str, name: &str) -> Result<String, Denial> {
        let written = Some(schema).filter(|it| !it.is_empty());
        let found = match self.fresh.sequence(written, name) {
            Some(schema) => schema,
            None => {
                let relation = self.find_relation(schema, name)?;
                if relation.kind != RelationKind::Sequence || relation.schema == SCHEMA {
                    return Err(ddl());
                }
                &relation.schema
            }
        };
        match self.bound.policy.defaults.discovers(found) {
            true => Ok(found.to_owned()),
            false => Err(ddl()),
        }
    }

    /// `OWNED BY table.column`: the table is one that may be changed.
    fn owned_by(&mut self, option: &mut Node) -> Result<(), Denial> {
        let Some(NodeEnum::DefElem(element)) = option.node.as_mut() else {
            return Err(only_owned());
        };
        let named = element.arg.as_deref_mut().and_then(|it| it.node.as_mut());
        let Some(NodeEnum::List(list)) = named.filter(|_| element.defname == "owned_by") else {
            return Err(only_owned());
        };
        let parts = strings(&list.items)?;
        let (schema, name) = match parts.as_slice() {
            [name, _] => ("", *name),
            [schema, name, _] => (*schema, *name),
            _ => return Err(only_owned()),
        };
        let relation = self.find_relation(schema, name)?;
        let (schema, name) = (relation.schema.clone(), relation.name.clone());
        self.unscoped(relation, "OWNED BY")?;
        let missing = parts.len() == 2;
        self.uses(format!("{schema}.{name}"), true, "global".to_owned());
        if missing {
            list.items.insert(0, string(&schema));
            self.named = Named::Later;
        }
        Ok(())
    }
}

fn only_owned() -> Denial {
    unsupported("this kind of ALTER SEQUENCE").hint("OWNED BY a column is supported.")
}
