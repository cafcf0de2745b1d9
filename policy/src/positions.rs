//! Error positions: characters from 1 as in the protocol, bytes from 0 as in the parser.

/// The position of a byte, if a character begins there (or the text ends there).
pub(crate) fn to_characters(text: &str, byte: usize) -> Option<u32> {
    let before = text.get(..byte)?;
    u32::try_from(before.chars().count() + 1).ok()
}

/// The byte of a position.
pub(crate) fn to_bytes(text: &str, position: u32) -> Option<usize> {
    let characters = usize::try_from(position).ok()?.checked_sub(1)?;
    let mut starts = text.char_indices().map(|(at, _)| at);
    starts.nth(characters).or_else(|| {
        let at_end = text.chars().count() == characters;
        at_end.then_some(text.len())
    })
}

/// The client's byte for a byte of the rewritten text, by the pairs that the proof found.
pub(crate) fn pair(pairs: &[(i32, i32)], rewritten: usize) -> Option<usize> {
    let rewritten = i32::try_from(rewritten).ok()?;
    let (_, original) = pairs.iter().find(|(there, _)| *there == rewritten)?;
    usize::try_from(*original).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_bytes() {
        let text = "SELECT 'é', ü";
        assert_eq!(to_characters(text, 12), Some(12));
        assert_eq!(to_bytes(text, 12), Some(12));
        assert_eq!(to_bytes(text, 13), Some(13));
        assert_eq!(to_characters(text, 9), None);
        assert_eq!(to_bytes(text, 14), Some(text.len()));
        assert_eq!(to_bytes(text, 15), None);
        assert_eq!(to_bytes(text, 0), None);
    }
}
