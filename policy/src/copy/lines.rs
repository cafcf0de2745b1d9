//! Rows as lines: the formats text and csv, read as `CopyReadLineText` and `CopyReadAttributes…` do.
//!
//! Refused, because servers differ or the end of a line would depend on what came before: the end
//! marker `\.` but as the last line of text, a carriage return that no line feed follows, an escape
//! in a key.

use super::{Bad, Keys, Style, What, gather};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a field, outside of quotes.
    Field,
    /// Text: behind a backslash.
    Escape,
    /// Csv: inside quotes.
    Quoted,
    /// Csv: behind a quote inside quotes, which may be a doubled one.
    Quote,
    /// Behind a carriage return that has ended a row.
    Return,
    /// Text: behind `\.` alone on its line.
    Marker,
    /// Behind the end marker: nothing may follow.
    End,
}

/// What may become `\.` at the start of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Line,
    Backslash,
    Past,
}

/// Reads lines.
pub(super) struct Lines {
    delimiter: u8,
    /// Csv has one.
    quote: Option<u8>,
    null: Box<[u8]>,
    keys: Keys,
    header: bool,
    /// The line that is being read, counted as an editor does: inside of quotes, too.
    line: u64,
    field: usize,
    at: At,
    start: Start,
    /// Whether anything stands in the row yet.
    empty: bool,
    /// The value of the key that is being read.
    value: Vec<u8>,
    /// How many keys of the row were found good.
    good: usize,
    /// What every row gets at its end.
    row_end: Vec<u8>,
    /// Whether the last byte has ended a row.
    ended: bool,
}

impl std::fmt::Debug for Lines {
    /// Leaves out what is gathered of a value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("line", &self.line)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn text(style: &Style, keys: Keys, row_end: Vec<u8>) -> Self {
        Self::new(style, None, keys, row_end)
    }

    pub(super) fn csv(style: &Style, keys: Keys, row_end: Vec<u8>) -> Self {
        Self::new(style, Some(style.quote), keys, row_end)
    }

    fn new(style: &Style, quote: Option<u8>, keys: Keys, row_end: Vec<u8>) -> Self {
        Self {
            delimiter: style.delimiter,
            quote,
            null: style.null.clone(),
            keys,
            header: style.header,
            line: 1,
            field: 0,
            at: At::Field,
            start: Start::Line,
            empty: true,
            value: Vec::new(),
            good: 0,
            row_end,
            ended: false,
        }
    }

    /// Reads a piece; `filled` gets it with its rows filled, if they are.
    pub(super) fn take(&mut self, data: &[u8], filled: &mut Vec<u8>) -> Result<(), Bad> {
        if self.row_end.is_empty() {
            return data.iter().try_for_each(|byte| self.byte(*byte));
        }
        for byte in data {
            self.byte(*byte)?;
            self.fill(filled);
            filled.push(*byte);
        }
        Ok(())
    }

    fn fill(&mut self, filled: &mut Vec<u8>) {
        if std::mem::take(&mut self.ended) {
            filled.extend_from_slice(&self.row_end);
        }
    }

    pub(super) fn finish(&mut self, filled: &mut Vec<u8>) -> Result<(), Bad> {
        match self.at {
            At::Field | At::Quote if self.empty => Ok(()),
            At::Field | At::Quote => {
                self.end_row()?;
                self.fill(filled);
                Ok(())
            }
            At::End => Ok(()),
            At::Escape | At::Quoted | At::Return | At::Marker => self.unclear("it has no end"),
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), Bad> {
        if self.ends(byte)? {
            return Ok(());
        }
        if byte == 0 {
            return self.unclear("it holds a NUL byte");
        }
        match self.at {
            At::Field => self.plain(byte),
            At::Escape => match byte {
                b'.' => self.unclear("it holds an end marker"),
                b'\r' => self.unclear("it holds a carriage return"),
                _ => {
                    self.at = At::Field;
                    Ok(())
                }
            },
            At::Quoted if Some(byte) == self.quote => {
                self.at = At::Quote;
                Ok(())
            }
            At::Quoted => {
                self.line += u64::from(byte == b'\n');
                self.keep(byte)
            }
            At::Quote if Some(byte) == self.quote => {
                self.at = At::Quoted;
                self.keep(byte)
            }
            At::Quote => {
                self.at = At::Field;
                self.plain(byte)
            }
            At::Return if byte == b'\n' => {
                self.at = At::Field;
                Ok(())
            }
            At::Return => self.unclear("it ends with a carriage return alone"),
            At::Marker | At::End => self.unclear("it follows an end marker"),
        }
    }

    /// A byte outside of quotes and escapes.
    fn plain(&mut self, byte: u8) -> Result<(), Bad> {
        match byte {
            b'\n' => self.end_row(),
            b'\r' => {
                self.end_row()?;
                self.at = At::Return;
                Ok(())
            }
            _ if byte == self.delimiter => {
                self.end_field()?;
                self.empty = false;
                Ok(())
            }
            _ if Some(byte) == self.quote => {
                self.empty = false;
                self.at = At::Quoted;
                Ok(())
            }
            b'\\' if self.quote.is_none() => {
                self.empty = false;
                self.at = At::Escape;
                if self.key().is_some() {
                    return self.unclear("the tenant column holds an escape");
                }
                Ok(())
            }
            _ => self.keep(byte),
        }
    }

    /// The key that the field is, but for a header.
    fn key(&self) -> Option<usize> {
        let mut keys = self.keys.iter();
        let at = keys.position(|(column, _)| *column == self.field);
        at.filter(|_| !self.header)
    }

    fn keep(&mut self, byte: u8) -> Result<(), Bad> {
        self.empty = false;
        let own = self.key().and_then(|key| self.keys.get(key));
        match own {
            Some((_, own)) if !gather(&mut self.value, &[byte], own) => self.foreign(),
            _ => Ok(()),
        }
    }

    fn end_field(&mut self) -> Result<(), Bad> {
        if let Some((_, own)) = self.key().and_then(|key| self.keys.get(key)) {
            // With quotes or without: an option may make NULL of both.
            if *self.value == *self.null || !own.matches_text(&self.value) {
                return self.foreign();
            }
            self.good += 1;
        }
        self.value.clear();
        self.field += 1;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Bad> {
        self.end_field()?;
        if !self.header && self.good != self.keys.len() {
            return self.unclear("it lacks the tenant column");
        }
        self.ended = !std::mem::take(&mut self.header);
        (self.field, self.good, self.empty) = (0, 0, true);
        self.line += 1;
        Ok(())
    }

    /// Reads the end marker: the last line of text. Some servers take it for the end of csv, too,
    /// even inside of quotes.
    fn ends(&mut self, byte: u8) -> Result<bool, Bad> {
        if self.at == At::Marker {
            self.at = match byte {
                b'\n' => At::End,
                _ => At::Marker,
            };
            return match self.at {
                At::End => Ok(true),
                _ => self.unclear("it holds an end marker").map(|()| true),
            };
        }
        let marks = self.start == Start::Backslash && byte == b'.';
        self.start = match (self.start, byte) {
            (_, b'\n' | b'\r') => Start::Line,
            (Start::Line, b'\\') => Start::Backslash,
            _ => Start::Past,
        };
        if !marks {
            return Ok(false);
        }
        if self.quote.is_some() || self.at != At::Escape {
            return self.unclear("it holds an end marker").map(|()| true);
        }
        self.at = At::Marker;
        Ok(true)
    }

    fn unclear(&self, what: &'static str) -> Result<(), Bad> {
        Err(Bad {
            line: self.line,
            what: What::Unclear(what),
        })
    }

    fn foreign(&self) -> Result<(), Bad> {
        Err(Bad {
            line: self.line,
            what: What::Foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::ScopeValue;

    fn lines(csv: bool, header: bool, null: &str) -> Lines {
        let style = Style {
            delimiter: if csv { b',' } else { b'\t' },
            quote: b'"',
            null: null.as_bytes().into(),
            header,
        };
        let keys = vec![(1, ScopeValue::Bigint(7))];
        if csv {
            Lines::csv(&style, keys, Vec::new())
        } else {
            Lines::text(&style, keys, Vec::new())
        }
    }

    /// What the server sees of rows that are filled, the same wherever the data is cut.
    fn filled(csv: bool, header: bool, data: &[u8]) -> String {
        let run = |cut: usize| {
            let mut reader = lines(csv, header, "-");
            (reader.keys, reader.row_end) = (Vec::new(), b"<7>".to_vec());
            let (one, two) = data.split_at(cut);
            let mut filled = Vec::new();
            reader.take(one, &mut filled).unwrap();
            reader.take(two, &mut filled).unwrap();
            reader.finish(&mut filled).unwrap();
            String::from_utf8(filled).unwrap()
        };
        let whole = run(0);
        for cut in 1..=data.len() {
            assert_eq!(run(cut), whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn rows_are_filled_at_their_ends() {
        assert_eq!(filled(false, false, b"a\tb\nc"), "a\tb<7>\nc<7>");
        assert_eq!(filled(false, false, b"a\\\nb\r\n\n"), "a\\\nb<7>\r\n<7>\n");
        assert_eq!(filled(false, false, b"a\n\\.\n"), "a<7>\n\\.\n");
        assert_eq!(
            filled(true, true, b"h,\"\n\"\na,\"b\n\"\n"),
            "h,\"\n\"\na,\"b\n\"<7>\n"
        );
        assert_eq!(filled(true, false, b""), "");
    }

    /// The outcome, the same wherever the data is cut.
    fn outcome(make: impl Fn() -> Lines, data: &[u8]) -> Result<(), Bad> {
        let run = |cut: usize| {
            let (mut reader, (one, two)) = (make(), data.split_at(cut));
            let mut filled = Vec::new();
            reader.take(one, &mut filled)?;
            reader.take(two, &mut filled)?;
            reader.finish(&mut filled)
        };
        let whole = run(0);
        for cut in 1..=data.len() {
            assert_eq!(run(cut), whole, "cut at {cut}");
        }
        whole
    }

    fn row(outcome: Result<(), Bad>) -> Option<u64> {
        outcome.err().map(|bad| bad.line)
    }

    #[test]
    fn text_rows() {
        let text = |data: &str| row(outcome(|| lines(false, false, "\\N"), data.as_bytes()));
        for good in [
            "",
            "a\t7\tb\n",
            "a\t7\tb\nc\t 07 \td\n",
            "a\t7",
            "a\t7\r\nb\t7\r\n",
            "\t7\n",
            "a\\\tb\t7\n",
            "a\\\nb\t7\n",
            "\\\\\t7\n",
            "\\x37\t7\n",
            "\\N\t7\t\\N\n",
            "\\.\n",
            "a\t7\n\\.\n",
        ] {
            assert_eq!(text(good), None, "{good:?}");
        }
        for (bad, at) in [
            ("a\t8\n", 1),
            ("a\t7\nb\t8\n", 2),
            ("a\t7\nb\t8", 2),
            ("a\t\\N\n", 1),
            ("a\n", 1),
            ("\n", 1),
            ("a\t\\67\n", 1),
            ("a\t\\x37\n", 1),
            ("a\\\t7\n", 1),
            ("a\\\\\t8\n", 1),
            ("a\\\n\t8\n", 1),
            ("\\.", 1),
            ("\\.\r\n", 1),
            ("\\.x\n", 1),
            ("a\t7\n\\.\nb\t8\n", 2),
            ("a\t7\\.\n", 1),
            ("a\\.\t7\n", 1),
            ("a\t7\rb\t7\n", 2),
            ("a\\\r\n\t7", 1),
            ("a\t7\0\n", 1),
            ("a\t7\\", 1),
            ("a\t7\r", 2),
            ("a\t77777777777777777777\n", 1),
        ] {
            assert_eq!(text(bad), Some(at), "{bad:?}");
        }
    }

    #[test]
    fn csv_rows() {
        let csv = |data: &str| row(outcome(|| lines(true, false, ""), data.as_bytes()));
        for good in [
            "a,7\n",
            "a,\"7\"\n",
            "\"a,\nb\",7,c\n",
            "\"a\"\"\",7\r\n",
            "\"\",7\n",
            "a,7",
            "a\\,7\n",
            "\"a\rb\",7\n",
            "x\"a,b\"y,7\n",
        ] {
            assert_eq!(csv(good), None, "{good:?}");
        }
        for (bad, at) in [
            ("a,8\n", 1),
            ("a,\n", 1),
            ("a,\"\"\n", 1),
            ("a,\"7\n", 2),
            ("\"a,7\n", 2),
            ("\"a\"\",7\n", 2),
            ("\"a\nb\",8\n", 2),
            ("a,7\n\\.\n", 2),
            ("\"a\n\\.\nb\",7\n", 2),
            ("a,7\rb,7\n", 2),
            ("a\n", 1),
            ("\"a\\\",8\n", 1),
        ] {
            assert_eq!(csv(bad), Some(at), "{bad:?}");
        }
    }

    #[test]
    fn a_null_that_looks_like_the_tenant_is_null() {
        assert_eq!(
            row(outcome(|| lines(false, false, "7"), b"a\t7\n")),
            Some(1)
        );
        assert_eq!(
            row(outcome(|| lines(true, false, "7"), b"a,\"7\"\n")),
            Some(1)
        );
    }

    #[test]
    fn a_header_is_no_row() {
        assert_eq!(
            row(outcome(|| lines(true, true, ""), b"id,org\na,7\n")),
            None
        );
        assert_eq!(
            row(outcome(|| lines(true, true, ""), b"id,org\na,8\n")),
            Some(2)
        );
        assert_eq!(
            row(outcome(|| lines(true, true, ""), b"\"i\nd\",org\na,8\n")),
            Some(3)
        );
    }
}
