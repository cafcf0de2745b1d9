//! Standard output.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::Failure;

/// The columns of a terminal that nobody has made wider.
const WIDTH: usize = 80;

/// Writes a result. A reader that has seen enough (`| head`) is not an error.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Internal(format!(
            "can't write the result: {error}"
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether people look at it, on a terminal that they want coloured.
pub(super) fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Writes a result as JSON.
pub(super) fn write_json(result: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(result)
        .map_err(|error| Failure::Internal(format!("can't write the result: {error}")))?;
    write(&format!("{json}\n"))
}

/// Appends a text, broken at spaces so that lines with this indent fit 80 columns.
pub(super) fn wrap(out: &mut String, indent: usize, text: &str) {
    let room = WIDTH.saturating_sub(indent).max(20);
    for line in text.lines() {
        let mut used = 0;
        for word in line.split(' ') {
            let width = word.chars().count();
            if used == 0 || used + 1 + width > room {
                out.push_str(if used == 0 { "" } else { "\n" });
                out.extend(std::iter::repeat_n(' ', indent));
                used = width;
            } else {
                out.push(' ');
                used += 1 + width;
            }
            out.push_str(word);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces() {
        let mut out = String::new();
        wrap(
            &mut out,
            60,
            "one two three four five sixsixsixsixsixsixsixsix\n7",
        );
        let indent = " ".repeat(60);
        let lines = [
            "one two three four",
            "five",
            "sixsixsixsixsixsixsixsix",
            "7",
        ];
        let expected: String = lines.iter().map(|it| format!("{indent}{it}\n")).collect();
        assert_eq!(out, expected);
    }
}
