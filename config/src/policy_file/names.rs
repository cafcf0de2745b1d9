//! Names of database objects: `schema.table`, each part plain or quoted as in SQL.

use pgwarden_policy::rules::{ArgumentType, FunctionRule, QualifiedName};

use crate::document::Node;
use crate::reader::Complaint;
use crate::values::word;

/// `NAMEDATALEN - 1`: PostgreSQL cuts longer names, so that they would never match.
const NAME_BYTES_MAX: usize = 63;

/// `schema.name`.
pub(crate) fn qualified(node: &Node) -> Result<QualifiedName, Complaint> {
    qualified_name(&word(node)?)
}

fn qualified_name(written: &str) -> Result<QualifiedName, Complaint> {
    let mut parts = parts(written)?.into_iter();
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

/// A function that a policy may allow: an entry that could never take effect is a mistake.
pub(crate) fn allowed_function(node: &Node) -> Result<FunctionRule, Complaint> {
    let rule = function(node)?;
    match rule.never_allowed() {
        Some(why) => {
            let complaint = Complaint::new(format!("function {rule} can't be allowed by a policy"));
            Err(complaint.help(why))
        }
        None => Ok(rule),
    }
}

/// `schema.name`, or `schema.name(type, …)` for one of its overloads.
fn function(node: &Node) -> Result<FunctionRule, Complaint> {
    let written = word(node)?;
    let Some(open) = outside_quotes(&written, '(') else {
        return qualified(node).map(FunctionRule::from);
    };
    let (name, arguments) = written.split_at(open);
    let arguments = arguments
        .strip_prefix('(')
        .and_then(|arguments| arguments.strip_suffix(')'))
        .ok_or_else(|| Complaint::new("the closing parenthesis of a signature is missing"))?;
    let mut types = Vec::new();
    let mut rest = arguments.trim();
    while !rest.is_empty() {
        let end = outside_quotes(rest, ',').unwrap_or(rest.len());
        let (argument, after) = rest.split_at(end);
        types.push(argument_type(argument.trim())?);
        rest = after.strip_prefix(',').unwrap_or(after).trim();
    }
    Ok(FunctionRule {
        name: qualified_name(name.trim())?,
        arguments: Some(types),
    })
}

/// Where a character stands first, not counting those in double quotes.
fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

/// The names of the SQL standard, and what PostgreSQL calls these types.
const STANDARD_TYPES: &[(&str, &str)] = &[
    ("bigint", "int8"),
    ("bit varying", "varbit"),
    ("boolean", "bool"),
    ("char", "bpchar"),
    ("character", "bpchar"),
    ("character varying", "varchar"),
    ("dec", "numeric"),
    ("decimal", "numeric"),
    ("double precision", "float8"),
    ("int", "int4"),
    ("integer", "int4"),
    ("real", "float4"),
    ("smallint", "int2"),
    ("time with time zone", "timetz"),
    ("time without time zone", "time"),
    ("timestamp with time zone", "timestamptz"),
    ("timestamp without time zone", "timestamp"),
];

/// A type without modifiers; without a schema it is one of PostgreSQL's own.
fn argument_type(written: &str) -> Result<ArgumentType, Complaint> {
    let (written, array) = match written.strip_suffix("[]") {
        Some(element) => (element.trim_end(), true),
        None => (written, false),
    };
    let folded = written.to_ascii_lowercase();
    let words: Vec<&str> = folded.split_ascii_whitespace().collect();
    let folded = words.join(" ");
    let standard = STANDARD_TYPES.iter().find(|(name, _)| *name == folded);
    let mut parts = match standard {
        Some((_, name)) => vec![(*name).to_owned()],
        None => parts(written)?,
    }
    .into_iter();
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => QualifiedName {
            schema: "pg_catalog".to_owned(),
            name,
        },
        (Some(schema), Some(name), None) => QualifiedName { schema, name },
        _ => return Err(Complaint::new("expected the name of a type")),
    };
    Ok(ArgumentType { name, array })
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
    use super::{argument_type, parts};

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

    #[test]
    fn types_are_read_as_a_signature_shows_them() {
        let read = |text| {
            let read = argument_type(text).ok()?;
            Some(format!(
                "{}{}",
                read.name,
                if read.array { "[]" } else { "" }
            ))
        };
        for (written, meant) in [
            ("text", "pg_catalog.text"),
            ("Integer[]", "pg_catalog.int4[]"),
            ("timestamp  with time zone", "pg_catalog.timestamptz"),
            ("app.\"Mood\" []", "app.Mood[]"),
        ] {
            assert_eq!(read(written).as_deref(), Some(meant));
        }
        for bad in ["", "[]", "a.b.c", "numeric(3,1)", "text = 'x'"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
