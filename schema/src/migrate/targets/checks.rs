//! What a plan refuses: names that are not there or could hide something, and what would stop the
//! application for long.

use crate::audit::snapshot::Relation;

use super::Finder;

impl Finder<'_, '_> {
    pub(super) fn names_must_exist(&mut self) {
        for name in &self.migration.exclude {
            self.with_columns(name, &[]);
        }
        if let Some(users) = &self.migration.users {
            self.with_columns(&users.table, &[&users.user, &users.tenant]);
        }
        for entry in &self.migration.tables {
            let own = [
                entry.user.as_deref(),
                entry.parent.as_ref().map(|it| it.column.as_str()),
            ];
            let own: Vec<&str> = own.into_iter().flatten().collect();
            let table = self.with_columns(&entry.name, &own);
            if let Some(parent) = &entry.parent {
                self.with_columns(&parent.table, &[&parent.key]);
            }
            for name in entry.hold.iter().flatten() {
                if let Some(table) = table
                    && !table.triggers.iter().any(|it| it.name == *name)
                {
                    self.problem(&entry.name, format!("the table has no trigger {name}"));
                }
            }
        }
    }

    /// A name in the policy that lacks its quotes would become a second column.
    pub(super) fn case_must_match(&mut self, table: &Relation, column: &str) {
        let mut columns = table.columns.iter();
        let other = columns.find(|it| it.name != column && it.name.eq_ignore_ascii_case(column));
        if let Some(other) = other
            && table.column(column).is_none()
        {
            let message = format!(
                "the tenant's column {column} is not there, but {} is: write it with its quotes",
                other.sql
            );
            self.problem(table.full_name(), message);
        }
    }

    /// A plan is read line by line: a name with a line break could say what nobody reviews.
    pub(super) fn names_must_be_plain(&mut self, table: &Relation) {
        let columns = table.columns.iter().map(|it| &it.name);
        let constraints = table.constraints.iter().map(|it| &it.name);
        let triggers = table.triggers.iter().map(|it| &it.name);
        let own = [&table.schema, &table.name].into_iter();
        let mut names = own.chain(columns).chain(constraints).chain(triggers);
        if names.any(|it| it.contains(char::is_control)) {
            let message = "a name in it holds control characters; rename it, or exclude the table";
            self.problem(table.full_name().escape_debug(), message);
        }
    }

    /// Nobody reads or writes a table while its tenant column gets another type.
    pub(super) fn rewrite_must_be_short(&mut self, table: &Relation, column: &str, rows: i64) {
        let max = i64::try_from(self.migration.rewrite_rows_max).unwrap_or(i64::MAX);
        if rows > max {
            let message = format!(
                "its {column} has another type than the tenant: about {rows} rows would be rewritten while nobody can \
                 read or write the table; rewrite_rows_max in the mapping allows it, or change the type beforehand \
                 as docs/migrate.md says below \"By hand\""
            );
            self.problem(table.full_name(), message);
        }
    }
}
