//! Names of what a migration makes, and literals.

/// `NAMEDATALEN - 1`.
const NAME_BYTES_MAX: usize = 63;

/// Puts words together to one name. PostgreSQL would cut a longer one, and two could become the
/// same, so the tail of a long one is a sum of the whole.
pub(super) fn joined(words: &[&str]) -> String {
    let name = words.join("_");
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    // FNV-1a: stable among versions, which a file that people keep must be.
    let sum = name.bytes().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let tail = format!("_{sum:08x}");
    let mut kept = NAME_BYTES_MAX - tail.len();
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    let (head, _) = name.split_at(kept);
    format!("{head}{tail}")
}

/// A text as SQL.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!(" E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// A function's body as SQL: between dollar quotes that don't occur in it.
pub(super) fn dollar_quoted(body: &str) -> String {
    let mut tag = "$$".to_owned();
    let mut number = 0_u32;
    while body.contains(&tag) {
        tag = format!("$body{number}$");
        number += 1;
    }
    format!("{tag}{body}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart() {
        assert_eq!(joined(&["leads", "org_id", "fkey"]), "leads_org_id_fkey");
        let long = "ä".repeat(40);
        let (one, two) = (joined(&[&long, "a"]), joined(&[&long, "b"]));
        assert!(one.len() <= 63 && two.len() <= 63 && one != two);
        assert_eq!(
            dollar_quoted("a $$ $body0$ b"),
            "$body1$a $$ $body0$ b$body1$"
        );
        assert_eq!(literal("o'x"), "'o''x'");
        assert_eq!(literal("a\\b"), " E'a\\\\b'");
    }
}
