//! Denials: why a statement was refused, and what the developer should write instead.

mod denial;

pub use denial::Denial;

/// The closed list of reasons, each with its page: `docs/deny/` is made of these comments. The code is a contract (`reason=<code>` in DETAIL, a metric label).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DenyReason {
    /// PostgreSQL's own grammar refuses the text (42601).
    ///
    /// Why: pgwarden reads with PostgreSQL's grammar, so the server would refuse the text, too.
    ///
    /// Instead: Correct it at the position that the error gives.
    ///
    /// ```sql
    /// SELEC 1 -- refused
    /// SELECT 1 -- instead
    /// ```
    SyntaxError,
    /// Text, nesting or list too large to judge (54000, 54001).
    ///
    /// Why: Judging must end in bounded time, stack and memory.
    ///
    /// Instead: Send a list as an array, or load rows in batches.
    ///
    /// ```sql
    /// SELECT * FROM leads WHERE id IN (1, 2, …) -- refused
    /// SELECT * FROM leads WHERE id = ANY ($1) -- instead
    /// ```
    TooComplex,
    /// A statement kind that is not supported (0A000).
    ///
    /// Why: Nobody has shown yet that this kind keeps tenants apart.
    ///
    /// Instead: Run schema changes on a direct connection; write rows with INSERT, UPDATE and
    /// DELETE.
    ///
    /// ```sql
    /// TRUNCATE leads -- refused
    /// DELETE FROM leads -- instead
    /// ```
    UnsupportedStatement,
    /// A construct inside a supported statement that is not supported (0A000).
    ///
    /// Why: The tenant's predicate has no proven place in it.
    ///
    /// Instead: Write the same without it; the message names it.
    ///
    /// ```sql
    /// DELETE FROM leads WHERE CURRENT OF c -- refused
    /// DELETE FROM leads WHERE id = $1 -- instead
    /// ```
    UnsupportedConstruct,
    /// A relation that the snapshot does not hold.
    ///
    /// Why: It does not exist, or was created after the catalogue was last read. In discovered schemas
    /// the SQLSTATE is PostgreSQL's own, 42P01, which drivers and migration tools look for; elsewhere it is that
    /// of what is denied, so that it does not tell which tables there are.
    ///
    /// Instead: Name the schema; for a table that is new, try again in a second: the denial has the
    /// catalogue read.
    ///
    /// ```sql
    /// SELECT * FROM lead -- refused
    /// SELECT * FROM leads -- instead
    /// ```
    UnknownRelation,
    /// A relation that the policy neither scopes nor lists.
    ///
    /// Why: A table without a tenant column may hold anybody's rows.
    ///
    /// Instead: Have it listed under `[[table]]` in policy.toml, or use one that is.
    ///
    /// ```sql
    /// SELECT * FROM internal_notes -- refused
    /// SELECT * FROM plans -- instead
    /// ```
    UnlistedRelation,
    /// A listed relation that its entry in the policy does not fit any more.
    ///
    /// Why: Its tenant column, or its parent, was dropped or changed after the policy was loaded.
    ///
    /// Instead: Have the entry in policy.toml corrected; `pgwarden policy check` shows what is wrong.
    ///
    /// ```sql
    /// SELECT * FROM call_logs -- after: ALTER TABLE call_logs RENAME org_id TO organisation -- refused
    /// SELECT * FROM call_logs -- once the entry says: column = "organisation" -- instead
    /// ```
    UnfitRelation,
    /// A scoped relation without the row level security that the policy requires.
    ///
    /// Why: require_rls = "enforce" wants a second wall: row level security that is enabled, forced and
    /// has policies that keep tenants apart.
    ///
    /// Instead: Have it put on the table; the next statement is let through.
    ///
    /// ```sql
    /// SELECT * FROM leads -- refused
    /// SELECT * FROM leads -- after: ALTER TABLE leads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY … -- instead
    /// ```
    RlsMissing,
    /// A view whose query can't be filtered, or a view, materialised view or foreign table that the
    /// policy does not list.
    ///
    /// Why: A view is read as its query, so the query must be one that you could send; it is written
    /// to only where it shows columns of one table, its tenant column among them; what a
    /// materialised view shows was not filtered for a tenant.
    ///
    /// Instead: Query the tables behind it, or have it listed in policy.toml.
    ///
    /// ```sql
    /// SELECT * FROM all_leads -- refused
    /// SELECT * FROM leads -- instead
    /// ```
    OpaqueRelation,
    /// A system relation that shows other tenants' data (statistics, activity, passwords).
    ///
    /// Why: Statistics hold values of all tenants, and pg_stat_activity holds their statements.
    ///
    /// Instead: Ask information_schema or the descriptive columns of pg_catalog, by name. Tools that read whole
    /// system relations (DBeaver's `c.*` of pg_class, PostGraphile's `pg_roles.*`) are better given a connection of their own
    /// to the database. Where clients may know what these columns tell (numbers of all tenants' rows, settings of
    /// roles), the policy can list the relation: `[[table]]` with `name = "pg_catalog.pg_roles"`, `scope = "global"` and
    /// `access = "read"`.
    ///
    /// ```sql
    /// SELECT * FROM pg_stats -- refused
    /// SELECT column_name FROM information_schema.columns -- instead
    /// ```
    SystemRelation,
    /// A write to a relation that may only be read.
    ///
    /// Why: What is shared by all tenants is not a tenant's to change.
    ///
    /// Instead: Write to tables of your own; or have access = "write" set in policy.toml.
    ///
    /// ```sql
    /// UPDATE plans SET price = 0 -- refused
    /// SELECT price FROM plans -- instead
    /// ```
    ReadOnlyRelation,
    /// A function that is denied.
    ///
    /// Why: It runs SQL that nobody judges, reads files or statistics, or the policy does not
    /// list it.
    ///
    /// Instead: Write what it does as SQL, or have a function of your own listed under `[functions]`. Of
    /// PostgreSQL's own only advisory locks can be listed (`pg_catalog.pg_advisory_lock`); `pgwarden policy check` refuses any other that is denied.
    ///
    /// ```sql
    /// SELECT query_to_xml('SELECT …', true, true, '') -- refused
    /// SELECT to_jsonb(l) FROM leads l -- instead
    /// ```
    FunctionDenied,
    /// A channel of LISTEN or NOTIFY that the policy does not list.
    ///
    /// Why: A channel belongs to the whole database: what one tenant sends, every tenant receives.
    ///
    /// Instead: Have the channel listed under `[channels]`, if all tenants may share it.
    ///
    /// ```sql
    /// LISTEN orders -- refused
    /// SELECT id FROM orders WHERE created_at > now() - interval '1 minute' -- instead
    /// ```
    ChannelDenied,
    /// A function that nobody knows.
    ///
    /// Why: It is neither PostgreSQL's own nor in the catalogue's schemas of the search_path.
    ///
    /// Instead: Check the name and its schema.
    ///
    /// ```sql
    /// SELECT lenght(name) FROM leads -- refused
    /// SELECT length(name) FROM leads -- instead
    /// ```
    UnknownFunction,
    /// An operator that nobody knows.
    ///
    /// Why: An operator is a function by another name.
    ///
    /// Instead: Use a built-in one, or have its extension listed under `[functions]`.
    ///
    /// ```sql
    /// SELECT * FROM leads WHERE name === 'x' -- refused
    /// SELECT * FROM leads WHERE name = 'x' -- instead
    /// ```
    UnknownOperator,
    /// A type whose use runs code that the policy does not allow, or that nobody knows.
    ///
    /// Why: Converting to it may call a function that nobody judged.
    ///
    /// Instead: Convert to the base type.
    ///
    /// ```sql
    /// SELECT name::checked_text FROM leads -- refused
    /// SELECT name::text FROM leads -- instead
    /// ```
    UnknownType,
    /// A setting that clients may not change.
    ///
    /// Why: Settings reach beyond the statement, and some change what it means.
    ///
    /// Instead: Leave it to the server, or have it listed under `[settings]`.
    ///
    /// ```sql
    /// SET work_mem = '1GB' -- refused
    /// SET statement_timeout = '5s' -- instead
    /// ```
    SettingDenied,
    /// An attempt on the claims, the role or the session's identity.
    ///
    /// Why: Who asks is decided by the token alone.
    ///
    /// Instead: Connect with the token of the one who asks.
    ///
    /// ```sql
    /// SET ROLE admin -- refused
    /// SHOW request.jwt.claims -- instead
    /// ```
    IdentityGuard,
    /// The tenant column set to a value that is not the session's.
    ///
    /// Why: The row would belong to another tenant.
    ///
    /// Instead: Leave the column out: it is filled in.
    ///
    /// ```sql
    /// INSERT INTO leads (org_id, name) VALUES ('<another>', 'x') -- refused
    /// INSERT INTO leads (name) VALUES ('x') -- instead
    /// ```
    ForeignTenantValue,
    /// The tenant column set to a value that can't be shown to be the session's.
    ///
    /// Why: The value is known only when the statement runs.
    ///
    /// Instead: Leave the column out, or give a literal or a parameter.
    ///
    /// ```sql
    /// UPDATE leads SET org_id = lower(org_id::text)::uuid -- refused
    /// UPDATE leads SET name = 'x' -- instead
    /// ```
    UnprovenTenantValue,
    /// A scoped table without its own filter while the policy demands one.
    ///
    /// Why: missing_filter = "reject" makes forgotten filters visible.
    ///
    /// Instead: Filter by the tenant column with your own value.
    ///
    /// ```sql
    /// SELECT * FROM call_logs -- refused
    /// SELECT * FROM call_logs WHERE org_id = $1 -- instead
    /// ```
    MissingFilter,
    /// An INSERT without the tenant column while the policy demands it.
    ///
    /// Why: missing_value = "reject" makes forgotten columns visible.
    ///
    /// Instead: Give the column with your own value.
    ///
    /// ```sql
    /// INSERT INTO leads (name) VALUES ('x') -- refused
    /// INSERT INTO leads (org_id, name) VALUES ($1, 'x') -- instead
    /// ```
    MissingValue,
    /// The token lacks the claim that scopes the table.
    ///
    /// Why: Without a value there is nothing to filter by.
    ///
    /// Instead: Log in with a token that holds the claim, in the policy's type.
    ///
    /// ```sql
    /// SELECT * FROM user_credits -- token without sub -- refused
    /// SELECT * FROM user_credits -- token with sub -- instead
    /// ```
    MissingClaim,
    /// No token says whose rows are meant, or the one that did has expired (28000).
    ///
    /// Why: The role of the session serves many tenants, one in each transaction.
    ///
    /// Instead: Give the token at the beginning of the transaction.
    ///
    /// ```sql
    /// BEGIN; SELECT * FROM leads -- refused
    /// BEGIN; SET LOCAL pgwarden.token = '<token>'; SELECT * FROM leads -- one by one -- instead
    /// ```
    TokenRequired,
    /// A token on an open connection that is not valid (28000).
    ///
    /// Why: It is malformed, expired, signed with another key, or gives no access to this database; the
    /// log says which.
    ///
    /// Instead: Get a new one from the identity provider, and send it as a plain literal in a
    /// statement of its own.
    ///
    /// ```sql
    /// SET LOCAL pgwarden.token = '<expired>' -- refused
    /// SET LOCAL pgwarden.token = '<new>' -- instead
    /// ```
    TokenRefused,
    /// A column that can't be resolved to one relation.
    ///
    /// Why: A filter on the wrong relation would guard nothing.
    ///
    /// Instead: Qualify the column.
    ///
    /// ```sql
    /// SELECT org_id FROM leads, call_logs -- refused
    /// SELECT leads.org_id FROM leads, call_logs -- instead
    /// ```
    AmbiguousColumn,
    /// A Bind whose parameters don't fit the statement.
    ///
    /// Why: A surplus value would take the place of the tenant's.
    ///
    /// Instead: Bind exactly as many values as the statement has parameters.
    ///
    /// ```sql
    /// SELECT $1 -- bound with two values -- refused
    /// SELECT $1 -- bound with one -- instead
    /// ```
    ParameterMismatch,
    /// The rewritten text could not be shown to be guarded.
    ///
    /// Why: Every rewrite is proven independently; what is not proven is not sent.
    ///
    /// Instead: This is a fault of pgwarden: report the statement, and write it more simply.
    ///
    /// ```sql
    /// SELECT … -- refused
    /// SELECT … -- in simpler statements
    /// ```
    ProofFailed,
    /// The second reader saw a relation that the first did not account for.
    ///
    /// Why: Two grammars that disagree are what an attack would look for.
    ///
    /// Instead: Report the statement, and write it more simply.
    ///
    /// ```sql
    /// SELECT … -- refused
    /// SELECT … -- in simpler statements
    /// ```
    ReaderDisagreement,
    /// The second reader can't read the statement and the policy requires it.
    ///
    /// Why: second_reader = "required" lets only through what two grammars read alike.
    ///
    /// Instead: Write it in more common SQL, or set second_reader to "when_readable".
    ///
    /// ```sql
    /// TABLE leads -- refused
    /// SELECT * FROM leads -- instead
    /// ```
    SecondReaderUnreadable,
}

impl DenyReason {
    /// Every reason, for metrics and documentation.
    pub const ALL: &'static [Self] = &[
        Self::SyntaxError,
        Self::TooComplex,
        Self::UnsupportedStatement,
        Self::UnsupportedConstruct,
        Self::UnknownRelation,
        Self::UnlistedRelation,
        Self::UnfitRelation,
        Self::RlsMissing,
        Self::OpaqueRelation,
        Self::SystemRelation,
        Self::ReadOnlyRelation,
        Self::FunctionDenied,
        Self::ChannelDenied,
        Self::UnknownFunction,
        Self::UnknownOperator,
        Self::UnknownType,
        Self::SettingDenied,
        Self::IdentityGuard,
        Self::ForeignTenantValue,
        Self::UnprovenTenantValue,
        Self::MissingFilter,
        Self::MissingValue,
        Self::MissingClaim,
        Self::TokenRequired,
        Self::TokenRefused,
        Self::AmbiguousColumn,
        Self::ParameterMismatch,
        Self::ProofFailed,
        Self::ReaderDisagreement,
        Self::SecondReaderUnreadable,
    ];

    /// The code in DETAIL, metrics and audit.
    pub fn code(self) -> &'static str {
        match self {
            Self::SyntaxError => "syntax_error",
            Self::TooComplex => "too_complex",
            Self::UnsupportedStatement => "unsupported_statement",
            Self::UnsupportedConstruct => "unsupported_construct",
            Self::UnknownRelation => "unknown_relation",
            Self::UnlistedRelation => "unlisted_relation",
            Self::UnfitRelation => "unfit_relation",
            Self::RlsMissing => "rls_missing",
            Self::OpaqueRelation => "opaque_relation",
            Self::SystemRelation => "system_relation",
            Self::ReadOnlyRelation => "read_only_relation",
            Self::FunctionDenied => "function_denied",
            Self::ChannelDenied => "channel_denied",
            Self::UnknownFunction => "unknown_function",
            Self::UnknownOperator => "unknown_operator",
            Self::UnknownType => "unknown_type",
            Self::SettingDenied => "setting_denied",
            Self::IdentityGuard => "identity_guard",
            Self::ForeignTenantValue => "foreign_tenant_value",
            Self::UnprovenTenantValue => "unproven_tenant_value",
            Self::MissingFilter => "missing_filter",
            Self::MissingValue => "missing_value",
            Self::MissingClaim => "missing_claim",
            Self::TokenRequired => "token_required",
            Self::TokenRefused => "token_refused",
            Self::AmbiguousColumn => "ambiguous_column",
            Self::ParameterMismatch => "parameter_mismatch",
            Self::ProofFailed => "proof_failed",
            Self::ReaderDisagreement => "reader_disagreement",
            Self::SecondReaderUnreadable => "second_reader_unreadable",
        }
    }

    /// The page about it, as a HINT names it: `docs/deny/<code>`, in this repository and its releases.
    pub fn page(self) -> String {
        format!("docs/deny/{}", self.code())
    }

    /// The SQLSTATE that goes with the reason unless the denial names another.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::SyntaxError => "42601",
            Self::TooComplex => "54001",
            Self::UnsupportedStatement | Self::UnsupportedConstruct => "0A000",
            Self::ParameterMismatch => "08P01",
            Self::TokenRefused => "28000",
            Self::UnknownRelation
            | Self::UnlistedRelation
            | Self::UnfitRelation
            | Self::RlsMissing
            | Self::OpaqueRelation
            | Self::SystemRelation
            | Self::ReadOnlyRelation
            | Self::FunctionDenied
            | Self::ChannelDenied
            | Self::UnknownFunction
            | Self::UnknownOperator
            | Self::UnknownType
            | Self::SettingDenied
            | Self::IdentityGuard
            | Self::ForeignTenantValue
            | Self::UnprovenTenantValue
            | Self::MissingFilter
            | Self::MissingValue
            | Self::MissingClaim
            | Self::TokenRequired
            | Self::AmbiguousColumn
            | Self::ProofFailed
            | Self::ReaderDisagreement
            | Self::SecondReaderUnreadable => "42501",
        }
    }
}

#[cfg(test)]
mod pages;
