//! The temporary relations of the session that asks.

use pgwarden_policy::temporary::{Kind, Temporaries, Temporary};
use serde::Deserialize;

/// One row with one column of JSON, for [`read`]; NULL where there is none.
pub const QUERY: &str = "SELECT CASE WHEN pg_catalog.pg_my_temp_schema() \
    OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN NULL ELSE (\
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(c.relname, \
    c.relkind::pg_catalog.text, (\
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, \
    a.atttypid::pg_catalog.int8, a.attgenerated OPERATOR(pg_catalog.<>) '') ORDER BY a.attnum) \
    FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
    AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)) ORDER BY c.relname) \
    FROM pg_catalog.pg_class AS c \
    WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) END";

#[derive(Deserialize)]
struct Row(String, String, Option<Vec<(String, u32, bool)>>);

/// Reads the answer to [`QUERY`]; `None` when it is another's.
pub fn read(answer: Option<&[u8]>) -> Option<Temporaries> {
    let Some(answer) = answer else {
        return Some(Temporaries::default());
    };
    let rows: Option<Vec<Row>> = serde_json::from_slice(answer).ok()?;
    let told = rows.unwrap_or_default().into_iter().map(|row| Temporary {
        name: row.0,
        kind: Kind::of(&row.1),
        columns: row.2.unwrap_or_default(),
    });
    Some(Temporaries::new(told.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert!(read(None).is_some_and(|none| none.is_empty()));
        let one = read(Some(
            br#"[["t", "r", [["a", 23, false]]], ["t_pkey", "i", null]]"#,
        ));
        assert_eq!(one.map(|one| one.len()), Some(2));
        assert_eq!(read(Some(b"[[1]]")), None);
    }
}
