//! SELECT: FROM with every join, subqueries, CTEs, set operations, aggregates, windows, LATERAL.

use super::tables::{TABLES, Table};
use super::views::{ARMED, VIEWS};
use super::{Column, Generator, Kind, Relation};

/// What a FROM clause gives.
struct From {
    text: String,
    scope: Vec<Relation>,
}

/// What stands before the select list and after the WHERE clause.
#[derive(Default)]
struct Tail {
    distinct: &'static str,
    text: String,
}

impl Generator {
    /// A statement's SELECT.
    pub(crate) fn top_select(&mut self) -> String {
        let with = self.with_clause(2);
        let count = 1 + self.random.below(4);
        let kinds: Vec<_> = (0..count).map(|_| self.output_kind()).collect();
        let body = match self.random.below(12) {
            0 | 1 => self.set_operation(&kinds, &[], 2),
            2 | 3 => self.grouped(&kinds, &[], 2),
            4 => self.windowed(&[], 2),
            5 => self.star(),
            6 => self.locking(),
            _ => self.plain(&kinds, &[], 3),
        };
        self.ctes.clear();
        format!("{with}{body}")
    }

    pub(super) fn output_kind(&mut self) -> Kind {
        *self.random.pick(&[
            Kind::Int,
            Kind::Int,
            Kind::Text,
            Kind::Text,
            Kind::Uuid,
            Kind::Bool,
            Kind::Numeric,
            Kind::Time,
            Kind::Date,
            Kind::Json,
            Kind::Tags,
            Kind::Status,
        ])
    }

    fn with_clause(&mut self, depth: usize) -> String {
        if !self.random.chance(22) {
            return String::new();
        }
        let mut parts = Vec::new();
        for _ in 0..=self.random.below(2) {
            // Sometimes a CTE takes a table's name: it hides the table from then on.
            let name = if self.random.chance(25) {
                ["notes", "campaigns", "agents"][self.random.below(3)].to_owned()
            } else {
                format!("w{}", self.alias())
            };
            if self.ctes.iter().any(|cte| cte.alias == name) {
                continue;
            }
            let kinds: Vec<_> = (0..=self.random.below(3))
                .map(|_| self.common_kind())
                .collect();
            let body = if self.random.chance(25) {
                self.set_operation(&kinds, &[], depth)
            } else {
                self.plain(&kinds, &[], depth)
            };
            let names: Vec<_> = (0..kinds.len()).map(|at| format!("c{at}")).collect();
            let materialized = *self
                .random
                .pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            parts.push(format!(
                "{name} ({}) AS {materialized}({body})",
                names.join(", ")
            ));
            self.ctes.push(Relation {
                alias: name,
                columns: columns(&names, &kinds),
            });
        }
        if parts.is_empty() {
            String::new()
        } else {
            format!("WITH {} ", parts.join(", "))
        }
    }

    /// A query that gives one column of each kind.
    pub(crate) fn subquery(&mut self, kinds: &[Kind], outer: &[Relation], depth: usize) -> String {
        match self.random.below(8) {
            0 if depth > 0 => self.set_operation(kinds, outer, depth - 1),
            1 => self.grouped(kinds, outer, depth.saturating_sub(1)),
            _ => self.plain(kinds, outer, depth),
        }
    }

    /// A subquery that gives one value at most.
    pub(crate) fn scalar_subquery(
        &mut self,
        kind: Kind,
        outer: &[Relation],
        depth: usize,
    ) -> String {
        let from = self.from(outer, depth, 1);
        let scope = joined(&from.scope, outer);
        let filter = self.condition(&scope, depth);
        let value = self.expression(kind, &from.scope, 0);
        match kind {
            Kind::Int | Kind::Numeric | Kind::Text | Kind::Date | Kind::Time => {
                let aggregate = ["min", "max"][self.random.below(2)];
                format!(
                    "(SELECT {aggregate}({value}) FROM {} WHERE {filter})",
                    from.text
                )
            }
            _ => format!(
                "(SELECT {value} FROM {} WHERE {filter} ORDER BY 1 LIMIT 1)",
                from.text
            ),
        }
    }

    /// The query of an EXISTS.
    pub(crate) fn exists_query(&mut self, outer: &[Relation], depth: usize) -> String {
        let from = self.from(outer, depth.saturating_sub(1), 2);
        let scope = joined(&from.scope, outer);
        let link = self.link(&from.scope, outer);
        let filter = self.condition(&scope, depth.saturating_sub(1));
        format!("SELECT 1 FROM {} WHERE {link}{filter}", from.text)
    }

    /// An equality between an inner and an outer column, as a prefix of a condition.
    fn link(&mut self, inner: &[Relation], outer: &[Relation]) -> String {
        match self.equality(inner, outer) {
            Some(equality) => format!("{equality} AND "),
            None => String::new(),
        }
    }

    pub(super) fn plain(&mut self, kinds: &[Kind], outer: &[Relation], depth: usize) -> String {
        let from = self.from(outer, depth, 3);
        let scope = joined(&from.scope, outer);
        let values: Vec<_> = kinds
            .iter()
            .map(|kind| self.typed(*kind, &scope, depth.min(2)))
            .collect();
        let filter = self.filter(&scope, depth);
        let tail = self.tail(kinds);
        format!(
            "SELECT {}{} FROM {}{filter}{}",
            tail.distinct,
            values.join(", "),
            from.text,
            tail.text
        )
    }

    /// An expression whose type a set operation or derived table can rely on.
    fn typed(&mut self, kind: Kind, scope: &[Relation], depth: usize) -> String {
        let value = self.expression(kind, scope, depth);
        if value.starts_with('\'') || value.starts_with("NULL") {
            return format!("{value}::{}", super::expression::type_name(kind));
        }
        value
    }

    fn filter(&mut self, scope: &[Relation], depth: usize) -> String {
        if self.random.chance(20) {
            return String::new();
        }
        format!(" WHERE {}", self.condition(scope, depth))
    }

    /// DISTINCT, and LIMIT below an order over everything that comes out.
    fn tail(&mut self, kinds: &[Kind]) -> Tail {
        let mut tail = Tail::default();
        if self.random.chance(10) {
            tail.distinct = "DISTINCT ";
        }
        if self.random.chance(20) {
            let order: Vec<_> = (1..=kinds.len()).map(|at| at.to_string()).collect();
            let direction = *self.random.pick(&["", " DESC", " NULLS FIRST"]);
            tail.text = format!(" ORDER BY {}{direction}", order.join(", "));
            if self.random.chance(60) {
                tail.text += &format!(" LIMIT {}", self.random.below(9));
            }
            if self.random.chance(30) {
                tail.text += &format!(" OFFSET {}", self.random.below(4));
            }
        }
        tail
    }

    pub(crate) fn set_operation(
        &mut self,
        kinds: &[Kind],
        outer: &[Relation],
        depth: usize,
    ) -> String {
        let operator = *self.random.pick(&[
            "UNION",
            "UNION ALL",
            "INTERSECT",
            "INTERSECT ALL",
            "EXCEPT",
            "EXCEPT ALL",
        ]);
        let kinds: Vec<_> = kinds.to_vec();
        let left = self.plain(&kinds, outer, depth.saturating_sub(1));
        let right = if self.random.chance(15) {
            let values: Vec<_> = kinds.iter().map(|kind| self.typed_literal(*kind)).collect();
            format!("VALUES ({})", values.join(", "))
        } else {
            self.plain(&kinds, outer, depth.saturating_sub(1))
        };
        format!("({left}) {operator} ({right})")
    }

    fn typed_literal(&mut self, kind: Kind) -> String {
        let value = self.literal(kind);
        format!("{value}::{}", super::expression::type_name(kind))
    }

    /// GROUP BY columns, and aggregates of the wanted kinds.
    pub(crate) fn grouped(&mut self, kinds: &[Kind], outer: &[Relation], depth: usize) -> String {
        let from = self.from(outer, depth, 2);
        let scope = from.scope.clone();
        let filter = self.filter(&joined(&scope, outer), depth);
        let mut keys = Vec::new();
        if self.random.chance(70) {
            for _ in 0..=self.random.below(2) {
                let relation = self.random.pick(&scope).clone();
                let column = self.random.pick(&relation.columns).clone();
                keys.push((format!("{}.{}", relation.alias, column.name), column.kind));
            }
        }
        let values: Vec<_> = kinds
            .iter()
            .map(|kind| match keys.iter().find(|(_, key)| key == kind) {
                Some((name, _)) => name.clone(),
                None => self.aggregate(*kind, &scope, depth.min(1)),
            })
            .collect();
        let mut text = format!("SELECT {} FROM {}{filter}", values.join(", "), from.text);
        if !keys.is_empty() {
            let names: Vec<_> = keys.iter().map(|(name, _)| name.clone()).collect();
            text += &match self.random.below(8) {
                0 => format!(" GROUP BY ROLLUP ({})", names.join(", ")),
                1 => format!(" GROUP BY GROUPING SETS (({}), ())", names.join(", ")),
                _ => format!(" GROUP BY {}", names.join(", ")),
            };
        }
        if self.random.chance(30) {
            let value = self.aggregate(Kind::Int, &scope, 1);
            text += &format!(" HAVING {value} >= {}", self.random.below(4));
        }
        text
    }

    fn aggregate(&mut self, kind: Kind, scope: &[Relation], depth: usize) -> String {
        let value = self.typed(kind, scope, depth);
        let filter = if self.random.chance(20) {
            format!(" FILTER (WHERE {})", self.condition(scope, 1))
        } else {
            String::new()
        };
        match kind {
            Kind::Int => match self.random.below(5) {
                0 => format!("count(*){filter}::int"),
                1 => format!("count(DISTINCT {value}){filter}::int"),
                2 => format!("sum({value}){filter}::int"),
                3 => format!("max({value}){filter}"),
                _ => format!("min({value}){filter}"),
            },
            Kind::Numeric => format!("sum({value}){filter}"),
            Kind::Text => match self.random.below(3) {
                0 => format!("string_agg({value}, ',' ORDER BY {value}){filter}"),
                1 => format!("max({value}){filter}"),
                _ => format!("min({value}){filter}"),
            },
            Kind::Bool => format!("bool_or({value}){filter}"),
            Kind::Date | Kind::Time | Kind::Status => format!("max({value}){filter}"),
            Kind::Uuid => format!("(array_agg({value} ORDER BY {value}){filter})[1]"),
            Kind::Json => format!("jsonb_agg({value} ORDER BY {value}){filter}"),
            Kind::Tags => {
                let text = self.typed(Kind::Text, scope, 0);
                format!("array_agg({text} ORDER BY {text}){filter}")
            }
        }
    }

    fn windowed(&mut self, outer: &[Relation], depth: usize) -> String {
        let from = self.from(outer, depth, 2);
        let filter = self.filter(&from.scope, depth);
        let part = self.expression(Kind::Text, &from.scope, 1);
        let order = self.expression(Kind::Int, &from.scope, 1);
        let value = self.expression(Kind::Int, &from.scope, 1);
        let function = match self.random.below(6) {
            0 => "rank()".to_owned(),
            1 => "dense_rank()".to_owned(),
            2 => "count(*)".to_owned(),
            3 => format!("max({value})"),
            4 => format!("sum({value})"),
            _ => format!("min({value})"),
        };
        let shown = self.expression(Kind::Uuid, &from.scope, 0);
        if self.random.chance(30) {
            return format!(
                "SELECT {shown}, {function} OVER w FROM {}{filter} WINDOW w AS (PARTITION BY {part} ORDER BY {order})",
                from.text
            );
        }
        format!(
            "SELECT {shown}, {function} OVER (PARTITION BY {part} ORDER BY {order}) FROM {}{filter}",
            from.text
        )
    }

    /// `*` over a join: columns, their order and their merging must survive.
    fn star(&mut self) -> String {
        let from = self.from(&[], 1, 3);
        let filter = self.filter(&from.scope, 2);
        let alias = self.random.pick(&from.scope).alias.clone();
        let list = match self.random.below(5) {
            0 => format!("{alias}.*"),
            1 => alias.clone(),
            2 => format!("row_to_json({alias})::text"),
            _ => "*".to_owned(),
        };
        format!("SELECT {list} FROM {}{filter}", from.text)
    }

    fn locking(&mut self) -> String {
        let table = &TABLES[self.random.below(6)];
        let alias = self.alias();
        let scope = [Relation {
            alias: alias.clone(),
            columns: table.scope(),
        }];
        let filter = self.condition(&scope, 2);
        let value = self.expression(Kind::Int, &scope, 1);
        let strength = *self.random.pick(&[
            "UPDATE",
            "NO KEY UPDATE",
            "SHARE",
            "KEY SHARE",
            "UPDATE SKIP LOCKED",
        ]);
        format!(
            "SELECT {value}, {alias}.org_id FROM public.{} AS {alias} WHERE {filter} FOR {strength}",
            table.name
        )
    }

    fn from(&mut self, outer: &[Relation], depth: usize, most: usize) -> From {
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

    fn join(&mut self, left: From, outer: &[Relation], depth: usize) -> From {
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
            self.derived(&visible, depth - 1, true)
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
    fn equality(&mut self, left: &[Relation], right: &[Relation]) -> Option<String> {
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

    fn item(&mut self, outer: &[Relation], depth: usize) -> From {
        match self.random.below(14) {
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

    fn table(&mut self) -> From {
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
        // A partitioned table holds no rows of its own, which is fine.
        let mut scope = table.scope();
        let alias = self.alias();
        let mut list = String::new();
        if self.random.chance(8) {
            // A list of column aliases that renames, or swaps, the tenant column.
            // The lists in `tables` leave columns out, but never one of the first two.
            let mut names = vec!["r0".to_owned(), "r1".to_owned()];
            if self.random.chance(30)
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
        From {
            text: format!("{only}{schema}{} AS {alias}{list}", table.name),
            scope: vec![Relation {
                alias,
                columns: scope,
            }],
        }
    }

    /// A table or a view.
    pub(crate) fn readable(&mut self) -> &'static Table {
        if self.random.chance(20) {
            // Some are bombs themselves, among organisation b's own rows.
            let armed = if self.bombs() { 0 } else { ARMED };
            return self.random.pick(&VIEWS[armed..]);
        }
        self.random.pick(TABLES)
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

    fn derived(&mut self, outer: &[Relation], depth: usize, lateral: bool) -> From {
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
                    "{prefix}(SELECT {} FROM public.{} {inner} WHERE {link}{filter}) AS {alias}",
                    names.join(", "),
                    table.name
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

fn joined(one: &[Relation], two: &[Relation]) -> Vec<Relation> {
    one.iter().chain(two).cloned().collect()
}
