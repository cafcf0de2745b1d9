//! Describe, Execute and Close: messages about statements and portals that were judged before.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Effect, StatementKind};

use super::cursors;
use super::gate::{Gate, permit, permit_last_value};
use super::names::Statement;
use super::prepared;
use super::queue::Expect;
use super::refusing::NOBODY;
use super::{Copy, Session, Stop, Taken};
use crate::backend::{Forward, Outbox};
use crate::wire::Report;
use crate::wire::client::{self, Target};

impl Session {
    pub(super) fn describe(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let target = match client::target(body) {
            Ok(target) => target,
            Err(malformed) => {
                return Ok(self.malformed(&malformed, Expect::DescribePortal, server));
            }
        };
        match target {
            Target::Portal(name) => {
                if name.starts_with(b"pgwarden_") {
                    self.refuse(no_portal(name), Expect::DescribePortal, None, server);
                } else if self.must_place(server) {
                    return Ok(Taken::Later);
                } else {
                    // A portal or a cursor of DECLARE; the server knows.
                    server.forward(Forward::Describe, body);
                    self.sent(Expect::DescribePortal, None);
                }
            }
            Target::Statement(name) => match self.names.statement(name).map(Arc::clone) {
                Some(statement) => return self.describe_statement(&statement, server),
                None => {
                    let expect = Expect::DescribeStatement { hidden: 0 };
                    let report = self.no_statement(name);
                    self.refuse(report, expect, None, server);
                }
            },
        }
        Ok(Taken::Yes)
    }

    pub(super) fn describe_statement(
        &mut self,
        statement: &Arc<Statement>,
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let hidden = statement.plan.hidden.len();
        let expect = Expect::DescribeStatement { hidden };
        let mut name = statement.server_name;
        if statement.under.is_some() {
            // It may have to be prepared, and names are looked up then.
            match self.gate(server)? {
                Gate::Open => {}
                Gate::Later => return Ok(Taken::Later),
                Gate::Refuse(report) => {
                    self.refuse(report, expect, None, server);
                    return Ok(Taken::Yes);
                }
            }
            if self.must_wait_for_claims(&statement.plan, server) {
                return Ok(Taken::Later);
            }
            name = match self.name_on_server(statement, server) {
                Ok(name) => name,
                Err(denial) => {
                    self.deny(denial.of(&statement.plan), expect, None, server);
                    return Ok(Taken::Yes);
                }
            };
        }
        server.forward_parts(Forward::Describe, &[b"S", name.as_bytes(), &[0]]);
        self.sent(expect, None);
        Ok(Taken::Yes)
    }

    pub(super) fn execute(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let name = match client::execute(body) {
            Ok(name) => name,
            Err(malformed) => return Ok(self.malformed(&malformed, Expect::Execute, server)),
        };
        let ends = self.ends_failed(self.names.portal(name));
        match self.gate_unless(ends, server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Execute, None, server);
                return Ok(Taken::Yes);
            }
        }
        let Some(statement) = self.names.portal(name).map(Arc::clone) else {
            self.refuse(no_portal(name), Expect::Execute, None, server);
            return Ok(Taken::Yes);
        };
        if self.must_wait_for_claims(&statement.plan, server) {
            return Ok(Taken::Later);
        }
        let started = Instant::now();
        let basis = self.judging.basis();
        let plan = self.judging.plan_of(&statement);
        let plan = plan.and_then(|plan| {
            permit(self.known, &plan)?;
            permit_last_value(self.known, &plan)?;
            cursors::check_fetches(&self.names, basis, &plan)?;
            self.cursors.check(&plan, basis)?;
            if let Some(given) = &statement.token {
                self.check_given(given)?;
            }
            Ok(plan)
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(denial) => {
                self.deny(denial.of(&statement.plan), Expect::Execute, None, server);
                return Ok(Taken::Yes);
            }
        };
        if plan.names_prepared() {
            return Ok(self.execute_by_name(body, &statement, &plan, started, server));
        }
        server.forward(Forward::Execute, body);
        if let Some(sharing) = &mut self.sharing {
            sharing.halted |= plan.writes() && !body.ends_with(&[0; 4]);
        }
        let all = plan.effects.contains(&Effect::DeallocateAll);
        let change = if all {
            Some(self.names.close_all())
        } else {
            self.close_cursors(&plan)
        };
        if plan.kind == StatementKind::Copy {
            // The client's Sync has to wait for the end of the COPY, and the server's answer must
            // not wait for the Sync.
            server.forward(Forward::Flush, &[]);
            self.copy = Copy::Awaited;
        }
        self.pipeline_open = true;
        let given = statement.token.clone();
        self.push_given(Expect::Execute, plan, given, change, started);
        Ok(Taken::Yes)
    }

    pub(super) fn close(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let target = client::target(body)?;
        if self.must_place(server) {
            return Ok(Taken::Later);
        }
        let change = match target {
            Target::Portal(name) => {
                server.forward(Forward::Close, body);
                self.cursors.forget_portal(name);
                self.names.close_portal(name, self.transaction + 1)
            }
            Target::Statement(name) => {
                let of_sql = self.names.prepared(name).is_some();
                // To close what does not exist is no error.
                let server_name = match self.names.statement(name) {
                    Some(statement) => self.name_to_close(statement).as_bytes(),
                    None if of_sql => name,
                    None => NOBODY.as_bytes(),
                };
                server.forward_parts(Forward::Close, &[b"S", server_name, &[0]]);
                if of_sql {
                    self.names.set_prepared(name, None)
                } else {
                    self.names.set_statement(name, None)
                }
            }
        };
        self.sent(Expect::Close, Some(change));
        Ok(Taken::Yes)
    }

    pub(super) fn no_statement(&self, name: &[u8]) -> Report {
        match self.names.prepared(name) {
            Some(_) => prepared::of_sql(),
            None => no_statement(name),
        }
    }
}

pub(super) fn no_statement(name: &[u8]) -> Report {
    if name.is_empty() {
        return Report::error("26000", "unnamed prepared statement does not exist");
    }
    let name = String::from_utf8_lossy(name);
    let message = format!("prepared statement \"{name}\" does not exist");
    Report::error("26000", message)
}

pub(super) fn no_portal(name: &[u8]) -> Report {
    let name = String::from_utf8_lossy(name);
    Report::error("34000", format!("portal \"{name}\" does not exist"))
}
