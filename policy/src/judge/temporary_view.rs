//! Temporary views: CREATE TEMP VIEW.
//!
//! The session's own view keeps its query as it was judged and rewritten, the session's values written out: a session with
//! temporary relations has one tenant for good. Reading the view then needs no predicate; but the planner
//! puts a view's query in the place of its name, so one that reads what is a tenant's is a fence (form I4): no condition of a later
//! statement sees a row before the tenant's predicate inside has admitted it. Nobody writes through it.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, ViewCheckOption, ViewStmt};

use super::statement::{ddl, refused};
use super::temporary::is_temporary;
use super::{EntryKind, Env, Judge, unsupported};
use crate::deny::Denial;
use crate::plan::StatementKind;
use crate::rewrite;

impl Judge<'_> {
    /// Judges CREATE VIEW: of a temporary view.
    pub(super) fn create_view(&mut self, create: &mut ViewStmt) -> Result<StatementKind, Denial> {
        let Some(range) = create.view.as_ref().filter(|range| is_temporary(range)) else {
            return Err(ddl());
        };
        let checked = ViewCheckOption::try_from(create.with_check_option)
            .is_ok_and(|option| option != ViewCheckOption::NoCheckOption);
        if checked || !create.options.is_empty() {
            return Err(unsupported("a temporary view with options").hint("Leave them out."));
        }
        self.new_own(range, "CREATE VIEW")?;
        let name = range.relname.clone();
        let before = self.findings.effects.len();
        let mark = self.entries.len();
        let Some(select) = query_of(create.query.as_mut()) else {
            return Err(refused("CREATE VIEW of this query"));
        };
        let output = self.select(select, None, &Env::default())?;
        // A subquery's tables are not told from those of the query itself: the proof asks for no less.
        let mut read = self.entries.iter().skip(mark);
        let scoped = read.any(|entry| matches!(entry.kind, EntryKind::Scoped { .. }));
        if (output.risky || scoped) && select.limit_offset.is_none() {
            select.limit_offset = Some(Box::new(rewrite::integer(0)));
            self.rewritten();
        }
        // They would happen whenever the view is read, when nobody looks for them.
        self.refuse_delayed_effects("CREATE VIEW", before)?;
        self.makes_view(&name, &output, &create.aliases);
        Ok(StatementKind::Utility)
    }
}

fn query_of(query: Option<&mut Box<Node>>) -> Option<&mut SelectStmt> {
    match query?.node.as_mut()? {
        NodeEnum::SelectStmt(select) => Some(select),
        _ => None,
    }
}
