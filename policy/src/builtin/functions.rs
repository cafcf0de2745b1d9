//! The functions of pg_catalog, by name.
//!
//! `functions.txt` is made from the live `pg_proc` by `functions.sql`, whose rules say what is denied:
//! whatever runs SQL text, reads files, statistics, locks or other sessions, waits, or belongs to
//! the server's own machinery. Volatile functions are denied unless named.

use std::collections::HashMap;
use std::sync::OnceLock;

/// What may be done with a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may be called.
    Allowed,
    /// It may be called, and every overload is leakproof.
    Leakproof,
    /// An aggregate or window function that may be called.
    Aggregate,
    /// Its arguments decide.
    Checked,
    /// It may not be called.
    Denied,
}

/// Names that PostgreSQL 16 to 18 added and that are harmless, beside those of `functions.txt`.
const NEWER: &[(&str, Class)] = &[
    ("any_value", Class::Aggregate),
    ("array_reverse", Class::Allowed),
    ("array_sample", Class::Allowed),
    ("array_shuffle", Class::Allowed),
    ("array_sort", Class::Allowed),
    ("casefold", Class::Allowed),
    ("crc32", Class::Allowed),
    ("crc32c", Class::Allowed),
    ("date_add", Class::Allowed),
    ("date_subtract", Class::Allowed),
    ("erf", Class::Allowed),
    ("erfc", Class::Allowed),
    ("gamma", Class::Allowed),
    ("json_array", Class::Allowed),
    ("json_arrayagg", Class::Aggregate),
    ("json_object_agg_strict", Class::Aggregate),
    ("json_object_agg_unique", Class::Aggregate),
    ("json_object_agg_unique_strict", Class::Aggregate),
    ("json_objectagg", Class::Aggregate),
    ("json_agg_strict", Class::Aggregate),
    ("jsonb_agg_strict", Class::Aggregate),
    ("jsonb_object_agg_strict", Class::Aggregate),
    ("jsonb_object_agg_unique", Class::Aggregate),
    ("jsonb_object_agg_unique_strict", Class::Aggregate),
    ("lgamma", Class::Allowed),
    ("pg_basetype", Class::Allowed),
    // They convert to a type named by a string, hence run the checks of any domain.
    ("pg_input_error_info", Class::Denied),
    ("pg_input_is_valid", Class::Denied),
    ("random_normal", Class::Allowed),
    ("system_user", Class::Allowed),
    ("to_bin", Class::Allowed),
    ("to_oct", Class::Allowed),
    ("to_regtypemod", Class::Allowed),
    ("unicode_assigned", Class::Allowed),
    ("unicode_version", Class::Allowed),
    ("uuid_extract_timestamp", Class::Allowed),
    ("uuid_extract_version", Class::Allowed),
    ("uuidv4", Class::Allowed),
    ("uuidv7", Class::Allowed),
    ("xmltext", Class::Allowed),
];

/// Functions of information_schema: its views compute with them what is known of types and keys, and
/// JDBC calls the first.
const INFORMATION: &[&str] = &[
    "_pg_expandarray",
    "_pg_char_max_length",
    "_pg_char_octet_length",
    "_pg_datetime_precision",
    "_pg_index_position",
    "_pg_interval_type",
    "_pg_numeric_precision",
    "_pg_numeric_precision_radix",
    "_pg_numeric_scale",
    "_pg_truetypid",
    "_pg_truetypmod",
];

/// Functions of extensions that run SQL or reach out, whatever allows their extension.
const RUN_SQL: &[&str] = &[
    "connectby",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "crosstabn",
    "pg_stat_statements",
    "pg_stat_statements_info",
    "pg_stat_statements_reset",
    "xpath_table",
    "xpath_nodeset",
    "pgstattuple",
    "pgstatindex",
    "pg_buffercache_pages",
    "get_raw_page",
    "heap_page_items",
    "lo_manage",
    "postgres_fdw_disconnect",
    "postgres_fdw_disconnect_all",
    "postgres_fdw_get_connections",
    "cron_schedule",
];

/// Advisory locks that end with their transaction. All tenants share their numbers, so a policy must
/// list them.
const TRANSACTION_LOCKS: &[&str] = &[
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
];

/// Advisory locks that stay with the server connection until they are undone, whatever becomes of the
/// transaction: a session that has one keeps its connection. A policy must list them, too.
const SESSION_LOCKS: &[&str] = &[
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

/// What undoes such locks. Who has none changes nothing by them, so no policy need list them.
const UNLOCKS: &[&str] = &[
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
];

/// Functions of PostgreSQL's own that may give several rows, of those that may be called.
pub(crate) const SETS: &[&str] = &[
    "_pg_expandarray",
    "aclexplode",
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "json_populate_recordset",
    "json_to_recordset",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_path_query_tz",
    "jsonb_populate_recordset",
    "jsonb_to_recordset",
    "pg_get_keywords",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "ts_debug",
    "ts_parse",
    "ts_token_type",
    "txid_snapshot_xip",
    "unnest",
];

/// Functions whose answer depends on the server that gives it, or is another each time.
const BOUND: &[&str] = &[
    "array_sample",
    "array_shuffle",
    "clock_timestamp",
    "gen_random_uuid",
    "mxid_age",
    "random",
    "random_normal",
    "setseed",
    "timeofday",
    "uuidv4",
    "uuidv7",
    "version",
];

/// Functions that use, or set, the random numbers of the server connection: who knows some of them
/// knows those that follow.
const RANDOM: &[&str] = &[
    "array_sample",
    "array_shuffle",
    "random",
    "random_normal",
    "setseed",
];

/// Whether a function tells or changes which random numbers follow.
pub(crate) fn is_random(name: &str) -> bool {
    RANDOM.contains(&name)
}

/// Whether a standby answers as the primary does, whatever the arguments.
pub(crate) fn answers_anywhere(name: &str) -> bool {
    let of_the_server = ["pg_", "txid_", "inet_server_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let known = match class(name) {
        Some(Class::Allowed | Class::Leakproof | Class::Aggregate) => true,
        Some(Class::Checked) => name == "ts_rewrite",
        Some(Class::Denied) | None => false,
    };
    known && (!of_the_server || name == "pg_typeof") && !BOUND.contains(&name)
}

/// Whether a policy may allow a function that is denied otherwise.
pub(crate) fn is_lock(name: &str) -> bool {
    TRANSACTION_LOCKS.contains(&name) || is_session_lock(name)
}

/// Whether a function takes an advisory lock that outlives the transaction.
pub(crate) fn is_session_lock(name: &str) -> bool {
    SESSION_LOCKS.contains(&name)
}

/// Whether a function may undo such a lock.
pub(crate) fn is_unlock(name: &str) -> bool {
    UNLOCKS.contains(&name)
}

/// Why a policy can't allow a function of PostgreSQL's own; `None` where it can, or need not.
pub(crate) fn never_allowed(name: &str) -> Option<&'static str> {
    match class(name) {
        Some(Class::Denied) if is_lock(name) => None,
        Some(Class::Denied) => Some(advice(name).unwrap_or(
            "It runs SQL that nobody judges, reads files, statistics or other sessions, waits, or belongs to the \
             server's own machinery.",
        )),
        Some(Class::Allowed | Class::Leakproof | Class::Aggregate | Class::Checked) => None,
        None => Some("It is none that pgwarden knows."),
    }
}

/// Whether a function of PostgreSQL's own may give several rows.
pub(crate) fn returns_set(name: &str) -> bool {
    SETS.contains(&name)
}

/// What is known of a function of pg_catalog; `None` means nothing.
pub(crate) fn class(name: &str) -> Option<Class> {
    static CLASSES: OnceLock<HashMap<&'static str, Class>> = OnceLock::new();
    CLASSES.get_or_init(read).get(name).copied()
}

/// What is known of a function that is called with its schema, or by its name alone; `None` means
/// nothing.
pub(crate) fn class_in(schema: Option<&str>, name: &str) -> Option<Class> {
    match schema {
        None | Some("pg_catalog") => class(name),
        Some("information_schema") => INFORMATION.contains(&name).then_some(Class::Allowed),
        Some(_) => None,
    }
}

/// What to do instead of calling a function that is denied.
pub(crate) fn advice(name: &str) -> Option<&'static str> {
    let begins = |beginning: &str| name.starts_with(beginning);
    if is_lock(name) {
        Some(
            "All tenants share the numbers of these locks; the security team can list the function \
             under [functions] in policy.toml.",
        )
    } else if begins("pg_") && name.ends_with("_size") {
        Some("It tells how much room the rows of all tenants take.")
    } else if begins("pg_sleep") {
        Some("It would hold a server connection for which others wait.")
    } else if begins("lo_") {
        Some("A large object belongs to no tenant. Use a column of type bytea.")
    } else if name == "setval" {
        Some("The sequence counts for all tenants.")
    } else {
        None
    }
}

/// Whether a function of an allowed extension is denied all the same.
pub(crate) fn runs_sql(name: &str) -> bool {
    RUN_SQL.contains(&name) || name.starts_with("dblink") || name.starts_with("http")
}

fn read() -> HashMap<&'static str, Class> {
    entries().chain(NEWER.iter().copied()).collect()
}

fn entries() -> impl Iterator<Item = (&'static str, Class)> {
    include_str!("functions.txt").lines().filter_map(|line| {
        let (class, name) = line.split_once(' ')?;
        let class = match class {
            "a" => Class::Allowed,
            "l" => Class::Leakproof,
            "g" => Class::Aggregate,
            "c" => Class::Checked,
            _ => Class::Denied,
        };
        Some((name, class))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_sql_or_reads_other_sessions_is_denied() {
        for name in [
            "query_to_xml",
            "table_to_xml",
            "schema_to_xmlschema",
            "database_to_xml_and_xmlschema",
            "cursor_to_xml",
            "ts_stat",
            "lo_get",
            "lo_import",
            "loread",
            "pg_read_file",
            "pg_ls_dir",
            "pg_stat_file",
            "pg_logical_emit_message",
            "setval",
            "pg_cancel_backend",
            "pg_terminate_backend",
            "pg_advisory_lock",
            "pg_try_advisory_xact_lock",
            "pg_sleep",
            "pg_sleep_for",
            "pg_relation_size",
            "pg_total_relation_size",
            "pg_database_size",
            "pg_stat_get_activity",
            "pg_stat_get_live_tuples",
            "pg_mcv_list_items",
            "pg_reload_conf",
            "pg_switch_wal",
            "pg_export_snapshot",
            "pg_lock_status",
            "pg_prepared_statement",
            "pg_cursor",
            "pg_sequence_last_value",
            "pg_get_multixact_members",
            "textin",
            "pg_show_all_settings",
        ] {
            assert_eq!(class(name), Some(Class::Denied), "{name}");
        }
        assert_eq!(class("dblink"), None);
        assert_eq!(class("set_config"), Some(Class::Checked));
        assert_eq!(class("count"), Some(Class::Aggregate));
        assert_eq!(class("lower"), Some(Class::Allowed));
    }
}
