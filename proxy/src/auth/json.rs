//! Strict JSON for what was signed.
//!
//! Two readers of one token must never see two contents. So names that stand twice in an object,
//! numbers that would be rounded, NUL (which PostgreSQL's jsonb refuses) and deep nesting are
//! errors here, where other readers keep the last, round, or run out of stack.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Claims nest a few levels; nobody's nest this many.
const DEPTH_MAX: usize = 32;

/// Whole numbers beyond this are not exact in the floating point that they would arrive as.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads an object, or says no.
pub(super) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn text<E: de::Error>(value: &str) -> Result<String, E> {
    if value.contains('\0') {
        return Err(E::custom("NUL in a text"));
    }
    Ok(value.to_owned())
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) if value.abs() <= EXACT_MAX => Ok(Value::Number(number)),
            _ => Err(E::custom("a number that would be rounded")),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        text(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = text(&name)?;
            let value = map.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_claims_are_read() {
        let text = br#"{"sub":"a","exp":1.5,"n":-3,"aud":["x"],"m":{"org":null},"t":true}"#;
        let claims = object(text).unwrap();
        assert_eq!(
            serde_json::to_string(&claims).unwrap(),
            r#"{"aud":["x"],"exp":1.5,"m":{"org":null},"n":-3,"sub":"a","t":true}"#
        );
    }

    #[test]
    fn what_two_readers_could_see_differently_is_refused() {
        for text in [
            &br#"{"org":"a","org":"b"}"#[..],
            br#"{"m":{"org":"a","\u006frg":"b"}}"#,
            br#"{"n":100000000000000000000000}"#,
            br#"{"n":1e400}"#,
            br#"{"s":"a\u0000b"}"#,
            br#"{"s\u0000":1}"#,
            br#"{"s":"\ud800"}"#,
            b"{\"s\":\"\xff\"}",
            br#"{"a":1} {"a":2}"#,
            br#"[1]"#,
            br#""text""#,
            b"null",
            b"",
        ] {
            assert!(object(text).is_none(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_running_out_of_stack() {
        for depth in [40, 100_000] {
            let deep = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            assert!(object(deep.as_bytes()).is_none());
        }
    }
}
