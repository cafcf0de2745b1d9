//! What is checked at Bind: how many values there are, and that those which a scoped column takes are
//! the session's own.

use super::Plan;
use crate::deny::{Denial, DenyReason};
use crate::tenant::{ScopeValue, ScopeValues, ValueType};

/// A parameter that must carry the session's own value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindCheck {
    /// The client's parameter, from 1.
    pub parameter: u16,
    /// The slot whose value it must equal.
    pub slot: usize,
}

/// The parameters of a Bind message: `formats` as sent (none, one or one for each), values by
/// index, NULL as `None`.
pub trait BindParameters {
    /// How many values there are.
    fn len(&self) -> usize;
    /// The value of an index from 0 and whether it is binary.
    fn get(&self, index: usize) -> Option<(Option<&[u8]>, bool)>;
    /// Whether there are no values.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Plan {
    /// Checks a Bind: as many values as the client's text has parameters, and the session's own
    /// value where a scoped column takes one, and no text that a literal could not have. A
    /// surplus value would otherwise take the place of the hidden ones.
    ///
    /// # Errors
    /// 08P01 for another number of values, 42501 for a value that is not the session's, and for
    /// a text what is said of the literal.
    pub fn check_bind(
        &self,
        parameters: &dyn BindParameters,
        values: &ScopeValues,
    ) -> Result<(), Denial> {
        if parameters.len() != usize::from(self.parameters) {
            return Err(Denial::new(
                DenyReason::ParameterMismatch,
                format!(
                    "bind message supplies {} parameters, but the prepared statement requires {}",
                    parameters.len(),
                    self.parameters
                ),
            ));
        }
        let mine = |check: &BindCheck| self.binds_own_value(*check, parameters, values);
        if let Some(check) = self.checks.iter().find(|check| !mine(check)) {
            return Err(foreign_value(check.parameter));
        }
        for check in &self.texts {
            let index = usize::from(check.parameter).saturating_sub(1);
            let (value, binary) = parameters.get(index).unwrap_or_default();
            check.judge(value, binary)?;
        }
        Ok(())
    }

    fn binds_own_value(
        &self,
        check: BindCheck,
        parameters: &dyn BindParameters,
        values: &ScopeValues,
    ) -> bool {
        let Some(index) = usize::from(check.parameter).checked_sub(1) else {
            return false;
        };
        let declared = self.types.get(index).copied().unwrap_or(0);
        match (parameters.get(index), values.get(check.slot)) {
            (Some((Some(bytes), binary)), Some(own)) => same_value(own, declared, bytes, binary),
            _ => false,
        }
    }
}

fn foreign_value(parameter: u16) -> Denial {
    Denial::new(
        DenyReason::ForeignTenantValue,
        format!("parameter ${parameter} must be the session's own value"),
    )
    .hint("Bind the value of the token's claim, or leave the column out.")
}

/// Oids of the types that a client may declare for a scoped parameter (`pg_type.dat`).
mod oid {
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const UUID: u32 = 2950;
}

/// Whether the bytes, read as a value of the declared type, are the session's value. An undeclared
/// parameter has the type of the column that it is compared with. Any other type is refused: the
/// server would read the same bytes as something else.
fn same_value(own: &ScopeValue, declared: u32, bytes: &[u8], binary: bool) -> bool {
    match declared {
        oid::TEXT | oid::VARCHAR | oid::UNKNOWN => own.matches_text(bytes),
        0 => {
            if binary {
                own.matches_binary(bytes)
            } else {
                own.matches_text(bytes)
            }
        }
        oid::UUID | oid::INT8 | oid::INT4 | oid::INT2 => {
            let (value_type, width) = match declared {
                oid::UUID => (ValueType::Uuid, 16),
                oid::INT8 => (ValueType::Bigint, 8),
                oid::INT4 => (ValueType::Bigint, 4),
                _ => (ValueType::Bigint, 2),
            };
            if own.value_type() != value_type {
                return false;
            }
            if binary {
                bytes.len() == width && own.matches_binary(bytes)
            } else {
                own.matches_text(bytes)
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{StatementKind, Verdict};

    struct Values(Vec<(Option<Vec<u8>>, bool)>);

    impl BindParameters for Values {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn get(&self, index: usize) -> Option<(Option<&[u8]>, bool)> {
            let (value, binary) = self.0.get(index)?;
            Some((value.as_deref(), *binary))
        }
    }

    fn plan(types: Vec<u32>) -> Plan {
        Plan {
            verdict: Verdict::Rewrite,
            kind: StatementKind::Insert,
            statements: 1,
            parameters: 1,
            types,
            hidden: vec![0],
            checks: vec![BindCheck {
                parameter: 1,
                slot: 0,
            }],
            texts: Vec::new(),
            draws: false,
            random: false,
            last_value: false,
            absent: false,
            effects: Vec::new(),
            steps: Vec::new(),
            relations: Vec::new(),
            calls_users: false,
            reads_only: false,
            rows: None,
            fingerprint: 0,
            observed: None,
        }
    }

    fn outcome(types: Vec<u32>, own: ScopeValue, given: &[(&[u8], bool)]) -> Option<DenyReason> {
        let given = given
            .iter()
            .map(|(value, binary)| (Some(value.to_vec()), *binary));
        let values = ScopeValues::new(vec![Some(own)]);
        plan(types)
            .check_bind(&Values(given.collect()), &values)
            .err()
            .map(|denial| denial.reason)
    }

    #[test]
    fn a_surplus_or_missing_value_is_refused() {
        let own = || ScopeValue::Bigint(7);
        let mismatch = Some(DenyReason::ParameterMismatch);
        assert_eq!(outcome(vec![], own(), &[]), mismatch);
        assert_eq!(
            outcome(vec![], own(), &[(b"7", false), (b"7", false)]),
            mismatch
        );
        assert_eq!(outcome(vec![], own(), &[(b"7", false)]), None);
    }

    #[test]
    fn null_and_foreign_values_are_refused() {
        let foreign = Some(DenyReason::ForeignTenantValue);
        assert_eq!(
            outcome(vec![], ScopeValue::Bigint(7), &[(b"8", false)]),
            foreign
        );
        let null = plan(vec![]).check_bind(
            &Values(vec![(None, false)]),
            &ScopeValues::new(vec![Some(ScopeValue::Bigint(7))]),
        );
        assert_eq!(null.err().map(|denial| denial.reason), foreign);
        let missing = plan(vec![]).check_bind(
            &Values(vec![(Some(b"7".to_vec()), false)]),
            &ScopeValues::new(vec![None]),
        );
        assert_eq!(missing.err().map(|denial| denial.reason), foreign);
    }

    #[test]
    fn the_declared_type_says_how_bytes_are_read() {
        let foreign = Some(DenyReason::ForeignTenantValue);
        // The eight bytes are this number as int8, and 12345678 as text.
        let confusing = i64::from_be_bytes(*b"12345678");
        let bytes: &[(&[u8], bool)] = &[(b"12345678", true)];
        assert_eq!(
            outcome(vec![20], ScopeValue::Bigint(confusing), bytes),
            None
        );
        assert_eq!(
            outcome(vec![25], ScopeValue::Bigint(confusing), bytes),
            foreign
        );
        assert_eq!(
            outcome(vec![25], ScopeValue::Bigint(12_345_678), bytes),
            None
        );
        assert_eq!(
            outcome(vec![23], ScopeValue::Bigint(confusing), bytes),
            foreign
        );
        assert_eq!(
            outcome(vec![26], ScopeValue::Bigint(confusing), bytes),
            foreign
        );
        assert_eq!(
            outcome(
                vec![2950],
                ScopeValue::Uuid(uuid::Uuid::from_bytes([9; 16])),
                &[(&[9; 16], true)]
            ),
            None
        );
    }
}
