//! Functions that take numbers from sequences, and those that tell what the server connection took
//! last. A sequence belongs to no tenant, but its name must be known: a literal, or a parameter that
//! Bind checks. It must stand in a schema that the policy discovers, or be the session's own: the snapshot does not tell whose
//! column it serves. (A parameter names none of the session's own: those can go between Parse and Bind.)

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};

use super::Judge;
use super::calls::denied;
use super::names::{Ty, strings};
use crate::catalog::{Relation, RelationKind};
use crate::deny::Denial;
use crate::plan::{Sequences, TextPart, relation_parts};
use crate::temporary::SCHEMA;

/// What the name of a sequence may be cast to: text, varchar, regclass.
const PLAIN: [u32; 3] = [25, 1043, 2205];

impl Judge<'_> {
    /// `nextval('t_id_seq')`.
    pub(super) fn next_value(&mut self, call: &FuncCall) -> Result<(), Denial> {
        self.findings.draws = true;
        self.sequence("nextval", call.args.first())
    }

    /// `currval('t_id_seq')`. Where other sessions use the server connection, too, the session sees
    /// to it that what it took last is its own.
    pub(super) fn current_value(&mut self, call: &FuncCall) -> Result<(), Denial> {
        self.findings.last_value = true;
        self.sequence("currval", call.args.first())
    }

    fn sequence(&mut self, function: &str, named: Option<&Node>) -> Result<(), Denial> {
        if let Some(parameter) = named.and_then(|arg| self.text_parameter(arg, &PLAIN)) {
            let known = Arc::new(self.known_sequences());
            self.check_text(parameter, TextPart::Sequence(known));
            return Ok(());
        }
        if named.is_some_and(|arg| self.serves_a_column(arg)) {
            return Ok(());
        }
        let Some(name) = named.and_then(|arg| self.pinned_text(arg)) else {
            let hint = "Write the sequence's name as a literal or a parameter.";
            return Err(denied(function).hint(hint));
        };
        let (schema, name) = relation_parts(&name).ok_or_else(|| denied(function))?;
        if let Some(schema) = self.fresh.sequence(schema.as_deref(), &name)
            && self.bound.policy.defaults.discovers(schema)
        {
            return Ok(());
        }
        let relation = self.find_relation(schema.as_deref().unwrap_or_default(), &name)?;
        if self.may_take_from(relation) {
            return Ok(());
        }
        let is_sequence = relation.kind == RelationKind::Sequence;
        Err(denied(function).hint(match is_sequence {
            true => "The sequence must stand in a schema that the policy lists under `discover`.",
            false => "What is named is not a sequence.",
        }))
    }

    /// `pg_get_serial_sequence('table', 'column')`: a sequence stands in the schema of the table that
    /// it serves.
    fn serves_a_column(&mut self, node: &Node) -> bool {
        match node.node.as_ref() {
            Some(NodeEnum::TypeCast(cast)) => {
                let same =
                    |to| matches!(self.type_name(to), Ok(Ty::Known(oid)) if PLAIN.contains(&oid));
                let plain = cast.type_name.as_ref().is_some_and(same);
                plain
                    && cast
                        .arg
                        .as_deref()
                        .is_some_and(|arg| self.serves_a_column(arg))
            }
            Some(NodeEnum::FuncCall(call)) => self.is_serial_sequence(call),
            _ => false,
        }
    }

    fn is_serial_sequence(&mut self, call: &FuncCall) -> bool {
        const NAME: &str = "pg_get_serial_sequence";
        let named = strings(&call.funcname);
        let own = matches!(named.as_deref(), Ok([NAME] | ["pg_catalog", NAME]));
        if !own || self.bound.catalog.functions_named(NAME).next().is_some() {
            return false;
        }
        let table = call.args.first().and_then(|arg| self.pinned_text(arg));
        let Some((schema, name)) = table.as_deref().and_then(relation_parts) else {
            return false;
        };
        let table = self.find_relation(schema.as_deref().unwrap_or_default(), &name);
        table.is_ok_and(|table| self.bound.policy.defaults.discovers(&table.schema))
    }

    fn may_take_from(&self, relation: &Relation) -> bool {
        let discovered = self.bound.policy.defaults.discovers(&relation.schema);
        let listed = discovered || relation.schema == SCHEMA;
        relation.kind == RelationKind::Sequence && listed
    }

    fn known_sequences(&self) -> Sequences {
        let mut known = Sequences::default();
        for relation in &self.bound.catalog.parts().relations {
            if !self.may_take_from(relation) {
                continue;
            }
            let name = || relation.name.clone();
            known.0.insert((Some(relation.schema.clone()), name()));
            let found = self.find_relation("", &relation.name);
            if found.is_ok_and(|found| found.oid == relation.oid) {
                known.0.insert((None, name()));
            }
        }
        known
    }
}
