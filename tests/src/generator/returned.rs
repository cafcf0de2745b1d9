//! What RETURNING gives beside columns: whole rows, and queries that look at other tables.

use super::{Generator, Kind, Relation};

impl Generator {
    /// A value of a row that was written.
    pub(super) fn returned(&mut self, scope: &[Relation]) -> String {
        let alias = scope
            .first()
            .map_or_else(String::new, |it| it.alias.clone());
        match self.random.below(5) {
            // A name with a schema says a column of a table.
            0 if !alias.contains('.') => alias,
            1 if !self.second => format!("row_to_json({alias})::text"),
            2 => format!("(EXISTS ({}))", self.exists_query(scope, 1)),
            3 => {
                let query = self.subquery(&[Kind::Int], &[], 1);
                format!("(SELECT count(*) FROM ({query}) AS q)")
            }
            _ => self.scalar_subquery(Kind::Text, scope, 1),
        }
    }
}
