//! What becomes of one user.

use pgwarden_policy::ValueType;
use pgwarden_policy::rules::ClaimPath;
use serde_json::{Map, Value};

use super::mapping::{Mapping, Wanted};

/// The claim within `app_metadata`.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// The member of `app_metadata`, and the members within it.
    key: String,
    rest: Vec<String>,
    value_type: ValueType,
}

/// A user as the directory has it.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: String,
    /// The claim's member of `app_metadata`; NULL where there is none.
    pub(super) member: Value,
}

/// A user that gets an organisation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) user: String,
    /// The member as it was.
    pub(super) was: Value,
    /// The member as it is to be.
    pub(super) member: Value,
}

/// What becomes of a user.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Nothing: the claim is right.
    Right,
    /// It is set.
    Set(Change),
    /// The user has another organisation.
    Other {
        /// The one that the user has.
        has: String,
        /// The one that the mapping says.
        wanted: String,
    },
    /// Nothing says an organisation for the user.
    Unmapped,
    /// The mapping says several.
    Ambiguous,
    /// The organisation, or what is in its place, can't be a claim.
    Unfit(&'static str),
}

impl Claim {
    /// Only what the server writes into `app_metadata` is nobody's own to choose.
    pub(super) fn of(path: &ClaimPath, value_type: ValueType) -> Result<Self, String> {
        match path.0.as_slice() {
            [first, key, rest @ ..] if first == "app_metadata" => Ok(Self {
                key: key.clone(),
                rest: rest.to_vec(),
                value_type,
            }),
            _ => Err(format!(
                "the policy's claim {} is not in app_metadata, which is all that can be set for users",
                path.0.join(".")
            )),
        }
    }

    /// The member of `app_metadata` that holds it.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// What becomes of a user.
    pub(super) fn decide(&self, user: &User, mapping: &Mapping, overwrite: bool) -> Decision {
        let wanted = match mapping.of(&user.id) {
            Wanted::One(wanted) => wanted,
            Wanted::Several => return Decision::Ambiguous,
            Wanted::None if self.read(&user.member).is_some() => return Decision::Right,
            Wanted::None => return Decision::Unmapped,
        };
        let Some(value) = self.value(wanted) else {
            return Decision::Unfit("the organisation is not of the type that the policy wants");
        };
        match self.read(&user.member) {
            Some(has) if self.is(has, &value) => return Decision::Right,
            Some(has) if !overwrite => {
                return Decision::Other {
                    has: shown(has),
                    wanted: wanted.to_owned(),
                };
            }
            Some(_) | None => {}
        }
        match self.put(&user.member, value) {
            Some(member) => Decision::Set(Change {
                user: user.id.clone(),
                was: user.member.clone(),
                member,
            }),
            None => Decision::Unfit("something else is in the claim's place"),
        }
    }

    /// Whether a claim is the value, in whatever case a uuid is written.
    fn is(&self, has: &Value, value: &Value) -> bool {
        match (self.value_type, has.as_str(), value.as_str()) {
            (ValueType::Uuid, Some(has), Some(value)) => has.eq_ignore_ascii_case(value),
            _ => has == value,
        }
    }

    /// The value as tokens carry it.
    fn value(&self, wanted: &str) -> Option<Value> {
        match self.value_type {
            ValueType::Bigint => wanted.parse::<i64>().ok().map(Value::from),
            ValueType::Uuid => is_uuid(wanted).then(|| Value::String(wanted.to_lowercase())),
            ValueType::Text => (!wanted.is_empty()).then(|| Value::String(wanted.to_owned())),
        }
    }

    /// The claim in its member. Empty is as good as none.
    fn read<'a>(&self, member: &'a Value) -> Option<&'a Value> {
        let mut value = member;
        for step in &self.rest {
            value = value.get(step)?;
        }
        (!value.is_null() && value.as_str() != Some("")).then_some(value)
    }

    /// The member with the claim in it.
    fn put(&self, member: &Value, value: Value) -> Option<Value> {
        let mut whole = member.clone();
        let mut place = &mut whole;
        for step in &self.rest {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let inner = place.as_object_mut()?;
            place = inner.entry(step.as_str()).or_insert(Value::Null);
        }
        *place = value;
        Some(whole)
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// In the form that the server writes, whatever the case.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &&str| part.bytes().all(|it| it.is_ascii_hexdigit());
    let lengths: Vec<usize> = parts.iter().map(|it| it.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "a0000000-0000-0000-0000-000000000001";
    const B: &str = "b0000000-0000-0000-0000-000000000002";

    fn claim(path: &[&str], value_type: ValueType) -> Option<Claim> {
        let path = ClaimPath(path.iter().map(|&it| it.to_owned()).collect());
        Claim::of(&path, value_type).ok()
    }

    fn decide(
        claim: Option<Claim>,
        member: Value,
        wanted: &str,
        overwrite: bool,
    ) -> Option<Decision> {
        let user = User {
            id: "u".to_owned(),
            member,
        };
        let mapping = Mapping::with_default(Some(wanted.to_owned()));
        Some(claim?.decide(&user, &mapping, overwrite))
    }

    fn set(was: Value, member: Value) -> Option<Decision> {
        Some(Decision::Set(Change {
            user: "u".to_owned(),
            was,
            member,
        }))
    }

    #[test]
    fn nobody_is_moved_unless_it_is_asked_for() {
        let org = || claim(&["app_metadata", "org_id"], ValueType::Uuid);
        let other = Some(Decision::Other {
            has: B.to_owned(),
            wanted: A.to_owned(),
        });
        assert_eq!(decide(org(), json!(B), A, false), other);
        assert_eq!(decide(org(), json!(B), A, true), set(json!(B), json!(A)));
        assert_eq!(decide(org(), json!(A), A, true), Some(Decision::Right));
        assert_eq!(
            decide(org(), json!(null), A, false),
            set(json!(null), json!(A))
        );
        assert_eq!(decide(org(), json!(""), A, false), set(json!(""), json!(A)));
        assert!(matches!(
            decide(org(), json!(null), "x", false),
            Some(Decision::Unfit(_))
        ));
    }

    #[test]
    fn what_stands_beside_the_claim_stays() {
        let deep = || claim(&["app_metadata", "tenant", "id"], ValueType::Bigint);
        let was = json!({"plan": "gold"});
        let is = json!({"plan": "gold", "id": 7});
        assert_eq!(decide(deep(), was.clone(), "7", false), set(was, is));
        assert_eq!(
            decide(deep(), json!(null), "7", false),
            set(json!(null), json!({"id": 7}))
        );
        assert!(matches!(
            decide(deep(), json!(3), "7", false),
            Some(Decision::Unfit(_))
        ));
    }

    #[test]
    fn only_app_metadata_is_written() {
        assert!(claim(&["user_metadata", "org_id"], ValueType::Uuid).is_none());
        assert!(claim(&["org_id"], ValueType::Uuid).is_none());
    }
}
