//! Groups and windows.

use super::from::joined;
use super::{Generator, Kind, Relation};

impl Generator {
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
        if self.random.chance(12) {
            // PostgreSQL wants the same subquery in the select list.
            let kind = *self.random.pick(kinds);
            let query = self.scalar_subquery(kind, &joined(&scope, outer), depth.min(1));
            keys.insert(0, (query, kind));
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
            text += &match self.random.below(12) {
                0 => format!(" GROUP BY ROLLUP ({})", names.join(", ")),
                1 => format!(" GROUP BY GROUPING SETS (({}), ())", names.join(", ")),
                2 => format!(" GROUP BY CUBE ({})", names.join(", ")),
                3 => {
                    let names = names.join(", ");
                    format!(" GROUP BY GROUPING SETS (({names}), ROLLUP ({names}), ())")
                }
                4 if self.major >= 14 => {
                    format!(" GROUP BY DISTINCT {0}, ROLLUP ({0})", names.join(", "))
                }
                _ => format!(" GROUP BY {}", names.join(", ")),
            };
        }
        if self.random.chance(30) {
            let value = self.aggregate(Kind::Int, &scope, 1);
            text += &format!(" HAVING {value} >= {}", self.random.below(4));
        }
        text
    }

    pub(super) fn aggregate(&mut self, kind: Kind, scope: &[Relation], depth: usize) -> String {
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

    pub(super) fn windowed(&mut self, outer: &[Relation], depth: usize) -> String {
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
        if self.random.chance(40) {
            let frame = self.frame();
            let function =
                *self
                    .random
                    .pick(&["sum", "min", "max", "count", "first_value", "last_value"]);
            // Rows that tie are alike in all that is read of them.
            return format!(
                "SELECT {shown}, {function}({value}) OVER (PARTITION BY {part} ORDER BY {order}, {value}, {shown} {frame}) FROM {}{filter}",
                from.text
            );
        }
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

    /// A frame whose rows don't depend on the order of those that tie in value.
    fn frame(&mut self) -> String {
        let (start, end) = *self.random.pick(&[
            ("UNBOUNDED PRECEDING", "CURRENT ROW"),
            ("2 PRECEDING", "1 FOLLOWING"),
            ("CURRENT ROW", "UNBOUNDED FOLLOWING"),
            ("3 PRECEDING", "1 PRECEDING"),
        ]);
        let unit = *self.random.pick(&["ROWS", "GROUPS"]);
        let without = *self.random.pick(&[
            "",
            " EXCLUDE CURRENT ROW",
            " EXCLUDE GROUP",
            " EXCLUDE TIES",
        ]);
        format!("{unit} BETWEEN {start} AND {end}{without}")
    }
}
