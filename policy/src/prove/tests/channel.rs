//! The channel of pg_notify.

use super::{proven, refused};

const LOOKED_UP: &str = "SELECT pg_notify(COALESCE((ARRAY['jobs']::pg_catalog.text[])\
    [pg_catalog.array_position(ARRAY['jobs']::pg_catalog.text[], @::pg_catalog.text COLLATE pg_catalog.\"C\")], \
    ('pgwarden: x' OPERATOR(pg_catalog.||) pg_catalog.left(pg_catalog.clock_timestamp()::pg_catalog.text, 0))\
    ::pg_catalog.bool::pg_catalog.text), 'x')";

fn looked_up(name: &str) -> String {
    LOOKED_UP.replace('@', name)
}

#[test]
fn a_computed_channel_is_looked_up() {
    let original = "SELECT pg_notify(lower('JOBS'), 'x')";
    proven(original, &looked_up("lower('JOBS')"));
    refused(original, original);
    refused(original, &looked_up("lower('ORDERS')"));
    // Another list, another place in it, another collation, another type, or none of it.
    for (right, wrong) in [
        ("(ARRAY['jobs']", "(ARRAY['orders']"),
        ("position(ARRAY['jobs']", "position(ARRAY['jobs', 'orders']"),
        ("pg_catalog.array_position", "array_position"),
        ("pg_catalog.array_position", "public.array_position"),
        (" COLLATE pg_catalog.\"C\"", ""),
        ("pg_catalog.\"C\"", "\"C\""),
        ("::pg_catalog.text COLLATE", "::pg_catalog.varchar COLLATE"),
        ("pgwarden: x", "jobs"),
        ("::pg_catalog.bool::", "::"),
        ("COALESCE", "GREATEST"),
        (", 'x')", ", 'y')"),
    ] {
        let broken = looked_up("lower('JOBS')");
        assert!(broken.contains(right), "{right}");
        refused(original, &broken.replacen(right, wrong, 1));
    }
}

#[test]
fn a_written_channel_is_listed() {
    proven(
        "SELECT pg_notify('jobs', 'x')",
        "SELECT pg_notify('jobs', 'x')",
    );
    for channel in ["'orders'", "'JOBS'", "$1", "$1::text", "channel"] {
        let sql = format!("SELECT pg_catalog.pg_notify({channel}, 'x')");
        refused(&sql, &sql);
    }
}
