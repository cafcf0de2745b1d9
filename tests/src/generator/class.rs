//! What kind of statement a text is, for the summary's counts.

use super::views::is_view;

/// The class of a statement, by its first words.
pub fn class_of(sql: &str) -> &'static str {
    let sql = sql.trim_start_matches('(');
    let first = sql.split([' ', '(']).next().unwrap_or_default();
    match first {
        "CREATE" | "DROP" if sql.contains(" TABLE made.") || sql.contains("EXISTS made.") => {
            "message"
        }
        "EXPLAIN" => "EXPLAIN",
        "WITH" if sql.starts_with("WITH RECURSIVE") => "WITH RECURSIVE",
        "WITH" if sql.contains(" MERGE INTO ") => "MERGE",
        "WITH" if is_write(sql) => "WITH … INSERT, UPDATE, DELETE",
        "WITH" => "WITH … SELECT",
        "SELECT" | "VALUES" | "TABLE" if sql.contains(" INTO TEMP ") => "SELECT INTO",
        "SELECT" | "VALUES" | "TABLE" => "SELECT",
        "INSERT" => "INSERT",
        "UPDATE" => "UPDATE",
        "DELETE" => "DELETE",
        "MERGE" => "MERGE",
        "COPY" if sql.contains(" FROM STDIN") => "COPY FROM",
        "COPY" if sql.starts_with("COPY (") => "COPY (query) TO",
        "COPY" => "COPY TO",
        "DECLARE" => "DECLARE",
        "FETCH" | "MOVE" => "FETCH, MOVE",
        "CLOSE" => "CLOSE",
        "PREPARE" => "PREPARE",
        "EXECUTE" => "EXECUTE",
        "DEALLOCATE" => "DEALLOCATE",
        "CREATE" if sql.starts_with("CREATE TEMP VIEW") => "CREATE TEMP VIEW",
        "CREATE" if sql.starts_with("CREATE TEMP SEQ") => "CREATE TEMP SEQUENCE",
        "CREATE" if sql.contains(" AS ") => "CREATE TEMP TABLE AS",
        "CREATE" => "CREATE TEMP TABLE",
        "DROP" if sql.starts_with("DROP TABLE") => "DROP TABLE",
        "DROP" => "DROP VIEW, SEQUENCE",
        "LOCK" => "LOCK",
        "SAVEPOINT" | "RELEASE" => "SAVEPOINT",
        "BEGIN" | "COMMIT" | "ROLLBACK" | "SET" => "transaction",
        _ => "other",
    }
}

fn is_write(sql: &str) -> bool {
    let body = sql.strip_prefix("WITH x AS (").unwrap_or_default();
    ["INSERT", "UPDATE", "DELETE"]
        .iter()
        .any(|word| body.starts_with(word))
}

/// What is special about the relations of a statement.
pub fn features_of(sql: &str) -> Vec<&'static str> {
    let names = |list: &[&str]| list.iter().any(|name| mentions(sql, name));
    let mut found = Vec::new();
    let written = written_name(sql);
    if written.is_some_and(is_view) {
        found.push("writes through a view");
    }
    let part = |it: char| it.is_alphanumeric() || it == '_';
    if sql.split(|it| !part(it)).any(is_view) {
        found.push("over a view");
    }
    if names(&["events", "events_2025", "events_2026"]) {
        found.push("over partitions");
    }
    if names(&["notes", "notes_old"]) {
        found.push("over inheritance");
    }
    if names(&["knowledge_base_chunks"]) {
        found.push("over a table by its parent");
    }
    if names(&["shifts"]) {
        found.push("over a table with two keys");
    }
    if sql.contains("advisory") {
        found.push("advisory locks");
    }
    if sql.contains("$1") && !sql.starts_with("PREPARE") {
        found.push("with parameters");
    }
    if sql.contains(" CURRENT OF ") {
        found.push("at a cursor's row");
    }
    if sql.starts_with("UPDATE ") && computes_tenant(sql) {
        found.push("computes a tenant column");
    }
    if sql.contains("FULL JOIN") {
        found.push("FULL JOIN");
    }
    if sql.contains("temp_view_") {
        found.push("over a temporary view");
    } else if sql.contains("temp_counter_") {
        found.push("over a temporary sequence");
    } else if sql.contains("temp_") {
        found.push("over a temporary table");
    }
    if sql.contains("GROUP BY (SELECT") {
        found.push("grouped by a subquery");
    }
    found
}

/// Whether an UPDATE sets the tenant column to more than a constant.
fn computes_tenant(sql: &str) -> bool {
    [
        "org_id = (SELECT s.",
        "org_id = s.",
        "org_id = q.",
        "org_id) = (SELECT",
        "(org_id, ",
    ]
    .iter()
    .any(|form| sql.contains(form))
}

/// Whether a text has that word.
fn mentions(sql: &str, name: &str) -> bool {
    let part = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    sql.match_indices(name).any(|(at, _)| {
        !part(sql[..at].chars().next_back()) && !part(sql[at + name.len()..].chars().next())
    })
}

/// The relation that a statement begins with writing to.
fn written_name(sql: &str) -> Option<&str> {
    let start = ["INSERT INTO ", "UPDATE ", "DELETE FROM ", "MERGE INTO "];
    let rest = start.iter().find_map(|start| sql.strip_prefix(start))?;
    rest.split(' ').next()
}
