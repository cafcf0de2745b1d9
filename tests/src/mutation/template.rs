//! Templates over the tokens of a rewritten text.
//!
//! | in a template | stands for |
//! |---|---|
//! | `@P…` | a predicate: a column compared with the session's value, or the EXISTS of a parent |
//! | `@c…` | a column with its qualifier |
//! | `@i…` | a name |
//! | `@v…` | the session's value with its cast |
//! | `@n…` | the session's value alone |
//! | `@m…` | the text that a foreign row raises |
//! | `@s…` | a text |
//! | `@X…`, `@Y…`, `@Z…` | as few tokens as possible, one at least, with their brackets closed |
//! | `@$` | the end of the text |
//!
//! The same name twice means the same tokens. In what is put in place, `@n+…` is the next parameter.

use std::collections::HashMap;
use std::ops::Range;

/// Cuts a text into tokens.
pub fn tokens(text: &str) -> Vec<String> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (token, behind) = rest.split_at(length(rest));
        found.push(token.to_owned());
        rest = behind.trim_start();
    }
    found
}

fn length(text: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
    if text[word..].starts_with('\'') && (word == 0 || text[..word].eq_ignore_ascii_case("e")) {
        return word + quoted(&text[word..], '\'', word > 0);
    }
    if word > 0 {
        return word;
    }
    if text.starts_with('"') {
        return quoted(text, '"', false);
    }
    if text.starts_with("::") {
        return 2;
    }
    match text.find(|c| !"+-*/<>=~!@#%^&|`?:".contains(c)) {
        Some(0) => text.chars().next().map_or(1, char::len_utf8),
        Some(end) => end,
        None => text.len(),
    }
}

/// The length of a quoted text; a doubled quote does not end it.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslashes || c == quote && chars.next_if(|(_, c)| *c == quote).is_some() {
            if c == '\\' {
                chars.next();
            }
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

/// A template.
#[derive(Debug)]
pub struct Template<'t> {
    elements: Vec<&'t str>,
}

/// A place where a template fits.
#[derive(Debug)]
pub struct Matched<'t, 's> {
    tokens: &'s [String],
    named: HashMap<&'t str, Range<usize>>,
    end: usize,
}

impl<'t> Template<'t> {
    /// Reads a template, its elements separated by spaces.
    pub fn new(text: &'t str) -> Self {
        Self {
            elements: text.split_whitespace().collect(),
        }
    }

    /// Whether it fits at a token.
    pub fn matches<'s>(
        &self,
        tokens: &'s [String],
        at: usize,
        first_hidden: u16,
    ) -> Option<Matched<'t, 's>> {
        let mut search = Search {
            tokens,
            first_hidden,
            named: HashMap::new(),
        };
        let end = search.all(&self.elements, at)?;
        Some(Matched {
            tokens,
            named: search.named,
            end,
        })
    }
}

struct Search<'t, 's> {
    tokens: &'s [String],
    first_hidden: u16,
    named: HashMap<&'t str, Range<usize>>,
}

impl<'t> Search<'t, '_> {
    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", String::as_str)
    }

    /// Where the elements end that begin at a token.
    fn all(&mut self, elements: &[&'t str], at: usize) -> Option<usize> {
        let Some((element, rest)) = elements.split_first() else {
            return Some(at);
        };
        if *element == "@$" {
            return (at == self.tokens.len()).then_some(at);
        }
        let Some(name) = element.strip_prefix('@') else {
            return (self.token(at) == *element)
                .then(|| self.all(rest, at + 1))
                .flatten();
        };
        if let Some(range) = self.named.get(name).cloned() {
            let known = &self.tokens[range];
            return self.tokens[at..]
                .starts_with(known)
                .then(|| self.all(rest, at + known.len()))
                .flatten();
        }
        if name.starts_with(['X', 'Y', 'Z']) {
            return self.any(name, rest, at);
        }
        let end = self.one(name, at)?;
        self.named.insert(name, at..end);
        let found = self.all(rest, end);
        if found.is_none() {
            self.named.remove(name);
        }
        found
    }

    /// As few tokens as possible.
    fn any(&mut self, name: &'t str, rest: &[&'t str], at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for end in at..self.tokens.len() {
            match self.token(end) {
                "(" | "[" | "CASE" => depth += 1,
                ")" | "]" | "END" => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth > 0 {
                continue;
            }
            self.named.insert(name, at..end + 1);
            if let Some(found) = self.all(rest, end + 1) {
                return Some(found);
            }
            self.named.remove(name);
        }
        None
    }

    /// Where one of something ends.
    fn one(&self, name: &str, at: usize) -> Option<usize> {
        match name.chars().next()? {
            'P' => self.predicate(at),
            'c' => self.column(at),
            'i' => self.is_name(at).then_some(at + 1),
            'n' => self.is_hidden(at).then_some(at + 1),
            'v' => self.value(at),
            's' => self.token(at).starts_with('\'').then_some(at + 1),
            'm' => self.token(at).starts_with("'pgwarden: ").then_some(at + 1),
            other => panic!("no template knows {other}"),
        }
    }

    fn is_name(&self, at: usize) -> bool {
        let first = self.token(at).chars().next();
        first.is_some_and(|c| c.is_lowercase() || c == '_' || c == '"')
    }

    fn is_hidden(&self, at: usize) -> bool {
        let number = self.token(at).strip_prefix('$');
        number.and_then(|number| number.parse().ok()) >= Some(self.first_hidden)
    }

    fn run(&self, at: usize, expected: &[&str]) -> Option<usize> {
        let fits = expected.iter().enumerate();
        fits.clone()
            .all(|(nth, token)| self.token(at + nth) == *token)
            .then_some(at + expected.len())
    }

    fn value(&self, at: usize) -> Option<usize> {
        let parameter = self.is_hidden(at).then_some(at + 1)?;
        let cast = self.run(parameter, &["::", "pg_catalog", "."])?;
        self.is_name(cast).then_some(cast + 1)
    }

    fn column(&self, at: usize) -> Option<usize> {
        let mut end = self.is_name(at).then_some(at + 1)?;
        while self.token(end) == "." && self.is_name(end + 1) {
            end += 2;
        }
        (end > at + 1).then_some(end)
    }

    fn predicate(&self, at: usize) -> Option<usize> {
        if let Some(open) = self.run(at, &["EXISTS", "("]) {
            let end = self.closing(open)?;
            let parent = |token: &String| token.starts_with("pgwarden_parent_");
            return self.tokens[open..end].iter().any(parent).then_some(end + 1);
        }
        let operator = self.column(at)?;
        self.value(self.run(operator, &["OPERATOR", "(", "pg_catalog", ".", "=", ")"])?)
    }

    /// The bracket that closes the one before.
    fn closing(&self, from: usize) -> Option<usize> {
        let mut depth = 1_usize;
        (from..self.tokens.len()).find(|at| {
            match self.token(*at) {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            depth == 0
        })
    }
}

impl Matched<'_, '_> {
    /// The token behind it.
    pub fn end(&self) -> usize {
        self.end
    }

    /// What a template says, with the names of this place.
    pub fn write(&self, template: &str) -> String {
        let written = template.split_whitespace().map(|element| {
            let Some(name) = element.strip_prefix('@').filter(|name| *name != "$") else {
                return element.replace("@$", "");
            };
            if let Some(range) = self.named.get(name) {
                return self.tokens[range.clone()].join(" ");
            }
            let parameter = name.strip_prefix("n+").map(|rest| format!("n{rest}"));
            let parameter = parameter.and_then(|name| self.named.get(name.as_str()));
            let parameter = parameter.unwrap_or_else(|| panic!("{name} has no meaning"));
            let number = self.tokens[parameter.start].trim_start_matches('$');
            format!("${}", number.parse::<u16>().unwrap() + 1)
        });
        written.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_as_postgresql_cuts_it() {
        let cut =
            tokens("a.b OPERATOR(pg_catalog.=) $1::pg_catalog.uuid||'it''s' E'\\'' \"x\"\"y\"");
        let expected = [
            "a",
            ".",
            "b",
            "OPERATOR",
            "(",
            "pg_catalog",
            ".",
            "=",
            ")",
            "$1",
            "::",
            "pg_catalog",
            ".",
            "uuid",
            "||",
            "'it''s'",
            "E'\\''",
            "\"x\"\"y\"",
        ];
        assert_eq!(cut, expected);
    }

    #[test]
    fn templates_find_predicates() {
        let text =
            "SELECT 1 FROM t WHERE t.org_id OPERATOR(pg_catalog.=) $2::pg_catalog.uuid AND (a)";
        let cut = tokens(text);
        let template = Template::new("WHERE @P AND @X @$");
        let found = (0..cut.len()).find_map(|at| template.matches(&cut, at, 2));
        assert_eq!(found.unwrap().write("WHERE @X"), "WHERE ( a )");
        let own = (0..cut.len()).find_map(|at| template.matches(&cut, at, 3));
        assert!(own.is_none());
    }
}
