//! Where a parameter has its type from.
//!
//! One without a declared type has it from the first place that gives one. A parameter that is written to
//! a tenant column and stands elsewhere, too, could be read there as another type than its Bind check
//! reads, and be converted back from that (`$1::"char"`). So its value is looked at when the row is made;
//! and where a place may give it a type by an operator, a function or a cast, it is refused, as the order in
//! which the server finds types would be another with our check in between.

use std::collections::{HashMap, HashSet};

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ParseResult, Token};

use super::Judge;
use super::value::unproven;
use crate::bind::Key;
use crate::deny::Denial;
use crate::scan;
use crate::tree::{self, Value};

/// Where the parameters of a text stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    times: HashMap<u16, usize>,
    /// Those of several places of which one is an expression.
    computed: HashSet<u16>,
}

impl Standing {
    /// Looks at a text and its tree as they came.
    pub(super) fn of(text: &str, tree: &ParseResult) -> Self {
        let mut standing = Self::default();
        for token in &scan::tokens(text).unwrap_or_default() {
            let (start, end) = scan::range(token);
            let written = text.get(start..end).and_then(|it| it.strip_prefix('$'));
            let number = written.and_then(|it| it.parse().ok());
            if let Some(number) = number.filter(|_| scan::is(token, Token::Param)) {
                *standing.times.entry(number).or_default() += 1;
            }
        }
        if standing.times.values().any(|times| *times > 1)
            && let Ok(tree) = tree::of(tree)
        {
            standing.look_at(&tree, false);
        }
        standing
    }

    /// Values of VALUES, SET and select lists, and what is compared with a column, stand plainly.
    fn look_at(&mut self, node: &tree::Node, plainly: bool) {
        if node.kind == "ParamRef" && !plainly {
            self.computed.extend(u16::try_from(node.int("number")));
        }
        let plainly = match node.kind {
            "List" | "ResTarget" => true,
            "AExpr" => {
                let mut sides = ["lexpr", "rexpr"]
                    .into_iter()
                    .filter_map(|it| node.node(it));
                let column = sides.any(|side| side.kind == "ColumnRef");
                let names = node.list("name");
                column && matches!(names, [name] if name.as_name() == Some("="))
            }
            _ => false,
        };
        for (_, value) in &node.fields {
            self.look_in(value, plainly);
        }
    }

    fn look_in(&mut self, value: &Value, plainly: bool) {
        match value {
            Value::Node(node) => self.look_at(node, plainly),
            Value::List(items) => {
                for item in items {
                    self.look_in(item, plainly);
                }
            }
            Value::Default | Value::True | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

impl Judge<'_> {
    /// Whether a parameter stands in one place of the text.
    pub(super) fn stands_once(&self, number: u16) -> bool {
        self.standing.times.get(&number) == Some(&1)
    }

    /// Whether no other place can give a parameter its type.
    pub(super) fn has_its_type(&self, number: i32) -> bool {
        let Ok(number) = u16::try_from(number) else {
            return false;
        };
        let index = usize::from(number).checked_sub(1);
        let declared = index.and_then(|index| self.request.declared.get(index));
        !matches!(declared, None | Some(0 | 705)) || self.stands_once(number)
    }

    /// Refuses a written parameter that an expression may give its type.
    pub(super) fn refuse_computed(
        &self,
        value: &Node,
        key: &Key,
        table: &str,
    ) -> Result<(), Denial> {
        let Some(NodeEnum::ParamRef(parameter)) = value.node.as_ref() else {
            return Ok(());
        };
        let computed = u16::try_from(parameter.number);
        let computed = computed.is_ok_and(|number| self.standing.computed.contains(&number));
        if computed && !self.has_its_type(parameter.number) {
            return Err(unproven(key, table).hint(
                "Declare the parameter's type, or give it a place of its own: elsewhere in the statement it may get another type.",
            ));
        }
        Ok(())
    }
}
