//! Parameters whose text decides, as ORMs and drivers send them: the name of a setting
//! (`current_setting($1)`), its value (`set_config('TimeZone', $1, false)`), the name of a sequence
//! (`currval($1)`), that of a channel (`pg_notify($1, …)`). What a literal would have decided when the statement was judged is decided at
//! Bind.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::builtin::settings;
use crate::deny::{Denial, DenyReason};

/// A parameter whose text decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextCheck {
    /// The client's parameter, from 1.
    pub parameter: u16,
    /// What it says.
    pub says: TextPart,
}

/// What a parameter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    /// The name of a setting that is read.
    Setting,
    /// The value of the setting of this name, which may be changed.
    SettingValue(String),
    /// The name of one of these sequences.
    Sequence(Arc<Sequences>),
    /// The name of one of these channels.
    Channel(Arc<[String]>),
}

impl TextPart {
    /// About how many bytes it takes beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Sequence(known) => known.heap_bytes(),
            Self::Channel(listed) => listed.iter().map(|it| size_of::<String>() + it.len()).sum(),
            Self::SettingValue(name) => name.len(),
            Self::Setting => 0,
        }
    }
}

/// The sequences that a client may name, each with its schema, and those that need none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sequences(pub(crate) BTreeSet<(Option<String>, String)>);

impl Sequences {
    fn heap_bytes(&self) -> usize {
        let names = |(schema, name): &(Option<String>, String)| {
            size_of::<(Option<String>, String)>()
                + schema.as_ref().map_or(0, String::len)
                + name.len()
        };
        self.0.iter().map(names).sum()
    }
}

impl TextCheck {
    /// Judges what was bound; `None` is NULL. The type of the parameter of a setting or a channel is a
    /// text's, hence its bytes are the text in either format; that of a sequence is a number in binary.
    ///
    /// # Errors
    /// Those of the literal.
    pub(super) fn judge(&self, value: Option<&[u8]>, binary: bool) -> Result<(), Denial> {
        let value = value.map(std::str::from_utf8).transpose();
        let value = value.map_err(|_| {
            let text = format!("parameter ${} is no UTF-8", self.parameter);
            Denial::new(DenyReason::SettingDenied, text)
        })?;
        match (&self.says, value) {
            (TextPart::SettingValue(name), value) => settings::check_value(name, value),
            (TextPart::Setting, Some(name)) => settings::check_read(name),
            (TextPart::Sequence(known), Some(name)) if binary || !knows(known, name) => {
                let text = format!(
                    "parameter ${} names no sequence to take from",
                    self.parameter
                );
                Err(Denial::new(DenyReason::FunctionDenied, text))
            }
            (TextPart::Channel(listed), Some(name)) if !listed.iter().any(|it| it == name) => {
                let what = format!("the channel in parameter ${}", self.parameter);
                Err(unlisted_channel(&what))
            }
            (TextPart::Setting | TextPart::Sequence(_) | TextPart::Channel(_), _) => Ok(()),
        }
    }
}

/// What is said of a channel, literal or bound, that the policy does not list.
pub(crate) fn unlisted_channel(what: &str) -> Denial {
    let text = format!("{what} is not listed in the policy");
    Denial::new(DenyReason::ChannelDenied, text).hint(
        "Its notifications would reach every tenant. The policy can list it under [channels].",
    )
}

fn knows(known: &Sequences, name: &str) -> bool {
    relation_parts(name).is_some_and(|parts| known.0.contains(&parts))
}

/// The schema and the name that the server reads in the text of a regclass; nothing where that is a
/// number or a name of another form.
pub(crate) fn relation_parts(text: &str) -> Option<(Option<String>, String)> {
    let (first, rest) = identifier(text)?;
    if rest.is_empty() {
        return Some((None, first));
    }
    let (second, rest) = identifier(rest.strip_prefix('.')?)?;
    rest.is_empty().then_some((Some(first), second))
}

/// The identifier that a text begins with, and what is behind it.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (name, rest) = quoted.split_once('"')?;
        return (!name.is_empty() && !rest.starts_with('"')).then(|| (name.to_owned(), rest));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins.then(|| (name.to_ascii_lowercase(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(says: TextPart, value: Option<&[u8]>) -> Option<DenyReason> {
        let check = TextCheck { parameter: 1, says };
        check.judge(value, false).err().map(|denial| denial.reason)
    }

    #[test]
    fn a_name_must_not_sound_like_a_secret() {
        let denied = Some(DenyReason::SettingDenied);
        assert_eq!(judged(TextPart::Setting, Some(b"TimeZone")), None);
        assert_eq!(judged(TextPart::Setting, None), None);
        assert_eq!(judged(TextPart::Setting, Some(b"app.Jwt_Secret")), denied);
        assert_eq!(judged(TextPart::Setting, Some(b"\xff")), denied);
    }

    #[test]
    fn a_value_is_judged_as_a_literal_is() {
        let path = || TextPart::SettingValue("search_path".to_owned());
        assert_eq!(judged(path(), Some(b"public, app")), None);
        assert_eq!(judged(path(), None), None);
        let denied = Some(DenyReason::SettingDenied);
        assert_eq!(judged(path(), Some(b"public, \"PG_TEMP_3\"")), denied);
        let encoding = TextPart::SettingValue("client_encoding".to_owned());
        let unsupported = Some(DenyReason::UnsupportedConstruct);
        assert_eq!(judged(encoding, Some(b"SJIS")), unsupported);
    }

    #[test]
    fn a_channel_is_one_of_the_listed() {
        let listed = || TextPart::Channel(["jobs".to_owned(), "Mixed Case".to_owned()].into());
        assert_eq!(judged(listed(), Some(b"jobs")), None);
        assert_eq!(judged(listed(), Some(b"Mixed Case")), None);
        // The server's own error.
        assert_eq!(judged(listed(), None), None);
        let denied = Some(DenyReason::ChannelDenied);
        for bad in ["", "JOBS", "jobs ", "orders", "\"jobs\""] {
            assert_eq!(judged(listed(), Some(bad.as_bytes())), denied, "{bad}");
        }
    }

    #[test]
    fn a_sequence_is_one_of_the_known() {
        let mut known = Sequences::default();
        known
            .0
            .insert((Some("public".to_owned()), "a_seq".to_owned()));
        known.0.insert((None, "a_seq".to_owned()));
        let known = Arc::new(known);
        let judged = |text: &[u8], binary: bool| {
            let says = TextPart::Sequence(Arc::clone(&known));
            let check = TextCheck { parameter: 1, says };
            check.judge(Some(text), binary).is_ok()
        };
        for fine in [
            "a_seq",
            "A_Seq",
            "\"a_seq\"",
            "public.a_seq",
            "\"public\".a_seq",
        ] {
            assert!(judged(fine.as_bytes(), false), "{fine}");
        }
        for bad in [
            "",
            "\"A_Seq\"",
            "b_seq",
            "app.a_seq",
            "a_seq x",
            "1259",
            "x.public.a_seq",
            "\"a\"\"_seq\"",
        ] {
            assert!(!judged(bad.as_bytes(), false), "{bad}");
        }
        assert!(!judged(b"a_seq", true));
    }
}
