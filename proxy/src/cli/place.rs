//! Where things stand in a file of SQL: lines and columns from 1, columns in characters.

use std::ops::Range;

use serde::Serialize;

/// A statement's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_line: usize,
    /// The column behind the last character.
    pub(super) end_column: usize,
    /// What the verdict is about, where it says so; the statement's beginning otherwise.
    pub(super) at_line: usize,
    pub(super) at_column: usize,
}

/// A text whose lines are known.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(breaks).collect(),
        }
    }

    /// The place of these bytes, with the byte `at` in them.
    pub(super) fn place(&self, range: Range<usize>, at: usize) -> Place {
        let (line, column) = self.line_and_column(range.start);
        let (end_line, end_column) = self.line_and_column(range.end);
        let (at_line, at_column) = self.line_and_column(at);
        Place {
            line,
            column,
            end_line,
            end_column,
            at_line,
            at_column,
        }
    }

    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at));
        let before = self.text.get(start.copied().unwrap_or(0)..byte);
        (line, before.map_or(0, |it| it.chars().count()) + 1)
    }
}

/// The byte of a position in a text (characters from 1); its end when the text ends before.
pub(super) fn bytes(text: &str, position: u32) -> usize {
    let characters = usize::try_from(position).unwrap_or(1).saturating_sub(1);
    let byte = text.char_indices().nth(characters);
    byte.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        let text = "one\nüü two\n";
        let place = Lines::of(text).place(4..12, 9);
        assert_eq!((place.line, place.column), (2, 1));
        assert_eq!((place.end_line, place.end_column), (2, 7));
        assert_eq!((place.at_line, place.at_column), (2, 4));
        assert_eq!(bytes("üü", 2), 2);
        assert_eq!(bytes("üü", 9), 4);
    }
}
