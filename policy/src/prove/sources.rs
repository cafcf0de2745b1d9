//! The relations of a query, and where each is guarded.
//!
//! A predicate in WHERE guards a relation only where the join tree preserves its rows: at the top of
//! FROM, on either side of an inner join, on the left of LEFT, on the right of RIGHT, never below
//! FULL nor behind a join's alias, which hides the relation's name. Everywhere else only the guard
//! join at the relation itself counts. This is worked out here from the client's tree.

use super::forms::Predicate;
use super::{Claims, Gap, Step, Walk, forms, gap, need, via};
use crate::judge::Key;
use crate::tree::{self, Node, Value};

const JOIN_INNER: i64 = 1;
const JOIN_LEFT: i64 = 2;
const JOIN_RIGHT: i64 = 4;

/// A relation of a query with keys to guard.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// The place of its name in the client's text.
    pub(super) at: i32,
    /// Its name in the query.
    name: &'a str,
    /// Its schema's name, where it may be named by that too.
    schema: Option<&'a str>,
    /// The keys, by the names that the query knows their columns by.
    keys: Vec<(&'a Key, &'a str)>,
    /// Which of them were compared.
    guarded: Vec<bool>,
    /// Whether a predicate in WHERE guards it.
    preserved: bool,
}

impl<'a> Source<'a> {
    /// Whether all keys were compared.
    pub(super) fn is_guarded(&self) -> bool {
        self.guarded.iter().all(|guarded| *guarded)
    }

    /// The only row that is written is one of the session's own.
    pub(super) fn guarded_by_cursor(&mut self) {
        self.guarded.fill(true);
    }

    /// Says whether its row is one that a condition has let pass.
    pub(super) fn admit(&mut self, admitted: bool) {
        self.preserved = admitted;
    }

    /// The keys.
    pub(super) fn all_keys(&self) -> Vec<&'a Key> {
        self.keys.iter().map(|(key, _)| *key).collect()
    }

    /// Notes a predicate that must compare a key of it.
    pub(super) fn note(&mut self, predicate: &Node, claims: Claims<'_>) -> Step {
        let predicate = forms::predicate(predicate, claims);
        let key = predicate.and_then(|predicate| self.compares(&predicate));
        let guarded = key.and_then(|key| self.guarded.get_mut(key));
        *guarded.ok_or(Gap("a guard compares something else"))? = true;
        Ok(())
    }

    /// Whether names before a column's mean it.
    pub(super) fn is_named(&self, qualifier: &[&str]) -> bool {
        match qualifier {
            [name] => *name == self.name,
            [schema, name] => Some(*schema) == self.schema && *name == self.name,
            _ => false,
        }
    }

    /// The key that a predicate compares with its slot's value.
    pub(super) fn compares(&self, predicate: &Predicate<'_>) -> Option<usize> {
        let mine = self.is_named(&predicate.qualifier);
        let compared = |(key, column): &(&Key, &str)| {
            *column == predicate.column
                && key.slot == predicate.slot
                && key.value_type == predicate.value_type
                && via::leads_as(&predicate.via, key.via.as_deref())
        };
        self.keys.iter().position(compared).filter(|_| mine)
    }

    /// Whether a column of it holds the session's value: the slot's own key.
    pub(super) fn holds(&self, qualifier: &[&str], column: &str, slot: usize) -> bool {
        let mine = match qualifier {
            [] => true,
            [name] => *name == self.name,
            _ => false,
        };
        // Where the join tree does not preserve its rows, the column may be NULL.
        mine && self.preserved
            && self
                .keys
                .iter()
                .any(|(key, name)| *name == column && key.slot == slot && key.via.is_none())
    }
}

/// How the join tree treats what stands in a place of it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    preserved: bool,
    named: bool,
}

impl Place {
    /// The top of FROM.
    pub(super) const TOP: Self = Self {
        preserved: true,
        named: true,
    };
}

impl<'a> Walk<'a> {
    /// The items of FROM or USING.
    pub(super) fn from(&mut self, original: &'a [Value], rewritten: &'a [Value]) -> Step {
        need(original.len() == rewritten.len(), "FROM has another length")?;
        for (original, rewritten) in original.iter().zip(rewritten) {
            match (original.as_node(), rewritten.as_node()) {
                (Some(original), Some(rewritten)) => self.item(original, rewritten, Place::TOP)?,
                _ => return gap("not a FROM item"),
            }
        }
        Ok(())
    }

    pub(super) fn item(&mut self, original: &'a Node, rewritten: &'a Node, place: Place) -> Step {
        match (original.kind, rewritten.kind) {
            ("RangeVar" | "RangeTableSample", "JoinExpr") => {
                self.guarded_by_join(original, rewritten, place)
            }
            ("RangeVar", "RangeSubselect") => self.view(original, rewritten),
            ("RangeVar", "RangeVar") => self.guarded_by_filter(original, rewritten, place),
            ("JoinExpr", "JoinExpr") => self.join(original, rewritten, place),
            ("JoinExpr", "RangeSubselect") => self.fenced_join(original, rewritten, place),
            ("RangeTableSample", "RangeTableSample") => {
                let (original, rewritten) = self.sampled(original, rewritten)?;
                self.guarded_by_filter(original, rewritten, place)
            }
            _ => self.node(original, rewritten),
        }
    }

    /// The relation that a name, or a sample, stands for: all else of a sample must be equal.
    fn sampled(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
    ) -> Result<(&'a Node, &'a Node), Gap> {
        if original.kind != "RangeTableSample" {
            return Ok((original, rewritten));
        }
        need(rewritten.kind == original.kind, "not a sample")?;
        self.pair(original, rewritten);
        self.fields(original, rewritten, &["relation"])?;
        let relations = original.node("relation").zip(rewritten.node("relation"));
        relations.ok_or(Gap("a sample of nothing"))
    }

    fn join(&mut self, original: &'a Node, rewritten: &'a Node, place: Place) -> Step {
        need(!self.claims_fence(original), "a join is not a fence")?;
        self.joined(original, rewritten, place, &[])
    }

    /// Whether the judge has claimed that a join with an alias is a fence.
    fn claims_fence(&self, join: &Node) -> bool {
        let claimed = &self.index.fenced_joins;
        let alias = join.node("alias").filter(|_| !claimed.is_empty());
        alias.is_some_and(|alias| claimed.contains(&(tree::anchor(join), alias.text("aliasname"))))
    }

    /// `(<join>) AS j` became `(SELECT * FROM <join> OFFSET 0) AS j`.
    fn fenced_join(&mut self, original: &'a Node, rewritten: &'a Node, place: Place) -> Step {
        let aliases = original.node("alias").zip(rewritten.node("alias"));
        let (alias, there) = aliases.ok_or(Gap("a join without an alias became a query"))?;
        need(
            rewritten.has_only(&["subquery", "alias"]),
            "a join became more than a query",
        )?;
        self.same(alias, there)?;
        let join = rewritten.node("subquery").and_then(forms::fenced_join);
        let join = join.ok_or(Gap("a join became another query"))?;
        if self.claims_fence(original) {
            let place = (tree::anchor(original), alias.text("aliasname"));
            self.seen_joins.insert(place);
        }
        self.joined(original, join, place, &["alias"])
    }

    fn joined(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        place: Place,
        apart: &[&str],
    ) -> Step {
        let kind = original.int("jointype");
        let named = place.named && original.node("alias").is_none();
        let side = |preserved: bool| Place {
            preserved: place.preserved && preserved,
            named,
        };
        self.pair(original, rewritten);
        for (arm, preserving) in [("larg", JOIN_LEFT), ("rarg", JOIN_RIGHT)] {
            let place = side(kind == JOIN_INNER || kind == preserving);
            match (original.node(arm), rewritten.node(arm)) {
                (Some(original), Some(rewritten)) => self.item(original, rewritten, place)?,
                _ => return gap("a join lacks a side"),
            }
        }
        self.conjuncts(original.node("quals"), rewritten.node("quals"))?;
        let apart = [&["larg", "rarg", "quals"], apart].concat();
        self.fields(original, rewritten, &apart)
    }

    fn guarded_by_filter(&mut self, original: &'a Node, rewritten: &'a Node, place: Place) -> Step {
        self.pair(original, rewritten);
        let keys = self.relation(original, rewritten)?;
        let source = self.source(original, rewritten, keys, place.preserved && place.named)?;
        self.levels.last_mut().ok_or(Gap("no query"))?.push(source);
        Ok(())
    }

    /// A guard join must compare every key right there.
    fn guarded_by_join(&mut self, original: &'a Node, rewritten: &'a Node, place: Place) -> Step {
        let (inner, conditions) = forms::guard_join(rewritten).ok_or(Gap("not a guard join"))?;
        let (original, inner) = self.sampled(original, inner)?;
        self.pair(original, inner);
        let keys = self.relation(original, inner)?;
        let mut source = self.source(original, inner, keys, place.preserved && place.named)?;
        for condition in forms::conjuncts(Some(conditions)) {
            source.note(condition, self.claims)?;
        }
        need(source.is_guarded(), "a guard join lacks a key")?;
        self.levels.last_mut().ok_or(Gap("no query"))?.push(source);
        Ok(())
    }

    /// The relation that UPDATE and DELETE write to.
    pub(super) fn target(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        match (original.node("relation"), rewritten.node("relation")) {
            (Some(original), Some(rewritten)) => {
                self.at_target = true;
                let guarded = self.guarded_by_filter(original, rewritten, Place::TOP);
                self.at_target = false;
                guarded
            }
            _ => gap("no target"),
        }
    }

    /// A relation as its query knows it. A list of column aliases may rename the key, and may give
    /// the key's name to another column.
    pub(super) fn source(
        &self,
        original: &'a Node,
        rewritten: &'a Node,
        keys: &'a [Key],
        preserved: bool,
    ) -> Result<Source<'a>, Gap> {
        let alias = original.node("alias");
        let renamed = alias.map_or(&[][..], |alias| alias.list("colnames"));
        let (schema, relation) = (rewritten.text("schemaname"), original.text("relname"));
        let mut named = Vec::with_capacity(keys.len());
        for key in keys {
            let column = if renamed.is_empty() {
                key.column.as_str()
            } else {
                let known = self.claims.catalog.relation(schema, relation);
                let columns = known.ok_or(Gap("a relation is not known"))?.columns.iter();
                let mut columns = columns.enumerate();
                let at = columns.find(|(_, column)| column.name == key.column);
                let (at, _) = at.ok_or(Gap("a key is not a column"))?;
                match renamed.get(at) {
                    Some(name) => name.as_name().ok_or(Gap("not a column alias"))?,
                    None => key.column.as_str(),
                }
            };
            named.push((key, column));
        }
        Ok(Source {
            at: original.location(),
            name: alias.map_or(relation, |alias| alias.text("aliasname")),
            schema: alias.is_none().then_some(schema),
            guarded: vec![false; named.len()],
            keys: named,
            preserved,
        })
    }

    /// The predicates that the rewriter added to WHERE. They come in the order of the relations, as
    /// a rule, so each search begins where the last one ended.
    pub(super) fn guards(&mut self, predicates: &[&Node]) -> Step {
        let claims = self.claims;
        let sources = self.levels.last_mut().ok_or(Gap("no query"))?;
        let mut next = 0;
        for predicate in predicates {
            let predicate = forms::predicate(predicate, claims);
            let predicate = predicate.ok_or(Gap("a condition was added"))?;
            let mine = |at: &usize| {
                let source = sources.get(*at).filter(|source| source.preserved);
                source.is_some_and(|source| source.compares(&predicate).is_some())
            };
            let at = (next..sources.len()).chain(0..next).find(mine);
            next = at.ok_or(Gap("a predicate guards nothing"))?;
            let source = sources.get_mut(next).ok_or(Gap("no relation"))?;
            let key = source.compares(&predicate);
            if let Some(guarded) = key.and_then(|key| source.guarded.get_mut(key)) {
                *guarded = true;
            }
        }
        Ok(())
    }
}
