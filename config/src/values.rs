//! Scalars: what a value must look like to be a count, a duration, a size….

use std::net::SocketAddr;
use std::time::Duration;

use crate::document::{Node, Value};
use crate::reader::Complaint;
use crate::suggest;

/// A text without NUL characters.
pub(crate) fn text(node: &Node) -> Result<String, Complaint> {
    match &node.value {
        Value::Text(text) | Value::Untyped(text) if text.contains('\0') => {
            Err(Complaint::new("a NUL character can't stand here"))
        }
        Value::Text(text) | Value::Untyped(text) => Ok(text.clone()),
        other => Err(wrong("a string", other)),
    }
}

/// A text that is not empty.
pub(crate) fn word(node: &Node) -> Result<String, Complaint> {
    match text(node)? {
        empty if empty.trim().is_empty() => Err(Complaint::new("value is empty")),
        word => Ok(word),
    }
}

/// A list of texts. In the environment it is separated by commas.
pub(crate) fn words(node: &Node) -> Result<Vec<String>, Complaint> {
    match &node.value {
        Value::Array(items) => items.iter().map(word).collect(),
        Value::Untyped(text) => Ok(text
            .split(',')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()),
        Value::Text(text) => Err(
            Complaint::new("expected an array of strings, found a string")
                .help(format!("write [\"{text}\"]")),
        ),
        other => Err(wrong("an array of strings", other)),
    }
}

/// A list of texts as nodes, for those who need each one's place.
pub(crate) fn nodes(node: &Node) -> Result<&[Node], Complaint> {
    match &node.value {
        Value::Array(items) => Ok(items),
        Value::Text(text) => Err(
            Complaint::new("expected an array of strings, found a string")
                .help(format!("write [\"{text}\"]")),
        ),
        other => Err(wrong("an array of strings", other)),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node) -> Result<bool, Complaint> {
    match &node.value {
        Value::Boolean(value) => Ok(*value),
        Value::Untyped(text) => match text.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Complaint::new("expected true or false")),
        },
        Value::Text(text) if text == "true" || text == "false" => {
            Err(wrong("a boolean", &node.value).help(format!("write {text} without quotes")))
        }
        other => Err(wrong("a boolean", other)),
    }
}

/// An integer from 1.
pub(crate) fn count(node: &Node) -> Result<usize, Complaint> {
    let value = match &node.value {
        Value::Integer(value) => usize::try_from(*value).ok(),
        Value::Untyped(text) => text.parse().ok(),
        other => return Err(wrong("an integer", other)),
    };
    match value {
        Some(value) if value > 0 => Ok(value),
        Some(_) | None => Err(Complaint::new("expected an integer greater than 0")),
    }
}

/// A count where 0 means any number.
pub(crate) fn count_or_any(node: &Node) -> Result<usize, Complaint> {
    match &node.value {
        Value::Integer(0) => Ok(0),
        Value::Untyped(text) if text == "0" => Ok(0),
        _ => count(node),
    }
}

/// One of a closed list of words.
pub(crate) fn choice<T: Copy>(
    choices: &'static [(&'static str, T)],
) -> impl FnOnce(&Node) -> Result<T, Complaint> {
    move |node| {
        let written = text(node)?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        match choices.iter().find(|(name, _)| *name == written) {
            Some((_, value)) => Ok(*value),
            None => Err(unknown_choice(&written, &names)),
        }
    }
}

/// The complaint about a word that is not in a closed list.
pub(crate) fn unknown_choice(written: &str, names: &[&str]) -> Complaint {
    let help = suggest::did_you_mean(written, names.iter().copied());
    let help = help.unwrap_or_else(|| format!("write {}", suggest::one_of(names)));
    Complaint::new(format!("unknown value \"{written}\"")).help(help)
}

/// `127.0.0.1:6432` or `[::1]:6432`.
pub(crate) fn address(node: &Node) -> Result<SocketAddr, Complaint> {
    let written = text(node)?;
    if let Ok(address) = written.parse() {
        return Ok(address);
    }
    let help = match written.rsplit_once(':') {
        Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
        Some(("" | "*", port)) => format!("write \"0.0.0.0:{port}\" for all IPv4 addresses"),
        _ => "write \"127.0.0.1:6432\", \"0.0.0.0:6432\" or \"[::1]:6432\"".to_owned(),
    };
    Err(Complaint::new("expected an IP address and a port").help(help))
}

const DURATION_HELP: &str = "write a number with ms, s, m, h or d, such as \"30s\"";

/// Reads a duration as the files have it, for the command line.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration_of(text.trim()).ok_or_else(|| format!("not a duration; {DURATION_HELP}"))
}

/// `"500ms"`, `"5s"`, `"10m"`, `"1h"`, `"1d"`; `"0s"` is one.
pub(crate) fn duration(node: &Node) -> Result<Duration, Complaint> {
    let written = match &node.value {
        Value::Text(text) | Value::Untyped(text) => text.trim(),
        Value::Integer(number) => {
            let help = format!("write \"{number}s\" for seconds");
            return Err(Complaint::new("duration has no unit").help(help));
        }
        other => return Err(wrong("a duration", other).help(DURATION_HELP)),
    };
    duration_of(written).ok_or_else(|| Complaint::new("not a duration").help(DURATION_HELP))
}

fn duration_of(written: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(written);
    let micros_per_unit = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number?
        .checked_mul(micros_per_unit)
        .map(Duration::from_micros)
}

/// A duration that is not nothing.
pub(crate) fn timeout(node: &Node) -> Result<Duration, Complaint> {
    match duration(node)? {
        Duration::ZERO => Err(Complaint::new("must be longer than 0")),
        duration => Ok(duration),
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// A duration between two bounds.
pub(crate) fn duration_between(
    low: Duration,
    high: Duration,
) -> impl FnOnce(&Node) -> Result<Duration, Complaint> {
    move |node| match duration(node)? {
        short if short < low => Err(Complaint::new(format!("must be at least {low:?}"))),
        long if long > high && high < MINUTE => {
            Err(Complaint::new(format!("must be at most {high:?}")))
        }
        long if long > high => Err(Complaint::new(format!(
            "must be at most {}m",
            high.as_secs() / 60
        ))),
        duration => Ok(duration),
    }
}

const SIZE_HELP: &str = "write a number with B, KiB, MiB or GiB, such as \"64MiB\"";

/// `"16KiB"`, `"64MiB"`, `"1GiB"`, or a plain number of bytes.
pub(crate) fn size(node: &Node) -> Result<usize, Complaint> {
    let written = match &node.value {
        Value::Text(text) | Value::Untyped(text) => text.trim().to_owned(),
        Value::Integer(number) => number.to_string(),
        other => return Err(wrong("a size in bytes", other).help(SIZE_HELP)),
    };
    let (number, unit) = number_and_unit(&written);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        other => {
            let help = suggest::did_you_mean(other, ["KiB", "MiB", "GiB"]);
            let help = help.unwrap_or_else(|| SIZE_HELP.to_owned());
            return Err(Complaint::new("not a size in bytes").help(help));
        }
    };
    number
        .and_then(|number: u64| number.checked_mul(1 << shift))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| Complaint::new("not a size in bytes").help(SIZE_HELP))
}

/// A size between two bounds.
pub(crate) fn size_between(
    low: usize,
    high: usize,
) -> impl FnOnce(&Node) -> Result<usize, Complaint> {
    move |node| match size(node)? {
        bytes if bytes < low => Err(Complaint::new(format!("must be at least {low} bytes"))),
        bytes if bytes > high => Err(Complaint::new(format!("must be at most {high} bytes"))),
        bytes => Ok(bytes),
    }
}

fn number_and_unit(written: &str) -> (Option<u64>, &str) {
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at(digits);
    (number.parse().ok(), unit.trim())
}

fn wrong(expected: &str, found: &Value) -> Complaint {
    Complaint::new(format!("expected {expected}, found {}", found.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Origin;

    fn node(value: Value) -> Node {
        Node {
            origin: Origin::Span(0..0),
            value,
        }
    }

    fn written(text: &str) -> Node {
        node(Value::Text(text.to_owned()))
    }

    #[test]
    fn durations() {
        let read = |text| duration(&written(text)).ok();
        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read("5s"), Some(Duration::from_secs(5)));
        assert_eq!(read("10m"), Some(Duration::from_secs(600)));
        assert_eq!(read("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(read("1 d"), Some(Duration::from_secs(86400)));
        for bad in ["", "5", "s", "-5s", "5sec", "1.5s", "99999999999999999999s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let complaint = duration(&node(Value::Integer(5))).unwrap_err();
        assert_eq!(complaint.help.as_deref(), Some("write \"5s\" for seconds"));
    }

    #[test]
    fn sizes() {
        let read = |text| size(&written(text)).ok();
        assert_eq!(read("64MiB"), Some(64 << 20));
        assert_eq!(read("16 KiB"), Some(16 << 10));
        assert_eq!(read("0"), Some(0));
        assert_eq!(size(&node(Value::Integer(4096))).ok(), Some(4096));
        for bad in ["", "-1", "64MB", "64mib", "MiB", "18446744073709551615GiB"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let complaint = size(&written("64MB")).unwrap_err();
        assert_eq!(complaint.help.as_deref(), Some("did you mean \"MiB\"?"));
    }

    #[test]
    fn addresses() {
        assert!(address(&written("[::1]:6432")).is_ok());
        let complaint = address(&written("localhost:6432")).unwrap_err();
        assert_eq!(complaint.help.as_deref(), Some("write \"127.0.0.1:6432\""));
    }
}
