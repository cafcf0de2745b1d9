//! The options of COPY.
//!
//! Those that the deparser can't write again are refused here, with the server's own error where the
//! server has one: libpg_query reads an option's value as the type that it ought to have, whatever it is.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, Node};

use super::unsupported;
use crate::copy::{Format, Style};
use crate::deny::{Denial, DenyReason};

/// Checks that options can be written again.
pub(super) fn check(options: &[Node]) -> Result<(), Denial> {
    for option in options {
        match option.node.as_ref() {
            Some(NodeEnum::DefElem(option)) => check_one(option)?,
            _ => return Err(unsupported("this COPY option")),
        }
    }
    Ok(())
}

fn check_one(option: &DefElem) -> Result<(), Denial> {
    let name = option.defname.as_str();
    let value = option.arg.as_ref().and_then(|arg| arg.node.as_ref());
    match (name, value) {
        ("encoding", _) => Err(unsupported("COPY with an encoding")
            .hint("Leave ENCODING out: the rows are UTF-8, as client_encoding is.")),
        ("format" | "delimiter" | "null" | "quote" | "escape", None) => {
            Err(wrong("42601", format!("{name} requires a parameter")))
        }
        ("format", Some(NodeEnum::String(format))) => match format.sval.as_str() {
            "text" | "csv" | "binary" => Ok(()),
            other => Err(wrong(
                "22023",
                format!("COPY format \"{other}\" not recognized"),
            )),
        },
        ("delimiter" | "null" | "quote" | "escape", Some(NodeEnum::String(_)))
        | ("header" | "freeze", None | Some(NodeEnum::Boolean(_)))
        | ("force_quote" | "force_not_null" | "force_null", Some(NodeEnum::AStar(_))) => Ok(()),
        ("header" | "freeze", Some(NodeEnum::Integer(number))) if matches!(number.ival, 0 | 1) => {
            Ok(())
        }
        ("header" | "freeze", Some(NodeEnum::String(word))) if is_switch(name, &word.sval) => {
            Ok(())
        }
        ("header" | "freeze", Some(_)) => {
            Err(wrong("42601", format!("{name} requires a Boolean value")))
        }
        ("force_quote" | "force_not_null" | "force_null", Some(NodeEnum::List(columns))) => {
            words(&columns.items)
        }
        ("force_quote" | "force_not_null" | "force_null", _) => Err(wrong(
            "22023",
            format!("argument to option \"{name}\" must be a list of column names"),
        )),
        ("format" | "delimiter" | "null" | "quote" | "escape", Some(_)) => {
            Err(unsupported("this value of a COPY option"))
        }
        (_, None | Some(NodeEnum::String(_) | NodeEnum::Integer(_) | NodeEnum::Float(_))) => Ok(()),
        (_, Some(NodeEnum::List(items))) => words(&items.items),
        (_, Some(_)) => Err(unsupported("this value of a COPY option")),
    }
}

/// A word that switches an option on or off, which the deparser writes without quotes.
fn is_switch(name: &str, word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    matches!(lower.as_str(), "true" | "false" | "on" | "off") || name == "header" && word == "match"
}

fn words(items: &[Node]) -> Result<(), Denial> {
    let word = |item: &Node| matches!(item.node, Some(NodeEnum::String(_)));
    match items.iter().all(word) {
        true => Ok(()),
        false => Err(unsupported("this value of a COPY option")),
    }
}

/// What the server says of such an option.
fn wrong(sqlstate: &'static str, message: String) -> Denial {
    Denial {
        sqlstate,
        message,
        ..Denial::new(DenyReason::SyntaxError, "")
    }
}

/// How the rows of a COPY FROM are written. An option that is not known here is refused.
pub(super) fn format(options: &[Node]) -> Result<Format, Denial> {
    let (mut name, mut header) = ("text", false);
    let (mut delimiter, mut null, mut quote, mut escape) = (None, None, None, None);
    for option in options {
        let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else {
            return Err(unsupported("this COPY option"));
        };
        let given = option.arg.as_ref().and_then(|arg| arg.node.as_ref());
        let text = match given {
            Some(NodeEnum::String(text)) => Some(text.sval.as_str()),
            _ => None,
        };
        match (option.defname.as_str(), text, given) {
            ("format", Some(text), _) => name = text,
            ("delimiter", Some(text), _) => delimiter = Some(one_byte(text)?),
            ("null", Some(text), _) => null = Some(text),
            ("quote", Some(text), _) => quote = Some(one_byte(text)?),
            ("escape", Some(text), _) => escape = Some(one_byte(text)?),
            ("header", Some("true" | "on"), _) | ("header", None, None) => header = true,
            ("header", Some("false" | "off"), _) => header = false,
            ("header", None, Some(NodeEnum::Boolean(given))) => header = given.boolval,
            ("force_not_null", ..) => {}
            _ => return Err(unsupported("this option of COPY FROM into a scoped table").hint("Rows are read before they are sent on: write FORMAT, DELIMITER, NULL, QUOTE, HEADER and FORCE_NOT_NULL only.")),
        }
    }
    let csv = name == "csv";
    let quote = quote.unwrap_or(b'"');
    if csv && escape.is_some_and(|escape| escape != quote) {
        return Err(unsupported("COPY FROM with an ESCAPE that is not QUOTE")
            .hint("Double the quotes within a field, and leave ESCAPE out."));
    }
    let style = Style {
        delimiter: delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
        quote,
        null: null
            .unwrap_or(if csv { "" } else { "\\N" })
            .as_bytes()
            .into(),
        header,
    };
    match name {
        "text" => Ok(Format::Text(style)),
        "csv" => Ok(Format::Csv(style)),
        "binary" => Ok(Format::Binary),
        _ => Err(unsupported("this COPY format")),
    }
}

fn one_byte(text: &str) -> Result<u8, Denial> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(unsupported("a COPY delimiter of several bytes")),
    }
}
