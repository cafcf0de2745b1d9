//! The policy, resolved: what `policy.toml` says, without its syntax. `config/` builds it, and the
//! engine binds it to a catalogue.

use crate::builtin::functions;
use crate::tenant::ValueType;

/// A dotted path into the token's claims, such as `app_metadata.org_id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath(pub Vec<String>);

/// `schema.name`, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// The schema.
    pub schema: String,
    /// The object's name in it.
    pub name: String,
}

/// Whether verdicts are obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Denied statements are refused, rewritten ones are rewritten.
    Enforce,
    /// Verdicts are recorded and statements let through, but for the identity guards.
    Observe,
}

/// What may be done with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Deny,
    /// SELECT.
    Read,
    /// SELECT, INSERT, UPDATE, DELETE.
    Write,
}

/// What becomes of a statement that lacks its own filter on a scoped table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingFilter {
    /// The predicate is added.
    Rewrite,
    /// The statement is denied (and the predicate is added to those that do have a filter).
    Reject,
}

/// What becomes of an INSERT that does not give the tenant column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingValue {
    /// The session's value is filled in.
    Fill,
    /// The statement is denied.
    Reject,
}

/// How the independent second reader counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondReader {
    /// It isn't asked.
    Off,
    /// What it reads must agree; what it can't read passes.
    WhenReadable,
    /// What it can't read is denied.
    Required,
}

/// What becomes of DDL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ddl {
    /// It is denied.
    Deny,
    /// It is allowed on relations that are not scoped.
    Unscoped,
}

/// How much of the DETAIL of constraint errors reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorDetail {
    /// What row level security leaves of it: all for what holds nothing of a tenant, no values of what does.
    Redact,
    /// All of it.
    Forward,
}

/// Whether scoped tables must have forced row level security, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequireRls {
    /// It is not looked at.
    Off,
    /// Its lack is logged and counted, whenever the policy or the catalogue has changed.
    Warn,
    /// Tables without it are denied.
    Enforce,
}

/// Where the tenant comes from and which column holds it.
#[derive(Debug, Clone)]
pub struct TenantRule {
    /// The claim.
    pub claim: ClaimPath,
    /// Its type.
    pub value_type: ValueType,
    /// The column of tables found by discovery.
    pub column: String,
}

/// `[defaults]`.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// In these schemas every table with the tenant column is scoped.
    pub discover: Vec<String>,
    /// Tables neither scoped nor listed.
    pub unlisted: Access,
    /// Statements without their own filter.
    pub missing_filter: MissingFilter,
    /// INSERTs without the tenant column.
    pub missing_value: MissingValue,
    /// DDL.
    pub ddl: Ddl,
    /// Whether EXPLAIN is allowed.
    pub explain: bool,
    /// Whether LOCK TABLE is allowed in modes that hold up other tenants.
    pub lock: bool,
    /// Constraint errors.
    pub error_detail: ErrorDetail,
    /// Forced RLS beside the proxy.
    pub require_rls: RequireRls,
    /// The second reader.
    pub second_reader: SecondReader,
}

impl Defaults {
    /// Whether the tables of a schema are scoped by their tenant column alone.
    pub fn discovers(&self, schema: &str) -> bool {
        self.discover.iter().any(|it| it == schema)
    }
}

/// A column that scopes a table, and the claim that it must equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeKey {
    /// The column.
    pub column: String,
    /// The claim.
    pub claim: ClaimPath,
    /// The claim's type.
    pub value_type: ValueType,
}

/// How a listed table is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// By columns of its own; all must match.
    Keys(Vec<ScopeKey>),
    /// Through a parent table: `column` equals the parent's `key`, and the parent is scoped.
    Via {
        /// The referencing column.
        column: String,
        /// The parent.
        parent: QualifiedName,
        /// The parent's referenced column.
        key: String,
    },
    /// Not scoped.
    Global(Access),
    /// As the defaults find it (an entry that only changes `missing_filter` and the like).
    Discovered,
}

/// One table of a `[[table]]` entry (an entry with `names` gives several).
#[derive(Debug, Clone)]
pub struct TableRule {
    /// The table.
    pub name: QualifiedName,
    /// How it is guarded.
    pub scope: Scope,
    /// Overrides the default.
    pub missing_filter: Option<MissingFilter>,
    /// Overrides the default.
    pub missing_value: Option<MissingValue>,
    /// Overrides the policy's mode.
    pub mode: Option<Mode>,
}

/// A type as a function's signature names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArgumentType {
    /// The type, of an array that of its elements; PostgreSQL's own are in `pg_catalog` and have the
    /// names that they have there (`int4`).
    pub name: QualifiedName,
    /// Whether it is an array of that type.
    pub array: bool,
}

/// A function, or all of a name: `public.similarity`, `public.similarity(text, text)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionRule {
    /// The function's name.
    pub name: QualifiedName,
    /// The types of its arguments; `None` means all overloads.
    pub arguments: Option<Vec<ArgumentType>>,
}

impl FunctionRule {
    /// Why listing it under `allow` could never let it be called: PostgreSQL's own functions are allowed or
    /// denied by the engine, but for a few that a policy may list by name.
    pub fn never_allowed(&self) -> Option<&'static str> {
        if self.name.schema != "pg_catalog" {
            return None;
        }
        if self.arguments.is_some() && functions::is_lock(&self.name.name) {
            return Some("PostgreSQL's own functions are listed by name, without a signature.");
        }
        functions::never_allowed(&self.name.name)
    }
}

impl From<QualifiedName> for FunctionRule {
    fn from(name: QualifiedName) -> Self {
        Self {
            name,
            arguments: None,
        }
    }
}

impl std::fmt::Display for FunctionRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(arguments) = &self.arguments else {
            return self.name.fmt(f);
        };
        let shown: Vec<String> = arguments
            .iter()
            .map(|it| format!("{}{}", it.name, if it.array { "[]" } else { "" }))
            .collect();
        write!(f, "{}({})", self.name, shown.join(", "))
    }
}

/// `[functions]`: user-defined functions that tenants may call.
#[derive(Debug, Clone, Default)]
pub struct FunctionRules {
    /// Allowed. Of PostgreSQL's own functions only those that take advisory locks need to be listed, and
    /// no other that the engine denies can be ([`FunctionRule::never_allowed`]).
    pub allow: Vec<FunctionRule>,
    /// All functions of these extensions, less the engine's built-in deny list.
    pub extensions: Vec<String>,
    /// Denied by name, whatever else allows them; built-in functions too (`pg_catalog.random`).
    pub deny: Vec<QualifiedName>,
}

/// `tenant` of a `[[role]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleTenant {
    /// The token's tenant, for the whole session.
    Pinned,
    /// A new token for each transaction.
    PerTransaction,
}

/// What a value of the token's `role` claim changes.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// The claim's value.
    pub name: String,
    /// Where its tenant comes from.
    pub tenant: RoleTenant,
    /// Whether statements are judged; `false` is break glass.
    pub enforce: bool,
    /// The server role to SET ROLE to.
    pub set_role: Option<String>,
    /// Overrides the default.
    pub ddl: Option<Ddl>,
    /// Overrides the default.
    pub lock: Option<bool>,
}

/// What a `[[test]]` expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Untouched.
    Pass,
    /// Rewritten.
    Rewrite,
    /// Denied.
    Deny,
}

/// A `[[test]]` of the policy file.
#[derive(Debug, Clone)]
pub struct PolicyTest {
    /// What it shows.
    pub name: String,
    /// The line of the policy file that it begins at.
    pub line: usize,
    /// The claims, as JSON text.
    pub claims: String,
    /// The statement.
    pub sql: String,
    /// The verdict.
    pub expect: Expect,
}

/// The whole policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether verdicts are obeyed.
    pub mode: Mode,
    /// The tenant.
    pub tenant: TenantRule,
    /// `[defaults]`.
    pub defaults: Defaults,
    /// `[[table]]`, one for each table.
    pub tables: Vec<TableRule>,
    /// `[functions]`.
    pub functions: FunctionRules,
    /// `[settings] allow`: names that clients may SET.
    pub settings: Vec<String>,
    /// `[channels] allow`: what tenants may LISTEN to and NOTIFY.
    pub channels: Vec<String>,
    /// `[[role]]`.
    pub roles: Vec<RoleRule>,
    /// `[[test]]`.
    pub tests: Vec<PolicyTest>,
    /// A short identifier of the file's content, for the audit log.
    pub revision: String,
}

impl Policy {
    /// The rule of a role claim; `None` means the defaults: tenant pinned, enforced, no SET ROLE.
    pub fn role(&self, name: &str) -> Option<&RoleRule> {
        self.roles.iter().find(|role| role.name == name)
    }
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}
