//! Rows in the binary format: signature, flags, then counted fields with their lengths, then -1.

use super::{Bad, Keys, What, gather};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of an extension of the header, which nobody writes.
const HEADER: usize = 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header,
    Count,
    Length,
    Value { left: usize },
    End,
}

/// Reads the binary format.
pub(super) struct Binary {
    columns: usize,
    keys: Keys,
    at: At,
    row: u64,
    field: usize,
    /// The bytes of the number, the header or the key that is being read.
    gathered: Vec<u8>,
    /// How many fields every row gets, and their bytes.
    fills: (usize, Vec<u8>),
}

impl std::fmt::Debug for Binary {
    /// Leaves out what is gathered of a value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binary")
            .field("row", &self.row)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Binary {
    pub(super) fn new(columns: usize, keys: Keys, fills: (usize, Vec<u8>)) -> Self {
        Self {
            columns,
            keys,
            at: At::Header,
            row: 1,
            field: 0,
            gathered: Vec::new(),
            fills,
        }
    }

    /// Reads a piece; `filled` gets it with its rows filled, if they are.
    pub(super) fn take(&mut self, mut data: &[u8], filled: &mut Vec<u8>) -> Result<(), Bad> {
        while !data.is_empty() {
            let wanted = match self.at {
                At::Header => HEADER - self.gathered.len(),
                At::Count => 2 - self.gathered.len(),
                At::Length => 4 - self.gathered.len(),
                At::Value { left } => left,
                At::End => return self.unclear("something follows the end"),
            };
            let Some((piece, rest)) = data.split_at_checked(wanted.min(data.len())) else {
                return self.unclear("it is cut");
            };
            data = rest;
            let whole = piece.len() == wanted;
            let row = self.row;
            if let At::Value { left } = self.at {
                filled.extend_from_slice(piece);
                self.value(piece, left - piece.len())?;
            } else {
                self.gathered.extend_from_slice(piece);
                if whole {
                    self.write_number(filled);
                    self.number()?;
                    self.gathered.clear();
                }
            }
            if self.row > row {
                filled.extend_from_slice(&self.fills.1);
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Bad> {
        match self.at {
            At::End => Ok(()),
            // Older servers take the end of the data between two rows for the end.
            At::Count if self.gathered.is_empty() => Ok(()),
            At::Header | At::Count | At::Length | At::Value { .. } => self.unclear("it has no end"),
        }
    }

    /// A complete number goes on; a count with what is added.
    fn write_number(&self, filled: &mut Vec<u8>) {
        match (self.at, self.gathered.as_slice()) {
            (At::Count, [high, low]) if [*high, *low] != [0xff, 0xff] => {
                let count = u16::from_be_bytes([*high, *low]);
                let added = u16::try_from(self.fills.0).unwrap_or_default();
                filled.extend_from_slice(&count.saturating_add(added).to_be_bytes());
            }
            (_, number) => filled.extend_from_slice(number),
        }
    }

    /// The header, a count or a length is complete.
    fn number(&mut self) -> Result<(), Bad> {
        match (self.at, self.gathered.as_slice()) {
            (At::Header, header) => {
                let plain = header.strip_prefix(SIGNATURE) == Some(&[0; 8]);
                self.at = At::Count;
                if plain {
                    Ok(())
                } else {
                    self.unclear("the header is not known")
                }
            }
            (At::Count, [0xff, 0xff]) => {
                self.at = At::End;
                Ok(())
            }
            (At::Count, [high, low]) => {
                let count = usize::from(u16::from_be_bytes([*high, *low]));
                (self.at, self.field) = (At::Length, 0);
                if count == self.columns && count > 0 {
                    Ok(())
                } else {
                    self.unclear("it has another number of columns")
                }
            }
            (At::Length, bytes) => {
                let length = <[u8; 4]>::try_from(bytes).map(i32::from_be_bytes);
                match length {
                    Ok(-1) if self.key().is_some() => self.foreign(),
                    Ok(-1) => self.end_field(),
                    Ok(length) => match usize::try_from(length) {
                        Ok(0) => self.complete(),
                        Ok(left) => {
                            self.at = At::Value { left };
                            Ok(())
                        }
                        Err(_) => self.unclear("a length is negative"),
                    },
                    Err(_) => self.unclear("a length is cut"),
                }
            }
            (At::Count | At::Value { .. } | At::End, _) => self.unclear("it is cut"),
        }
    }

    fn value(&mut self, piece: &[u8], left: usize) -> Result<(), Bad> {
        let own = self.key().and_then(|key| self.keys.get(key));
        if let Some((_, own)) = own
            && !gather(&mut self.gathered, piece, own)
        {
            return self.foreign();
        }
        self.at = At::Value { left };
        if left == 0 { self.complete() } else { Ok(()) }
    }

    /// A field's value is complete.
    fn complete(&mut self) -> Result<(), Bad> {
        if let At::Length = self.at {
            // An empty value: what was gathered is its length.
            self.gathered.clear();
        }
        if let Some((_, own)) = self.key().and_then(|key| self.keys.get(key))
            && !own.matches_binary(&self.gathered)
        {
            return self.foreign();
        }
        self.gathered.clear();
        self.end_field()
    }

    fn end_field(&mut self) -> Result<(), Bad> {
        self.field += 1;
        self.at = if self.field < self.columns {
            At::Length
        } else {
            self.row += 1;
            At::Count
        };
        Ok(())
    }

    fn key(&self) -> Option<usize> {
        self.keys
            .iter()
            .position(|(column, _)| *column == self.field)
    }

    fn unclear(&self, what: &'static str) -> Result<(), Bad> {
        Err(Bad {
            line: self.row,
            what: What::Unclear(what),
        })
    }

    fn foreign(&self) -> Result<(), Bad> {
        Err(Bad {
            line: self.row,
            what: What::Foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::ScopeValue;

    fn data(rows: &[&[Option<&[u8]>]], trailer: &[u8]) -> Vec<u8> {
        let mut data = [&SIGNATURE[..], &[0; 8]].concat();
        for row in rows {
            data.extend_from_slice(&u16::try_from(row.len()).unwrap().to_be_bytes());
            for value in *row {
                let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
                data.extend_from_slice(&length.to_be_bytes());
                data.extend_from_slice(value.unwrap_or_default());
            }
        }
        data.extend_from_slice(trailer);
        data
    }

    /// The row of the refusal, the same wherever the data is cut.
    fn refused(data: &[u8]) -> Option<u64> {
        let run = |cut: usize| {
            let mut reader = Binary::new(2, vec![(1, ScopeValue::Bigint(7))], (0, Vec::new()));
            let (one, two) = data.split_at(cut);
            let mut filled = Vec::new();
            reader.take(one, &mut filled)?;
            reader.take(two, &mut filled)?;
            assert!(reader.finish().is_err() || filled == data);
            reader.finish()
        };
        let whole = run(0);
        for cut in 1..=data.len() {
            assert_eq!(run(cut), whole, "cut at {cut}");
        }
        whole.err().map(|bad| bad.line)
    }

    #[test]
    fn rows_are_filled_at_their_ends() {
        let end = [0xff, 0xff];
        let given = data(&[&[Some(b"a"), None], &[Some(b""), Some(b"b")]], &end);
        let wanted: &[&[Option<&[u8]>]] = &[
            &[Some(b"a"), None, Some(b"7")],
            &[Some(b""), Some(b"b"), Some(b"7")],
        ];
        let wanted = data(wanted, &end);
        for cut in 0..=given.len() {
            let fill = (1, b"\0\0\0\x017".to_vec());
            let (mut reader, mut filled) = (Binary::new(2, Vec::new(), fill), Vec::new());
            let (one, two) = given.split_at(cut);
            reader.take(one, &mut filled).unwrap();
            reader.take(two, &mut filled).unwrap();
            reader.finish().unwrap();
            assert_eq!(filled, wanted, "cut at {cut}");
        }
    }

    #[test]
    fn binary_rows() {
        let (seven, eight) = (7_i64.to_be_bytes(), 8_i64.to_be_bytes());
        let end = [0xff, 0xff];
        let good: &[&[Option<&[u8]>]] = &[
            &[Some(b"a"), Some(&seven)],
            &[None, Some(&seven)],
            &[Some(b""), Some(&seven)],
        ];
        assert_eq!(refused(&data(good, &end)), None);
        assert_eq!(refused(&data(good, b"")), None);
        assert_eq!(refused(&data(good, &[0xff, 0xff, 0])), Some(4));
        assert_eq!(refused(&data(good, &[0])), Some(4));
        assert_eq!(
            refused(&data(&[&[Some(b"a"), Some(&eight)]], &end)),
            Some(1)
        );
        assert_eq!(refused(&data(&[&[Some(b"a"), None]], &end)), Some(1));
        assert_eq!(refused(&data(&[&[Some(b"a"), Some(b"")]], &end)), Some(1));
        assert_eq!(
            refused(&data(&[&[Some(b"a"), Some(&[7; 900])]], &end)),
            Some(1)
        );
        assert_eq!(refused(&data(&[&[Some(&seven)]], &end)), Some(1));
        assert_eq!(
            refused(&data(&[&[Some(b"a"), Some(&seven), None]], &end)),
            Some(1)
        );
        let mut negative = data(&[], b"\0\x02\xff\xff\xff\xfe");
        assert_eq!(refused(&negative), Some(1));
        negative[12] = 1;
        assert_eq!(refused(&negative), Some(1));
    }
}
