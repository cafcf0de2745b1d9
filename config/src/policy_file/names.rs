//! Names of database objects: `schema.table`, each part plain or quoted as in SQL.

use pgwarden_policy::rules::QualifiedName;

use crate::document::Node;
use crate::reader::Complaint;
use crate::values::word;

/// `NAMEDATALEN - 1`: PostgreSQL cuts longer names, so that they would never match.
const NAME_BYTES_MAX: usize = 63;

/// `schema.name`.
pub(crate) fn qualified(node: &Node) -> Result<QualifiedName, Complaint> {
    let written = word(node)?;
    let mut parts = parts(&written)?.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(schema), Some(name), None) => Ok(QualifiedName { schema, name }),
        (Some(name), None, None) => {
            let complaint = Complaint::new("the schema is missing");
            Err(complaint.help(format!("write \"public.{name}\" if it is in that schema")))
        }
        _ => Err(Complaint::new(
            "expected a schema and a name, separated by one dot",
        )),
    }
}

/// One name, such as a schema's.
pub(crate) fn schema(node: &Node) -> Result<String, Complaint> {
    single(node, "schema")
}

/// A column's name.
pub(crate) fn column(node: &Node) -> Result<String, Complaint> {
    single(node, "column")
}

/// A role's name.
pub(crate) fn role(node: &Node) -> Result<String, Complaint> {
    single(node, "role")
}

fn single(node: &Node, what: &str) -> Result<String, Complaint> {
    let written = word(node)?;
    let mut parts = parts(&written)?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(Complaint::new(format!(
            "expected the name of a {what} without a dot"
        ))),
    }
}

/// Splits at dots outside quotes, folds what is not quoted.
fn parts(written: &str) -> Result<Vec<String>, Complaint> {
    let mut parts = Vec::new();
    let mut rest = written;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => plain_part(rest)?,
        };
        if part.len() > NAME_BYTES_MAX {
            return Err(Complaint::new("a name in PostgreSQL has at most 63 bytes"));
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(not_a_name()),
        }
    }
}

fn quoted_part(text: &str) -> Result<(String, &str), Complaint> {
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None if name.is_empty() => return Err(not_a_name()),
            None => return Ok((name, after)),
        }
    }
    Err(Complaint::new("the closing quote of a name is missing"))
}

fn plain_part(text: &str) -> Result<(String, &str), Complaint> {
    let end = text.find('.').unwrap_or(text.len());
    let (part, after) = text.split_at(end);
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c.is_ascii_digit() || c == '$';
    match part.chars().next() {
        Some(first) if starts(first) && part.chars().all(goes_on) => {
            Ok((part.to_ascii_lowercase(), after))
        }
        Some(_) if part.contains('*') => {
            Err(Complaint::new("patterns are not possible").help("list the names one by one"))
        }
        Some(_) | None => Err(not_a_name()),
    }
}

fn not_a_name() -> Complaint {
    Complaint::new("not a name that PostgreSQL takes without quotes")
        .help("write '\"schema\".\"name\"' with double quotes inside single ones")
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn names_are_read_as_postgresql_reads_them() {
        let read = |text| parts(text).ok().map(|parts| parts.join("|"));
        assert_eq!(read("public.leads").as_deref(), Some("public|leads"));
        assert_eq!(read("Public.Leads").as_deref(), Some("public|leads"));
        assert_eq!(
            read("\"My.App\".\"a\"\"b\"").as_deref(),
            Some("My.App|a\"b")
        );
        assert_eq!(read("public.größe$1").as_deref(), Some("public|größe$1"));
        for bad in [
            "", ".", "a.", ".a", "1a", "a b", "a-b", "\"a", "\"\"", "\"a\"b", "public.*",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&"x".repeat(64)), None);
    }
}
