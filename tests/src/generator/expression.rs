//! Expressions of a type over the relations in scope.

use super::second::known;
use super::{Generator, Kind, Relation};

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

impl Generator {
    /// A constant.
    pub(crate) fn literal(&mut self, kind: Kind) -> String {
        if let Some(parameter) = self.parameter(kind) {
            return parameter;
        }
        let number = self.random.below(13);
        if self.random.chance(4) {
            return format!("NULL::{}", type_name(kind));
        }
        match kind {
            Kind::Int => number.to_string(),
            Kind::Numeric => format!("{number}.5"),
            Kind::Text => {
                let texts = [
                    "Lead 3",
                    "note 1",
                    "x",
                    "t1",
                    "Campaign 5",
                    "1",
                    "+495",
                    "",
                    "k%",
                    "O''Brien",
                ];
                format!("'{}'", self.random.pick(&texts))
            }
            Kind::Bool => ["true", "false"][number % 2].to_owned(),
            Kind::Uuid => match number % 4 {
                0 => "'a0000000-0000-0000-0000-000000000001'::uuid".to_owned(),
                1 => "'b0000000-0000-0000-0000-000000000002'::uuid".to_owned(),
                2 => format!("'{}'::uuid", self.tenant.org()),
                _ => format!("md5('lead{number}')::uuid"),
            },
            Kind::Time => format!("timestamptz '2026-01-0{} 03:00:00+00'", 1 + number % 9),
            Kind::Date => format!("date '2026-01-{}'", 10 + number),
            Kind::Json => format!("'{{\"n\": {number}}}'::jsonb"),
            Kind::Tags => format!("ARRAY['t{}', 'x']", number % 3),
            Kind::Status => {
                let values = ["queued", "ringing", "answered", "failed"];
                format!("'{}'::public.call_status", self.random.pick(&values))
            }
        }
    }

    /// A column of that type in scope, qualified.
    fn column(&mut self, kind: Kind, scope: &[Relation]) -> Option<String> {
        let mut found = Vec::new();
        for relation in scope {
            for column in relation.columns.iter().filter(|column| column.kind == kind) {
                found.push(format!("{}.{}", relation.alias, column.name));
            }
        }
        (!found.is_empty()).then(|| self.random.pick(&found).clone())
    }

    /// An expression of that type.
    pub(crate) fn expression(&mut self, kind: Kind, scope: &[Relation], depth: usize) -> String {
        if kind == Kind::Bool {
            return self.condition(scope, depth);
        }
        if depth == 0 || self.random.chance(55) {
            return match self.column(kind, scope) {
                Some(column) if !self.random.chance(12) => column,
                _ => self.literal(kind),
            };
        }
        match self.random.below(10) {
            0 => {
                let condition = self.condition(scope, depth - 1);
                let yes = self.expression(kind, scope, depth - 1);
                let no = self.expression(kind, scope, depth - 1);
                format!("CASE WHEN {condition} THEN {yes} ELSE {no} END")
            }
            1 => {
                let first = self.expression(kind, scope, depth - 1);
                let second = self.expression(kind, scope, 0);
                let function = ["coalesce", "nullif"][self.random.below(2)];
                format!("{function}({first}, {second})")
            }
            2 if depth > 1 => self.scalar_subquery(kind, scope, depth - 1),
            _ => self.computed(kind, scope, depth),
        }
    }

    fn computed(&mut self, kind: Kind, scope: &[Relation], depth: usize) -> String {
        match kind {
            Kind::Int => self.computed_int(scope, depth),
            Kind::Text => self.computed_text(scope, depth),
            Kind::Numeric => {
                let left = self.expression(Kind::Numeric, scope, depth - 1);
                let right = self.expression(Kind::Int, scope, 0);
                format!("({left} + {right})")
            }
            Kind::Date => format!("({} + 1)", self.expression(Kind::Date, scope, depth - 1)),
            Kind::Time => format!(
                "({} + interval '1 hour')",
                self.expression(Kind::Time, scope, depth - 1)
            ),
            Kind::Json => self.computed_json(scope, depth),
            Kind::Tags => format!(
                "array_append({}, 'y')",
                self.expression(Kind::Tags, scope, depth - 1)
            ),
            Kind::Uuid | Kind::Status | Kind::Bool => self.expression(kind, scope, 0),
        }
    }

    fn computed_int(&mut self, scope: &[Relation], depth: usize) -> String {
        if self.bombs()
            && self.random.chance(35)
            && let Some(text) = self.leaky_int(scope)
        {
            return text;
        }
        match self.random.below(5) {
            0 => format!("length({})", self.expression(Kind::Text, scope, depth - 1)),
            1 => format!("abs({})", self.expression(Kind::Int, scope, depth - 1)),
            2 => format!(
                "array_length({}, 1)",
                self.expression(Kind::Tags, scope, depth - 1)
            ),
            _ => {
                let left = self.expression(Kind::Int, scope, depth - 1);
                let right = self.expression(Kind::Int, scope, 0);
                let operator = ["+", "-"][self.random.below(2)];
                format!("({left} {operator} {right})")
            }
        }
    }

    fn computed_text(&mut self, scope: &[Relation], depth: usize) -> String {
        match self.random.below(5) {
            0 if self.second => format!("lower({})", self.expression(Kind::Text, scope, depth - 1)),
            3 if self.second => format!("md5({})", self.expression(Kind::Text, scope, depth - 1)),
            0 => format!("upper({})", self.expression(Kind::Text, scope, depth - 1)),
            1 => format!("left({}, 4)", self.expression(Kind::Text, scope, depth - 1)),
            2 => format!("{}::text", self.expression(Kind::Int, scope, depth - 1)),
            3 => format!(
                "({} ->> 'n')",
                self.expression(Kind::Json, scope, depth - 1)
            ),
            _ => {
                let left = self.expression(Kind::Text, scope, depth - 1);
                let right = self.expression(Kind::Text, scope, 0);
                format!("({left} || {right})")
            }
        }
    }

    /// A boolean expression.
    pub(crate) fn condition(&mut self, scope: &[Relation], depth: usize) -> String {
        if self.bombs()
            && self.random.chance(18)
            && let Some(text) = self.leaky_condition(scope)
        {
            return self.disguised(text);
        }
        if depth == 0 {
            return self.comparison(scope, 0);
        }
        match self.random.below(16) {
            0 | 1 => format!(
                "({} AND {})",
                self.condition(scope, depth - 1),
                self.condition(scope, depth - 1)
            ),
            2 | 3 => format!(
                "({} OR {})",
                self.condition(scope, depth - 1),
                self.condition(scope, depth - 1)
            ),
            4 => format!("NOT {}", parenthesized(&self.condition(scope, depth - 1))),
            5 => {
                let kind = self.common_kind();
                let not = ["", " NOT"][self.random.below(2)];
                format!("({} IS{not} NULL)", self.expression(kind, scope, depth - 1))
            }
            6 => {
                let kind = self.common_kind();
                let left = self.expression(kind, scope, depth - 1);
                let list: Vec<_> = (0..=self.random.below(3))
                    .map(|_| self.literal(kind))
                    .collect();
                format!("({left} IN ({}))", list.join(", "))
            }
            7 if depth > 1 => {
                let kind = self.common_kind();
                let left = self.expression(kind, scope, 0);
                let query = self.subquery(&[kind], scope, depth - 1);
                let not = ["", "NOT "][self.random.below(2)];
                format!("({left} {not}IN ({query}))")
            }
            8 | 9 if depth > 1 => {
                let query = self.exists_query(scope, depth - 1);
                let not = ["", "NOT "][self.random.below(2)];
                format!("({not}EXISTS ({query}))")
            }
            10 => {
                let text = self.expression(Kind::Text, scope, depth - 1);
                let pattern = *self.random.pick(&["%a%", "Lead%", "%1", "_%"]);
                let operator = *self.random.pick(&["LIKE", "ILIKE", "NOT LIKE"]);
                format!("({text} {operator} '{pattern}')")
            }
            11 => {
                let value = self.expression(Kind::Int, scope, depth - 1);
                format!("({value} BETWEEN 1 AND {})", self.literal(Kind::Int))
            }
            13 if !self.second => self.json_condition(scope, depth - 1),
            14 => self.quantified(scope, depth),
            12 => {
                let kind = self.common_kind();
                let left = self.expression(kind, scope, depth - 1);
                format!(
                    "({left} IS DISTINCT FROM {})",
                    self.expression(kind, scope, 0)
                )
            }
            _ => self.comparison(scope, depth - 1),
        }
    }

    /// A row, or an array's or a query's every element, beside a value.
    fn quantified(&mut self, scope: &[Relation], depth: usize) -> String {
        let kind = self.common_kind();
        let left = self.expression(kind, scope, 0);
        let list: Vec<_> = (0..=self.random.below(2))
            .map(|_| self.literal(kind))
            .collect();
        let word = *self.random.pick(&["= ANY", "<> ALL"]);
        match self.random.below(3) {
            0 => format!("({left} {word} (ARRAY[{}]))", list.join(", ")),
            1 if depth > 1 => {
                let query = self.subquery(&[kind], scope, depth - 1);
                format!("({left} {word} ({query}))")
            }
            _ => {
                let second = self.expression(Kind::Text, scope, 0);
                let (one, two) = (self.literal(kind), self.literal(Kind::Text));
                format!("(({left}, {second}) IS DISTINCT FROM ({one}, {two}))")
            }
        }
    }

    fn comparison(&mut self, scope: &[Relation], depth: usize) -> String {
        if self.random.chance(6)
            && let Some(column) = self.column(Kind::Bool, scope)
        {
            return column;
        }
        let kind = self.common_kind();
        let left = self.expression(kind, scope, depth);
        let right = self.expression(kind, scope, 0);
        let operator = match kind {
            Kind::Int | Kind::Text | Kind::Date | Kind::Time => *self.random.pick(&COMPARISONS),
            _ => ["=", "<>"][self.random.below(2)],
        };
        format!("({left} {operator} {right})")
    }

    pub(crate) fn common_kind(&mut self) -> Kind {
        let kind = *self.random.pick(&[
            Kind::Int,
            Kind::Int,
            Kind::Int,
            Kind::Text,
            Kind::Text,
            Kind::Uuid,
            Kind::Uuid,
            Kind::Numeric,
            Kind::Status,
            Kind::Date,
            Kind::Time,
        ]);
        if self.second { known(kind) } else { kind }
    }
}

fn parenthesized(text: &str) -> String {
    format!("({text})")
}

/// The type's name in SQL.
pub(crate) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "int",
        Kind::Numeric => "numeric",
        Kind::Text => "text",
        Kind::Bool => "boolean",
        Kind::Uuid => "uuid",
        Kind::Time => "timestamptz",
        Kind::Date => "date",
        Kind::Json => "jsonb",
        Kind::Tags => "text[]",
        Kind::Status => "public.call_status",
    }
}
