//! The catalogue snapshot as a file, which offline commands read (docs/catalog.md).
//!
//! The same database gives the same bytes: objects stand in the order of their names, so that a
//! snapshot can be kept under version control and a schema change shows as a short difference. The
//! version counts what a reader must know; a file of another version is refused, never half read.

use std::fmt;

use pgwarden_policy::Catalog;
use pgwarden_policy::catalog::CatalogParts;
use serde::{Deserialize, Serialize};

use crate::gathering::sort;

/// The file's first member, by which it is known.
const FORMAT: &str = "pgwarden catalog";

/// The version that this program reads and writes.
const VERSION: u32 = 2;

/// What every version has in common.
#[derive(Debug, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Debug, Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    parts: &'a CatalogParts,
}

/// Why a file is not a snapshot that can be read.
#[derive(Debug)]
pub enum SnapshotError {
    /// It is something else.
    NotASnapshot,
    /// It was written by another version of pgwarden; this is the format's version.
    Version(u32),
    /// It is damaged.
    Damaged(serde_json::Error),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = "write it again with \"pgwarden catalog\"";
        match self {
            Self::NotASnapshot => write!(f, "is not a catalogue snapshot; {again}"),
            Self::Version(found) => write!(
                f,
                "is a catalogue snapshot of version {found}, and this pgwarden reads {VERSION}; {again}"
            ),
            Self::Damaged(error) => {
                write!(f, "is a damaged catalogue snapshot ({error}); {again}")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}

/// The file's text.
///
/// # Errors
/// When JSON can't hold it, which does not happen.
pub fn write_snapshot(catalog: &Catalog) -> Result<String, serde_json::Error> {
    let mut parts = catalog.parts().clone();
    sort(&mut parts);
    let mut text = serde_json::to_string_pretty(&Written {
        format: FORMAT,
        version: VERSION,
        parts: &parts,
    })?;
    text.push('\n');
    Ok(text)
}

/// Reads the file's text.
///
/// # Errors
/// When it is something else, damaged, or of another version.
pub fn read_snapshot(text: &[u8]) -> Result<Catalog, SnapshotError> {
    let head: Head = serde_json::from_slice(text).map_err(|_| SnapshotError::NotASnapshot)?;
    if head.format != FORMAT {
        return Err(SnapshotError::NotASnapshot);
    }
    if head.version != VERSION {
        return Err(SnapshotError::Version(head.version));
    }
    let parts = serde_json::from_slice(text).map_err(SnapshotError::Damaged)?;
    Ok(Catalog::new(parts))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pgwarden_policy::catalog::{Type, TypeKind};

    use super::*;

    fn parts() -> CatalogParts {
        let ty = |oid, name: &str| Type {
            oid,
            schema: "pg_catalog".to_owned(),
            name: name.to_owned(),
            kind: TypeKind::Base,
            element: 0,
            base: 0,
            modifier: None,
            extension: None,
            check_calls_function: false,
            compared_by: Vec::new(),
        };
        CatalogParts {
            server_version_num: 150_000,
            schemas: vec!["public".to_owned(), "app".to_owned()],
            types: vec![ty(20, "int8"), ty(16, "bool")],
            ..CatalogParts::default()
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let text = write_snapshot(&Catalog::new(parts())).unwrap();
        let read = read_snapshot(text.as_bytes()).unwrap();
        let mut sorted = parts();
        sort(&mut sorted);
        assert_eq!(read.parts(), &sorted);
        assert_eq!(write_snapshot(&read).unwrap(), text);
    }

    #[test]
    fn the_order_of_reading_does_not_show() {
        let mut other = parts();
        other.schemas.reverse();
        other.types.reverse();
        assert_eq!(
            write_snapshot(&Catalog::new(other)).unwrap(),
            write_snapshot(&Catalog::new(parts())).unwrap()
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let refused = |text: &str| read_snapshot(text.as_bytes()).unwrap_err().to_string();
        for text in ["", "{}", "[]", r#"{"format": "x", "version": 1}"#] {
            assert!(refused(text).starts_with("is not a catalogue"), "{text}");
        }
        let newer = r#"{"format": "pgwarden catalog", "version": 3}"#;
        assert!(refused(newer).contains("of version 3"));
        let damaged = r#"{"format": "pgwarden catalog", "version": 2}"#;
        assert!(refused(damaged).contains("missing field"));
    }
}
