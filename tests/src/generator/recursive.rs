//! WITH RECURSIVE, also with SEARCH and CYCLE. Every recursion ends after a few steps.

use super::from::joined;
use super::{Generator, Kind, Relation};
use crate::generator::from::columns;

impl Generator {
    /// A query over a recursive one.
    pub(super) fn recursive(&mut self) -> String {
        let name = self.alias();
        let names = ["n".to_owned(), "depth".to_owned()];
        let own = Relation {
            alias: name.clone(),
            columns: columns(&names, &[Kind::Int, Kind::Int]),
        };
        let first = self.table();
        let start = self.expression(Kind::Int, &first.scope, 1);
        let start_filter = self.condition(&first.scope, 1);
        let next = self.table();
        let both = joined(std::slice::from_ref(&own), &next.scope);
        let step = self.expression(Kind::Int, &next.scope, 1);
        let link = self.equality(std::slice::from_ref(&own), &next.scope);
        let link = link.unwrap_or_else(|| "true".to_owned());
        let filter = self.condition(&both, 1);
        let (cycle, shown) = self.search_or_cycle();
        let order = *self
            .random
            .pick(&["", " ORDER BY 1, 2", " ORDER BY n DESC, depth"]);
        format!(
            "WITH RECURSIVE {name} (n, depth) AS (\
             SELECT ({start})::bigint, 0 FROM {} WHERE {start_filter} \
             UNION SELECT ({step})::bigint, {name}.depth + 1 FROM {name} JOIN {} ON {link} \
             WHERE {name}.depth < 3 AND {filter}){cycle} SELECT n, depth{shown} FROM {name}{order}",
            first.text, next.text
        )
    }

    /// The clause, and what can be shown of it whatever the plan.
    fn search_or_cycle(&mut self) -> (String, &'static str) {
        if self.major < 14 {
            return (String::new(), "");
        }
        let search = *self.random.pick(&["DEPTH", "BREADTH"]);
        let search = format!(" SEARCH {search} FIRST BY n SET way");
        let cycle = " CYCLE n SET again USING path";
        match self.random.below(4) {
            0 => (search, ", way IS NULL"),
            1 => (cycle.to_owned(), ", again"),
            2 => (format!("{search}{cycle}"), ", again, path::text"),
            _ => (String::new(), ""),
        }
    }
}
