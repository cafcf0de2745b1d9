//! The statement kinds: one table, without a wildcard arm, so that a node that a new grammar brings
//! does not compile until someone decides.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};

use super::Judge;
use super::names::{Env, strings};
use crate::builtin::settings;
use crate::deny::{Denial, DenyReason};
use crate::plan::StatementKind;

impl Judge<'_> {
    /// Judges a statement of a tenant.
    pub(super) fn statement(&mut self, statement: &mut NodeEnum) -> Result<StatementKind, Denial> {
        let env = Env::default();
        match statement {
            NodeEnum::SelectStmt(select) => self.select_into(select),
            NodeEnum::InsertStmt(_) => self
                .query(statement, None, &env)
                .map(|_| StatementKind::Insert),
            NodeEnum::UpdateStmt(_) => self
                .query(statement, None, &env)
                .map(|_| StatementKind::Update),
            NodeEnum::DeleteStmt(_) => self
                .query(statement, None, &env)
                .map(|_| StatementKind::Delete),
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction),
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::VariableShowStmt(show) => {
                settings::check_read(&show.name).map(|()| StatementKind::Setting)
            }
            NodeEnum::DiscardStmt(discard) => self.discard(discard),
            NodeEnum::DeallocateStmt(deallocate) => self.deallocate(deallocate),
            NodeEnum::ClosePortalStmt(close) => self.close(close),
            NodeEnum::UnlistenStmt(unlisten) => self.unlisten(unlisten),
            // It names constraints, and only says when those are looked at.
            NodeEnum::ConstraintsSetStmt(_) => Ok(StatementKind::Utility),
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::ExplainStmt(explain) => {
                if !self.bound.policy.defaults.explain {
                    return Err(Denial::new(
                        DenyReason::UnsupportedStatement,
                        "EXPLAIN is not allowed",
                    )
                    .hint(
                        "Its estimates show statistics over all tenants; the policy can allow it.",
                    ));
                }
                match explain.query.as_mut().and_then(|query| query.node.as_mut()) {
                    Some(NodeEnum::ExecuteStmt(execute)) => self.execute(execute),
                    Some(inner) => self.optimizable(inner).map(|()| StatementKind::Utility),
                    None => Err(refused("EXPLAIN")),
                }
            }
            NodeEnum::MergeStmt(merge) => self.merge(merge, &env).map(|_| StatementKind::Merge),
            NodeEnum::PrepareStmt(prepare) => self.prepare(prepare),
            NodeEnum::ExecuteStmt(execute) => self.execute(execute),
            NodeEnum::DeclareCursorStmt(declare) => self.declare(declare),
            NodeEnum::FetchStmt(fetch) => self.fetch(fetch),
            NodeEnum::ListenStmt(listen) => self.listen(listen),
            NodeEnum::NotifyStmt(notify) => self.notify(notify),
            NodeEnum::LockStmt(lock) => self.lock(lock),
            NodeEnum::TruncateStmt(truncate) => self.truncate(truncate),
            NodeEnum::DoStmt(_) => Err(refused("DO").hint(
                "Its code is not judged. The policy can list a procedure under [functions].",
            )),
            NodeEnum::CallStmt(call) => self.call_procedure(call),
            NodeEnum::CreateStmt(create) => self.create_table(create),
            NodeEnum::CreateTableAsStmt(create) => self.create_table_as(create),
            NodeEnum::DropStmt(drop) => self.drop_table(drop),
            NodeEnum::IndexStmt(index) => self.create_index(index),
            NodeEnum::VacuumStmt(vacuum) => self.analyze(vacuum),
            NodeEnum::AlterTableStmt(alter) => self.alter_table(alter),
            NodeEnum::RenameStmt(rename) => self.rename(rename),
            NodeEnum::CommentStmt(comment) => self.comment(comment),
            NodeEnum::CreateSeqStmt(create) => self.create_sequence(create),
            NodeEnum::AlterSeqStmt(alter) => self.alter_sequence(alter),
            NodeEnum::CreateEnumStmt(create) => self.create_enum(create),
            NodeEnum::ViewStmt(create) => self.create_view(create),
            NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::AlterRoleStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::AlterSystemStmt(_)
            | NodeEnum::GrantRoleStmt(_) => Err(Denial::new(
                DenyReason::IdentityGuard,
                "statements that change roles or their settings are not allowed",
            )
            .hint("Roles are changed on a connection of one's own to the database.")),
            NodeEnum::CreateFunctionStmt(_) | NodeEnum::AlterFunctionStmt(_) => {
                Err(refused("a new function or a change of one").hint(
                    "Its body is code that nobody judges, in pg_temp too. Send its statements themselves \
                     (Sequelize: findCreateFind or upsert instead of findOrCreate), or have the function made by \
                     a migration and listed under [functions] in policy.toml.",
                ))
            }
            NodeEnum::CreateExtensionStmt(_) => Err(ddl().hint(
                "Extensions are brought by the database's owner. Leave the line out where it is there already.",
            )),
            NodeEnum::CreateTrigStmt(_) => Err(ddl().hint(
                "A trigger runs code that nobody judges. Have it made by a migration on a connection of its own to the database.",
            )),
            NodeEnum::AlterOwnerStmt(_) | NodeEnum::GrantStmt(_) => Err(ddl().hint(
                "Owners and rights are the database's owner's to give. Leave them out (pg_dump --no-owner --no-privileges).",
            )),
            NodeEnum::AlterEnumStmt(_) => Err(ddl().hint(
                "Tenants' tables may have columns of the type. Have it changed by a migration on a connection of its own to the database.",
            )),
            NodeEnum::AlterCollationStmt(_)
            | NodeEnum::AlterDomainStmt(_)
            | NodeEnum::AlterDefaultPrivilegesStmt(_)
            | NodeEnum::CreateSchemaStmt(_)
            | NodeEnum::CreateTableSpaceStmt(_)
            | NodeEnum::DropTableSpaceStmt(_)
            | NodeEnum::AlterTableSpaceOptionsStmt(_)
            | NodeEnum::AlterTableMoveAllStmt(_)
            | NodeEnum::AlterExtensionStmt(_)
            | NodeEnum::AlterExtensionContentsStmt(_)
            | NodeEnum::CreateFdwStmt(_)
            | NodeEnum::AlterFdwStmt(_)
            | NodeEnum::CreateForeignServerStmt(_)
            | NodeEnum::AlterForeignServerStmt(_)
            | NodeEnum::CreateForeignTableStmt(_)
            | NodeEnum::CreateUserMappingStmt(_)
            | NodeEnum::AlterUserMappingStmt(_)
            | NodeEnum::DropUserMappingStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_)
            | NodeEnum::CreatePolicyStmt(_)
            | NodeEnum::AlterPolicyStmt(_)
            | NodeEnum::CreateAmStmt(_)
            | NodeEnum::CreateEventTrigStmt(_)
            | NodeEnum::AlterEventTrigStmt(_)
            | NodeEnum::CreatePlangStmt(_)
            | NodeEnum::CreateRoleStmt(_)
            | NodeEnum::DropRoleStmt(_)
            | NodeEnum::DefineStmt(_)
            | NodeEnum::CreateDomainStmt(_)
            | NodeEnum::CreateOpClassStmt(_)
            | NodeEnum::CreateOpFamilyStmt(_)
            | NodeEnum::AlterOpFamilyStmt(_)
            | NodeEnum::SecLabelStmt(_)
            | NodeEnum::CreateStatsStmt(_)
            | NodeEnum::AlterStatsStmt(_)
            | NodeEnum::AlterObjectDependsStmt(_)
            | NodeEnum::AlterObjectSchemaStmt(_)
            | NodeEnum::AlterOperatorStmt(_)
            | NodeEnum::AlterTypeStmt(_)
            | NodeEnum::RuleStmt(_)
            | NodeEnum::CompositeTypeStmt(_)
            | NodeEnum::CreateRangeStmt(_)
            | NodeEnum::CreatedbStmt(_)
            | NodeEnum::AlterDatabaseStmt(_)
            | NodeEnum::AlterDatabaseRefreshCollStmt(_)
            | NodeEnum::DropdbStmt(_)
            | NodeEnum::RefreshMatViewStmt(_)
            | NodeEnum::CreateConversionStmt(_)
            | NodeEnum::CreateCastStmt(_)
            | NodeEnum::CreateTransformStmt(_)
            | NodeEnum::DropOwnedStmt(_)
            | NodeEnum::ReassignOwnedStmt(_)
            | NodeEnum::AlterTsdictionaryStmt(_)
            | NodeEnum::AlterTsconfigurationStmt(_)
            | NodeEnum::CreatePublicationStmt(_)
            | NodeEnum::AlterPublicationStmt(_)
            | NodeEnum::CreateSubscriptionStmt(_)
            | NodeEnum::AlterSubscriptionStmt(_)
            | NodeEnum::DropSubscriptionStmt(_) => Err(ddl()),
            NodeEnum::LoadStmt(_)
            | NodeEnum::ClusterStmt(_)
            | NodeEnum::CheckPointStmt(_)
            | NodeEnum::ReindexStmt(_) => Err(maintenance()),
            NodeEnum::ReturnStmt(_) | NodeEnum::PlassignStmt(_) | NodeEnum::SetOperationStmt(_) => {
                Err(refused("this statement"))
            }
            NodeEnum::Alias(_)
            | NodeEnum::RangeVar(_)
            | NodeEnum::TableFunc(_)
            | NodeEnum::IntoClause(_)
            | NodeEnum::Var(_)
            | NodeEnum::Param(_)
            | NodeEnum::Aggref(_)
            | NodeEnum::GroupingFunc(_)
            | NodeEnum::WindowFunc(_)
            | NodeEnum::WindowFuncRunCondition(_)
            | NodeEnum::MergeSupportFunc(_)
            | NodeEnum::SubscriptingRef(_)
            | NodeEnum::FuncExpr(_)
            | NodeEnum::NamedArgExpr(_)
            | NodeEnum::OpExpr(_)
            | NodeEnum::DistinctExpr(_)
            | NodeEnum::NullIfExpr(_)
            | NodeEnum::ScalarArrayOpExpr(_)
            | NodeEnum::BoolExpr(_)
            | NodeEnum::SubLink(_)
            | NodeEnum::SubPlan(_)
            | NodeEnum::AlternativeSubPlan(_)
            | NodeEnum::FieldSelect(_)
            | NodeEnum::FieldStore(_)
            | NodeEnum::RelabelType(_)
            | NodeEnum::CoerceViaIo(_)
            | NodeEnum::ArrayCoerceExpr(_)
            | NodeEnum::ConvertRowtypeExpr(_)
            | NodeEnum::CollateExpr(_)
            | NodeEnum::CaseExpr(_)
            | NodeEnum::CaseWhen(_)
            | NodeEnum::CaseTestExpr(_)
            | NodeEnum::ArrayExpr(_)
            | NodeEnum::RowExpr(_)
            | NodeEnum::RowCompareExpr(_)
            | NodeEnum::CoalesceExpr(_)
            | NodeEnum::MinMaxExpr(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::XmlExpr(_)
            | NodeEnum::JsonFormat(_)
            | NodeEnum::JsonReturning(_)
            | NodeEnum::JsonValueExpr(_)
            | NodeEnum::JsonConstructorExpr(_)
            | NodeEnum::JsonIsPredicate(_)
            | NodeEnum::JsonBehavior(_)
            | NodeEnum::JsonExpr(_)
            | NodeEnum::JsonTablePath(_)
            | NodeEnum::JsonTablePathScan(_)
            | NodeEnum::JsonTableSiblingJoin(_)
            | NodeEnum::NullTest(_)
            | NodeEnum::BooleanTest(_)
            | NodeEnum::MergeAction(_)
            | NodeEnum::CoerceToDomain(_)
            | NodeEnum::CoerceToDomainValue(_)
            | NodeEnum::SetToDefault(_)
            | NodeEnum::CurrentOfExpr(_)
            | NodeEnum::NextValueExpr(_)
            | NodeEnum::InferenceElem(_)
            | NodeEnum::ReturningExpr(_)
            | NodeEnum::TargetEntry(_)
            | NodeEnum::RangeTblRef(_)
            | NodeEnum::JoinExpr(_)
            | NodeEnum::FromExpr(_)
            | NodeEnum::OnConflictExpr(_)
            | NodeEnum::Query(_)
            | NodeEnum::TypeName(_)
            | NodeEnum::ColumnRef(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::AExpr(_)
            | NodeEnum::TypeCast(_)
            | NodeEnum::CollateClause(_)
            | NodeEnum::RoleSpec(_)
            | NodeEnum::FuncCall(_)
            | NodeEnum::AStar(_)
            | NodeEnum::AIndices(_)
            | NodeEnum::AIndirection(_)
            | NodeEnum::AArrayExpr(_)
            | NodeEnum::ResTarget(_)
            | NodeEnum::MultiAssignRef(_)
            | NodeEnum::SortBy(_)
            | NodeEnum::WindowDef(_)
            | NodeEnum::RangeSubselect(_)
            | NodeEnum::RangeFunction(_)
            | NodeEnum::RangeTableFunc(_)
            | NodeEnum::RangeTableFuncCol(_)
            | NodeEnum::RangeTableSample(_)
            | NodeEnum::ColumnDef(_)
            | NodeEnum::TableLikeClause(_)
            | NodeEnum::IndexElem(_)
            | NodeEnum::DefElem(_)
            | NodeEnum::LockingClause(_)
            | NodeEnum::XmlSerialize(_)
            | NodeEnum::PartitionElem(_)
            | NodeEnum::PartitionSpec(_)
            | NodeEnum::PartitionBoundSpec(_)
            | NodeEnum::PartitionRangeDatum(_)
            | NodeEnum::PartitionCmd(_)
            | NodeEnum::RangeTblEntry(_)
            | NodeEnum::RtepermissionInfo(_)
            | NodeEnum::RangeTblFunction(_)
            | NodeEnum::TableSampleClause(_)
            | NodeEnum::WithCheckOption(_)
            | NodeEnum::SortGroupClause(_)
            | NodeEnum::GroupingSet(_)
            | NodeEnum::WindowClause(_)
            | NodeEnum::RowMarkClause(_)
            | NodeEnum::WithClause(_)
            | NodeEnum::InferClause(_)
            | NodeEnum::OnConflictClause(_)
            | NodeEnum::CtesearchClause(_)
            | NodeEnum::CtecycleClause(_)
            | NodeEnum::CommonTableExpr(_)
            | NodeEnum::MergeWhenClause(_)
            | NodeEnum::ReturningOption(_)
            | NodeEnum::ReturningClause(_)
            | NodeEnum::TriggerTransition(_)
            | NodeEnum::JsonOutput(_)
            | NodeEnum::JsonArgument(_)
            | NodeEnum::JsonFuncExpr(_)
            | NodeEnum::JsonTablePathSpec(_)
            | NodeEnum::JsonTable(_)
            | NodeEnum::JsonTableColumn(_)
            | NodeEnum::JsonKeyValue(_)
            | NodeEnum::JsonParseExpr(_)
            | NodeEnum::JsonScalarExpr(_)
            | NodeEnum::JsonSerializeExpr(_)
            | NodeEnum::JsonObjectConstructor(_)
            | NodeEnum::JsonArrayConstructor(_)
            | NodeEnum::JsonArrayQueryConstructor(_)
            | NodeEnum::JsonAggConstructor(_)
            | NodeEnum::JsonObjectAgg(_)
            | NodeEnum::JsonArrayAgg(_)
            | NodeEnum::RawStmt(_)
            | NodeEnum::AlterTableCmd(_)
            | NodeEnum::AtalterConstraint(_)
            | NodeEnum::ReplicaIdentityStmt(_)
            | NodeEnum::ObjectWithArgs(_)
            | NodeEnum::AccessPriv(_)
            | NodeEnum::Constraint(_)
            | NodeEnum::CreateOpClassItem(_)
            | NodeEnum::StatsElem(_)
            | NodeEnum::FunctionParameter(_)
            | NodeEnum::InlineCodeBlock(_)
            | NodeEnum::CallContext(_)
            | NodeEnum::VacuumRelation(_)
            | NodeEnum::PublicationTable(_)
            | NodeEnum::PublicationObjSpec(_)
            | NodeEnum::Integer(_)
            | NodeEnum::Float(_)
            | NodeEnum::Boolean(_)
            | NodeEnum::String(_)
            | NodeEnum::BitString(_)
            | NodeEnum::List(_)
            | NodeEnum::IntList(_)
            | NodeEnum::OidList(_)
            | NodeEnum::AConst(_) => Err(refused("this statement")),
        }
    }

    /// Refuses every mention of what sets the claims.
    pub(super) fn refuse_names_of_claims(&self, statement: &NodeEnum) -> Result<(), Denial> {
        match names_of_claims(statement) {
            0 => Ok(()),
            _ => Err(guarded(CLAIMS)),
        }
    }

    /// The same, but for calls in a select list that set something else (drivers turn `jit` off and on), and queries
    /// that read `pg_settings` (pgjdbc asks for `max_index_keys`).
    fn guard_names_of_claims(&mut self, statement: &NodeEnum) -> Result<(), Denial> {
        let named = names_of_claims(statement);
        if named == 0 {
            return Ok(());
        }
        let mut harmless = 0;
        if let NodeEnum::SelectStmt(select) = statement {
            for call in select.target_list.iter().filter_map(called_to_set) {
                self.sets_unguarded(call)?;
                harmless += 1;
            }
            harmless += reads_of_settings(statement);
        }
        if named == harmless {
            Ok(())
        } else {
            Err(guarded(CLAIMS))
        }
    }

    /// A break-glass role: everything but the identity guards passes, as it came. Code that the
    /// parser does not see (DO) could touch the identity, so it does not pass.
    pub(super) fn break_glass(
        &mut self,
        statement: &mut NodeEnum,
    ) -> Result<StatementKind, Denial> {
        self.guard_names_of_claims(statement)?;
        match statement {
            NodeEnum::VariableSetStmt(set) => self.guard_setting(set),
            NodeEnum::DiscardStmt(discard) => self.discard(discard),
            NodeEnum::DeallocateStmt(deallocate) => self.deallocate(deallocate),
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction),
            NodeEnum::ClosePortalStmt(close) => self.close(close),
            NodeEnum::DeclareCursorStmt(declare) => Ok(self.holds(declare)),
            NodeEnum::ListenStmt(_) => {
                self.findings.effects.push(crate::plan::Effect::Listen);
                Ok(StatementKind::Utility)
            }
            NodeEnum::PrepareStmt(prepare) => {
                self.prepares(&prepare.name);
                Ok(StatementKind::Utility)
            }
            NodeEnum::ExecuteStmt(execute) => {
                self.executes(&execute.name);
                Ok(StatementKind::Utility)
            }
            NodeEnum::ExplainStmt(explain) => {
                let explained = explain.query.as_ref().and_then(|it| it.node.as_ref());
                if let Some(NodeEnum::ExecuteStmt(execute)) = explained {
                    self.executes(&execute.name);
                }
                Ok(StatementKind::Utility)
            }
            NodeEnum::SelectStmt(_) => Ok(StatementKind::Select),
            NodeEnum::InsertStmt(_) => Ok(StatementKind::Insert),
            NodeEnum::UpdateStmt(_) => Ok(StatementKind::Update),
            NodeEnum::DeleteStmt(_) => Ok(StatementKind::Delete),
            NodeEnum::MergeStmt(_) => Ok(StatementKind::Merge),
            NodeEnum::CopyStmt(_) => Ok(StatementKind::Copy),
            NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::AlterSystemStmt(_) => Err(guarded(
                "settings of roles and of the server can't be changed",
            )),
            NodeEnum::DoStmt(_) => Err(guarded("DO could touch the session's identity")),
            _ => Ok(StatementKind::Utility),
        }
    }
}

const CLAIMS: &str = "the claims and what sets them can't be touched";

/// How often a statement names what sets the claims.
fn names_of_claims(statement: &NodeEnum) -> usize {
    // The tree's debug form shows every string of it, whatever node holds it.
    let shown = format!("{statement:?}").to_ascii_lowercase();
    let names = ["set_config", "pg_settings"];
    names.iter().map(|name| shown.matches(name).count()).sum()
}

/// How often a query reads `pg_settings`; 0 where something in it writes. Only an UPDATE of it sets anything.
fn reads_of_settings(query: &NodeEnum) -> usize {
    let shown = format!("{query:?}");
    let writes = ["InsertStmt(", "UpdateStmt(", "DeleteStmt(", "MergeStmt("];
    if writes.iter().any(|kind| shown.contains(kind)) {
        return 0;
    }
    // In a string's debug form a quote has a backslash before it, so no literal looks like this.
    shown.matches("relname: \"pg_settings\"").count()
}

/// The call of set_config that an item of a select list is.
fn called_to_set(item: &Node) -> Option<&FuncCall> {
    let Some(NodeEnum::ResTarget(target)) = item.node.as_ref() else {
        return None;
    };
    match target.val.as_ref()?.node.as_ref()? {
        NodeEnum::FuncCall(call) => match strings(&call.funcname).ok()?.as_slice() {
            ["set_config"] | ["pg_catalog", "set_config"] => Some(call),
            _ => None,
        },
        _ => None,
    }
}

fn guarded(why: &'static str) -> Denial {
    Denial::new(DenyReason::IdentityGuard, why)
}

pub(super) fn refused(kind: &str) -> Denial {
    Denial::new(
        DenyReason::UnsupportedStatement,
        format!("{kind} is not supported"),
    )
}

/// DDL that no policy allows, or that this one does not.
pub(super) fn ddl() -> Denial {
    refused("DDL").hint(
        "Migrations run on a connection of their own to the database. What is nobody's a client may make where the \
         policy says ddl = \"unscoped\", and temporary tables always.",
    )
}

/// What concerns the rows of all tenants.
pub(super) fn maintenance() -> Denial {
    refused("maintenance of the server").hint(
        "It concerns the rows of all tenants: run it on a connection of its own to the database.",
    )
}
