//! Conditions: the predicates that were added, and the barriers around what the client wrote.

use std::collections::HashSet;

use super::forms::Predicate;
use super::{Gap, Step, Walk, forms, need};
use crate::needed;
use crate::tree::{self, Node};

impl<'a> Walk<'a> {
    /// WHERE: the predicates that guard, then what the client wrote.
    pub(super) fn filter(
        &mut self,
        original: Option<&'a Node>,
        rewritten: Option<&'a Node>,
    ) -> Step {
        let before = forms::conjuncts(original);
        let after = forms::conjuncts(rewritten);
        // Besides the guards stand as many conjuncts as before, or one barrier around all of them.
        let rest = if is_one_barrier(&before, &after) {
            1
        } else {
            before.len()
        };
        let added = after
            .len()
            .checked_sub(rest)
            .ok_or(Gap("a condition is gone"))?;
        let (added, rest) = after.split_at_checked(added).unwrap_or((&after, &[]));
        let is_test = |node: &&&'a Node| forms::is_given(node).is_some();
        let (tests, guards): (Vec<&Node>, Vec<&Node>) = added.iter().partition(is_test);
        let reader = needed::Reader(&|_| true);
        let needed: Vec<_> = before.iter().flat_map(|it| reader.by_truth(it)).collect();
        // What the client's own conditions need can be asked for beside them.
        let mut paths = tests.into_iter().map(forms::is_given);
        need(
            paths.all(|path| path.is_some_and(|path| needed.contains(&path))),
            "a condition was added",
        )?;
        self.guards(&guards)?;
        self.each_conjunct(&before, rest)
    }

    /// ON, HAVING: what the client wrote, some of it behind a barrier.
    pub(super) fn conjuncts(
        &mut self,
        original: Option<&'a Node>,
        rewritten: Option<&'a Node>,
    ) -> Step {
        let before = forms::conjuncts(original);
        self.each_conjunct(&before, &forms::conjuncts(rewritten))
    }

    fn each_conjunct(&mut self, original: &[&'a Node], rewritten: &[&'a Node]) -> Step {
        if let ([_, _, ..], [only]) = (original, rewritten) {
            let inside = forms::conjuncts(Some(self.behind_barrier(only)?));
            for condition in original {
                self.held(condition, forms::barrier(only))?;
            }
            return self.pairwise(original, &inside);
        }
        self.pairwise(original, rewritten)
    }

    fn pairwise(&mut self, original: &[&'a Node], rewritten: &[&'a Node]) -> Step {
        need(original.len() == rewritten.len(), "a condition differs")?;
        for (original, rewritten) in original.iter().zip(rewritten) {
            // A CASE of the client's own is compared as it is. One around its conjunct is ours: no
            // client can write a hidden parameter.
            let barrier = forms::is_barrier(rewritten, self.claims);
            if self.has_held_sides(rewritten) {
                self.sides(original, rewritten)?;
            } else if barrier && !is_the_clients(original, rewritten) {
                let inside = self.behind_barrier(rewritten)?;
                self.held(original, forms::barrier(rewritten))?;
                self.node(original, inside)?;
            } else {
                self.held(original, None)?;
                self.node(original, rewritten)?;
            }
        }
        Ok(())
    }

    /// A condition that can leak stands behind a barrier that admits the rows of every relation which
    /// it reads.
    fn held(&mut self, original: &Node, barrier: Option<(&'a Node, &'a Node)>) -> Step {
        if self.index.held.is_empty() {
            return Ok(());
        }
        let at = tree::anchor(original);
        let Some(held) = self.index.held.get(&at).copied() else {
            return Ok(());
        };
        self.seen.insert(at);
        let (when, _) = barrier.ok_or(Gap("a condition that can leak has no barrier"))?;
        if held.by.is_empty() {
            return need(forms::is_after_grouping(when), "HAVING is not held back");
        }
        let admitted = forms::conjuncts(Some(when));
        let admitted: Vec<Predicate<'_>> = admitted
            .into_iter()
            .filter_map(|part| forms::admission(part, self.claims))
            .collect();
        let sources: Vec<_> = self.levels.iter().rev().flatten().collect();
        // A predicate is about the innermost relation of its name.
        let meant = |predicate: &Predicate<'_>| {
            let at = sources
                .iter()
                .position(|it| it.is_named(&predicate.qualifier))?;
            Some((at, sources.get(at)?.compares(predicate)?))
        };
        let compared: HashSet<(usize, usize)> = admitted.iter().filter_map(meant).collect();
        for place in &held.by {
            let at = sources.iter().position(|source| source.at == *place);
            let at = at.ok_or(Gap("a condition reads a relation that is not there"))?;
            let keys = sources.get(at).map_or(0, |source| source.all_keys().len());
            need(
                (0..keys).all(|key| compared.contains(&(at, key))),
                "a barrier lacks a relation",
            )?;
        }
        Ok(())
    }

    /// What stands in a barrier: `CASE WHEN <predicates> THEN <this> ELSE false END`.
    fn behind_barrier(&mut self, case: &'a Node) -> Result<&'a Node, Gap> {
        let (when, then) = forms::barrier(case).ok_or(Gap("not a barrier"))?;
        // An aggregate holds a condition of HAVING back until all rows were admitted; in WHERE and
        // ON the server refuses it.
        if forms::is_after_grouping(when) {
            return Ok(then);
        }
        self.admits(when)?;
        Ok(then)
    }

    /// Whether each condition of a barrier admits rows of a relation that is there.
    fn admits(&self, when: &Node) -> Step {
        for predicate in forms::conjuncts(Some(when)) {
            let predicate = forms::admission(predicate, self.claims);
            let predicate = predicate.ok_or(Gap("a barrier does not guard"))?;
            let mut known = self.levels.iter().rev().flatten();
            need(
                known.any(|source| source.compares(&predicate).is_some()),
                "a barrier does not guard",
            )?;
        }
        Ok(())
    }

    /// Whether a conjunct has a barrier around one of its sides; no client can write one.
    fn has_held_sides(&self, conjunct: &Node) -> bool {
        let held = |side: &str| {
            let side = conjunct.node(side);
            side.is_some_and(|side| forms::side_barrier(side, self.claims).is_some())
        };
        conjunct.kind == "AExpr" && (held("lexpr") || held("rexpr"))
    }

    /// An equality, each side behind a barrier that admits what it reads.
    fn sides(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(forms::is_equality(original), "sides of no equality")?;
        self.pair(original, rewritten);
        for side in ["lexpr", "rexpr"] {
            let sides = original.node(side).zip(rewritten.node(side));
            let (original, rewritten) = sides.ok_or(Gap("an equality lacks a side"))?;
            let barrier = forms::side_barrier(rewritten, self.claims);
            self.held(original, barrier)?;
            match barrier {
                Some((when, then)) => {
                    self.admits(when)?;
                    self.node(original, then)?;
                }
                None => self.node(original, rewritten)?,
            }
        }
        need(original.kind == rewritten.kind, "nodes differ")?;
        self.fields(original, rewritten, &["lexpr", "rexpr"])
    }
}

/// A barrier of HAVING is something that a client can write, too, any number of them around each other. It
/// is the client's own where the original has as many; then it has to hold nothing back.
fn is_the_clients(original: &Node, rewritten: &Node) -> bool {
    let own = barriers_of_having(original);
    own > 0 && own == barriers_of_having(rewritten)
}

fn barriers_of_having(mut node: &Node) -> usize {
    let mut count = 0;
    while let Some((when, then)) = forms::barrier(node)
        && forms::is_after_grouping(when)
    {
        count += 1;
        node = then;
    }
    count
}

/// Whether the last of the rewritten conjuncts is a barrier around all that the client wrote.
fn is_one_barrier(original: &[&Node], rewritten: &[&Node]) -> bool {
    let inside = |node: Option<&&Node>| {
        let (_, then) = forms::barrier(node?)?;
        Some(forms::conjuncts(Some(then)).len())
    };
    let all = Some(original.len());
    original.len() > 1 && inside(rewritten.last()) == all && inside(original.last()) != all
}
