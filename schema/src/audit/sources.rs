//! Where an expression takes the tenant from: claims of the token and settings of the session,
//! found in the text by PostgreSQL's scanner, through the functions that it calls.
//!
//! It is a reading for people's findings, not for enforcement: a chain of `->` and `->>` behind
//! the claims is a path, wherever it stands.

use std::collections::HashSet;

use super::snapshot::Function;

/// How far functions that call functions are followed.
const CALLS: u8 = 4;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A claim of the verified token.
    Claim(Vec<String>),
    /// A setting; anybody who can send SET can write it, unless a proxy keeps it.
    Setting(String),
}

/// Claims that say who the user is, not which tenant.
const PERSON: &[&str] = &[
    "sub",
    "role",
    "email",
    "aud",
    "iss",
    "exp",
    "aal",
    "session_id",
];

/// Whether users write this part of their token themselves.
pub(crate) fn is_writable(path: &[String]) -> bool {
    path.iter()
        .any(|it| matches!(it.as_str(), "user_metadata" | "raw_user_meta_data"))
}

/// Claims that say what somebody may do, wherever they stand.
const RIGHTS: &[&str] = &[
    "role",
    "roles",
    "permissions",
    "scope",
    "scopes",
    "admin",
    "is_admin",
    "plan",
    "provider",
    "providers",
];

/// Whether a path may hold the tenant.
pub(crate) fn is_signed_tenant(path: &[String]) -> bool {
    let first = path.first().map(String::as_str);
    let last = path.last().map(String::as_str);
    first.is_some_and(|it| !PERSON.contains(&it))
        && last.is_some_and(|it| !RIGHTS.contains(&it))
        && !is_writable(path)
}

/// Whether it is a part of the request that the client writes.
pub(crate) fn is_request(setting: &str) -> bool {
    setting.starts_with("request.") && !setting.starts_with("request.jwt")
}

/// The sources of an expression, those of the functions that it calls included.
pub(crate) fn of_expression(text: &str, functions: &[Function]) -> Vec<Source> {
    let mut found = Vec::new();
    follow(text, functions, CALLS, &mut HashSet::new(), &mut found);
    found
}

fn follow(
    text: &str,
    functions: &[Function],
    calls: u8,
    seen: &mut HashSet<u32>,
    found: &mut Vec<Source>,
) {
    let tokens = tokens(text);
    let called = called(&tokens, functions);
    let giving = called
        .iter()
        .filter(|it| gives_claims(it, functions, calls));
    let giving: HashSet<&str> = giving.map(|it| it.name.as_str()).collect();
    read(&tokens, &giving, found);
    if calls == 0 {
        return;
    }
    for called in called {
        if seen.insert(called.oid) {
            follow(body(&called.source), functions, calls - 1, seen, found);
        }
    }
}

/// Whether a function asks for a setting of the session, itself or through those that it calls.
pub(crate) fn reads_session(function: &Function, functions: &[Function]) -> bool {
    asks(function, functions, CALLS, &mut HashSet::new())
}

fn asks(function: &Function, functions: &[Function], calls: u8, seen: &mut HashSet<u32>) -> bool {
    let tokens = tokens(body(&function.source));
    let asked =
        |it: &[&str]| matches!(it, [name, "("] if name.eq_ignore_ascii_case("current_setting"));
    if tokens.windows(2).any(asked) {
        return true;
    }
    calls > 0
        && called(&tokens, functions)
            .into_iter()
            .any(|it| seen.insert(it.oid) && asks(it, functions, calls - 1, seen))
}

/// Whether a function gives all claims, as `auth.jwt()` does: it takes none out of them.
fn gives_claims(function: &Function, functions: &[Function], calls: u8) -> bool {
    let tokens = tokens(body(&function.source));
    let mut taken = Vec::new();
    read(&tokens, &HashSet::new(), &mut taken);
    let asks = |it: &[&str]| matches!(it, [name, "(", setting] if name.eq_ignore_ascii_case("current_setting") && setting.starts_with("'request.jwt"));
    let passes_on = || {
        let inner = called(&tokens, functions);
        calls > 0
            && inner
                .iter()
                .any(|it| gives_claims(it, functions, calls - 1))
    };
    let picks = |it: &&str| it.contains("->") || it.contains("#>");
    taken.is_empty() && !tokens.iter().any(picks) && (tokens.windows(3).any(asks) || passes_on())
}

fn called<'f>(tokens: &[&str], functions: &'f [Function]) -> Vec<&'f Function> {
    let names = tokens.windows(2).filter_map(|pair| match pair {
        [name, "("] => Some(unquoted(name)),
        _ => None,
    });
    let names: HashSet<String> = names.collect();
    functions
        .iter()
        .filter(|it| names.contains(&it.name))
        .collect()
}

/// What stands between the dollar quotes of a definition, or all of it.
pub(crate) fn body(definition: &str) -> &str {
    let Some(start) = definition
        .find("$function$")
        .or_else(|| definition.find("$procedure$"))
    else {
        return definition;
    };
    let rest = definition.get(start..).unwrap_or_default();
    let Some(quote) = rest.get(1..).and_then(|it| it.find('$')).map(|at| at + 2) else {
        return definition;
    };
    let inner = rest.get(quote..).unwrap_or_default();
    let end = inner
        .rfind(rest.get(..quote).unwrap_or("$"))
        .unwrap_or(inner.len());
    inner.get(..end).unwrap_or_default()
}

/// The tokens of a text, comments left out; none of a text that can't be scanned.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let Ok(scanned) = pg_query::scan(text) else {
        return Vec::new();
    };
    scanned
        .tokens
        .iter()
        .filter_map(|token| {
            let start = usize::try_from(token.start).ok()?;
            let end = usize::try_from(token.end).ok()?;
            text.get(start..end)
        })
        .filter(|token| !token.starts_with("--") && !token.starts_with("/*"))
        .collect()
}

/// The tokens of a function's body, and what may be names within the SQL that it puts together.
pub(crate) fn words(text: &str) -> Vec<&str> {
    let mut words = tokens(text);
    if words.iter().any(|it| it.eq_ignore_ascii_case("execute")) {
        let part = |it: char| !it.is_alphanumeric() && it != '_';
        let inner = words.iter().filter(|it| it.contains(['\'', '$']));
        let inner: Vec<&str> = inner.flat_map(|it| it.split(part)).collect();
        words.extend(inner);
    }
    words
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// Gathers the sources of one text; `giving` are functions that give all claims.
fn read(tokens: &[&str], giving: &HashSet<&str>, found: &mut Vec<Source>) {
    let mut path: Option<Vec<String>> = None;
    let (mut claims, mut extracts) = (false, false);
    for (at, token) in tokens.iter().enumerate() {
        let next = |ahead: usize| tokens.get(at + ahead).copied().unwrap_or_default();
        let before = at.checked_sub(1).and_then(|it| tokens.get(it)).copied();
        let before = before.unwrap_or_default();
        let calls = next(1) == "(";
        if calls && token.eq_ignore_ascii_case("current_setting") {
            close(&mut path, found);
            let name = literal(next(2)).unwrap_or_default();
            match name.strip_prefix("request.jwt.claim.") {
                Some(claim) => found.push(Source::Claim(vec![claim.to_owned()])),
                None if name.starts_with("request.jwt") => {
                    path = Some(Vec::new());
                    claims = true;
                }
                // PostgreSQL's own settings have no dot, and hold no tenant.
                None if name.contains('.') => found.push(Source::Setting(name)),
                None => {}
            }
        } else if calls && (token.eq_ignore_ascii_case("jwt") || gives(giving, token)) {
            close(&mut path, found);
            path = Some(Vec::new());
            claims = true;
        } else if calls && token.eq_ignore_ascii_case("uid") {
            found.push(Source::Claim(vec!["sub".to_owned()]));
        } else if calls && EXTRACTORS.iter().any(|it| token.eq_ignore_ascii_case(it)) {
            extracts = true;
        } else if matches!(*token, "->" | "->>" | "#>" | "#>>")
            || (*token == "[" && (extracts || !before.eq_ignore_ascii_case("array")))
            || (extracts && *token == ",")
        {
            if let Some(key) = literal(next(1)).filter(|it| !it.is_empty()) {
                let keys = key.trim_matches(['{', '}']).split(',');
                let keys = keys.map(|it| it.trim_matches('"').to_owned());
                if path.is_none() && claims && *token != "[" {
                    path = Some(Vec::new());
                }
                if let Some(path) = &mut path {
                    path.extend(keys);
                }
            }
        } else if path.is_some() && closes(token) {
            close(&mut path, found);
            extracts = false;
        }
    }
    close(&mut path, found);
}

/// Functions that take a path out of a document.
const EXTRACTORS: &[&str] = &[
    "json_extract_path",
    "json_extract_path_text",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
];

fn gives(giving: &HashSet<&str>, token: &str) -> bool {
    giving.contains(unquoted(token).as_str())
}

fn close(path: &mut Option<Vec<String>>, found: &mut Vec<Source>) {
    if let Some(path) = path.take().filter(|path| !path.is_empty()) {
        found.push(Source::Claim(path));
    }
}

/// Whether a chain of arrows can't go on behind this.
fn closes(token: &str) -> bool {
    let word = token.to_lowercase();
    matches!(
        word.as_str(),
        "=" | ";"
            | ":="
            | "<>"
            | "and"
            | "or"
            | "select"
            | "where"
            | "return"
            | "into"
            | "from"
            | "in"
    )
}

/// The value of a string literal.
fn literal(token: &str) -> Option<String> {
    let inner = token.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Vec<String> {
        let sources = of_expression(text, &[]);
        let shown = sources.iter().map(|it| match it {
            Source::Claim(path) => path.join("."),
            Source::Setting(name) => format!("setting {name}"),
        });
        shown.collect()
    }

    #[test]
    fn paths_are_read_through_casts_and_calls() {
        let text = "(org_id = ((((current_setting('request.jwt.claims'::text, true))::jsonb -> \
                    'app_metadata'::text) ->> 'org_id'::text))::uuid)";
        assert_eq!(claims(text), ["app_metadata.org_id"]);
        let text = "org_id = (SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb \
                    #>> '{app_metadata,org_id}', '')::uuid)";
        assert_eq!(claims(text), ["app_metadata.org_id"]);
        let text = "a = (auth.jwt() ->> 'organization_id') OR b = current_setting('app.org')";
        assert_eq!(claims(text), ["organization_id", "setting app.org"]);
        assert_eq!(claims("user_id = auth.uid()"), ["sub"]);
        for text in [
            "a = ((auth.jwt())['app_metadata'::text]['org_id'::text])::uuid",
            "a = jsonb_extract_path_text(auth.jwt(), VARIADIC ARRAY['app_metadata'::text, 'org_id'::text])",
            "a = json_extract_path_text(current_setting('request.jwt.claims', true)::json, 'app_metadata', 'org_id')",
        ] {
            assert_eq!(claims(text), ["app_metadata.org_id"], "{text}");
        }
        // An array of literals is no path.
        assert_eq!(
            claims("role((auth.jwt() ->> 'org'), ARRAY['x', 'y'])"),
            ["org"]
        );
    }
}
