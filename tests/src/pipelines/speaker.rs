//! Who talks: sessions that share server connections, and have as little else in common as can be.

use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::json;

use crate::fixture::{Arena, ROLE, Tenant, server};
use crate::proxy;
use crate::wire::Client;

/// What is added to the suites' policy: tokens of auditors run as another server role.
pub const POLICY: &str = "\n[[role]]\nname = \"auditor\"\nset_role = \"platform_admin\"\n";

/// A token, and the start-up parameters that go with it.
struct Kind {
    tenant: Tenant,
    role: &'static str,
    server_role: Option<&'static str>,
    parameters: &'static [(&'static str, &'static str)],
}

const KINDS: [Kind; 6] = [
    Kind::plain(Tenant::A, &[]),
    Kind::auditor(Tenant::A, &[]),
    Kind::plain(Tenant::B, &[("application_name", "third")]),
    Kind::plain(Tenant::C, &[]),
    Kind::auditor(Tenant::C, &[("statement_timeout", "60000")]),
    Kind::plain(Tenant::B, &[("TimeZone", "Asia/Kathmandu")]),
];

impl Kind {
    const fn plain(tenant: Tenant, parameters: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            tenant,
            role: "authenticated",
            server_role: None,
            parameters,
        }
    }

    const fn auditor(tenant: Tenant, parameters: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            tenant,
            role: "auditor",
            server_role: Some("platform_admin"),
            parameters,
        }
    }
}

/// Who talks.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    kind: usize,
    /// Its rows in `campaigns`, which nobody else writes, have ids from a hundred times this on.
    pub number: usize,
}

impl Speaker {
    /// Neighbours differ in tenant, user, server role, or start-up parameters.
    pub fn different(number: usize) -> Self {
        let kind = number % KINDS.len();
        Self { kind, number }
    }

    /// All have the same claims and parameters, but for each fourth.
    pub fn alike(number: usize) -> Self {
        let kind = if number % 4 == 3 { 1 } else { 0 };
        Self { kind, number }
    }

    fn kind(self) -> &'static Kind {
        &KINDS[self.kind]
    }

    /// Of all speakers of a kind, and of nobody else.
    fn user(kind: usize) -> String {
        format!("0d000000-0000-0000-0000-0000000000{kind:02}")
    }

    fn claims(self) -> serde_json::Value {
        // Equal tokens are those of the same second.
        static EXPIRY: OnceLock<u64> = OnceLock::new();
        let expiry = EXPIRY.get_or_init(|| proxy::now() + 7200);
        let kind = self.kind();
        json!({
            "app_metadata": {"org_id": kind.tenant.org()},
            "exp": expiry,
            "role": kind.role,
            "sub": Self::user(self.kind),
        })
    }

    /// Its session through a proxy.
    pub fn proxied(self, address: SocketAddr, arena: &Arena) -> Client {
        let token = proxy::sign(&self.claims());
        let parameters = self.kind().parameters;
        let client = Client::connect(address, "anyone", &arena.plain(), parameters, Some(&token));
        self.careful(client.expect("the proxy lets a good token in"))
    }

    /// Its session on PostgreSQL with row level security.
    pub fn direct(self, arena: &Arena) -> Client {
        let claims = self.claims().to_string();
        // What the start-up packet sets is what RESET goes back to.
        let mut parameters = vec![("request.jwt.claims", &*claims)];
        parameters.extend_from_slice(self.kind().parameters);
        let client = Client::connect(server().address(), ROLE, &arena.oracle(), &parameters, None);
        let mut client = self.careful(client.expect("the oracle answers"));
        self.put_on(&mut client);
        client
    }

    /// What DISCARD ALL takes away on PostgreSQL, and not behind a proxy.
    pub fn put_on(self, direct: &mut Client) {
        if let Some(role) = self.kind().server_role {
            direct.query(&format!("SET ROLE {role}")).ok();
        }
    }

    /// One that fails when it is shown anything of the others.
    fn careful(self, mut client: Client) -> Client {
        let kinds = 0..KINDS.len();
        let others: Vec<String> = kinds
            .filter(|it| *it != self.kind)
            .map(Self::user)
            .collect();
        let markers = self.kind().tenant.markers().iter().copied();
        let forbidden: Vec<&str> = markers.chain(others.iter().map(String::as_str)).collect();
        client.forbid(&forbidden);
        client
    }
}
