//! The tables of `fixtures/schema.sql`, as the generator sees them.

use super::Kind::{Bool, Date, Int, Json, Numeric, Status, Tags, Text, Time, Uuid};
use super::{Bomb, Column, Kind};

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// Columns whose foreign values blow up.
    pub(crate) bombs: &'static [(&'static str, Bomb)],
    /// The tenant column, unless it is global or reached through a parent.
    pub(crate) tenant: Option<&'static str>,
    /// The primary key's column if statements may insert here; its type is int.
    pub(crate) key: Option<&'static str>,
    /// Columns that an UPDATE may set without meeting a constraint.
    pub(crate) free: &'static [&'static str],
    /// A target that ON CONFLICT can name.
    pub(crate) conflict: Option<&'static str>,
}

impl Table {
    pub(crate) fn kind(&self, column: &str) -> Kind {
        let found = self.columns.iter().find(|(name, _)| *name == column);
        found.expect("the column is in the list").1
    }

    /// Whether a row can't be without it.
    pub(crate) fn needs(&self, column: &str) -> bool {
        column == "amount" || column == "at"
    }

    pub(crate) fn scope(&self) -> Vec<Column> {
        self.columns
            .iter()
            .map(|(name, kind)| Column {
                name: (*name).to_owned(),
                kind: *kind,
                bomb: self
                    .bombs
                    .iter()
                    .find(|(column, _)| column == name)
                    .map(|(_, bomb)| *bomb),
            })
            .collect()
    }
}

pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "leads",
        columns: &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("campaign_id", Int),
            ("phone", Text),
            ("full_name", Text),
            ("score", Int),
            ("status", Status),
            ("tags", Tags),
            ("meta", Json),
            ("created_at", Time),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["full_name", "score", "status", "tags", "meta"],
        conflict: None,
    },
    Table {
        name: "call_logs",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("call_id", Int),
            ("amount", Int),
            ("body", Text),
            ("pattern", Text),
            ("due", Text),
            ("zone", Text),
            ("schema_name", Text),
            ("raw_json", Text),
        ],
        bombs: &[
            ("body", Bomb::Number),
            ("pattern", Bomb::Pattern),
            ("due", Bomb::Date),
            ("zone", Bomb::Zone),
            ("schema_name", Bomb::Schema),
            ("raw_json", Bomb::Json),
        ],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["call_id", "amount"],
        conflict: Some("id"),
    },
    Table {
        name: "calls",
        columns: &[
            ("id", Int),
            ("lead_id", Uuid),
            ("agent_id", Int),
            ("seconds", Int),
            ("amount", Int),
            ("started", Time),
            ("org_id", Uuid),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["seconds", "amount", "started"],
        conflict: Some("id"),
    },
    Table {
        name: "campaigns",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("name", Text),
            ("budget", Numeric),
            ("starts", Date),
            ("owner_id", Int),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["budget", "starts"],
        conflict: None,
    },
    Table {
        name: "agents",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("email", Text),
            ("name", Text),
            ("active", Bool),
            ("skills", Tags),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["name", "active", "skills"],
        conflict: None,
    },
    Table {
        name: "notes",
        columns: &[("id", Int), ("org_id", Uuid), ("txt", Text)],
        bombs: &[],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["txt"],
        conflict: Some("id"),
    },
    Table {
        name: "notes_old",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("txt", Text),
            ("archived_on", Date),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["txt", "archived_on"],
        conflict: Some("id"),
    },
    Table {
        name: "knowledge_base_documents",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("title", Text),
            ("body", Text),
        ],
        bombs: &[("body", Bomb::Number)],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["title"],
        conflict: Some("id"),
    },
    Table {
        name: "knowledge_base_chunks",
        columns: &[
            ("id", Int),
            ("document_id", Int),
            ("content", Text),
            ("weight", Numeric),
        ],
        bombs: &[("content", Bomb::Number)],
        tenant: None,
        key: None,
        free: &["content", "document_id"],
        conflict: None,
    },
    Table {
        name: "cold_call_logs",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("note", Text),
            ("cost", Numeric),
            ("total", Numeric),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["note", "cost"],
        conflict: None,
    },
    Table {
        name: "coupons",
        columns: &[("code", Text), ("org_id", Uuid), ("uses", Int)],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["uses"],
        conflict: None,
    },
    Table {
        name: "payments",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("amount", Numeric),
            ("paid", Bool),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["paid"],
        conflict: None,
    },
    Table {
        name: "events",
        columns: &[("id", Int), ("org_id", Uuid), ("at", Date), ("kind", Text)],
        bombs: &[],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["kind", "at"],
        conflict: Some("id, at"),
    },
    Table {
        name: "events_2025",
        columns: &[("id", Int), ("org_id", Uuid), ("at", Date), ("kind", Text)],
        bombs: &[],
        tenant: Some("org_id"),
        key: None,
        free: &["kind"],
        conflict: None,
    },
    Table {
        name: "events_2026",
        columns: &[("id", Int), ("org_id", Uuid), ("at", Date), ("kind", Text)],
        bombs: &[],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["kind", "at"],
        conflict: Some("id, at"),
    },
    Table {
        name: "\"Order Items\"",
        columns: &[
            ("\"Id\"", Int),
            ("org_id", Uuid),
            ("\"select\"", Text),
            ("\"Qty\"", Int),
        ],
        bombs: &[],
        tenant: Some("org_id"),
        key: Some("\"Id\""),
        free: &["\"select\"", "\"Qty\""],
        conflict: Some("\"Id\""),
    },
    Table {
        name: "organizations",
        columns: &[
            ("id", Uuid),
            ("name", Text),
            ("plan_id", Int),
            ("settings", Json),
        ],
        bombs: &[],
        tenant: Some("id"),
        key: None,
        free: &["name", "settings"],
        conflict: None,
    },
    Table {
        name: "user_credits",
        columns: &[("user_id", Uuid), ("credits", Int), ("note", Text)],
        bombs: &[],
        tenant: Some("user_id"),
        key: None,
        free: &["credits", "note"],
        conflict: None,
    },
    Table {
        name: "shifts",
        columns: &[
            ("id", Int),
            ("org_id", Uuid),
            ("user_id", Uuid),
            ("hours", Int),
            ("label", Text),
        ],
        bombs: &[("label", Bomb::Number)],
        tenant: Some("org_id"),
        key: Some("id"),
        free: &["hours", "label"],
        conflict: Some("id"),
    },
    Table {
        name: "plans",
        columns: &[("id", Int), ("name", Text), ("price", Numeric)],
        bombs: &[],
        tenant: None,
        key: None,
        free: &[],
        conflict: None,
    },
    Table {
        name: "holidays",
        columns: &[("day", Date), ("name", Text)],
        bombs: &[],
        tenant: None,
        key: None,
        free: &[],
        conflict: None,
    },
];
