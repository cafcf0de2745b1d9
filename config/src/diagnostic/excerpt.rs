//! The line of a file that a problem shows, with the place underlined.
//!
//! The line may hold a secret: a password in a URL, or a `password` or `secret` key that does not
//! exist in the format but that somebody wrote. Those are replaced by `…` before anybody sees
//! them, whatever the problem is about.

use std::ops::Range;

/// What stands for a hidden text.
const HIDDEN: char = '…';

/// Keys whose value is hidden, unless they end in `_env` or `_file`.
const SECRET_KEYS: &[&str] = &["password", "passwd", "secret", "token"];

/// A line and the marks under it.
pub(super) struct Excerpt {
    /// The line.
    pub(super) line: String,
    /// Spaces and carets.
    pub(super) underline: String,
}

impl Excerpt {
    /// The first line of `span`; `cut` leaves out the value of the key that the span is.
    pub(super) fn of(text: &str, span: Range<usize>, cut: bool) -> Self {
        let start = text
            .get(..span.start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |at| at + 1);
        let rest = text.get(start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
        let from = (span.start - start).min(line.len());
        let to = (span.end.max(span.start) - start).min(line.len());
        let mut hidden = secrets(line);
        if cut {
            let equals = line.get(to..).and_then(|rest| rest.find('='));
            hidden.extend(equals.map(|at| to + at + 1..line.len()));
        }
        Self::render(line, from..to, &hidden)
    }

    fn render(line: &str, marked: Range<usize>, hidden: &[Range<usize>]) -> Self {
        let mut excerpt = Self {
            line: String::new(),
            underline: String::new(),
        };
        let mut before = 0;
        for (at, character) in line.char_indices() {
            match hidden.iter().find(|range| range.contains(&at)) {
                Some(range) if range.start == at => {
                    let overlap = range.start < marked.end && marked.start < range.end;
                    excerpt.push(HIDDEN, overlap);
                }
                Some(_) => continue,
                None => excerpt.push(printable(character), marked.contains(&at)),
            }
            before += usize::from(at < marked.start);
        }
        if !excerpt.underline.contains('^') {
            excerpt.underline = format!("{}^", " ".repeat(before));
        }
        excerpt
            .underline
            .truncate(excerpt.underline.trim_end().len());
        excerpt.line.truncate(excerpt.line.trim_end().len());
        excerpt
    }

    fn push(&mut self, character: char, marked: bool) {
        self.line.push(character);
        self.underline.push(if marked { '^' } else { ' ' });
    }
}

/// Tabs would shift the underline, and control characters would reach the terminal.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

/// The parts of a line that are nobody's business.
fn secrets(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    found.extend(secret_value(line));
    found.extend(url_passwords(line));
    found.extend(password_parameters(line));
    found
}

/// `password = …`, also as part of a longer or dotted key or inside an inline table: everything
/// behind the equals sign.
fn secret_value(line: &str) -> Option<Range<usize>> {
    let mut equals = line.match_indices('=').map(|(at, _)| at);
    let found = equals.find(|at| names_secret(line.get(..*at).unwrap_or("")))?;
    Some(found + 1..line.len())
}

/// Whether the key at the end of a text is one whose value is a secret.
fn names_secret(before: &str) -> bool {
    let key = before.trim_end();
    let key = key.rsplit([' ', '\t', '{', ',']).next().unwrap_or(key);
    let key = key.trim_matches(['"', '\'']).to_ascii_lowercase();
    // A parameter of a URL is not a key.
    let is_key = !key.contains(['/', '?', '&']);
    let names_a_place = key.ends_with("_env") || key.ends_with("_file");
    is_key && !names_a_place && SECRET_KEYS.iter().any(|secret| key.contains(secret))
}

/// `://user:password@`. The password ends at the last `@` before the path, so that one with a
/// forgotten escape is hidden, too.
fn url_passwords(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("://") {
        let start = at + 3;
        let rest = line.get(start..).unwrap_or("");
        let authority = rest.split(['"', '\'', ' ']).next().unwrap_or("");
        let (Some(colon), Some(end)) = (authority.find(':'), authority.rfind('@')) else {
            continue;
        };
        if colon < end {
            found.push(start + colon + 1..start + end);
        }
    }
    found
}

/// `?password=…`.
fn password_parameters(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, name) in line.match_indices("password=") {
        let start = at + name.len();
        let rest = line.get(start..).unwrap_or("");
        let length = rest.find(['&', '"', '\'']).unwrap_or(rest.len());
        found.push(start..start + length);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, part: &str) -> String {
        let start = text.find(part).expect("the part is in the text");
        let excerpt = Excerpt::of(text, start..start + part.len(), false);
        format!("{}\n{}", excerpt.line, excerpt.underline)
    }

    #[test]
    fn the_first_line_of_a_span_is_underlined() {
        let text = "a = 1\nb = \"\"\"x\ny\"\"\"\n";
        assert_eq!(shown(text, "\"\"\"x\ny"), "b = \"\"\"x\n    ^^^^");
    }

    #[test]
    fn an_empty_span_has_one_mark() {
        let excerpt = Excerpt::of("a = \n", 4..4, false);
        assert_eq!(excerpt.underline, "    ^");
    }

    #[test]
    fn passwords_in_urls_are_hidden_and_marks_stay_in_place() {
        let text = r#"url = "postgres://bob:hun@ter2@host/db?password=x&sslmode=on" # end"#;
        assert_eq!(
            shown(text, "sslmode=on"),
            "url = \"postgres://bob:…@host/db?password=…&sslmode=on\" # end\n                                           ^^^^^^^^^^"
        );
    }

    #[test]
    fn values_of_secret_keys_are_hidden() {
        assert_eq!(shown("db.password = hunter2", "db"), "db.password =…\n^^");
        assert_eq!(
            shown("secret_env = X", "X"),
            "secret_env = X\n             ^"
        );
    }

    #[test]
    fn control_characters_are_not_passed_on() {
        assert_eq!(shown("a\t= \u{1b}[31m", "="), "a = \u{fffd}[31m\n  ^");
    }
}
