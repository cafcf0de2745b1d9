//! Type names: casts, column definitions, XMLTABLE and JSON_TABLE columns.
//!
//! A type's input function and a domain's checks are code. pg_catalog's own types are known; a
//! user's enum, composite and range types run nothing; a domain runs its checks; a base type runs
//! its input function, which only an extension that the policy allows may bring.

use pg_query::NodeEnum;
use pg_query::protobuf::TypeName;

use super::names::{Ty, strings};
use super::{Judge, unsupported};
use crate::catalog::{Oid, Type, TypeKind};
use crate::deny::{Denial, DenyReason};

/// pg_catalog types that statements have no business with.
const DENIED: &[&str] = &[
    "aclitem",
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "internal",
    "cstring",
    "language_handler",
    "fdw_handler",
    "index_am_handler",
    "tsm_handler",
    "table_am_handler",
    "trigger",
    "event_trigger",
    "pg_ddl_command",
];

impl Judge<'_> {
    /// Judges the types that a Parse message declares for its parameters: a Bind runs their input
    /// functions and their domains' checks, whether the statement names them or not. pg_catalog's own
    /// run nothing of somebody's; drivers declare even `void`.
    pub(super) fn declared_types(&self) -> Result<(), Denial> {
        for oid in self.request.declared.iter().filter(|oid| **oid != 0) {
            let found = self.bound.catalog.type_by_oid(*oid);
            let Some(ty) = found else {
                return Err(unknown_type(&oid.to_string()));
            };
            if ty.schema != "pg_catalog" {
                self.allow_type(ty, &format!("{}.{}", ty.schema, ty.name), 0)?;
            }
        }
        Ok(())
    }

    /// Judges a type's name and says which type it is.
    pub(super) fn type_name(&self, name: &TypeName) -> Result<Ty, Denial> {
        if name.pct_type {
            return Err(unsupported("%TYPE").hint("Write the type itself."));
        }
        for modifier in &name.typmods {
            match modifier.node {
                // `numeric(10,2)`, `interval day`, `geometry(Point)`: constants and identifiers.
                Some(NodeEnum::AConst(_) | NodeEnum::ColumnRef(_)) => {}
                _ => return Err(unsupported("an expression as type modifier")),
            }
        }
        let parts = strings(&name.names)?;
        if self.is_made_enum(&parts) {
            return Ok(Ty::Unknown);
        }
        let ty = match parts.as_slice() {
            [name] => self.find_type(None, name),
            [schema, name] => self.find_type(Some(schema), name),
            _ => {
                return Err(unsupported("a type name with a database")
                    .hint("Leave the name of the database out."));
            }
        };
        let shown = parts.join(".");
        let Some(ty) = ty else {
            return Err(unknown_type(&shown));
        };
        self.allow_type(ty, &shown, 0)?;
        Ok(match (name.array_bounds.is_empty(), name.setof) {
            (true, false) => Ty::Known(ty.oid),
            _ => self.array_of(ty.oid).map_or(Ty::Unknown, Ty::Known),
        })
    }

    pub(super) fn array_of(&self, element: Oid) -> Option<Oid> {
        let types = &self.bound.catalog.parts().types;
        let array = types
            .iter()
            .find(|ty| ty.element == element && ty.name.starts_with('_'));
        array.map(|ty| ty.oid)
    }

    pub(super) fn find_type(&self, schema: Option<&str>, name: &str) -> Option<&Type> {
        let catalog = &self.bound.catalog;
        if self.fresh.shadows_type(name) {
            return None;
        }
        if let Some(schema) = schema {
            return catalog.types_named(name).find(|ty| ty.schema == schema);
        }
        let facts = self.request.facts;
        // A temporary table brings a type of its name, which is looked up first.
        if self.temporaries.shadows_type(name) {
            return None;
        }
        let path = &facts.search_path;
        let explicit = path.iter().any(|schema| schema == "pg_catalog");
        let implicit = (!explicit).then_some("pg_catalog");
        implicit
            .into_iter()
            .chain(path.iter().map(String::as_str))
            .find_map(|schema| catalog.types_named(name).find(|ty| ty.schema == schema))
    }

    /// A cast may call a function that somebody wrote (`CREATE CAST … WITH FUNCTION`), also one to
    /// a type of pg_catalog. Extensions' casts run no SQL: they count only where surely meant.
    pub(super) fn allow_cast(&self, from: Ty, to: Ty) -> Result<(), Denial> {
        let Ty::Known(target) = to else { return Ok(()) };
        let catalog = &self.bound.catalog;
        // The columns of a row are cast one by one.
        let found = catalog.type_by_oid(target);
        let row = from != to && found.is_some_and(|ty| ty.kind == TypeKind::Composite);
        for (cast, function) in catalog.calling_casts() {
            let own = cast.extension.is_none();
            let meant = match from {
                Ty::Known(source) => self.is_made_of(source, cast.source, 0),
                Ty::Builtin => own && self.is_builtin(cast.source),
                Ty::Unknown => own,
                Ty::Adaptable => false,
            };
            if meant && self.is_made_of(target, cast.target, 0) || row && own {
                self.allow_cast_function(function)?;
            }
        }
        Ok(())
    }

    /// Whether statements may write this type.
    pub(super) fn allow_type(&self, ty: &Type, shown: &str, depth: usize) -> Result<(), Denial> {
        if depth > 16 {
            return Err(unknown_type(shown));
        }
        if ty.schema == "pg_catalog" {
            let denied = DENIED.contains(&ty.name.as_str()) || ty.kind == TypeKind::Pseudo;
            return if denied && ty.name != "record" {
                Err(unknown_type(shown))
            } else {
                Ok(())
            };
        }
        let catalog = &self.bound.catalog;
        let by_extension = ty
            .extension
            .as_ref()
            .is_some_and(|extension| self.bound.policy.functions.extensions.contains(extension));
        let allowed = match ty.kind {
            TypeKind::Enum => true,
            // Their parts may be domains.
            TypeKind::Composite | TypeKind::Range | TypeKind::Multirange => {
                !ty.check_calls_function
            }
            TypeKind::Domain => {
                if let Some(base) = catalog.type_by_oid(ty.base) {
                    self.allow_type(base, shown, depth + 1)?;
                }
                !ty.check_calls_function
            }
            TypeKind::Base => match catalog.type_by_oid(ty.element) {
                Some(element) if ty.element != 0 => {
                    return self.allow_type(element, shown, depth + 1);
                }
                _ => by_extension,
            },
            TypeKind::Pseudo => false,
        };
        let casts = catalog.calling_casts();
        for (_, function) in casts.filter(|(cast, _)| cast.target == ty.oid) {
            self.allow_cast_function(function)?;
        }
        self.allow_comparison(Ty::Known(ty.oid))?;
        if allowed {
            Ok(())
        } else {
            Err(unknown_type(shown))
        }
    }
}

pub(super) fn unknown_type(shown: &str) -> Denial {
    Denial::new(
        DenyReason::UnknownType,
        format!("type \"{shown}\" is not known or not allowed"),
    )
}
