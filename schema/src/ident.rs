//! Names that don't come from the server, as SQL.

use pg_query::protobuf::KeywordKind;

/// A name as SQL: quoted unless it reads the same without, as `quote_ident` does.
pub(crate) fn ident(name: &str) -> String {
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let word = name.chars().all(plain) && !name.starts_with(|it: char| it.is_ascii_digit());
    match word && !is_keyword(name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Whether a word means something in some place. What can't be read is quoted.
fn is_keyword(name: &str) -> bool {
    let Ok(scanned) = pg_query::scan(name) else {
        return true;
    };
    scanned.tokens.len() != 1
        || scanned.tokens.iter().any(|it| match it.keyword_kind() {
            KeywordKind::NoKeyword | KeywordKind::UnreservedKeyword => false,
            KeywordKind::ColNameKeyword
            | KeywordKind::TypeFuncNameKeyword
            | KeywordKind::ReservedKeyword => true,
        })
}

#[cfg(test)]
mod tests {
    use super::ident;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for name in ["org_id", "name", "_x1", "account"] {
            assert_eq!(ident(name), name);
        }
        for name in [
            "order", "user", "select", "between", "left", "Org", "1x", "a b", "",
        ] {
            assert_eq!(ident(name), format!("\"{name}\""));
        }
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
    }
}
