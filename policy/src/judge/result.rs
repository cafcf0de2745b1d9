//! What PostgreSQL's own functions give, by the types of their arguments: a comparison with a value of
//! known type needs no barrier, which would hide it from indexes and hash joins.

use pg_query::protobuf::{FuncCall, SqlValueFunction, SqlValueFunctionOp};

use super::Judge;
use super::calls::have_places;
use super::names::{Column, TEXT, Ty, strings};
use crate::builtin::results::{self, Results};
use crate::catalog::{Oid, TypeKind};

/// Functions that give a value of the type of their first argument, whatever that is; the default of `lag`
/// and `lead`, if they have one, must be of that type, too.
const SAME: &[&str] = &[
    "any_value",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
];

/// Functions that give rows of the type of their first argument.
const POPULATING: &[&str] = &[
    "json_populate_record",
    "json_populate_recordset",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
];

/// `oid` of varchar.
const VARCHAR: Oid = 1043;

/// A call, as far as its result depends on it.
#[derive(Debug, Default)]
pub(super) struct Given {
    name: String,
    /// Whether it can only be pg_catalog's.
    own: bool,
    types: Vec<Ty>,
    /// Whether the arguments go to those of the function one by one.
    in_places: bool,
}

impl Given {
    pub(super) fn by(call: &FuncCall, own: bool, types: Vec<Ty>) -> Self {
        let parts = strings(&call.funcname).unwrap_or_default();
        let (own, name) = match parts.as_slice() {
            [name] | ["pg_catalog", name] => (own, (*name).to_owned()),
            _ => (false, String::new()),
        };
        Self {
            name,
            own,
            types,
            in_places: have_places(call),
        }
    }

    fn arguments(&self) -> Option<&[Ty]> {
        self.in_places.then_some(&self.types)
    }
}

impl Judge<'_> {
    /// The type of what a call gives.
    pub(super) fn type_given(&self, call: &Given) -> Ty {
        match self.oid_given(call) {
            _ if !call.own => Ty::Unknown,
            Some(oid) => Ty::Known(oid),
            None => self.computed_type(&self.taken(call)),
        }
    }

    /// The types that a function takes its arguments for. One that has overloads for types of pg_catalog gives nothing of
    /// the caller's own: a domain is the type under it there.
    fn taken(&self, call: &Given) -> Vec<Ty> {
        let plain = matches!(results::of(&call.name), Some(Results::Overloads(_)));
        let types = call.types.iter();
        let taken = |ty: &Ty| match plain {
            true => self.under_domains(*ty),
            false => *ty,
        };
        types.map(taken).collect()
    }

    fn oid_given(&self, call: &Given) -> Option<Oid> {
        if SAME.contains(&call.name.as_str()) {
            let arguments = call.arguments()?;
            let (value, default) = (arguments.first()?, arguments.get(2));
            let alike = default.is_none_or(|default| default == value);
            return match value {
                Ty::Known(oid) => Some(*oid).filter(|_| alike),
                Ty::Unknown | Ty::Builtin | Ty::Adaptable => None,
            };
        }
        match results::of(&call.name)? {
            Results::One(oid) => Some(*oid),
            Results::Columns(columns) => match columns.as_slice() {
                [(_, only)] => Some(*only),
                _ => None,
            },
            Results::Overloads(overloads) => {
                let under = |ty: &Ty| self.under_domains(*ty);
                let arguments: Vec<Ty> = call.arguments()?.iter().map(under).collect();
                chosen(overloads, &arguments).or_else(|| chosen(overloads, &texts(arguments)))
            }
        }
    }

    /// The columns that a call gives in FROM, if they are known; `alias` names the only one that has no name
    /// of its own.
    pub(super) fn columns_given(&self, call: &Given, alias: Option<&str>) -> Option<Vec<Column>> {
        if !call.own {
            return None;
        }
        if call.name == "unnest" {
            return self.unnested(call.arguments()?, alias);
        }
        if POPULATING.contains(&call.name.as_str()) {
            return self.attributes(call.arguments()?.first()?);
        }
        if let Some(Results::Columns(columns)) = results::of(&call.name) {
            let columns = columns.iter().map(|(name, oid)| given(name, *oid));
            return Some(columns.collect());
        }
        let oid = self.oid_given(call)?;
        // A row would have a column for each attribute.
        self.is_value(oid)
            .then(|| vec![given(alias.unwrap_or(&call.name), oid)])
    }

    /// The columns of a row type that a table has.
    fn attributes(&self, row: &Ty) -> Option<Vec<Column>> {
        let catalog = &self.bound.catalog;
        let ty = match row {
            Ty::Known(oid) => catalog.type_by_oid(*oid)?,
            Ty::Unknown | Ty::Builtin | Ty::Adaptable => return None,
        };
        let table = catalog.relation(&ty.schema, &ty.name)?;
        let attributes = table.columns.iter();
        let attributes = attributes.map(|column| given(&column.name, column.type_oid));
        (ty.kind == TypeKind::Composite).then(|| attributes.collect())
    }

    /// The columns of `unnest`: one for each array.
    fn unnested(&self, arguments: &[Ty], alias: Option<&str>) -> Option<Vec<Column>> {
        let alone = alias.filter(|_| arguments.len() == 1);
        let element = |ty: &Ty| match ty {
            Ty::Known(array) => {
                let element = self.bound.catalog.type_by_oid(*array)?.element;
                self.is_value(element)
                    .then(|| given(alone.unwrap_or("unnest"), element))
            }
            Ty::Unknown | Ty::Builtin | Ty::Adaptable => None,
        };
        arguments.iter().map(element).collect()
    }

    /// Whether values of a type are no rows.
    fn is_value(&self, oid: Oid) -> bool {
        let catalog = &self.bound.catalog;
        let found = catalog.type_by_oid(catalog.base_type(oid));
        found.is_some_and(|ty| match ty.kind {
            TypeKind::Base | TypeKind::Enum | TypeKind::Range | TypeKind::Multirange => true,
            TypeKind::Composite | TypeKind::Domain | TypeKind::Pseudo => false,
        })
    }

    /// The type of an array of these elements.
    pub(super) fn array_type(&self, elements: &[Ty]) -> Option<Oid> {
        let element = match self.common_type(elements) {
            Some(element) => element,
            None if elements.is_empty() => return None,
            // Literals of no type.
            None if elements.iter().all(|ty| *ty == Ty::Adaptable) => TEXT,
            None => return None,
        };
        // Arrays of arrays have more dimensions, and the same type.
        match self.bound.catalog.type_by_oid(element)?.element {
            0 => self.array_of(element),
            _ => None,
        }
    }

    /// The type of what CASE, COALESCE and their kind give.
    pub(super) fn brought_to(&self, types: &[Ty]) -> Ty {
        let common = self.common_type(types);
        common.map_or_else(|| self.computed_type(types), Ty::Known)
    }

    /// The type that values are brought to, where one is all that they have. It is a domain only where all
    /// have that type, literals included.
    fn common_type(&self, types: &[Ty]) -> Option<Oid> {
        let first = types.first()?;
        let all = types.iter().all(|ty| ty == first);
        let smashed: Vec<Ty> = types.iter().map(|ty| self.under_domains(*ty)).collect();
        let types = if all { types } else { &smashed };
        let mut known = types.iter().filter(|ty| **ty != Ty::Adaptable);
        let first = known.next()?;
        match first {
            Ty::Known(oid) if known.all(|ty| ty == first) && self.is_value(*oid) => Some(*oid),
            _ => None,
        }
    }

    /// What a value of a domain is to pg_catalog's own functions and operators.
    pub(super) fn under_domains(&self, ty: Ty) -> Ty {
        match ty {
            Ty::Known(oid) => Ty::Known(self.bound.catalog.base_type(oid)),
            Ty::Unknown | Ty::Builtin | Ty::Adaptable => ty,
        }
    }
}

/// The type of `current_date` and its kind.
pub(super) fn value_function(value: &SqlValueFunction) -> Ty {
    use SqlValueFunctionOp as Op;
    match Op::try_from(value.op) {
        Ok(Op::SvfopCurrentDate) => Ty::Known(1082),
        Ok(Op::SvfopCurrentTime | Op::SvfopCurrentTimeN) => Ty::Known(1266),
        Ok(Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN) => Ty::Known(1184),
        Ok(Op::SvfopLocaltime | Op::SvfopLocaltimeN) => Ty::Known(1083),
        Ok(Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN) => Ty::Known(1114),
        Ok(
            Op::SvfopCurrentRole
            | Op::SvfopCurrentUser
            | Op::SvfopUser
            | Op::SvfopSessionUser
            | Op::SvfopCurrentCatalog
            | Op::SvfopCurrentSchema,
        ) => Ty::Known(19),
        Ok(Op::SqlvalueFunctionOpUndefined) | Err(_) => Ty::Builtin,
    }
}

fn given(name: &str, oid: Oid) -> Column {
    Column {
        ty: Ty::Known(oid),
        plain: true,
        ..Column::opaque(name)
    }
}

/// The arguments where no function is for just varchar: the server takes one for text, the preferred type of its kind.
fn texts(mut arguments: Vec<Ty>) -> Vec<Ty> {
    for argument in &mut arguments {
        if *argument == Ty::Known(VARCHAR) {
            *argument = Ty::Known(TEXT);
        }
    }
    arguments
}

/// The result of the overload that the server chooses: one for just these types. An untyped literal fits any,
/// and is text where nothing else has a type.
fn chosen(overloads: &[(Vec<Oid>, Oid)], arguments: &[Ty]) -> Option<Oid> {
    let typed = arguments.iter().any(|ty| matches!(ty, Ty::Known(_)));
    let fits = |wanted: &Oid, given: &Ty| match given {
        Ty::Known(oid) => oid == wanted,
        Ty::Adaptable => typed || *wanted == TEXT,
        Ty::Unknown | Ty::Builtin => false,
    };
    let mut fitting = overloads.iter().filter(|(wanted, _)| {
        wanted.len() == arguments.len()
            && wanted
                .iter()
                .zip(arguments)
                .all(|(wanted, given)| fits(wanted, given))
    });
    let (_, result) = fitting.next()?;
    fitting.all(|(_, other)| other == result).then_some(*result)
}
