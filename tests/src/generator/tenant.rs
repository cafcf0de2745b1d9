//! Values of a tenant column: the own one in many forms, and others'.

use super::Generator;
use super::prepared::Parameter;
use crate::fixture::Tenant;

/// Forms of a value, `{}`, that PostgreSQL takes for a uuid.
const FORMS: &[&str] = &[
    "'{}'",
    "'{}'",
    "'{}'::uuid",
    "'{}'::uuid",
    "uuid '{}'",
    "'{}'::text::uuid",
    "CAST('{}' AS public.org_ref)",
    "(SELECT '{}'::uuid)",
    "coalesce(NULL, '{}'::uuid)",
    "(ARRAY['{}'::uuid])[1]",
    "replace('{}', '-', '')::uuid",
    "CASE WHEN true THEN '{}'::uuid END",
    "('{' || '{}' || '}')::uuid",
];

impl Generator {
    /// The session's own value of a tenant column.
    pub(super) fn own(&self, column: &str) -> &'static str {
        match column {
            "user_id" => self.tenant.user(),
            _ => self.tenant.org(),
        }
    }

    pub(super) fn other_tenant(&mut self) -> Tenant {
        let others: Vec<_> = [Tenant::A, Tenant::B, Tenant::C]
            .into_iter()
            .filter(|it| *it != self.tenant)
            .collect();
        *self.random.pick(&others)
    }

    /// Somebody else's.
    pub(super) fn foreign(&mut self, column: &str) -> &'static str {
        let other = self.other_tenant();
        match column {
            "user_id" => other.user(),
            _ => other.org(),
        }
    }

    /// An expression for a tenant column, rarely a foreign one.
    pub(super) fn tenant_value(&mut self, column: &'static str) -> String {
        if self.random.chance(30)
            && let Some(parameters) = &mut self.parameters
        {
            parameters.push(Parameter::Tenant(column));
            return format!("${}", parameters.len());
        }
        if self.second {
            return self.second_value(column);
        }
        let hostile = self.random.chance(4);
        self.hostile |= hostile;
        let value = if hostile {
            self.foreign(column)
        } else {
            self.own(column)
        };
        if column == "org_id" && !hostile && self.random.chance(4) {
            return "public.auth_org_id()".to_owned();
        }
        let value = if self.random.chance(10) {
            value.to_uppercase()
        } else {
            value.to_owned()
        };
        // One form has braces of its own.
        let form = self.random.pick(FORMS).split("{}").collect::<Vec<_>>();
        form.join(&value)
    }
}
