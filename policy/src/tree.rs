//! A parse tree without types: every node as its name and its fields.
//!
//! The proof walks trees in this form, so that no node and no field can be forgotten: it is made
//! from the protobuf structs by a [`serde::Serializer`], which visits all there is. Fields with
//! their default value are left out, as protobuf itself leaves them out.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Impossible};

/// A field's value.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    /// A default: false, 0, an empty text, an empty list, no message.
    Default,
    /// true.
    True,
    /// A number, an enum's number.
    Int(i64),
    /// A floating point number; the parser's trees hold none that is not a default.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Vec<Value>),
    /// A message.
    Node(Box<Node>),
}

/// A message.
#[derive(Debug, PartialEq)]
pub(crate) struct Node {
    /// Its name, such as `SelectStmt`.
    pub(crate) kind: &'static str,
    /// Its fields that differ from their default, in the order of the protobuf definition.
    pub(crate) fields: Vec<(&'static str, Value)>,
}

/// Makes the tree of a parse result.
pub(crate) fn of(result: &pg_query::protobuf::ParseResult) -> Result<Node, NotATree> {
    match result.serialize(Builder)? {
        Value::Node(node) => Ok(*node),
        _ => Err(NotATree),
    }
}

/// Where a part of a statement begins: the first place in it. The rewriter puts nothing with a place
/// into a tree, so a part keeps it when something is injected.
pub(crate) fn anchor(node: &Node) -> i32 {
    let places = node.fields.iter().map(|(name, value)| match value {
        Value::Int(place) if *place > 0 && is_location(name) => {
            i32::try_from(*place).unwrap_or(i32::MAX)
        }
        value => anchor_in(value),
    });
    places.min().unwrap_or(i32::MAX)
}

fn anchor_in(value: &Value) -> i32 {
    match value {
        Value::Node(node) => anchor(node),
        Value::List(items) => items.iter().map(anchor_in).min().unwrap_or(i32::MAX),
        _ => i32::MAX,
    }
}

/// The same of a part that is not a tree yet.
pub(crate) fn anchor_of(part: &impl Serialize) -> i32 {
    part.serialize(Builder)
        .map_or(i32::MAX, |value| anchor_in(&value))
}

/// All nodes of a kind in a part that is not a tree yet, but for those inside of one.
pub(crate) fn all_of(kind: &str, part: &impl Serialize) -> Vec<Node> {
    let mut found = Vec::new();
    if let Ok(value) = part.serialize(Builder) {
        value.gather(kind, &mut found);
    }
    found
}

/// The tree of a part.
pub(crate) fn part(part: &impl Serialize) -> Option<Node> {
    match part.serialize(Builder).ok()? {
        Value::Node(node) => Some(*node),
        _ => None,
    }
}

/// Whether a part that is not a tree yet is equal to one, places aside.
pub(crate) fn is_same(node: &Node, part: &impl Serialize) -> bool {
    let part = part.serialize(Builder);
    part.is_ok_and(|part| part.as_node().is_some_and(|part| node.same(part)))
}

/// Whether a number of that name is a place in the text, which a rewrite may change.
pub(crate) fn is_location(field: &str) -> bool {
    matches!(
        field,
        "location"
            | "stmt_location"
            | "stmt_len"
            | "arg_location"
            | "conninfo_location"
            | "name_location"
            | "payload_location"
            | "list_start"
            | "list_end"
            | "rexpr_list_start"
            | "rexpr_list_end"
    )
}

impl Node {
    /// A field's value; absent ones are the default.
    pub(crate) fn field(&self, name: &str) -> &Value {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map_or(&Value::Default, |(_, value)| value)
    }

    /// A field that holds a message.
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.field(name).as_node()
    }

    /// A field that holds a text; absent is empty.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.field(name).as_text().unwrap_or("")
    }

    /// A field that holds a number; absent is 0.
    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.field(name) {
            Value::Int(number) => *number,
            _ => 0,
        }
    }

    /// A field that holds a list; absent is empty.
    pub(crate) fn list(&self, name: &str) -> &[Value] {
        match self.field(name) {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Where the node stands in the text, in bytes. Protobuf leaves out the first place, 0; nodes
    /// that the grammar makes up have -1.
    pub(crate) fn location(&self) -> i32 {
        i32::try_from(self.int("location")).unwrap_or(-1)
    }

    /// Whether the node has exactly these fields, locations aside.
    pub(crate) fn has_only(&self, fields: &[&str]) -> bool {
        let known = |(name, value): &(&'static str, Value)| {
            fields.contains(name) || is_location(name) && matches!(value, Value::Int(_))
        };
        self.fields.iter().all(known)
    }

    /// Whether two nodes are equal, places aside.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.fields.iter().all(|(name, value)| {
                is_location(name) && matches!(value, Value::Int(_)) || value.same(other.field(name))
            })
            && other.fields.iter().all(|(name, value)| {
                is_location(name) && matches!(value, Value::Int(_))
                    || !matches!(self.field(name), Value::Default)
            })
    }

    /// Whether a node of this kind is anywhere below.
    pub(crate) fn holds(&self, kind: &str) -> bool {
        self.fields.iter().any(|(_, value)| value.holds(kind))
    }
}

impl Value {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Node(one), Self::Node(other)) => one.same(other),
            (Self::List(one), Self::List(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| one.same(other))
            }
            (one, other) => one == other,
        }
    }

    fn gather(self, kind: &str, found: &mut Vec<Node>) {
        match self {
            Self::Node(node) if node.kind == kind => found.push(*node),
            Self::Node(node) => {
                let fields = node.fields.into_iter();
                fields.for_each(|(_, value)| value.gather(kind, found));
            }
            Self::List(items) => items.into_iter().for_each(|it| it.gather(kind, found)),
            _ => {}
        }
    }

    fn holds(&self, kind: &str) -> bool {
        match self {
            Self::Node(node) => node.kind == kind || node.holds(kind),
            Self::List(items) => items.iter().any(|item| item.holds(kind)),
            _ => false,
        }
    }

    pub(crate) fn as_node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a `String` node.
    pub(crate) fn as_name(&self) -> Option<&str> {
        let node = self.as_node()?;
        (node.kind == "String").then(|| node.text("sval"))
    }
}

/// What the serializer refuses: a shape of data that protobuf structs do not have.
#[derive(Debug)]
pub(crate) struct NotATree;

impl fmt::Display for NotATree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a parse tree")
    }
}

impl std::error::Error for NotATree {}

impl ser::Error for NotATree {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Builder;

struct Fields(Node);

struct Items(Vec<Value>);

type Built = Result<Value, NotATree>;

fn number(number: i64) -> Built {
    Ok(match number {
        0 => Value::Default,
        _ => Value::Int(number),
    })
}

impl ser::Serializer for Builder {
    type Ok = Value;
    type Error = NotATree;
    type SerializeSeq = Items;
    type SerializeTuple = Impossible<Value, NotATree>;
    type SerializeTupleStruct = Impossible<Value, NotATree>;
    type SerializeTupleVariant = Impossible<Value, NotATree>;
    type SerializeMap = Impossible<Value, NotATree>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Impossible<Value, NotATree>;

    fn serialize_bool(self, value: bool) -> Built {
        Ok(if value { Value::True } else { Value::Default })
    }
    fn serialize_i8(self, value: i8) -> Built {
        number(value.into())
    }
    fn serialize_i16(self, value: i16) -> Built {
        number(value.into())
    }
    fn serialize_i32(self, value: i32) -> Built {
        number(value.into())
    }
    fn serialize_i64(self, value: i64) -> Built {
        number(value)
    }
    fn serialize_u8(self, value: u8) -> Built {
        number(value.into())
    }
    fn serialize_u16(self, value: u16) -> Built {
        number(value.into())
    }
    fn serialize_u32(self, value: u32) -> Built {
        number(value.into())
    }
    fn serialize_u64(self, value: u64) -> Built {
        number(i64::try_from(value).map_err(|_| NotATree)?)
    }
    fn serialize_f32(self, value: f32) -> Built {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Built {
        Ok(if value == 0.0 {
            Value::Default
        } else {
            Value::Float(value)
        })
    }
    fn serialize_char(self, _: char) -> Built {
        Err(NotATree)
    }
    fn serialize_str(self, value: &str) -> Built {
        Ok(if value.is_empty() {
            Value::Default
        } else {
            Value::Text(value.into())
        })
    }
    fn serialize_bytes(self, _: &[u8]) -> Built {
        Err(NotATree)
    }
    fn serialize_none(self) -> Built {
        Ok(Value::Default)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Built {
        Err(NotATree)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Built {
        Err(NotATree)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Built {
        Err(NotATree)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Built {
        Err(NotATree)
    }
    /// A member of a oneof stands for itself: it is a message that knows its own name.
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Built {
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Items, NotATree> {
        Ok(Items(Vec::with_capacity(len.unwrap_or(0))))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotATree> {
        Err(NotATree)
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, NotATree> {
        Err(NotATree)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotATree> {
        Err(NotATree)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, NotATree> {
        Err(NotATree)
    }
    fn serialize_struct(self, kind: &'static str, _: usize) -> Result<Fields, NotATree> {
        Ok(Fields(Node {
            kind,
            fields: Vec::new(),
        }))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NotATree> {
        Err(NotATree)
    }
}

impl ser::SerializeStruct for Fields {
    type Ok = Value;
    type Error = NotATree;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NotATree> {
        match value.serialize(Builder)? {
            Value::Default => {}
            value => self.0.fields.push((name, value)),
        }
        Ok(())
    }

    /// `Node` is only the envelope of the one message in it.
    fn end(mut self) -> Built {
        if self.0.kind == "Node" {
            return Ok(match self.0.fields.pop() {
                Some((_, inner)) => inner,
                None => Value::Default,
            });
        }
        Ok(Value::Node(Box::new(self.0)))
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Value;
    type Error = NotATree;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotATree> {
        self.0.push(value.serialize(Builder)?);
        Ok(())
    }

    fn end(self) -> Built {
        Ok(if self.0.is_empty() {
            Value::Default
        } else {
            Value::List(self.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(sql: &str) -> Node {
        of(&pg_query::parse(sql, 0).unwrap().protobuf).unwrap()
    }

    #[test]
    fn every_field_is_there_and_defaults_are_not() {
        let tree = tree("SELECT a FROM t WHERE b = 0");
        let select = tree.list("stmts")[0]
            .as_node()
            .unwrap()
            .node("stmt")
            .unwrap();
        assert_eq!(select.kind, "SelectStmt");
        let range = select.list("from_clause")[0].as_node().unwrap();
        assert_eq!((range.kind, range.text("relname")), ("RangeVar", "t"));
        assert_eq!(range.location(), 14);
        let constant = select.node("where_clause").unwrap().node("rexpr").unwrap();
        // The number 0 is a message without fields, not nothing.
        assert_eq!(constant.node("val").unwrap().kind, "Integer");
        assert!(select.node("having_clause").is_none());
    }

    #[test]
    fn a_string_field_called_location_is_not_a_location() {
        let (a, b) = (
            tree("CREATE TABLESPACE x LOCATION '/a'"),
            tree("CREATE TABLESPACE x LOCATION '/b'"),
        );
        let at = |tree: &Node| {
            let stmt = tree.list("stmts")[0]
                .as_node()
                .unwrap()
                .node("stmt")
                .unwrap();
            stmt.text("location").to_owned()
        };
        assert_ne!(at(&a), at(&b));
    }
}
