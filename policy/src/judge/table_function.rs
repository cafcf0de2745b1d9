//! Functions in FROM: their columns come from an alias or a definition list, else nobody knows them.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeFunction, RangeTableFunc};

use super::from::{Level, alias_name, note_lateral, rename};
use super::names::{Column, Scope, Ty, strings};
use super::{Entry, EntryId, EntryKind, Env, Judge, unsupported};
use crate::deny::Denial;

impl Judge<'_> {
    pub(super) fn range_function(
        &mut self,
        range: &mut RangeFunction,
        level: &mut Level,
        lateral: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<EntryId, Denial> {
        let unnested = self.unnested(range);
        let open = unnested.is_none();
        let mut defined = Vec::new();
        let mut default_name = String::new();
        for function in &mut range.functions {
            let Some(NodeEnum::List(pair)) = function.node.as_mut() else {
                return Err(unsupported("this kind of function in FROM"));
            };
            let mut parts = pair.items.iter_mut();
            if let Some(call) = parts.next() {
                if let Some(NodeEnum::FuncCall(call)) = call.node.as_ref()
                    && let Some(last) = strings(&call.funcname)?.last()
                {
                    default_name = (*last).to_owned();
                }
                let facts = self.expression(call, lateral, env)?;
                note_lateral(level, &facts.reads);
            }
            for rest in parts {
                match rest.node.as_ref() {
                    Some(NodeEnum::List(definitions)) => {
                        self.column_definitions(&definitions.items, &mut defined)?;
                    }
                    None => {}
                    Some(_) => return Err(unsupported("this kind of function in FROM")),
                }
            }
        }
        self.column_definitions(&range.coldeflist, &mut defined)?;
        let alias = range.alias.clone();
        let alias_given = alias
            .as_ref()
            .is_some_and(|alias| !alias.aliasname.is_empty());
        let name = alias_name(alias.as_ref(), &default_name)?;
        let listed = alias
            .as_ref()
            .is_some_and(|alias| !alias.colnames.is_empty());
        let mut columns = if !defined.is_empty() {
            defined
        } else if let Some(unnested) = unnested {
            unnested
        } else if listed {
            Vec::new()
        } else if alias_given || !range.is_rowsfrom {
            // A function that returns one value names its column after itself or its alias.
            vec![Column::opaque(&name)]
        } else {
            Vec::new()
        };
        rename(&mut columns, alias.as_ref())?;
        if range.ordinality {
            columns.push(Column {
                ty: Ty::Known(20),
                plain: true,
                ..Column::opaque("ordinality")
            });
        }
        let kind = EntryKind::Free { writable: true };
        Ok(self.add_entry(Entry {
            name,
            schema: None,
            columns,
            open,
            kind,
        }))
    }

    /// The columns of `unnest`: one for each argument that is cast to an array of a built-in type.
    /// Another type may be a row type, of which there would be a column for each attribute.
    fn unnested(&self, range: &RangeFunction) -> Option<Vec<Column>> {
        /// `FirstGenbkiObjectId`: below it, no type is a catalogue's row type.
        const FIRST_ROW_TYPE: u32 = 10_000;
        let [function] = range.functions.as_slice() else {
            return None;
        };
        let Some(NodeEnum::List(pair)) = function.node.as_ref() else {
            return None;
        };
        let Some(NodeEnum::FuncCall(call)) = pair.items.first()?.node.as_ref() else {
            return None;
        };
        let is_unnest = matches!(strings(&call.funcname).ok()?.as_slice(), ["unnest"]);
        if !is_unnest || !range.coldeflist.is_empty() {
            return None;
        }
        let column = |arg: &Node| {
            let Some(NodeEnum::TypeCast(cast)) = arg.node.as_ref() else {
                return None;
            };
            let name = cast.type_name.as_ref()?;
            let array = !name.array_bounds.is_empty();
            let known = matches!(self.type_name(name), Ok(Ty::Known(oid)) if oid < FIRST_ROW_TYPE);
            (array && known).then(|| Column::opaque("unnest"))
        };
        let mut columns: Vec<Column> = call.args.iter().map(column).collect::<Option<_>>()?;
        let alias = range.alias.as_ref().map(|alias| alias.aliasname.as_str());
        if let ([only], Some(alias)) = (columns.as_mut_slice(), alias) {
            alias.clone_into(&mut only.name);
        }
        Some(columns)
    }

    fn column_definitions(
        &self,
        definitions: &[Node],
        columns: &mut Vec<Column>,
    ) -> Result<(), Denial> {
        for definition in definitions {
            let Some(NodeEnum::ColumnDef(column)) = definition.node.as_ref() else {
                return Err(unsupported("this kind of column definition"));
            };
            let name = column.type_name.as_ref();
            let ty = name.map_or(Ok(Ty::Unknown), |name| self.type_name(name))?;
            columns.push(Column {
                ty,
                plain: true,
                ..Column::opaque(&column.colname)
            });
        }
        Ok(())
    }

    pub(super) fn xml_table(
        &mut self,
        range: &mut RangeTableFunc,
        level: &mut Level,
        lateral: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<EntryId, Denial> {
        let mut facts = self.optional(range.docexpr.as_mut(), lateral, env)?;
        facts.absorb(&self.optional(range.rowexpr.as_mut(), lateral, env)?);
        facts.absorb(&self.expressions(&mut range.namespaces, lateral, env)?);
        let mut columns = Vec::new();
        for column in &mut range.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = column.node.as_mut() else {
                return Err(unsupported("this kind of XMLTABLE column"));
            };
            if let Some(name) = column.type_name.as_ref() {
                self.type_name(name)?;
            }
            facts.absorb(&self.optional(column.colexpr.as_mut(), lateral, env)?);
            facts.absorb(&self.optional(column.coldefexpr.as_mut(), lateral, env)?);
            columns.push(Column {
                plain: true,
                ..Column::opaque(&column.colname)
            });
        }
        note_lateral(level, &facts.reads);
        self.function_entry(range.alias.as_ref(), "xmltable", columns, false)
    }

    pub(super) fn json_table_columns(
        &mut self,
        nodes: &mut [Node],
        columns: &mut Vec<Column>,
        lateral: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        for node in nodes {
            let Some(NodeEnum::JsonTableColumn(column)) = node.node.as_mut() else {
                return Err(unsupported("this kind of JSON_TABLE column"));
            };
            if let Some(name) = column.type_name.as_ref() {
                self.type_name(name)?;
            }
            self.json_behavior(column.on_empty.as_deref_mut(), lateral, env)?;
            self.json_behavior(column.on_error.as_deref_mut(), lateral, env)?;
            if column.columns.is_empty() {
                columns.push(Column {
                    plain: true,
                    ..Column::opaque(&column.name)
                });
            }
            self.json_table_columns(&mut column.columns, columns, lateral, env)?;
        }
        Ok(())
    }

    pub(super) fn function_entry(
        &mut self,
        alias: Option<&Alias>,
        own_name: &str,
        mut columns: Vec<Column>,
        open: bool,
    ) -> Result<EntryId, Denial> {
        let name = alias_name(alias, own_name)?;
        rename(&mut columns, alias)?;
        let kind = EntryKind::Free { writable: true };
        Ok(self.add_entry(Entry {
            name,
            schema: None,
            columns,
            open,
            kind,
        }))
    }
}
