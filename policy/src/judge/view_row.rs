//! The whole row of a view as a value. It has the view's type; the row of the query that stands in the view's
//! place has none. So it may stand only where nobody sees its type: as JSON, as text, in comparisons, or to take a field of it.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};

use super::names::{Part, Scope, path, strings};
use super::{EntryId, Judge, unsupported};
use crate::deny::Denial;

/// Functions that give the same for a row of any type with the same fields.
const TAKING_ANY_ROW: &[&str] = &[
    "concat",
    "concat_ws",
    "count",
    "format",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "num_nonnulls",
    "num_nulls",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

impl Judge<'_> {
    /// Refuses a view's row as a value whose type shows.
    pub(super) fn refuse_row_of_view(&self, value: &Node, scope: &Scope<'_>) -> Result<(), Denial> {
        if self.is_row_of_view(value, scope, false)? {
            return Err(unsupported("a whole row of a view in a select list")
                .hint("Name its columns, or write view.*"));
        }
        Ok(())
    }

    /// The same where `view.*` is a row, too.
    pub(super) fn refuse_rows_of_views(
        &self,
        values: &[Node],
        scope: &Scope<'_>,
    ) -> Result<(), Denial> {
        for value in values {
            if self.is_row_of_view(value, scope, true)? {
                return Err(unsupported("a whole row of a view in this place")
                    .hint("Name its columns, or make JSON of it"));
            }
        }
        Ok(())
    }

    /// The same of a call's arguments.
    pub(super) fn refuse_rows_given(
        &self,
        call: &FuncCall,
        scope: &Scope<'_>,
    ) -> Result<(), Denial> {
        match strings(&call.funcname)?.as_slice() {
            [name] | ["pg_catalog", name] if TAKING_ANY_ROW.contains(name) => Ok(()),
            _ => self.refuse_rows_of_views(&call.args, scope),
        }
    }

    fn is_row_of_view(&self, value: &Node, scope: &Scope<'_>, star: bool) -> Result<bool, Denial> {
        let reference = match value.node.as_ref() {
            Some(NodeEnum::ColumnRef(reference)) if !self.views.is_empty() => reference,
            _ => return Ok(false),
        };
        let path = path(&reference.fields)?;
        let (schema, name, row) = match path.as_slice() {
            [Part::Name(name)] => (None, name, false),
            [Part::Name(name), Part::Star] if star => (None, name, true),
            [Part::Name(schema), Part::Name(name), Part::Star] if star => {
                (Some(*schema), name, true)
            }
            _ => return Ok(false),
        };
        let is_view = |id: &EntryId| self.views.contains(id);
        let view = self.find_item(schema, name, scope).filter(is_view);
        let columns = view.and_then(|id| self.entry(id)).map(|it| &it.columns);
        // A column of that name comes first.
        Ok(columns.is_some_and(|columns| row || columns.iter().all(|it| it.name != *name)))
    }
}
