//! FROM: tables, views, every join, derived tables, LATERAL, functions.

use super::second::with_schema;
use super::tables::Table;
use super::views::{ARMED, VIEWS, is_view};
use super::{Column, Generator, Kind, Relation};

/// What a FROM clause gives.
pub(super) struct From {
    pub(super) text: String,
    pub(super) scope: Vec<Relation>,
}

impl Generator {
    pub(super) fn from(&mut self, outer: &[Relation], depth: usize, most: usize) -> From {
        let mut from = self.item(outer, depth);
        let mut count = 1;
        while count < most && self.random.chance(if count == 1 { 60 } else { 35 }) {
            from = self.join(from, outer, depth);
            count += 1;
        }
        if self.random.chance(10) {
            let small = self.item(outer, 0);
            from.text = format!("{}, {}", from.text, small.text);
            from.scope.extend(small.scope);
        }
        from
    }

    pub(super) fn join(&mut self, left: From, outer: &[Relation], depth: usize) -> From {
        let single = left.scope.len() == 1;
        let kind = *self.random.pick(&[
            "JOIN",
            "JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "LEFT OUTER JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
            ",",
        ]);
        let lateral =
            matches!(kind, "JOIN" | "LEFT JOIN" | ",") && depth > 0 && self.random.chance(15);
        let right = if lateral {
            let visible = joined(&left.scope, outer);
            if !self.second && self.random.chance(35) {
                self.table_function(&visible)
            } else {
                self.derived(&visible, depth - 1, true)
            }
        } else if depth > 0 && kind != "," && self.random.chance(12) {
            let first = self.item(outer, 0);
            let nested = self.join(first, outer, 0);
            From {
                text: format!("({})", nested.text),
                scope: nested.scope,
            }
        } else {
            self.item(outer, depth)
        };
        let scope = joined(&left.scope, &right.scope);
        if kind == "," {
            // Kept apart by an equality so that the product stays small.
            let condition = self.equality(&left.scope, &right.scope);
            return match condition {
                Some(condition) => From {
                    text: format!("{} JOIN {} ON {condition}", left.text, right.text),
                    scope,
                },
                None => From {
                    text: format!("{} CROSS JOIN {}", left.text, right.text),
                    scope,
                },
            };
        }
        if single && right.scope.len() == 1 && self.random.chance(25) {
            let (one, two) = (&left.scope[0], &right.scope[0]);
            let shared: Vec<_> = one
                .columns
                .iter()
                .filter(|column| two.columns.iter().any(|other| other.name == column.name))
                .cloned()
                .collect();
            let agree = shared.iter().all(|column| {
                column.kind != Kind::Json
                    && two
                        .columns
                        .iter()
                        .any(|other| other.name == column.name && other.kind == column.kind)
            });
            if agree && !shared.is_empty() {
                let text = if self.random.chance(40) {
                    format!("{} NATURAL {kind} {}", left.text, right.text)
                } else {
                    let column = self.random.pick(&shared).name.clone();
                    format!("{} {kind} {} USING ({column})", left.text, right.text)
                };
                return From { text, scope };
            }
        }
        let equality = self.equality(&left.scope, &right.scope);
        let condition = match (kind, equality) {
            ("FULL JOIN", Some(equality)) if self.random.chance(25) => {
                format!("{equality} AND {}", self.condition(&scope, 0))
            }
            ("FULL JOIN", Some(equality)) => equality,
            ("FULL JOIN", None) => "true".to_owned(),
            (_, Some(equality)) if self.random.chance(60) => equality,
            (_, Some(equality)) => format!("{equality} AND {}", self.condition(&scope, 1)),
            (_, None) => self.condition(&scope, 1),
        };
        From {
            text: format!("{} {kind} {} ON {condition}", left.text, right.text),
            scope,
        }
    }

    /// Equality of columns of two sides, of the same type.
    pub(super) fn equality(&mut self, left: &[Relation], right: &[Relation]) -> Option<String> {
        let mut pairs = Vec::new();
        for one in left {
            for two in right {
                for a in &one.columns {
                    for b in two.columns.iter().filter(|b| b.kind == a.kind) {
                        if matches!(a.kind, Kind::Int | Kind::Uuid | Kind::Text) {
                            pairs.push(format!(
                                "{}.{} = {}.{}",
                                one.alias, a.name, two.alias, b.name
                            ));
                        }
                    }
                }
            }
        }
        (!pairs.is_empty()).then(|| self.random.pick(&pairs).clone())
    }

    pub(super) fn item(&mut self, outer: &[Relation], depth: usize) -> From {
        match self.random.below(15) {
            6 if !self.second => self.table_function(outer),
            0 | 1 if depth > 0 => {
                // What is in scope outside is not, in a derived table that is not LATERAL, unless
                // it comes from a query further out.
                self.derived(outer, depth - 1, false)
            }
            2 | 3 if !self.ctes.is_empty() => {
                let cte = self.random.pick(&self.ctes).clone();
                let alias = self.alias();
                From {
                    text: format!("{} AS {alias}", cte.alias),
                    scope: vec![Relation {
                        alias,
                        columns: cte.columns,
                    }],
                }
            }
            4 => {
                let alias = self.alias();
                let rows: Vec<_> = (0..3)
                    .map(|_| {
                        format!(
                            "({}, {}::text)",
                            self.random.below(9),
                            self.literal(Kind::Text)
                        )
                    })
                    .collect();
                From {
                    text: format!("(VALUES {}) AS {alias} (id, name)", rows.join(", ")),
                    scope: vec![Relation {
                        alias,
                        columns: columns(&["id".into(), "name".into()], &[Kind::Int, Kind::Text]),
                    }],
                }
            }
            5 => {
                let alias = self.alias();
                From {
                    text: format!(
                        "generate_series(1, {}) AS {alias} (n)",
                        1 + self.random.below(6)
                    ),
                    scope: vec![Relation {
                        alias,
                        columns: columns(&["n".into()], &[Kind::Int]),
                    }],
                }
            }
            _ => self.table(),
        }
    }

    pub(super) fn table(&mut self) -> From {
        if !self.temporaries.is_empty() && self.random.chance(40) {
            return self.temporary();
        }
        let table = self.readable();
        let hidden = self.ctes.iter().any(|cte| cte.alias == table.name);
        let schema = if hidden || self.random.chance(30) {
            "public."
        } else {
            ""
        };
        let only = if self.random.chance(4) { "ONLY " } else { "" };
        let written = match only {
            _ if table.name.contains('.') => table.name.to_owned(),
            "" => self.spelled(schema, table.name),
            _ => format!("{schema}{}", table.name),
        };
        // A partitioned table holds no rows of its own, which is fine.
        let mut scope = table.scope();
        let alias = self.alias();
        let mut list = String::new();
        if self.random.chance(8) {
            // A list of column aliases that renames, or swaps, the tenant column.
            // The lists in `tables` leave columns out, but never one of the first two.
            let mut names = vec!["r0".to_owned(), "r1".to_owned()];
            if self.random.chance(30)
                && !self.second
                && !table
                    .columns
                    .iter()
                    .skip(2)
                    .any(|(name, _)| *name == "org_id")
            {
                names[0] = "org_id".to_owned();
            }
            for (column, name) in scope.iter_mut().zip(&names) {
                column.name.clone_from(name);
            }
            names.truncate(scope.len());
            list = format!(" ({})", names.join(", "));
        }
        let sample = if self.random.chance(2) && !is_view(table.name) {
            *self.random.pick(&[
                " TABLESAMPLE BERNOULLI (100)",
                " TABLESAMPLE SYSTEM (100) REPEATABLE (7)",
                " TABLESAMPLE SYSTEM (0)",
            ])
        } else {
            ""
        };
        From {
            text: format!("{only}{written} AS {alias}{list}{sample}"),
            scope: vec![Relation {
                alias,
                columns: scope,
            }],
        }
    }

    /// A table or a view.
    pub(crate) fn readable(&mut self) -> &'static Table {
        if !self.second && self.random.chance(20) {
            // Some are bombs themselves, among organisation b's own rows.
            let armed = if self.bombs() { 0 } else { ARMED };
            return self.random.pick(&VIEWS[armed..]);
        }
        let tables = self.tables();
        self.random.pick(tables)
    }

    /// A temporary table of the script.
    fn temporary(&mut self) -> From {
        let table = self.random.pick(&self.temporaries).clone();
        let alias = self.alias();
        From {
            text: format!("{} AS {alias}", table.alias),
            scope: vec![Relation {
                alias,
                columns: table.columns,
            }],
        }
    }

    pub(super) fn derived(&mut self, outer: &[Relation], depth: usize, lateral: bool) -> From {
        let alias = self.alias();
        let prefix = if lateral { "LATERAL " } else { "" };
        if self.random.chance(35) {
            // A table's own columns under their names: bombs pass through.
            let table = self.readable();
            let inner = self.alias();
            let scope = vec![Relation {
                alias: inner.clone(),
                columns: table.scope(),
            }];
            let link = if lateral {
                self.link(&scope, outer)
            } else {
                String::new()
            };
            let filter = self.condition(&joined(&scope, outer), depth.min(1));
            let names: Vec<_> = table
                .columns
                .iter()
                .map(|(name, _)| format!("{inner}.{name}"))
                .collect();
            return From {
                text: format!(
                    "{prefix}(SELECT {} FROM {} {inner} WHERE {link}{filter}) AS {alias}",
                    names.join(", "),
                    with_schema(table.name)
                ),
                scope: vec![Relation {
                    alias,
                    columns: table.scope(),
                }],
            };
        }
        let kinds: Vec<_> = (0..=self.random.below(3))
            .map(|_| self.common_kind())
            .collect();
        let names: Vec<_> = (0..kinds.len()).map(|at| format!("d{at}")).collect();
        let body = self.subquery(&kinds, outer, depth);
        From {
            text: format!("{prefix}({body}) AS {alias} ({})", names.join(", ")),
            scope: vec![Relation {
                alias,
                columns: columns(&names, &kinds),
            }],
        }
    }
}

pub(super) fn columns(names: &[String], kinds: &[Kind]) -> Vec<Column> {
    names
        .iter()
        .zip(kinds)
        .map(|(name, kind)| Column {
            name: name.clone(),
            kind: *kind,
            bomb: None,
        })
        .collect()
}

pub(super) fn joined(one: &[Relation], two: &[Relation]) -> Vec<Relation> {
    one.iter().chain(two).cloned().collect()
}
