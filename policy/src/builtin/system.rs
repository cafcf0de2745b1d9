//! The system relations: which ones show schema only, and which ones show other tenants or sessions.

/// Relations of pg_catalog that may be read, with the columns that may not: statistics, which count
/// every tenant's rows, and settings of roles and databases, which may hold signing keys.
const CATALOG: &[(&str, &[&str])] = &[
    ("pg_aggregate", &[]),
    ("pg_am", &[]),
    ("pg_amop", &[]),
    ("pg_amproc", &[]),
    ("pg_attrdef", &[]),
    ("pg_attribute", &[]),
    ("pg_auth_members", &[]),
    ("pg_available_extension_versions", &[]),
    ("pg_available_extensions", &[]),
    ("pg_cast", &[]),
    (
        "pg_class",
        &["reltuples", "relpages", "relallvisible", "relallfrozen"],
    ),
    ("pg_collation", &[]),
    ("pg_constraint", &[]),
    ("pg_conversion", &[]),
    ("pg_database", &[]),
    ("pg_db_role_setting", &["setconfig"]),
    ("pg_default_acl", &[]),
    ("pg_depend", &[]),
    ("pg_description", &[]),
    ("pg_enum", &[]),
    ("pg_event_trigger", &[]),
    ("pg_extension", &[]),
    ("pg_foreign_data_wrapper", &[]),
    ("pg_foreign_server", &["srvoptions"]),
    ("pg_foreign_table", &["ftoptions"]),
    ("pg_group", &[]),
    ("pg_index", &[]),
    ("pg_indexes", &[]),
    ("pg_inherits", &[]),
    ("pg_init_privs", &[]),
    ("pg_language", &[]),
    ("pg_matviews", &[]),
    ("pg_namespace", &[]),
    ("pg_opclass", &[]),
    ("pg_operator", &[]),
    ("pg_opfamily", &[]),
    ("pg_partitioned_table", &[]),
    ("pg_policies", &[]),
    ("pg_policy", &[]),
    ("pg_proc", &[]),
    ("pg_publication", &[]),
    ("pg_publication_namespace", &[]),
    ("pg_publication_rel", &[]),
    ("pg_publication_tables", &[]),
    ("pg_range", &[]),
    ("pg_rewrite", &[]),
    ("pg_roles", &["rolconfig"]),
    ("pg_rules", &[]),
    ("pg_seclabel", &[]),
    ("pg_sequence", &[]),
    ("pg_sequences", &["last_value"]),
    ("pg_settings", &[]),
    ("pg_shdescription", &[]),
    ("pg_statio_all_tables", STATIO_TABLES),
    ("pg_statio_user_tables", STATIO_TABLES),
    ("pg_statistic_ext", &[]),
    ("pg_tables", &[]),
    ("pg_tablespace", &[]),
    ("pg_timezone_abbrevs", &[]),
    ("pg_timezone_names", &[]),
    ("pg_transform", &[]),
    ("pg_trigger", &[]),
    ("pg_ts_config", &[]),
    ("pg_ts_config_map", &[]),
    ("pg_ts_dict", &[]),
    ("pg_ts_parser", &[]),
    ("pg_ts_template", &[]),
    ("pg_type", &[]),
    ("pg_user", &["useconfig"]),
    ("pg_views", &[]),
];

/// What of tables' input and output is counted: ORMs read but the names beside them.
const STATIO_TABLES: &[&str] = &[
    "heap_blks_read",
    "heap_blks_hit",
    "idx_blks_read",
    "idx_blks_hit",
    "toast_blks_read",
    "toast_blks_hit",
    "tidx_blks_read",
    "tidx_blks_hit",
];

/// Relations of information_schema that show options of foreign servers and user mappings.
const HIDDEN_INFORMATION: &[&str] = &[
    "user_mapping_options",
    "user_mappings",
    "_pg_user_mappings",
    "foreign_server_options",
    "_pg_foreign_servers",
    "foreign_table_options",
    "_pg_foreign_tables",
    "_pg_foreign_table_columns",
    "_pg_foreign_data_wrappers",
    "foreign_data_wrapper_options",
];

/// The columns of a system relation that may not be read; `None` when none of it may.
pub(crate) fn readable(schema: &str, name: &str) -> Option<&'static [&'static str]> {
    if schema == "information_schema" {
        return (!HIDDEN_INFORMATION.contains(&name)).then_some(&[]);
    }
    CATALOG
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, hidden)| *hidden)
}
