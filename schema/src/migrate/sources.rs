//! Where a row's tenant comes from, as SQL: its user, its parent, or nobody.

use pgwarden_policy::migration::Orphans;

/// One way to a row's tenant.
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
    },
    /// A column refers to a row that has a tenant.
    Parent {
        /// The row's column.
        column: String,
        /// The parent's table.
        table: String,
        /// Its referenced column.
        key: String,
        /// Its tenant column.
        tenant: String,
    },
}

/// All ways of one table, the best first. Names are SQL.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    pub(super) ways: Vec<Origin>,
    pub(super) orphans: Orphans,
    /// The tenant of rows without one, as SQL.
    pub(super) nobodys: String,
}

impl Origin {
    /// A scalar subquery over the row `row`.
    fn expression(&self, row: &str) -> String {
        match self {
            Self::User {
                column,
                mapping,
                user,
                tenant,
            } => format!(
                "(SELECT m.{tenant} FROM {mapping} m WHERE m.{user} = {row}.{column} ORDER BY 1 LIMIT 1)"
            ),
            Self::Parent {
                column,
                table,
                key,
                tenant,
            } => {
                format!("(SELECT p.{tenant} FROM {table} p WHERE p.{key} = {row}.{column} LIMIT 1)")
            }
        }
    }

    /// What people read.
    fn told(&self) -> String {
        match self {
            Self::User {
                column, mapping, ..
            } => format!("{column} through {mapping}"),
            Self::Parent { column, table, .. } => format!("{column} through its parent {table}"),
        }
    }
}

impl Origins {
    /// The tenant of the row `row`.
    pub(super) fn expression(&self, row: &str) -> String {
        let mut ways: Vec<String> = self.ways.iter().map(|it| it.expression(row)).collect();
        match ways.is_empty() {
            true => self.nobodys.clone(),
            false => {
                ways.push(self.nobodys.clone());
                format!("coalesce({})", ways.join(",\n      "))
            }
        }
    }

    /// The same for a trigger on INSERT. A parent that has no tenant yet gets one in its own
    /// backfill, so its child must wait for that, too, and not become an orphan.
    pub(super) fn statements(&self, target: &str) -> String {
        let mut text = String::new();
        for way in &self.ways {
            let found = way.expression("NEW");
            let wait = match way {
                Origin::User { .. } => String::new(),
                Origin::Parent {
                    column, table, key, ..
                } => format!(
                    "    IF {target} IS NULL AND EXISTS (SELECT FROM {table} p WHERE p.{key} = NEW.{column}) THEN\n      \
                     RETURN NEW;\n    END IF;\n"
                ),
            };
            text +=
                &format!("  IF {target} IS NULL THEN\n    {target} := {found};\n{wait}  END IF;\n");
        }
        text + &format!("  {target} := coalesce({target}, {});\n", self.nobodys)
    }

    /// What people read.
    pub(super) fn told(&self) -> String {
        let mut ways: Vec<String> = self.ways.iter().map(Origin::told).collect();
        ways.push(match self.orphans {
            Orphans::Default => format!("else the default tenant {}", self.nobodys),
            Orphans::Quarantine => format!("else the quarantine's tenant {}", self.nobodys),
        });
        ways.join(", ")
    }
}
