//! DROP TYPE of enums, where the policy lets clients make them.
//!
//! Nothing may depend on one (the server refuses that), it is the only type of its name, and no relation, so no other
//! comes to light behind it; what takes its name can but be another enum or the rows of a table, to which no value
//! is converted without a check either. What does not exist is asked for where temporary tables are, so that IF EXISTS finds nothing else.

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, DropStmt, TypeName};

use super::names::strings;
use super::statement::ddl;
use super::types::unknown_type;
use super::{Judge, unsupported};
use crate::catalog::{Type, TypeKind};
use crate::deny::Denial;
use crate::plan::StatementKind;
use crate::rewrite;
use crate::temporary::SCHEMA;

impl Judge<'_> {
    /// Judges DROP TYPE.
    pub(super) fn drop_type(&mut self, drop: &mut DropStmt) -> Result<StatementKind, Denial> {
        if !self.may_change() {
            return Err(ddl());
        }
        for object in &mut drop.objects {
            let Some(NodeEnum::TypeName(ty)) = object.node.as_mut() else {
                return Err(unsupported("this kind of name"));
            };
            self.drop_enum(ty, drop.missing_ok)?;
        }
        self.restrict(&mut drop.behavior);
        Ok(StatementKind::Utility)
    }

    fn drop_enum(&mut self, ty: &mut TypeName, missing_ok: bool) -> Result<(), Denial> {
        let (schema, name) = match strings(&ty.names)?.as_slice() {
            [name] => (None, (*name).to_owned()),
            [schema, name] => (Some((*schema).to_owned()), (*name).to_owned()),
            _ => return Err(unsupported("a type name with a database")),
        };
        // What the message has made or dropped itself has no number yet, and is not looked up.
        self.fresh.refuse_unclear(&name)?;
        let made = self.fresh.is_enum(None, &name) || self.temporaries.find(&name).is_some();
        if made || self.fresh.named(&self.bound.catalog, &name) > 0 {
            return Err(ddl());
        }
        let mut known = self.bound.catalog.types_named(&name);
        match (known.next(), known.next()) {
            (None, _) if missing_ok => {
                self.findings.absent.set(true);
                ty.names = vec![rewrite::string(SCHEMA), rewrite::string(&name)];
                self.rewritten();
            }
            (None, _) => return Err(unknown_type(&name)),
            (Some(found), None) if self.is_meant(found, schema.as_deref()) => {}
            _ => return Err(ddl()),
        }
        self.fresh.takes(&name);
        Ok(())
    }

    /// Whether it is an enum of nobody's extension, found where it is looked for.
    fn is_meant(&self, found: &Type, schema: Option<&str>) -> bool {
        let there = match schema {
            Some(schema) => schema == found.schema,
            None => self.request.facts.search_path.contains(&found.schema),
        };
        there && found.kind == TypeKind::Enum && found.extension.is_none()
    }

    /// CASCADE is sent as RESTRICT: the server refuses to drop what something else depends on, or to empty it, in place of changing what was not
    /// judged.
    pub(super) fn restrict(&mut self, behavior: &mut i32) {
        let restrict = DropBehavior::DropRestrict as i32;
        if *behavior != restrict {
            *behavior = restrict;
            self.rewritten();
        }
    }
}
