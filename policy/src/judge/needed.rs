//! What a barrier in WHERE hides from the planner: that an outer join's nullable side is needed (`crate::needed`).

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::barrier::Clause;
use super::expression::Facts;
use super::from::Level;
use super::names::{Scope, Ty};
use super::{EntryId, EntryKind, Env, Judge};
use crate::catalog::Oid;
use crate::deny::Denial;
use crate::needed::{Path, Reader};
use crate::{rewrite, tree};

/// `FirstNormalObjectId`.
const FIRST_OF_OTHERS: Oid = 16384;

/// What is looked for in the WHERE that is judged.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// Whether the query has an outer join.
    sought: bool,
    /// Columns that the conditions behind barriers need.
    found: Vec<Vec<String>>,
}

impl Judge<'_> {
    /// Judges WHERE, and says what is to be added: that columns of nullable sides are not NULL.
    pub(super) fn filter(
        &mut self,
        clause: &mut Option<Box<Node>>,
        level: &Level,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(Facts, Vec<Node>), Denial> {
        let sought = level.outer_joined && self.has_own_casts_only();
        let mine = Needed {
            sought,
            ..Needed::default()
        };
        let around = std::mem::replace(&mut self.needed, mine);
        let facts = self.quals(clause, scope, env, Clause::Where)?;
        let mine = std::mem::replace(&mut self.needed, around);
        Ok((facts, self.tests(&mine.found, scope)))
    }

    /// A condition as the client wrote it, if what it needs is to be looked for.
    pub(super) fn seek_needed(&self, place: Clause<'_>, conjunct: &Node) -> Option<tree::Node> {
        let sought = self.needed.sought && place == Clause::Where;
        sought.then(|| tree::part(conjunct)).flatten()
    }

    /// A condition went behind a barrier.
    pub(super) fn note_needed(&mut self, conjunct: Option<&tree::Node>) {
        let Some(conjunct) = conjunct else { return };
        let own = |name: &str| self.is_own_name(name);
        let paths = Reader(&own).by_truth(conjunct).into_iter();
        let owned = |path: Path<'_>| path.into_iter().map(str::to_owned).collect();
        let paths: Vec<Vec<String>> = paths.map(owned).collect();
        self.needed.found.extend(paths);
    }

    /// One test for each relation of the query that an outer join may extend.
    fn tests(&self, paths: &[Vec<String>], scope: &Scope<'_>) -> Vec<Node> {
        let mut tested: Vec<EntryId> = Vec::new();
        let mut tests = Vec::new();
        for path in paths {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let column = rewrite::column(&path);
            if let Some(id) = self.nullable_side(&column, scope)
                && !tested.contains(&id)
            {
                tested.push(id);
                tests.push(rewrite::is_distinct_from_null(column));
            }
        }
        tests
    }

    /// The relation of this query, perhaps on a nullable side, that a column is of.
    fn nullable_side(&self, column: &Node, scope: &Scope<'_>) -> Option<EntryId> {
        let Some(NodeEnum::ColumnRef(reference)) = column.node.as_ref() else {
            return None;
        };
        let read = self.resolve(reference, scope).ok()?;
        let [id] = read.entries.as_slice() else {
            return None;
        };
        let here = scope.items.iter().any(|item| item.entry == *id);
        let never = matches!(
            self.entry(*id)?.kind,
            EntryKind::Merged(_)
                | EntryKind::Scoped {
                    nullable: false,
                    ..
                }
        );
        (here && !never && self.is_own_type(read.ty)).then_some(*id)
    }

    /// Whether an operator or function of that name can only be PostgreSQL's own. Extensions bring them for their own
    /// types, as strict.
    fn is_own_name(&self, name: &str) -> bool {
        let catalog = &self.bound.catalog;
        let mut operators = catalog.operators_named(name);
        let mut functions = catalog.functions_named(name);
        operators.all(|it| it.extension.is_some()) && functions.all(|it| it.extension.is_some())
    }

    /// Whether a type is of pg_catalog: no cast of somebody's makes something of its NULL.
    fn is_own_type(&self, ty: Ty) -> bool {
        match ty {
            Ty::Builtin => true,
            Ty::Known(oid) => self.bound.catalog.base_type(oid) < FIRST_OF_OTHERS,
            Ty::Unknown | Ty::Adaptable => false,
        }
    }

    /// Whether nobody has made a cast between types of pg_catalog.
    fn has_own_casts_only(&self) -> bool {
        let own = |oid| oid < FIRST_OF_OTHERS;
        let mut casts = self.bound.catalog.calling_casts();
        casts.all(|(cast, _)| !own(cast.source) || !own(cast.target))
    }
}
