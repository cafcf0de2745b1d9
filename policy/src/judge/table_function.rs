//! Functions in FROM: their columns come from what is known of the function, a definition list or an alias,
//! else nobody knows them.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeFunction, RangeTableFunc};

use super::expression::Facts;
use super::from::{Level, alias_name, note_lateral, rename};
use super::names::{Column, Scope, Ty, strings};
use super::result::Given;
use super::{Entry, EntryId, EntryKind, Env, Judge, unsupported};
use crate::deny::Denial;

/// The type of a column FOR ORDINALITY: int4.
const FOR_ORDINALITY: Ty = Ty::Known(23);

/// The type of WITH ORDINALITY: int8.
const WITH_ORDINALITY: Ty = Ty::Known(20);

impl Judge<'_> {
    pub(super) fn range_function(
        &mut self,
        range: &mut RangeFunction,
        level: &mut Level,
        lateral: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<EntryId, Denial> {
        let alias = range.alias.clone();
        let alias_given = alias.as_ref().map(|alias| alias.aliasname.as_str());
        let only_alias = alias_given.filter(|_| range.functions.len() == 1);
        let mut told = Some(Vec::new());
        let mut default_name = String::new();
        for function in &mut range.functions {
            let Some(NodeEnum::List(pair)) = function.node.as_mut() else {
                return Err(unsupported("this kind of function in FROM"));
            };
            let mut parts = pair.items.iter_mut();
            let mut columns = None;
            if let Some(call) = parts.next() {
                if let Some(NodeEnum::FuncCall(call)) = call.node.as_ref()
                    && let Some(last) = strings(&call.funcname)?.last()
                {
                    default_name = (*last).to_owned();
                }
                let (facts, given) = self.call_in_from(call, lateral, env)?;
                columns = self.columns_given(&given, only_alias);
                note_lateral(level, &facts.reads);
            }
            let definitions = match parts.next().map(|rest| rest.node.as_ref()) {
                Some(Some(NodeEnum::List(definitions))) => definitions.items.as_slice(),
                Some(None) | None => &range.coldeflist,
                Some(Some(_)) => return Err(unsupported("this kind of function in FROM")),
            };
            if !definitions.is_empty() {
                columns = Some(self.column_definitions(definitions)?);
            }
            told = told.zip(columns).map(|(told, next)| [told, next].concat());
        }
        let open = told.is_none();
        let name = alias_name(alias.as_ref(), &default_name)?;
        let listed = alias
            .as_ref()
            .is_some_and(|alias| !alias.colnames.is_empty());
        let with_ordinality = range.ordinality.then(|| Column {
            ty: WITH_ORDINALITY,
            plain: true,
            ..Column::opaque("ordinality")
        });
        let mut columns = match told {
            Some(told) => told,
            // A function that returns one value names its column after itself or its alias.
            None if !listed && (alias_given.is_some() || !range.is_rowsfrom) => {
                vec![Column::opaque(&name)]
            }
            None => Vec::new(),
        };
        // Behind columns that nobody knows its place is not known either.
        match open {
            true => {
                rename(&mut columns, alias.as_ref())?;
                columns.extend(with_ordinality);
            }
            false => {
                columns.extend(with_ordinality);
                rename(&mut columns, alias.as_ref())?;
            }
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

    /// Judges what FROM calls, and tells what it is.
    fn call_in_from(
        &mut self,
        node: &mut Node,
        lateral: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(Facts, Given), Denial> {
        let Some(NodeEnum::FuncCall(call)) = node.node.as_mut() else {
            return Ok((self.expression(node, lateral, env)?, Given::default()));
        };
        let (facts, given) = self.call_of(call, lateral, env)?;
        self.allow_operand(facts.ty)?;
        Ok((facts, given))
    }

    fn column_definitions(&self, definitions: &[Node]) -> Result<Vec<Column>, Denial> {
        let column = |definition: &Node| {
            let Some(NodeEnum::ColumnDef(column)) = definition.node.as_ref() else {
                return Err(unsupported("this kind of column definition"));
            };
            let name = column.type_name.as_ref();
            let ty = name.map_or(Ok(Ty::Unknown), |name| self.type_name(name))?;
            Ok(Column {
                ty,
                plain: true,
                ..Column::opaque(&column.colname)
            })
        };
        definitions.iter().map(column).collect()
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
            let ty = match column.type_name.as_ref() {
                Some(name) => self.type_name(name)?,
                None => FOR_ORDINALITY,
            };
            facts.absorb(&self.optional(column.colexpr.as_mut(), lateral, env)?);
            facts.absorb(&self.optional(column.coldefexpr.as_mut(), lateral, env)?);
            columns.push(Column {
                ty,
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
            let name = column.type_name.as_ref();
            let ty = name.map_or(Ok(FOR_ORDINALITY), |name| self.type_name(name))?;
            self.json_behavior(column.on_empty.as_deref_mut(), lateral, env)?;
            self.json_behavior(column.on_error.as_deref_mut(), lateral, env)?;
            if column.columns.is_empty() {
                columns.push(Column {
                    ty,
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
