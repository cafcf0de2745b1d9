//! What a row gets behind its last column: the keys that the client left out, as the format writes
//! them.

use super::{Bad, Format, Style, What};
use crate::tenant::ScopeValue;

/// `int4` and `int2`, whose binary forms are shorter than a claim's number.
const INT4: u32 = 23;
const INT2: u32 = 21;

/// The bytes at the end of every row.
pub(super) fn row_end(format: &Format, fills: &[(&ScopeValue, u32)]) -> Result<Vec<u8>, Bad> {
    let mut end = Vec::new();
    for (value, type_oid) in fills {
        value.with_text(|text| match format {
            Format::Text(style) => write_text(&mut end, style, text.as_bytes()),
            Format::Csv(style) => {
                write_csv(&mut end, style, text.as_bytes());
                Ok(())
            }
            Format::Binary => write_binary(&mut end, value, *type_oid),
        })?;
    }
    Ok(end)
}

fn unclear(what: &'static str) -> Bad {
    Bad {
        line: 1,
        what: What::Unclear(what),
    }
}

fn write_text(end: &mut Vec<u8>, style: &Style, text: &[u8]) -> Result<(), Bad> {
    end.push(style.delimiter);
    let start = end.len();
    for byte in text {
        match byte {
            b'\n' => end.extend_from_slice(b"\\n"),
            b'\r' => end.extend_from_slice(b"\\r"),
            b'\t' => end.extend_from_slice(b"\\t"),
            _ if *byte == b'\\' || *byte == style.delimiter => {
                end.extend_from_slice(&[b'\\', *byte])
            }
            _ => end.push(*byte),
        }
    }
    // The server compares what is written with NULL, before it reads escapes.
    if end.get(start..) == Some(&*style.null) {
        return Err(unclear("NULL is written as the tenant column's value is"));
    }
    Ok(())
}

/// In quotes, a value is never NULL.
fn write_csv(end: &mut Vec<u8>, style: &Style, text: &[u8]) {
    end.extend_from_slice(&[style.delimiter, style.quote]);
    for byte in text {
        if *byte == style.quote {
            end.push(style.quote);
        }
        end.push(*byte);
    }
    end.push(style.quote);
}

fn write_binary(end: &mut Vec<u8>, value: &ScopeValue, type_oid: u32) -> Result<(), Bad> {
    let mut bytes = Vec::new();
    match (value, type_oid) {
        (ScopeValue::Bigint(number), INT4) => {
            let number = i32::try_from(*number).map_err(|_| unclear("the tenant is no integer"))?;
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        (ScopeValue::Bigint(number), INT2) => {
            let number =
                i16::try_from(*number).map_err(|_| unclear("the tenant is no smallint"))?;
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        _ => value.write_binary(&mut bytes),
    }
    let length = i32::try_from(bytes.len()).map_err(|_| unclear("the tenant is too long"))?;
    end.extend_from_slice(&length.to_be_bytes());
    end.extend_from_slice(&bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(delimiter: u8, null: &str) -> Style {
        Style {
            delimiter,
            quote: b'"',
            null: null.as_bytes().into(),
            header: false,
        }
    }

    #[test]
    fn values_are_written_as_the_format_does() {
        let odd = ScopeValue::Text("a\\b\t\"c|".into());
        let end = |format| row_end(&format, &[(&odd, 25)]).ok();
        let text = end(Format::Text(style(b'|', "\\N")));
        assert_eq!(text.as_deref(), Some(&b"|a\\\\b\\t\"c\\|"[..]));
        let csv = end(Format::Csv(style(b',', "")));
        assert_eq!(csv.as_deref(), Some(&b",\"a\\b\t\"\"c|\""[..]));
        let binary =
            |number, oid| row_end(&Format::Binary, &[(&ScopeValue::Bigint(number), oid)]).ok();
        assert_eq!(
            binary(7, 23).as_deref(),
            Some(&[0, 0, 0, 4, 0, 0, 0, 7][..])
        );
        assert_eq!(binary(70_000, 21), None);
        let seven = ScopeValue::Bigint(7);
        assert!(row_end(&Format::Text(style(b'\t', "7")), &[(&seven, 20)]).is_err());
    }
}
