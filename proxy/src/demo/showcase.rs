//! The commands that the demo prints, and what each should show.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use pgwarden_policy::DenyReason;

use super::postgres::Postgres;
use super::tenants::{ACME, BOLT, Key, Tenant};
use crate::server::Running;

/// What a command should give.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expect {
    /// Rows whose text contains all of these, and nothing of the other organisation.
    Rows(&'static [&'static str]),
    /// An error of pgwarden with this reason.
    Refused(DenyReason),
}

/// A command to paste.
#[derive(Debug)]
pub(super) struct Step {
    /// What it shows.
    pub(super) title: &'static str,
    pub(super) tenant: &'static Tenant,
    pub(super) sql: &'static str,
    pub(super) expect: Expect,
}

const OVERVIEW: &str = "SELECT o.name, p.name AS plan, (SELECT count(*) FROM leads) AS leads, \
    (SELECT count(*) FROM call_logs) AS call_logs FROM organizations o JOIN plans p ON p.id = o.plan_id";

/// No statement has a dollar, backquote, backslash or double quote: they stand in double quotes.
pub(super) const STEPS: &[Step] = &[
    Step {
        title: "Acme's own rows: no statement names the organisation",
        tenant: &ACME,
        sql: OVERVIEW,
        expect: Expect::Rows(&["Acme Calls", "team", "1000", "6000", "(1 row)"]),
    },
    Step {
        title: "The same question, asked by Bolt",
        tenant: &BOLT,
        sql: OVERVIEW,
        expect: Expect::Rows(&["Bolt Dialers", "enterprise", "1000", "6000", "(1 row)"]),
    },
    Step {
        title: "Bolt's rows are invisible to Acme, also when it asks for them",
        tenant: &ACME,
        sql: "SELECT count(*) AS found FROM leads WHERE org_id = 'b0000000-0000-0000-0000-000000000002'",
        expect: Expect::Rows(&["found", " 0\n"]),
    },
    Step {
        title: "An org_id can't be changed",
        tenant: &ACME,
        sql: "UPDATE leads SET org_id = 'b0000000-0000-0000-0000-000000000002' WHERE score > 90",
        expect: Expect::Refused(DenyReason::ForeignTenantValue),
    },
    Step {
        title: "Nor can a row be planted in the other organisation",
        tenant: &ACME,
        sql: "INSERT INTO leads (org_id, phone) VALUES ('b0000000-0000-0000-0000-000000000002', '+1')",
        expect: Expect::Refused(DenyReason::ForeignTenantValue),
    },
    Step {
        title: "A missing org_id is filled in",
        tenant: &ACME,
        sql: "INSERT INTO contacts (full_name) VALUES ('New Contact') RETURNING org_id, full_name",
        expect: Expect::Rows(&["a0000000-0000-0000-0000-000000000001", "New Contact"]),
    },
    Step {
        title: "The verified claims are on the server, for auth_org_id() and every RLS policy",
        tenant: &ACME,
        sql: "SHOW request.jwt.claims",
        expect: Expect::Rows(&["a0000000-0000-0000-0000-000000000001", "authenticated"]),
    },
    Step {
        title: "And clients can't touch them",
        tenant: &ACME,
        sql: "SET request.jwt.claims = '{}'",
        expect: Expect::Refused(DenyReason::IdentityGuard),
    },
];

/// The steps with the tokens and addresses of a running demo.
#[derive(Debug)]
pub(super) struct Showcase {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    directory: PathBuf,
    server_port: u16,
    acme: String,
    bolt: String,
}

impl Showcase {
    pub(super) fn new(server: &Postgres, running: &Running, key: &Key) -> io::Result<Self> {
        let address = running.addresses().first();
        Ok(Self {
            address: *address.ok_or_else(|| io::Error::other("the proxy does not listen"))?,
            admin: running.admin_address(),
            directory: server.directory().to_owned(),
            server_port: server.address().port(),
            acme: key.token(&ACME)?,
            bolt: key.token(&BOLT)?,
        })
    }

    /// The command as it is pasted into a shell.
    pub(super) fn command(&self, step: &Step) -> String {
        let token = if step.tenant.org == ACME.org {
            &self.acme
        } else {
            &self.bolt
        };
        let (host, port) = (self.address.ip(), self.address.port());
        format!(
            "PGPASSWORD='{token}' psql \"host={host} port={port} user=demo dbname=app\" -c \"{}\"",
            step.sql
        )
    }

    /// All that is printed.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "pgwarden listens on {}, in front of a throwaway PostgreSQL with two organisations.\n\
             The password is a token (HS256, 24 hours). Paste these into another terminal:\n",
            self.address
        );
        for (at, step) in STEPS.iter().enumerate() {
            text += &format!("\n# {}. {}\n{}\n", at + 1, step.title, self.command(step));
        }
        let directory = self.directory.display();
        text += &format!(
            "\n# Past the proxy, as the database's superuser: everything is there\n\
             psql \"host={directory} port={} user=postgres dbname=app\" \
             -c \"SELECT org_id, count(*) FROM leads GROUP BY org_id\"\n",
            self.server_port
        );
        text += &format!(
            "\nPolicy  {directory}/policy.toml (edit it, then: kill -HUP {})\nAudit   {directory}/audit.log\n",
            std::process::id()
        );
        if let Some(admin) = self.admin {
            text += &format!("Metrics http://{admin}/metrics\n");
        }
        text + "Ctrl-C ends the demo and removes everything.\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_need_no_shell_quoting() {
        for step in STEPS {
            assert!(!step.sql.contains(['"', '$', '`', '\\']), "{}", step.sql);
        }
    }
}
