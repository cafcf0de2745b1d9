//! The second world (`fixtures/second/schema.sql`): tenants are numbers in columns of three widths or of a domain, or names
//! of regions in columns of five types, some tables have both; two schemas and a chain of parents. Its table of types with somebody's casts is left out:
//! nearly all that names it is denied.

use super::Kind::{Int, Numeric, Text};
use super::tables::Table;
use super::{Bomb, Generator, Kind, Relation};

const fn table(
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    tenant: Option<&'static str>,
    key: &'static str,
    free: &'static [&'static str],
) -> Table {
    Table {
        name,
        columns,
        bombs: &[],
        tenant,
        key: Some(key),
        free,
        conflict: Some(key),
    }
}

const fn armed(table: Table, bombs: &'static [(&'static str, Bomb)]) -> Table {
    Table { bombs, ..table }
}

/// Its tables. What has no tenant column of its own hangs on a parent.
pub(crate) const SECOND: &[Table] = &[
    armed(
        table(
            "products",
            &[
                ("id", Int),
                ("tenant_id", Int),
                ("sku", Text),
                ("price", Numeric),
                ("stock", Int),
                ("raw", Text),
            ],
            Some("tenant_id"),
            "id",
            &["price", "stock"],
        ),
        &[("raw", Bomb::Number)],
    ),
    table(
        "sales.orders",
        &[
            ("id", Int),
            ("tenant_id", Int),
            ("product_id", Int),
            ("quantity", Int),
            ("note", Text),
        ],
        Some("tenant_id"),
        "id",
        &["quantity", "note"],
    ),
    table(
        "sales.returns",
        &[
            ("id", Int),
            ("tenant_id", Int),
            ("order_id", Int),
            ("reason", Text),
        ],
        Some("tenant_id"),
        "id",
        &["reason", "order_id"],
    ),
    table(
        "region_notes",
        &[("id", Int), ("region", Text), ("body", Text)],
        Some("region"),
        "id",
        &["body"],
    ),
    table(
        "region_codes",
        &[("code", Text), ("region", Text), ("label", Text)],
        Some("region"),
        "code",
        &["label"],
    ),
    table(
        "desk",
        &[
            ("id", Int),
            ("tenant_id", Int),
            ("region", Text),
            ("body", Text),
        ],
        Some("tenant_id"),
        "id",
        &["body"],
    ),
    armed(
        table(
            "sales.lines",
            &[("id", Int), ("order_id", Int), ("text", Text)],
            None,
            "id",
            &["order_id"],
        ),
        &[("text", Bomb::Number)],
    ),
    armed(
        table(
            "sales.line_notes",
            &[("id", Int), ("line_id", Int), ("text", Text)],
            None,
            "id",
            &["line_id"],
        ),
        &[("text", Bomb::Number)],
    ),
    armed(
        table(
            "badges",
            &[("id", Int), ("tenant_id", Int), ("body", Text)],
            Some("tenant_id"),
            "id",
            &["body"],
        ),
        &[("body", Bomb::Number)],
    ),
    table(
        "region_marks",
        &[("id", Int), ("region", Text), ("body", Text)],
        Some("region"),
        "id",
        &["body"],
    ),
    table(
        "region_flags",
        &[("id", Int), ("region", Text), ("body", Text)],
        Some("region"),
        "id",
        &["body"],
    ),
    table(
        "region_owners",
        &[("id", Int), ("region", Text), ("body", Text)],
        Some("region"),
        "id",
        &["body"],
    ),
    table(
        "badge_notes",
        &[("id", Int), ("badge_id", Int), ("body", Text)],
        None,
        "id",
        &["badge_id"],
    ),
    Table {
        key: None,
        conflict: None,
        ..table("tenants", &[("id", Int), ("name", Text)], None, "id", &[])
    },
    table(
        "currencies",
        &[("code", Text), ("name", Text)],
        None,
        "code",
        &["name"],
    ),
];

/// Tables that rows are made from: their key is a number, and they have the tenant's.
const SOURCES: &[&str] = &["products", "sales.orders", "sales.returns"];

/// Forms of a tenant's number.
const NUMBERS: &[&str] = &[
    "{}",
    "{}",
    "{}",
    "'{}'",
    "{}::bigint",
    "{}::smallint",
    "CAST('{}' AS int)",
    "(SELECT {})",
    "coalesce(NULL, {})",
    "({} + 0)",
    "CASE WHEN true THEN {} END",
];

/// Forms of a region's name, between quotes.
const NAMES: &[&str] = &[
    "{}",
    "{}",
    "{}::text",
    "{}::varchar(10)",
    "(SELECT {}::text)",
    "CAST({} AS varchar)",
    "coalesce(NULL, {})",
    "({} || '')",
];

impl Generator {
    /// A table of the second world that rows are written to.
    pub(super) fn second_target(&mut self) -> &'static Table {
        loop {
            let table = self.random.pick(SECOND);
            if table.key.is_some() {
                return table;
            }
        }
    }

    /// A value of one of its tenant columns, rarely another tenant's.
    pub(super) fn second_value(&mut self, column: &str) -> String {
        let hostile = self.random.chance(4);
        self.hostile |= hostile;
        let tenant = if hostile {
            self.other_tenant()
        } else {
            self.tenant
        };
        if column == "region" {
            let name = format!("'{}'", tenant.region().replace('\'', "''"));
            return self.random.pick(NAMES).replace("{}", &name);
        }
        let number = tenant.number().to_string();
        self.random.pick(NUMBERS).replace("{}", &number)
    }

    /// INSERT of rows or of a query's, with the tenant's columns or without.
    pub(super) fn second_insert(&mut self) -> String {
        let table = self.second_target();
        let key = table.key.expect("all of them have one");
        let with_tenant = self.random.chance(60);
        let kept = table.columns.iter().map(|(name, _)| *name).filter(|name| {
            *name == key || needed(name) || !is_tenants(table, name) && self.random.chance(80)
        });
        let mut columns: Vec<_> = kept.collect();
        if with_tenant {
            columns.extend(tenant_columns(table));
        }
        let source = self.random.chance(35).then(|| self.second_source());
        let rows = match &source {
            Some(source) => self.second_rows(table, &columns, source),
            None => {
                let first = 6000 + self.random.below(40);
                let rows: Vec<_> = (0..=self.random.below(3))
                    .map(|more| self.second_row(table, &columns, &(first + more).to_string(), None))
                    .collect();
                format!("VALUES ({})", rows.join("), ("))
            }
        };
        let mut text = format!("INSERT INTO {} ({}) {rows}", table.name, columns.join(", "));
        if table.conflict.is_some() && self.random.chance(40) {
            text += &self.conflict(table);
        }
        text + &self.returning(table, table.name)
    }

    fn second_source(&mut self) -> Relation {
        let name = *self.random.pick(SOURCES);
        let found = SECOND.iter().find(|table| table.name == name);
        Relation {
            alias: "s".to_owned(),
            columns: found.map(Table::scope).unwrap_or_default(),
        }
    }

    fn second_rows(
        &mut self,
        table: &'static Table,
        columns: &[&str],
        source: &Relation,
    ) -> String {
        let name = SECOND.iter().find(|table| {
            let names = table.columns.iter().map(|(name, _)| *name);
            names.eq(source.columns.iter().map(|it| it.name.as_str()))
        });
        let name = name.map_or("products", |table| table.name);
        let scope = std::slice::from_ref(source);
        let row = self.second_row(table, columns, "s.id + 6000", Some(source));
        let filter = self.condition(scope, 2);
        format!("SELECT {row} FROM {name} s WHERE {filter}")
    }

    fn second_row(
        &mut self,
        table: &'static Table,
        columns: &[&str],
        number: &str,
        source: Option<&Relation>,
    ) -> String {
        let scope: Vec<_> = source.cloned().into_iter().collect();
        let value = |column: &&str| {
            if Some(*column) == table.key {
                let text = table.kind(column) == Text;
                return match source {
                    _ if text => format!("('K' || ({number}))"),
                    _ => number.to_owned(),
                };
            }
            if is_tenants(table, column) {
                return match source {
                    Some(_) if *column == "tenant_id" && self.random.chance(70) => {
                        "s.tenant_id".to_owned()
                    }
                    None if self.random.chance(15) => "DEFAULT".to_owned(),
                    _ => self.second_value(column),
                };
            }
            match *column {
                "order_id" | "line_id" | "badge_id"
                    if source.is_some() && self.random.chance(70) =>
                {
                    "s.id".to_owned()
                }
                "order_id" | "line_id" | "badge_id" => (2 * self.random.below(45)).to_string(),
                "product_id" => "NULL".to_owned(),
                "sku" => format!("('sku' || ({number}))"),
                _ if self.random.chance(60) => self.literal(table.kind(column)),
                _ => self.expression(table.kind(column), &scope, 1),
            }
        };
        columns.iter().map(value).collect::<Vec<_>>().join(", ")
    }
}

/// The columns of a table that are the tenant's: its number, its region, or both.
pub(super) fn tenant_columns(table: &Table) -> Vec<&'static str> {
    let names = table.columns.iter().map(|(name, _)| *name);
    names.filter(|name| is_tenants(table, name)).collect()
}

fn is_tenants(table: &Table, column: &str) -> bool {
    table.tenant.is_some() && matches!(column, "tenant_id" | "region" | "org_id" | "user_id")
}

fn needed(column: &str) -> bool {
    matches!(
        column,
        "sku" | "order_id" | "line_id" | "badge_id" | "stock"
    )
}

/// A name with its schema.
pub(super) fn with_schema(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("public.{name}")
    }
}

/// What names a type that only the first world has, or what is denied in the second, where somebody's
/// function `upper` and cast to JSON could be meant.
pub(super) fn is_of_the_first(form: &str) -> bool {
    ["public.", "json", "upper"]
        .iter()
        .any(|it| form.contains(it))
}

/// A kind that the second world can compute with.
pub(super) fn known(kind: Kind) -> Kind {
    match kind {
        Kind::Status | Kind::Json => Text,
        kind => kind,
    }
}
