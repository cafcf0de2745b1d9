//! Which settings of a start-up packet a session puts in force itself, in transaction mode.
//!
//! A server connection serves only sessions that asked for the same start-up parameters, so each
//! application's own name would split the pool. Of those that a statement of the proxy's can set
//! just as well, and whose value is known to be good and to be shown as it was given, the session
//! makes part of its setup instead. Whatever else was asked for goes to the server as it came.

use crate::backend::StartupParameters;
use crate::pool::Settings;

/// The server cuts a longer `application_name`.
const NAME_BYTES_MAX: usize = 63;

/// The settings of the session, in the order of their names, and the parameters for the server.
pub(super) fn split(parameters: StartupParameters) -> (Settings, StartupParameters) {
    let movable = |(name, value): &(String, String)| is_movable(name, value);
    let (mut settings, rest): (Settings, _) = parameters.into_iter().partition(movable);
    settings.sort_unstable();
    (settings, rest)
}

/// Names are in lower case here.
fn is_movable(name: &str, value: &str) -> bool {
    let number = |least: i32, most: i32| {
        let parsed = value.parse::<i32>();
        parsed.is_ok_and(|it| (least..=most).contains(&it) && it.to_string() == value)
    };
    match name {
        "application_name" => {
            let shown = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            value.len() <= NAME_BYTES_MAX && value.bytes().all(shown)
        }
        "extra_float_digits" => number(-15, 3),
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            number(0, i32::MAX)
        }
        "client_min_messages" => [
            "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
        ]
        .contains(&value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_good_is_moved() {
        let parameters = [
            ("statement_timeout", "5000"),
            ("application_name", "web 1"),
            ("timezone", "UTC"),
            ("extra_float_digits", "4"),
            ("client_min_messages", "panic"),
            ("lock_timeout", "1s"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let (settings, rest) = split(Vec::from(parameters.map(owned)));
        let names = |of: &[(String, String)]| of.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&settings), ["application_name", "statement_timeout"]);
        assert_eq!(rest.len(), 4);
        assert!(!is_movable("application_name", "caf\u{e9}"));
        assert!(!is_movable("application_name", &"x".repeat(64)));
    }
}
