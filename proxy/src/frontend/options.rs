//! The start-up parameter `options`: command-line switches of a server process, read as PostgreSQL
//! reads them. Only `-c name=value` and `--name=value` set something; every other switch is refused.

/// Splits at white space; a backslash takes the next character as it is (`pg_split_opts`).
fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        // What isspace() calls so in the C locale.
        if matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        if character == '\\' {
            word.extend(characters.next());
        } else {
            word.push(character);
        }
    }
    words.extend(word);
    words
}

/// The settings in `options`; an error names the switch that is not one.
pub(super) fn settings(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next().unwrap_or_default()
        } else if let Some(long) = word.strip_prefix("--") {
            long.to_owned()
        } else if let Some(short) = word.strip_prefix("-c") {
            short.to_owned()
        } else {
            return Err(word);
        };
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(word);
        };
        // A hyphen in a name stands for an underscore (ParseLongOption).
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(options: &str) -> Vec<(String, String)> {
        settings(options).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn both_spellings_set() {
        assert_eq!(
            pairs("-c geqo=off  -cstatement_timeout=5min --search-path=a,b"),
            [
                pair("geqo", "off"),
                pair("statement_timeout", "5min"),
                pair("search_path", "a,b")
            ]
        );
        assert_eq!(pairs(" \t "), []);
    }

    #[test]
    fn backslashes_escape() {
        assert_eq!(
            pairs(r"-c search_path=a,\ b -c x=\\"),
            [pair("search_path", "a, b"), pair("x", "\\")]
        );
        // An escaped space does not end the name of a setting that must not be reached.
        assert_eq!(pairs(r"-c r\o\l\e=admin"), [pair("role", "admin")]);
    }

    #[test]
    fn other_switches_are_refused() {
        for options in ["-d 5", "-c", "-c geqo", "--geqo", "-B 1", "x", "-"] {
            assert!(settings(options).is_err(), "{options}");
        }
    }
}
