//! Where a row's tenant comes from, as SQL: its user, its parent, or nobody.

use std::fmt::Write;

use pgwarden_policy::migration::Orphans;

/// One way to a row's tenant. All names are SQL.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A column holds a user, whose tenant another table tells.
    User {
        /// The row's column.
        column: String,
        /// The table of users' tenants.
        mapping: String,
        /// Its column with the user.
        user: String,
        /// Its column with the tenant.
        tenant: String,
        /// Whether the two name the user by different types.
        as_text: bool,
    },
    /// Columns refer to a row that has a tenant.
    Parent {
        /// The row's columns, with the parent's that they refer to.
        columns: Vec<(String, String)>,
        /// The parent's table.
        table: String,
        /// Its tenant column.
        tenant: String,
    },
}

/// All ways of one table, the best first. Names are SQL.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    pub(super) ways: Vec<Origin>,
    pub(super) orphans: Orphans,
    /// The tenant of rows without one, as SQL, if anybody named one.
    pub(super) nobodys: Option<String>,
    /// The tenant's type.
    pub(super) type_name: String,
}

impl Origin {
    /// A scalar subquery over the row `row`. A user of several tenants has none here: whose the
    /// row is, nobody said.
    fn expression(&self, row: &str, type_name: &str) -> String {
        match self {
            Self::User {
                column,
                mapping,
                user,
                tenant,
                as_text,
            } => {
                let cast = if *as_text { "::text" } else { "" };
                format!(
                    "(SELECT (array_agg(DISTINCT m.{tenant}))[1]::{type_name} FROM {mapping} m\n       \
                     WHERE m.{user}{cast} = {row}.{column}{cast} AND m.{tenant} IS NOT NULL HAVING count(DISTINCT m.{tenant}) = 1)"
                )
            }
            Self::Parent { table, tenant, .. } => format!(
                "(SELECT p.{tenant}::{type_name} FROM {table} p WHERE {} LIMIT 1)",
                self.joined(row)
            ),
        }
    }

    /// How a parent `p` is found from the row.
    fn joined(&self, row: &str) -> String {
        let pairs = match self {
            Self::User { .. } => &[][..],
            Self::Parent { columns, .. } => columns,
        };
        let joined = pairs
            .iter()
            .map(|(own, key)| format!("p.{key} = {row}.{own}"));
        joined.collect::<Vec<_>>().join(" AND ")
    }

    /// The row's columns that it reads.
    fn columns(&self) -> Vec<&String> {
        match self {
            Self::User { column, .. } => vec![column],
            Self::Parent { columns, .. } => columns.iter().map(|it| &it.0).collect(),
        }
    }

    /// What people read.
    fn told(&self) -> String {
        let columns: Vec<&str> = self.columns().into_iter().map(String::as_str).collect();
        let columns = columns.join(", ");
        match self {
            Self::User { mapping, .. } => format!("{columns} through {mapping}"),
            Self::Parent { table, .. } => format!("{columns} through its parent {table}"),
        }
    }
}

impl Origins {
    /// The tenant of the row `row`.
    pub(super) fn expression(&self, row: &str) -> String {
        let ways = self
            .ways
            .iter()
            .map(|it| it.expression(row, &self.type_name));
        let all: Vec<String> = ways.chain(self.nobodys.clone()).collect();
        match all.as_slice() {
            [] => format!("NULL::{}", self.type_name),
            [only] => only.clone(),
            all => format!("coalesce({})", all.join(",\n      ")),
        }
    }

    /// The columns that all ways read.
    pub(super) fn columns(&self) -> Vec<String> {
        let columns = self.ways.iter().flat_map(Origin::columns);
        let mut columns: Vec<String> = columns.cloned().collect();
        columns.sort();
        columns.dedup();
        columns
    }

    /// The same for a trigger. A parent that has no tenant yet gets one in its own backfill, so
    /// its child must wait for that, too, and not become an orphan.
    pub(super) fn statements(&self, target: &str) -> String {
        let mut text = String::new();
        for way in &self.ways {
            let found = way.expression("NEW", &self.type_name);
            // Writing to a String can't fail.
            let _ = writeln!(text, "  IF {target} IS NULL THEN\n    {target} := {found};");
            if let Origin::Parent { table, .. } = way {
                let joined = way.joined("NEW");
                let _ = writeln!(
                    text,
                    "    IF {target} IS NULL AND EXISTS (SELECT FROM {table} p WHERE {joined}) THEN\n      \
                     RETURN NEW;\n    END IF;"
                );
            }
            text += "  END IF;\n";
        }
        if let Some(nobodys) = &self.nobodys {
            let _ = writeln!(text, "  {target} := coalesce({target}, {nobodys});");
        }
        text
    }

    /// What people read.
    pub(super) fn told(&self) -> String {
        let mut ways: Vec<String> = self.ways.iter().map(Origin::told).collect();
        ways.push(match (&self.nobodys, self.orphans) {
            (Some(tenant), Orphans::Default) => format!("else the default tenant {tenant}"),
            (Some(tenant), Orphans::Quarantine) => format!("else the quarantine's tenant {tenant}"),
            (None, _) => {
                "else from nobody: the mapping names no default tenant, so it stops at such rows"
                    .to_owned()
            }
        });
        ways.join(", ")
    }
}
