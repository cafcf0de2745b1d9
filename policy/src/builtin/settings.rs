//! Settings: which ones a client may change, by SET or at start-up.
//!
//! The claims, the role and everything that decides who a session is are refused whatever the policy
//! says; so are settings that would make the server read text otherwise than the engine does.

use crate::deny::{Denial, DenyReason};
use crate::plan::Effect;
use crate::rules::Policy;

/// Settings that drivers send and that change nothing but the client's own convenience.
const ALWAYS: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "tcp_user_timeout",
    "xmlbinary",
    "xmloption",
];

/// Settings that no policy can allow: they would change how text is read, what runs, or what is
/// written to the log.
const NEVER: &[&str] = &[
    "backslash_quote",
    "default_tablespace",
    "dynamic_library_path",
    "escape_string_warning",
    "local_preload_libraries",
    "log_statement",
    "quote_all_identifiers",
    "session_preload_libraries",
    "session_replication_role",
    "temp_tablespaces",
    "transform_null_equals",
    "allow_in_place_tablespaces",
    "allow_system_table_mods",
    "array_nulls",
    "check_function_bodies",
    "createrole_self_grant",
    "debug_discard_caches",
    "default_table_access_method",
    "event_triggers",
    "exit_on_error",
    "jit_provider",
    "lo_compat_privileges",
    "operator_precedence_warning",
    "vacuum_truncate",
    "default_text_search_config",
    "plan_cache_mode",
    "restrict_nonsystem_relation_kind",
];

/// What the head of a pg_dump sets, to what it is everywhere, or to what only functions are made by.
const AS_DUMPED: &[(&str, &[&str])] = &[
    ("check_function_bodies", &["on", "off", "true", "false"]),
    ("default_tablespace", &[""]),
    ("default_table_access_method", &["heap"]),
];

fn is_as_dumped(name: &str, value: Option<&str>) -> bool {
    let mut known = AS_DUMPED.iter();
    let values = known.find(|(it, _)| *it == name).map(|(_, values)| values);
    values
        .zip(value)
        .is_some_and(|(it, value)| it.contains(&value))
}

/// Whether a setting decides who the session is.
pub fn is_identity(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("request.")
        || name.starts_with("pgwarden.")
        || matches!(
            name.as_str(),
            "role" | "session_authorization" | "row_security" | "is_superuser"
        )
}

/// Whether a SET is what the session sends in place of one that gave it a token: it changes nothing,
/// and its answer is the server's.
pub fn is_taken_token(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("pgwarden.token") && value.is_empty()
}

/// The denial of such a setting.
pub fn identity(name: &str) -> Denial {
    Denial::new(
        DenyReason::IdentityGuard,
        format!("setting \"{name}\" belongs to the session's identity"),
    )
    .hint(match name.eq_ignore_ascii_case("row_security") {
        true => "Leave it out: it would turn what is not the tenant's into an error.",
        false => "The identity comes from the token alone.",
    })
}

/// Judges reading a setting. Settings with a dot are somebody's own, and it is common to keep the
/// keys there that tokens are signed with (`app.settings.jwt_secret`, `pgrst.jwt_secret`).
///
/// # Errors
/// 42501 for a name that sounds like a secret.
pub fn check_read(name: &str) -> Result<(), Denial> {
    let lower = name.to_ascii_lowercase();
    let secret = ["secret", "passw", "token", "key", "private", "credential"];
    if lower.contains('.') && secret.iter().any(|word| lower.contains(word)) {
        return Err(Denial::new(
            DenyReason::SettingDenied,
            "a setting that may hold a secret can't be read",
        ));
    }
    Ok(())
}

/// Judges a change of a setting; `None` resets it to its default.
///
/// # Errors
/// 42501, and 0A000 for values that pgwarden can't work with.
pub fn check(policy: &Policy, name: &str, value: Option<&str>) -> Result<Option<Effect>, Denial> {
    if is_identity(name) {
        return Err(identity(name));
    }
    let lower = name.to_ascii_lowercase();
    let listed = policy
        .settings
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(name));
    let allowed = ALWAYS.contains(&lower.as_str()) || listed;
    let refused = !allowed || NEVER.contains(&lower.as_str());
    if refused && !is_as_dumped(&lower, value) {
        return Err(Denial::new(
            DenyReason::SettingDenied,
            format!("setting \"{name}\" can't be changed"),
        )
        .hint("The security team can list it under [settings] in policy.toml."));
    }
    check_value(&lower, value)?;
    Ok((lower == "search_path").then_some(Effect::SearchPath))
}

/// Judges the value of a setting that may be changed; `None` resets it.
///
/// # Errors
/// 42501, and 0A000 for values that pgwarden can't work with.
pub(crate) fn check_value(name: &str, value: Option<&str>) -> Result<(), Denial> {
    if name.eq_ignore_ascii_case("search_path") {
        return search_path(value);
    }
    check_reading(name, value)
}

/// Judges the value of a setting by which the server reads text, whoever sets it.
///
/// # Errors
/// 0A000 for what the engine does not read in the same way.
pub fn check_reading(name: &str, value: Option<&str>) -> Result<(), Denial> {
    match name.to_ascii_lowercase().as_str() {
        "client_encoding" => encoding(value),
        "standard_conforming_strings" => strings(value),
        _ => Ok(()),
    }
}

/// Whether the verdict on a change depends on the value; of all others the server alone judges it.
pub fn is_judged_by_value(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let dumped = AS_DUMPED.iter().any(|(it, _)| *it == name);
    dumped
        || matches!(
            name.as_str(),
            "search_path" | "client_encoding" | "standard_conforming_strings"
        )
}

/// Temporary schemas are not supported, and pg_catalog stays in front.
fn search_path(value: Option<&str>) -> Result<(), Denial> {
    let Some(value) = value else { return Ok(()) };
    let schemas = value
        .split(',')
        .map(|part| part.trim().trim_matches('"').to_ascii_lowercase());
    for (at, schema) in schemas.enumerate() {
        let moved = schema == "pg_catalog" && at > 0;
        if schema.starts_with("pg_temp") || moved {
            return Err(Denial::new(
                DenyReason::SettingDenied,
                "search_path can't name pg_temp, and pg_catalog only in front",
            ));
        }
    }
    Ok(())
}

fn encoding(value: Option<&str>) -> Result<(), Denial> {
    let Some(value) = value else { return Ok(()) };
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    if matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode") {
        return Ok(());
    }
    Err(unsupported("client_encoding other than UTF8"))
}

fn strings(value: Option<&str>) -> Result<(), Denial> {
    let on = value.is_none_or(|value| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "on" | "true" | "yes" | "1" | "t" | "y"
        )
    });
    if on {
        Ok(())
    } else {
        Err(unsupported("standard_conforming_strings other than on"))
    }
}

fn unsupported(what: &str) -> Denial {
    Denial::new(
        DenyReason::UnsupportedConstruct,
        format!("{what} is not supported"),
    )
}
