//! The views of `fixtures/schema.sql`, as the generator reads them and writes through them.

use super::Kind::{Date, Int, Status, Text, Uuid};
use super::tables::Table;
use super::{Bomb, Kind};

const fn view(
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    bombs: &'static [(&'static str, Bomb)],
) -> Table {
    Table {
        name,
        columns,
        bombs,
        tenant: None,
        key: None,
        free: &[],
        conflict: None,
    }
}

/// All of them: joins, aggregates, LIMIT, window functions, views on views, and first `ARMED` ones
/// whose own query blows up on organisation b's rows.
pub(crate) const VIEWS: &[Table] = &[
    view(
        "log_risks",
        &[
            ("id", Int),
            ("org_id", Uuid),
            ("amount", Int),
            ("risk", Int),
            ("body", Text),
        ],
        &[("body", Bomb::Number)],
    ),
    view(
        "log_numbers",
        &[("id", Int), ("org_id", Uuid), ("n", Int)],
        &[],
    ),
    view(
        "log_pairs",
        &[("id", Int), ("org_id", Uuid), ("other", Int)],
        &[],
    ),
    view(
        "lead_overview",
        &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("full_name", Text),
            ("campaign", Text),
        ],
        &[],
    ),
    view("plan_names", &[("id", Int), ("name", Text)], &[]),
    view(
        "lead_scores",
        &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("full_name", Text),
            ("score", Int),
            ("phone", Text),
        ],
        &[],
    ),
    view(
        "campaign_leads",
        &[
            ("id", Int),
            ("org_id", Uuid),
            ("name", Text),
            ("leads", Int),
            ("best", Text),
        ],
        &[],
    ),
    view(
        "top_leads",
        &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("full_name", Text),
            ("score", Int),
        ],
        &[],
    ),
    view(
        "ranked_leads",
        &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("full_name", Text),
            ("place", Int),
        ],
        &[],
    ),
    view(
        "one_per_score",
        &[("score", Int), ("org_id", Uuid), ("full_name", Text)],
        &[],
    ),
    view(
        "guarded_logs",
        &[("id", Int), ("org_id", Uuid), ("body", Text)],
        &[("body", Bomb::Number)],
    ),
    view(
        "named_overview",
        &[("id", Uuid), ("org_id", Uuid), ("campaign", Text)],
        &[],
    ),
    view("all_names", &[("org_id", Uuid), ("name", Text)], &[]),
    view(
        "chunk_titles",
        &[("org_id", Uuid), ("title", Text), ("content", Text)],
        &[("content", Bomb::Number)],
    ),
    view(
        "renamed",
        &[("key", Uuid), ("org_id", Uuid), ("label", Text)],
        &[],
    ),
    view(
        "events_of_2026",
        &[
            ("id", Int),
            ("org_id", Uuid),
            ("at", Kind::Date),
            ("kind", Text),
        ],
        &[],
    ),
    view("lead_total", &[("n", Int)], &[]),
    view(
        "credit_notes",
        &[("user_id", Uuid), ("credits", Int), ("note", Text)],
        &[],
    ),
    view(
        "crossed",
        &[("id", Int), ("org_id", Uuid), ("full_name", Text)],
        &[],
    ),
];

/// How many of them are.
pub(crate) const ARMED: usize = 3;

/// A view that rows are changed through.
const fn written(
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    tenant: Option<&'static str>,
    key: Option<&'static str>,
    free: &'static [&'static str],
) -> Table {
    Table {
        name,
        columns,
        bombs: &[],
        tenant,
        key,
        free,
        conflict: key,
    }
}

/// The views that PostgreSQL writes through: with conditions and CHECK OPTION, on views, with other
/// names, over partitions, tables by their parent, and what is scoped by users.
pub(crate) const WRITTEN: &[Table] = &[
    written(
        "lead_scores",
        &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("full_name", Text),
            ("score", Int),
            ("phone", Text),
        ],
        Some("org_id"),
        Some("id"),
        &["full_name", "score"],
    ),
    written(
        "checked_leads",
        &[
            ("id", Uuid),
            ("org_id", Uuid),
            ("full_name", Text),
            ("score", Int),
            ("status", Status),
        ],
        Some("org_id"),
        Some("id"),
        &["full_name", "score", "status"],
    ),
    written(
        "labels",
        &[
            ("label", Text),
            ("key", Uuid),
            ("org_id", Uuid),
            ("score", Int),
        ],
        Some("org_id"),
        Some("key"),
        &["label", "score"],
    ),
    written(
        "renamed",
        &[("key", Uuid), ("org_id", Uuid), ("label", Text)],
        Some("org_id"),
        Some("key"),
        &["label"],
    ),
    written(
        "coupon_uses",
        &[("code", Text), ("org_id", Uuid), ("uses", Int)],
        Some("org_id"),
        Some("code"),
        &["uses"],
    ),
    written(
        "event_kinds",
        &[("id", Int), ("at", Date), ("kind", Text), ("org_id", Uuid)],
        Some("org_id"),
        None,
        &["kind", "at"],
    ),
    written(
        "events_of_2026",
        &[("id", Int), ("org_id", Uuid), ("at", Date), ("kind", Text)],
        Some("org_id"),
        None,
        &["kind"],
    ),
    written(
        "org_names",
        &[("name", Text), ("org_id", Uuid)],
        Some("org_id"),
        None,
        &["name"],
    ),
    written(
        "chunk_texts",
        &[("id", Int), ("document_id", Int), ("content", Text)],
        None,
        None,
        &["content", "document_id"],
    ),
    written(
        "credit_notes",
        &[("user_id", Uuid), ("credits", Int), ("note", Text)],
        Some("user_id"),
        None,
        &["credits", "note"],
    ),
    written(
        "holiday_names",
        &[("day", Date), ("name", Text)],
        None,
        None,
        &["name"],
    ),
];

/// Whether a name is a view's.
pub(crate) fn is_view(name: &str) -> bool {
    VIEWS.iter().chain(WRITTEN).any(|view| view.name == name)
}
