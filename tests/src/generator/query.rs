//! SELECT: its forms, subqueries, CTEs and set operations.

use super::from::{columns, joined};
use super::second::{known, tenant_columns, with_schema};
use super::{Generator, Kind, Relation};

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
        if self.random.chance(4) {
            self.ctes.clear();
            return self.recursive();
        }
        let body = match self.random.below(13) {
            0 | 1 => self.set_operation(&kinds, &[], 2),
            2 | 3 => self.grouped(&kinds, &[], 2),
            4 => self.windowed(&[], 2),
            5 => self.star(),
            6 => self.locking(),
            7 => self.distinct_on(),
            _ => self.plain(&kinds, &[], 3),
        };
        self.ctes.clear();
        format!("{with}{body}")
    }

    pub(super) fn output_kind(&mut self) -> Kind {
        let kind = *self.random.pick(&[
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
        ]);
        if self.second { known(kind) } else { kind }
    }

    fn with_clause(&mut self, depth: usize) -> String {
        if !self.random.chance(22) {
            return String::new();
        }
        self.ctes(depth)
    }

    /// A query with CTEs of its own.
    fn nested_with(&mut self, kinds: &[Kind], outer: &[Relation], depth: usize) -> String {
        let known = self.ctes.len();
        let with = self.ctes(depth);
        let body = self.plain(kinds, outer, depth);
        self.ctes.truncate(known);
        format!("{with}{body}")
    }

    fn ctes(&mut self, depth: usize) -> String {
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
        match self.random.below(16) {
            0 | 1 if depth > 0 => self.set_operation(kinds, outer, depth - 1),
            2 if depth > 0 => self.nested_with(kinds, outer, depth - 1),
            3 | 4 => self.grouped(kinds, outer, depth.saturating_sub(1)),
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
    pub(super) fn link(&mut self, inner: &[Relation], outer: &[Relation]) -> String {
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
    pub(super) fn typed(&mut self, kind: Kind, scope: &[Relation], depth: usize) -> String {
        let value = self.expression(kind, scope, depth);
        if value.starts_with('\'') || value.starts_with("NULL") {
            return format!("{value}::{}", super::expression::type_name(kind));
        }
        value
    }

    pub(super) fn filter(&mut self, scope: &[Relation], depth: usize) -> String {
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
            if self.random.chance(15) {
                let count = 1 + self.random.below(5);
                tail.text += &format!(" FETCH FIRST {count} ROWS WITH TIES");
                return tail;
            }
            if self.random.chance(10) {
                let query = self.scalar_subquery(Kind::Int, &[], 0);
                tail.text += &format!(" LIMIT abs({query})");
            } else if self.random.chance(60) {
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

    /// `*` over a join: columns, their order and their merging must survive.
    fn star(&mut self) -> String {
        if self.random.chance(6) {
            let table = self.readable();
            return format!("TABLE {}", table.name);
        }
        let from = self.from(&[], 1, 3);
        let filter = self.filter(&from.scope, 2);
        let alias = self.random.pick(&from.scope).alias.clone();
        let list = match self.random.below(5) {
            0 => format!("{alias}.*"),
            1 => alias.clone(),
            2 if !self.second => format!("row_to_json({alias})::text"),
            _ => "*".to_owned(),
        };
        format!("SELECT {list} FROM {}{filter}", from.text)
    }

    /// The first row of each key, below an order over everything.
    fn distinct_on(&mut self) -> String {
        let from = self.from(&[], 2, 2);
        let kinds = [self.common_kind(), self.common_kind()];
        let values = kinds.map(|kind| self.typed(kind, &from.scope, 1));
        let filter = self.filter(&from.scope, 2);
        let direction = *self.random.pick(&["", " DESC", " NULLS FIRST"]);
        format!(
            "SELECT DISTINCT ON (1) {} FROM {}{filter} ORDER BY 1, 2{direction}",
            values.join(", "),
            from.text
        )
    }

    fn locking(&mut self) -> String {
        let tables = self.tables();
        let table = &tables[self.random.below(6)];
        let tenant = tenant_columns(table).first().copied().unwrap_or("id");
        let alias = self.alias();
        let scope = [Relation {
            alias: alias.clone(),
            columns: table.scope(),
        }];
        let filter = self.condition(&scope, 2);
        let value = self.expression(Kind::Int, &scope, 1);
        let strength = *self
            .random
            .pick(&["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"]);
        let wait = *self.random.pick(&["", "", "", " SKIP LOCKED"]);
        let (mut join, mut of) = (String::new(), String::new());
        if self.random.chance(30) {
            let other = self.table();
            let link = self.equality(&scope, &other.scope);
            let link = link.unwrap_or_else(|| "true".to_owned());
            join = format!(" JOIN {} ON {link}", other.text);
            of = format!(" OF {alias}");
        }
        format!(
            "SELECT {value}, {alias}.{tenant} FROM {} AS {alias}{join} WHERE {filter} FOR {strength}{of}{wait}",
            with_schema(table.name)
        )
    }
}
