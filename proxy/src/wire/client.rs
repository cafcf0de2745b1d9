//! The messages of a client that are more than their type.

use pgwarden_policy::plan::BindParameters;

use super::{Malformed, Reader};

/// The text of a Query.
///
/// # Errors
/// When it is not one string.
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.string()?;
    reader.end()?;
    Ok(text)
}

/// A Parse.
#[derive(PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text.
    pub text: &'a [u8],
}

impl std::fmt::Debug for Parse<'_> {
    /// Leaves the text out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parse").finish_non_exhaustive()
    }
}

/// Reads a Parse; the declared types go into `types`.
///
/// # Errors
/// When the bytes don't fit.
pub fn parse<'a>(body: &'a [u8], types: &mut Vec<u32>) -> Result<Parse<'a>, Malformed> {
    let mut reader = Reader::new(body);
    let name = reader.string()?;
    let text = reader.string()?;
    let count = usize::from(reader.u16()?);
    types.clear();
    let oids = reader.take(count * 4)?;
    reader.end()?;
    let oids = oids.as_chunks::<4>().0;
    types.extend(oids.iter().map(|oid| u32::from_be_bytes(*oid)));
    Ok(Parse { name, text })
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// Reads a Describe or a Close.
///
/// # Errors
/// When it is about something else.
pub fn target(body: &[u8]) -> Result<Target<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let kind = reader.u8()?;
    let name = reader.string()?;
    reader.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(Malformed("invalid DESCRIBE or CLOSE message subtype")),
    }
}

/// The portal of an Execute (its row limit is the server's business).
///
/// # Errors
/// When the bytes don't fit.
pub fn execute(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let portal = reader.string()?;
    reader.u32()?;
    reader.end()?;
    Ok(portal)
}

/// A Bind. What is not needed apart stays as it came.
pub struct Bind<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The statement's name.
    pub statement: &'a [u8],
    /// The format codes of the parameters, two bytes each.
    pub formats: &'a [u8],
    /// The parameters, each with its length.
    pub values: &'a [u8],
    /// The result formats, with their count.
    pub results: &'a [u8],
}

impl std::fmt::Debug for Bind<'_> {
    /// Leaves the values out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bind").finish_non_exhaustive()
    }
}

/// Where the values of a Bind are, reused from one to the next.
#[derive(Debug, Default)]
pub struct Spans {
    /// The end of each value within [`Bind::values`]; `None` is NULL.
    ends: Vec<(usize, Option<usize>)>,
}

impl Spans {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Reads a Bind.
///
/// # Errors
/// When a count, a length or a format code is not what it can be.
pub fn bind<'a>(body: &'a [u8], spans: &mut Spans) -> Result<Bind<'a>, Malformed> {
    let mut reader = Reader::new(body);
    let portal = reader.string()?;
    let statement = reader.string()?;
    let formats = codes(&mut reader)?;
    let count = reader.u16()?;
    let all = reader.rest();
    spans.ends.clear();
    for _ in 0..count {
        let length = reader.i32()?;
        let start = all.len() - reader.rest().len();
        let end = match usize::try_from(length) {
            Ok(length) => {
                reader.take(length)?;
                Some(start + length)
            }
            Err(_) if length == -1 => None,
            Err(_) => return Err(Malformed("invalid parameter length in bind message")),
        };
        spans.ends.push((start, end));
    }
    let (values, results) = all.split_at(all.len() - reader.rest().len());
    // The result formats are the server's to judge, when it sends the first row.
    let count_of_results = usize::from(reader.u16()?);
    reader.take(count_of_results * 2)?;
    reader.end()?;
    let given = formats.len() / 2;
    if given > 1 && given != usize::from(count) {
        return Err(Malformed(
            "bind message has another number of parameter formats than of parameters",
        ));
    }
    Ok(Bind {
        portal,
        statement,
        formats,
        values,
        results,
    })
}

/// A count and that many format codes.
fn codes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let count = usize::from(reader.u16()?);
    let codes = reader.take(count * 2)?;
    if codes
        .as_chunks::<2>()
        .0
        .iter()
        .all(|code| *code == [0, 0] || *code == [0, 1])
    {
        Ok(codes)
    } else {
        Err(Malformed("unsupported format code"))
    }
}

/// The parameters of a Bind as the engine looks at them.
#[derive(Debug)]
pub struct Parameters<'a> {
    bind: &'a Bind<'a>,
    spans: &'a Spans,
}

impl<'a> Bind<'a> {
    /// The parameters; `spans` is what reading this Bind has filled.
    pub fn parameters(&'a self, spans: &'a Spans) -> Parameters<'a> {
        Parameters { bind: self, spans }
    }

    /// Whether the parameter of an index is in binary format.
    pub fn is_binary(&self, index: usize) -> bool {
        let codes = self.formats.as_chunks::<2>().0;
        let code = match codes {
            [] => None,
            [one] => Some(one),
            several => several.get(index),
        };
        code == Some(&[0, 1])
    }
}

impl BindParameters for Parameters<'_> {
    fn len(&self) -> usize {
        self.spans.ends.len()
    }

    fn get(&self, index: usize) -> Option<(Option<&[u8]>, bool)> {
        let (start, end) = *self.spans.ends.get(index)?;
        let value = match end {
            Some(end) => Some(self.bind.values.get(start..end)?),
            None => None,
        };
        Some((value, self.bind.is_binary(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_string() {
        assert_eq!(query(b"SELECT 1\0"), Ok(&b"SELECT 1"[..]));
        for body in [&b""[..], b"SELECT 1", b"SELECT 1\0; DROP\0", b"a\0\0"] {
            assert!(query(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_parse_has_as_many_types_as_it_says() {
        let mut types = vec![7];
        let parsed = parse(b"s\0SELECT $1\0\0\x01\0\0\0\x19", &mut types).unwrap();
        assert_eq!((parsed.name, parsed.text), (&b"s"[..], &b"SELECT $1"[..]));
        assert_eq!(types, [25]);
        for body in [
            &b"s\0SELECT 1\0"[..],
            b"s\0SELECT 1\0\0\x02\0\0\0\x19",
            b"s\0SELECT 1\0\xff\xff",
            b"s\0SELECT 1\0\0\0x",
            b"s",
        ] {
            assert!(parse(body, &mut types).is_err(), "{body:?}");
        }
    }

    #[test]
    fn describe_and_close_are_about_statements_or_portals() {
        assert_eq!(target(b"Sa\0"), Ok(Target::Statement(b"a")));
        assert_eq!(target(b"P\0"), Ok(Target::Portal(b"")));
        for body in [&b"X\0"[..], b"S", b"Sa", b"Sa\0b", b""] {
            assert!(target(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn an_execute_has_a_portal_and_a_limit() {
        assert_eq!(execute(b"p\0\0\0\0\x05"), Ok(&b"p"[..]));
        assert!(execute(b"p\0\0\0").is_err());
        assert!(execute(b"p\0\0\0\0\x05x").is_err());
    }

    fn bound(body: &[u8]) -> Option<Vec<(Option<Vec<u8>>, bool)>> {
        let mut spans = Spans::default();
        let bind = bind(body, &mut spans).ok()?;
        let parameters = bind.parameters(&spans);
        let get = |at| {
            parameters
                .get(at)
                .map(|(value, binary)| (value.map(<[u8]>::to_vec), binary))
        };
        (0..parameters.len()).map(get).collect()
    }

    #[test]
    fn a_bind_gives_values_and_their_formats() {
        let body = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        let wanted = vec![(Some(b"x".to_vec()), true), (None, true)];
        assert_eq!(bound(body), Some(wanted));
        let body = b"\0s\0\0\x02\0\0\0\x01\0\x02\0\0\0\0\0\0\0\x01y\0\x01\0\x01";
        let wanted = vec![(Some(Vec::new()), false), (Some(b"y".to_vec()), true)];
        assert_eq!(bound(body), Some(wanted));
        assert_eq!(bound(b"\0\0\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn hostile_binds_are_refused() {
        for body in [
            // a length of -2, one beyond the message, one of 2 GiB
            &b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"[..],
            b"\0\0\0\0\0\x01\0\0\0\x09x\0\0",
            b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0",
            // more values, formats, result formats than there are
            b"\0\0\0\0\xff\xff\0\0",
            b"\0\0\xff\xff\0\0\0\0",
            b"\0\0\0\0\0\0\xff\xff",
            // two formats for one value, format code 2, trailing bytes, no end of a name
            b"\0\0\0\x02\0\0\0\0\0\x01\0\0\0\0\0\0",
            b"\0\0\0\x01\0\x02\0\0\0\0",
            b"\0\0\0\0\0\0\0\0x",
            b"abc",
            b"",
        ] {
            assert_eq!(bound(body), None, "{body:?}");
        }
    }
}
