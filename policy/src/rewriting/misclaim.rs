//! What a judge could claim wrongly beside the text that it wrote.
//!
//! The text alone does not keep tenants apart: parameters are compared at Bind, copied rows as they come, cursors
//! where they are used, and literals are part of the plan's key, all because the judge says so. A claim that
//! is wrong, or is not made, has to fail the proof like a wrong text.

use super::Rewriting;
use crate::copy::Format;
use crate::deny::Denial;
use crate::judge::{Decision, Findings};
use crate::plan::{Effect, TextPart};
use crate::prove::prove;
use crate::tree::{Node, Value};
use crate::{limits, parse, scan::Scan, tree};

/// A kind of wrong claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misclaim {
    /// A written parameter is not compared at Bind.
    UncheckedParameter,
    /// Another parameter is compared in its place.
    AnotherParameter,
    /// It is compared with another of the session's values.
    AnotherValue,
    /// A written literal is not part of the plan's key.
    UnpinnedLiteral,
    /// A parameter behind the client's own is another of the session's values.
    AnotherHiddenValue,
    /// The rows of COPY FROM are not looked at.
    UncheckedRows,
    /// A key of theirs is looked for in another column.
    RowsOfAnotherColumn,
    /// It is compared with another of the session's values.
    RowsOfAnotherValue,
    /// They are said to have one column more.
    WiderRows,
    /// They are read in another format.
    RowsInAnotherFormat,
    /// A key is not filled in.
    UnfilledRows,
    /// Another of the session's values is filled in.
    RowsFilledWithAnotherValue,
    /// A channel is not looked up at Bind.
    UncheckedChannel,
    /// It is looked up in another list.
    ChannelOfAnotherList,
    /// A cursor is said to lock the rows of a scoped table.
    LockingCursor,
    /// The cursor of WHERE CURRENT OF is not looked at.
    UncheckedCursor,
    /// Another cursor is.
    AnotherCursor,
    /// What EXECUTE runs is not looked at.
    UnnamedExecute,
    /// PREPARE, EXECUTE or DEALLOCATE is said to be of another name.
    AnotherName,
    /// It is said to be of another statement of the message.
    NameOfAnotherStep,
}

impl Misclaim {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::UncheckedParameter,
        Self::AnotherParameter,
        Self::AnotherValue,
        Self::UnpinnedLiteral,
        Self::AnotherHiddenValue,
        Self::UncheckedRows,
        Self::RowsOfAnotherColumn,
        Self::RowsOfAnotherValue,
        Self::WiderRows,
        Self::RowsInAnotherFormat,
        Self::UnfilledRows,
        Self::RowsFilledWithAnotherValue,
        Self::UncheckedChannel,
        Self::ChannelOfAnotherList,
        Self::LockingCursor,
        Self::UncheckedCursor,
        Self::AnotherCursor,
        Self::UnnamedExecute,
        Self::AnotherName,
        Self::NameOfAnotherStep,
    ];
}

impl Rewriting<'_> {
    /// What the proof says of the rewritten text with each claim of a kind made wrong, one at a time.
    ///
    /// # Errors
    /// When the text itself can't be read.
    pub fn misclaimed(&self, wrong: Misclaim) -> Result<Vec<Result<(), Denial>>, Denial> {
        let variants = self.variants(wrong);
        if variants.is_empty() {
            return Ok(Vec::new());
        }
        let mut scan = Scan::default();
        scan.read(&self.text)?;
        limits::with_stack(&scan, self.lookups.views.tokens(), || {
            let parsed = parse::parse(&self.text)?;
            let tree = tree::of(&parsed).map_err(|_| super::unreadable())?;
            let proven = variants.iter().map(|findings| {
                let claims = self.lookups.claims(self.own, findings);
                prove(&self.original, &tree, claims).map(drop)
            });
            Ok(proven.collect())
        })
    }

    fn variants(&self, wrong: Misclaim) -> Vec<Findings> {
        match wrong {
            Misclaim::UncheckedParameter
            | Misclaim::AnotherParameter
            | Misclaim::AnotherValue
            | Misclaim::UnpinnedLiteral
            | Misclaim::AnotherHiddenValue => self.values(wrong),
            Misclaim::UncheckedRows
            | Misclaim::RowsOfAnotherColumn
            | Misclaim::RowsOfAnotherValue
            | Misclaim::WiderRows
            | Misclaim::RowsInAnotherFormat
            | Misclaim::UnfilledRows
            | Misclaim::RowsFilledWithAnotherValue => self.rows(wrong),
            Misclaim::UncheckedChannel | Misclaim::ChannelOfAnotherList => self.channels(wrong),
            Misclaim::LockingCursor | Misclaim::UncheckedCursor | Misclaim::AnotherCursor => {
                self.cursors(wrong)
            }
            Misclaim::UnnamedExecute | Misclaim::AnotherName | Misclaim::NameOfAnotherStep => {
                self.names(wrong)
            }
        }
    }

    /// The findings changed at each of so many places.
    fn each(&self, places: usize, change: impl Fn(&mut Findings, usize)) -> Vec<Findings> {
        let changed = (0..places).map(|at| {
            let mut findings = self.findings.clone();
            change(&mut findings, at);
            findings
        });
        changed.collect()
    }

    fn values(&self, wrong: Misclaim) -> Vec<Findings> {
        let findings = &self.findings;
        let checks = findings.checks.len();
        match wrong {
            Misclaim::UncheckedParameter => self.each(checks, |it, at| {
                it.checks.remove(at);
            }),
            Misclaim::AnotherParameter => self.each(checks, |it, at| {
                it.checks
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|check| check.parameter += 1);
            }),
            Misclaim::AnotherValue => self.each(checks, |it, at| {
                it.checks
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|check| check.slot += 1);
            }),
            Misclaim::UnpinnedLiteral => {
                let own = self.own_literals();
                self.each(own.len(), |it, at| {
                    it.pinned.retain(|pinned| own.get(at) != Some(pinned));
                })
            }
            _ => self.each(findings.hidden.len(), |it, at| {
                it.hidden
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|slot| *slot += 1);
            }),
        }
    }

    /// The places of pinned literals that hold one of the session's values.
    fn own_literals(&self) -> Vec<i32> {
        let mut found = Vec::new();
        gather(&self.original, &mut |constant| {
            let text = constant.node("val").map(|value| match value.kind {
                "Integer" => value.int("ival").to_string(),
                "Float" => value.text("fval").to_owned(),
                _ => value.text("sval").to_owned(),
            });
            let values = self.lookups.values;
            let is_own = |text: String| {
                let mut values = values.iter().flatten();
                values.any(|own| own.matches_text(text.as_bytes()))
            };
            let at = constant.location();
            if self.findings.pinned.contains(&at) && text.is_some_and(is_own) {
                found.push(at);
            }
        });
        found
    }

    fn rows(&self, wrong: Misclaim) -> Vec<Findings> {
        let Some(rows) = &self.findings.rows else {
            return Vec::new();
        };
        let of = |places: usize, change: &dyn Fn(&mut crate::copy::Rows, usize)| {
            self.each(places, |it, at| {
                if let Some(rows) = it.rows.as_mut() {
                    change(rows, at);
                }
            })
        };
        let (keys, fills) = (rows.keys.len(), rows.fills.len());
        match wrong {
            Misclaim::UncheckedRows => self.each(1, |it, _| it.rows = None),
            Misclaim::RowsOfAnotherColumn => of(keys, &|rows, at| {
                rows.keys
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|key| key.column += 1);
            }),
            Misclaim::RowsOfAnotherValue => of(keys, &|rows, at| {
                rows.keys
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|key| key.slot += 1);
            }),
            Misclaim::WiderRows => of(1, &|rows, _| rows.columns += 1),
            Misclaim::RowsInAnotherFormat => of(1, &|rows, _| rows.format = another(&rows.format)),
            Misclaim::UnfilledRows => of(fills, &|rows, at| {
                rows.fills.remove(at);
            }),
            _ => of(fills, &|rows, at| {
                rows.fills
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|fill| fill.slot += 1);
            }),
        }
    }

    fn channels(&self, wrong: Misclaim) -> Vec<Findings> {
        let texts = self.findings.texts.iter().enumerate();
        let places: Vec<usize> = texts
            .filter(|(_, it)| matches!(it.says, TextPart::Channel(_)))
            .map(|(at, _)| at)
            .collect();
        self.each(places.len(), |it, nth| {
            let Some(at) = places.get(nth).copied() else {
                return;
            };
            if wrong == Misclaim::UncheckedChannel {
                it.texts.remove(at);
            } else if let Some(check) = it.texts.get_mut(at) {
                check.says = TextPart::Channel(vec!["anything".to_owned()].into());
            }
        })
    }

    fn cursors(&self, wrong: Misclaim) -> Vec<Findings> {
        let scoped =
            self.findings
                .places
                .decisions
                .iter()
                .find_map(|(_, decision)| match decision {
                    Decision::Relation {
                        schema,
                        name,
                        scoped,
                    } if !scoped.is_empty() => Some(format!("{schema}.{name}")),
                    _ => None,
                });
        let effects = self.findings.effects.iter().enumerate();
        let places: Vec<usize> = effects
            .filter(|(_, effect)| match effect {
                Effect::Declare { locks, .. } => {
                    wrong == Misclaim::LockingCursor && locks.is_none() && scoped.is_some()
                }
                Effect::CurrentOf { .. } => wrong != Misclaim::LockingCursor,
                _ => false,
            })
            .map(|(at, _)| at)
            .collect();
        self.each(places.len(), |it, nth| {
            let effect = places.get(nth).and_then(|at| it.effects.get_mut(*at));
            match effect {
                Some(Effect::Declare { locks, .. }) => locks.clone_from(&scoped),
                Some(effect) if wrong == Misclaim::UncheckedCursor => *effect = Effect::CloseAll,
                Some(Effect::CurrentOf { cursor, .. }) => cursor.push('2'),
                _ => {}
            }
        })
    }
}

impl Rewriting<'_> {
    fn names(&self, wrong: Misclaim) -> Vec<Findings> {
        let effects = self.findings.effects.iter().enumerate();
        let places: Vec<usize> = effects
            .filter(|(_, effect)| match effect {
                Effect::Execute(_) => true,
                Effect::Prepare(_) | Effect::Deallocate(_) => wrong != Misclaim::UnnamedExecute,
                _ => false,
            })
            .map(|(at, _)| at)
            .collect();
        self.each(places.len(), |it, nth| {
            let Some(at) = places.get(nth).copied() else {
                return;
            };
            match wrong {
                Misclaim::UnnamedExecute => {
                    it.effects.remove(at);
                    it.steps.remove(at);
                }
                Misclaim::NameOfAnotherStep => {
                    it.steps.get_mut(at).into_iter().for_each(|step| *step += 1);
                }
                _ => {
                    if let Some(
                        Effect::Prepare(name) | Effect::Execute(name) | Effect::Deallocate(name),
                    ) = it.effects.get_mut(at)
                    {
                        name.push('2');
                    }
                }
            }
        })
    }
}

/// A format that these rows are not in.
fn another(format: &Format) -> Format {
    match format {
        Format::Text(style) => Format::Csv(style.clone()),
        Format::Csv(style) => Format::Text(style.clone()),
        Format::Binary => Format::Text(crate::copy::Style {
            delimiter: b'\t',
            quote: b'"',
            null: (*b"\\N").into(),
            header: false,
        }),
    }
}

/// Looks at the constants of a tree.
fn gather(node: &Node, look: &mut impl FnMut(&Node)) {
    if node.kind == "AConst" {
        look(node);
    }
    for (_, value) in &node.fields {
        gather_in(value, look);
    }
}

fn gather_in(value: &Value, look: &mut impl FnMut(&Node)) {
    match value {
        Value::Node(node) => gather(node, look),
        Value::List(items) => items.iter().for_each(|item| gather_in(item, look)),
        _ => {}
    }
}
