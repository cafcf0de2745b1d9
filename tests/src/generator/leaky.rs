//! Numbers and conditions that fail on organisation b's rows, and on no own one: whoever evaluates one
//! before the tenant's predicate shows it.

use super::second::is_of_the_first;
use super::{Bomb, Generator, Kind, Relation};

/// Of a number that is 777001 in organisation b; `{}` is the column.
const NUMBERS: &[&str] = &[
    "(1 / ({} - 777001))",
    "(5 % ({} - 777001))",
    "{}::smallint::int",
    "{}::text::smallint::int",
    "({} * 2765)",
    "{}::numeric(5,0)::int",
    "width_bucket({}, 0, 777002, (777001 - {})::int)",
    "sqrt(777000 - {})::int",
    "ln(777001 - {})::int",
    "lower(int4range({}::int, 777000))",
    "extract(day FROM make_date(2026, 1, 1 + ({} / 777001)::int * 40))::int",
    "get_bit(B'101', ({} / 777001)::int * 9)",
    "ascii(chr({}::int + 400000))",
    "CASE WHEN {} > 0 THEN 1 / ({} - 777001) END",
];

/// Of a text that is a number but in organisation b.
const TEXTS: &[&str] = &[
    "{}::int",
    "CAST({} AS numeric)::int",
    "CAST(CAST({} AS varchar) AS smallint)::int",
    "CAST({} AS public.small)::int",
    "trim({})::int",
    "nullif({}, '')::int",
    "coalesce({}, '0')::int",
    "(('{' || {} || '}')::int[])[1]",
    "upper(('[0,' || {} || ']')::int4range)",
    "CASE WHEN {} IS NOT NULL THEN {}::int END",
    "(('[' || {} || ']')::jsonb ->> 0)::int",
    "jsonb_array_length(('[' || {} || ']')::jsonb)",
    "to_number({}, '99')::int",
    "(json_populate_record(NULL::public.money_pair, json_build_object('amount', {}))).amount::int",
];

const DATES: &[&str] = &[
    "CAST({} AS date) > '2026-03-09'",
    "to_date({}, 'YYYY-MM-DD') > '2026-03-09'",
    "{}::timestamptz > '2026-03-09 00:00:00+00'",
    "date_trunc('month', {}::timestamp) > '2026-03-01'",
    "{}::date BETWEEN '2026-03-02' AND '2026-04-02'",
    "(date '2026-03-01', {}::date) OVERLAPS (date '2026-03-20', date '2026-04-01')",
    "isfinite({}::date)",
    "daterange('2026-01-01', {}::date) @> date '2026-01-05'",
    "extract(dow FROM {}::date) IN (1, 2)",
];

const JSONS: &[&str] = &[
    "({}::json ->> 'v') = '2'",
    "{}::jsonb @> '{\"v\": 2}'",
    "jsonb_path_exists({}::jsonb, '$.v ? (@ > 2)')",
    "json_typeof({}::json) = 'object'",
    "({}::jsonb)['v'] = '2'::jsonb",
    "EXISTS (SELECT FROM json_each_text({}::json))",
    "(SELECT v FROM jsonb_to_record({}::jsonb) AS r (v int)) = 2",
];

const PATTERNS: &[&str] = &[
    "'body1' ~ {}",
    "'body1' !~* {}",
    "regexp_replace('body1', {}, 'x') = 'x'",
    "substring('body1' FROM {}) IS NULL",
    "'body1' SIMILAR TO {}",
    "array_length(regexp_split_to_array('body1', {}), 1) > 1",
    "EXISTS (SELECT regexp_matches('body1', {}))",
    "'body1' ~ ANY (ARRAY[{}, 'x'])",
];

const ZONES: &[&str] = &[
    "(timestamptz '2026-01-01 00:00:00+00' AT TIME ZONE {}) > '2025-01-01'",
    "timezone({}, timestamptz '2026-01-01 00:00:00+00') > '2025-01-01'",
    "date_trunc('day', timestamptz '2026-01-01 00:00:00+00', {}) > '2025-01-01'",
    "make_timestamptz(2026, 1, 1, 0, 0, 0, {}) > '2025-01-01'",
];

const SCHEMAS: &[&str] = &[
    "has_schema_privilege({}, 'usage')",
    "NOT has_schema_privilege({}, 'create')",
];

impl Generator {
    /// A column of these whose foreign values blow up: its name, and what does it.
    fn armed(
        &mut self,
        scope: &[Relation],
        wanted: impl Fn(Option<Bomb>) -> bool,
    ) -> Option<(String, Option<Bomb>)> {
        let columns = scope.iter().flat_map(|relation| {
            let named = |name: &str| format!("{}.{name}", relation.alias);
            let columns = relation.columns.iter();
            columns.map(move |column| (named(&column.name), column))
        });
        let armed: Vec<_> = columns
            .filter(|(_, column)| column.bomb.is_some() || column.kind == Kind::Int)
            .map(|(name, column)| (name, column.bomb))
            .filter(|(_, bomb)| wanted(*bomb))
            .collect();
        (!armed.is_empty()).then(|| self.random.pick(&armed).clone())
    }

    pub(super) fn leaky_int(&mut self, scope: &[Relation]) -> Option<String> {
        let wanted = |bomb| matches!(bomb, None | Some(Bomb::Number));
        let (name, bomb) = self.armed(scope, wanted)?;
        let forms = if bomb.is_some() { TEXTS } else { NUMBERS };
        Some(self.form(forms).replace("{}", &name))
    }

    /// One that its world knows.
    fn form(&mut self, forms: &'static [&'static str]) -> &'static str {
        loop {
            let form = *self.random.pick(forms);
            if !self.second || !is_of_the_first(form) {
                return form;
            }
        }
    }

    pub(super) fn leaky_condition(&mut self, scope: &[Relation]) -> Option<String> {
        let (name, bomb) = self.armed(scope, |_| true)?;
        let forms = match bomb {
            None | Some(Bomb::Number) => {
                let forms = if bomb.is_some() { TEXTS } else { NUMBERS };
                let number = self.form(forms).replace("{}", &name);
                return Some(self.compared(&number));
            }
            Some(Bomb::Date) => DATES,
            Some(Bomb::Json) => JSONS,
            Some(Bomb::Pattern) => PATTERNS,
            Some(Bomb::Zone) => ZONES,
            Some(Bomb::Schema) => SCHEMAS,
        };
        Some(self.random.pick(forms).replace("{}", &name))
    }

    /// A number in a condition.
    fn compared(&mut self, number: &str) -> String {
        let limit = self.random.below(9);
        match self.random.below(6) {
            0 => format!("{number} BETWEEN 0 AND {limit}"),
            1 => format!("{number} IN (0, {limit})"),
            2 => format!("{number} = ANY (ARRAY[0, {limit}])"),
            3 => format!("({number}, 1) > ({limit}, 0)"),
            4 => format!("{number} IS DISTINCT FROM {limit}"),
            _ => format!("{number} > {limit}"),
        }
    }

    /// A condition inside something that does not change it much.
    pub(super) fn disguised(&mut self, condition: String) -> String {
        match self.random.below(24) {
            0 => format!("(({condition}) IS NOT TRUE)"),
            1 => format!("coalesce(({condition}), false)"),
            2 => format!("(CASE WHEN {condition} THEN true ELSE false END)"),
            3 => format!("(({condition}) = ANY (ARRAY[true, false]))"),
            4 => format!("(({condition}) IN (true))"),
            5 => format!("((({condition}), 1) = (true, 1))"),
            6 => format!("(greatest(({condition}), false))"),
            7 => format!("(SELECT {condition})"),
            8 => format!("(({condition})::text = 'true')"),
            _ => condition,
        }
    }
}
