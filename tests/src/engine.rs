//! The engine without the proxy: judge in process, then run the rewritten text on the database
//! without row level security. Fast enough for tens of thousands of statements.

use std::sync::{Arc, OnceLock};

use pgwarden_config::LoadedPolicy;
use pgwarden_policy::engine::{Limits, Request, Scratch};
use pgwarden_policy::rewriting::Rewriting;
use pgwarden_policy::{
    Catalog, Denial, Effect, Engine, Protocol, ScopeValue, ScopeValues, SessionFacts,
};
use pgwarden_schema::temporary;

use crate::fixture::{Arena, ROLE, SECOND, Tenant, server, set_claims};
use crate::oracle::Subject;
use crate::proxy::{policy, runtime, second_policy};
use crate::wire::{Client, Reply, ServerError};

/// The engine bound to a world's policy and schema. All databases of a world are copies of one,
/// object identifiers included, so one engine serves them all.
pub fn engine(second: bool) -> Arc<Engine> {
    static ENGINES: [OnceLock<Arc<Engine>>; 2] = [OnceLock::new(), OnceLock::new()];
    let engine = ENGINES[usize::from(second)].get_or_init(|| {
        let policy = if second { second_policy() } else { policy() };
        let catalog = catalog(if second { SECOND } else { 0 });
        let engine = Engine::new(policy.policy, Arc::new(catalog), Limits::default());
        Arc::new(engine.unwrap_or_else(|problems| panic!("the policy does not fit: {problems:?}")))
    });
    Arc::clone(engine)
}

/// An engine with another policy over the first world's schema.
pub fn engine_with(policy: LoadedPolicy) -> Arc<Engine> {
    let catalog = Arc::clone(engine(false).catalog());
    let engine = Engine::new(policy.policy, catalog, Limits::default());
    Arc::new(engine.unwrap_or_else(|problems| panic!("the policy does not fit: {problems:?}")))
}

fn catalog(arena: usize) -> Catalog {
    catalog_of(&format!("plain_{arena}"))
}

/// The catalogue of a database of the suites' server.
pub fn catalog_of(database: &str) -> Catalog {
    let port = server().address().port();
    let read = async move {
        let url = format!("host=127.0.0.1 port={port} user={ROLE} dbname={database}");
        let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("the server answers");
        let driver = tokio::spawn(connection);
        let catalog = pgwarden_schema::read_catalog(&client).await;
        drop(client);
        let _ = driver.await;
        catalog.expect("the catalogue can be read")
    };
    runtime().block_on(read)
}

/// A tenant's session, judged in process.
#[derive(Debug)]
pub struct Judged {
    engine: Arc<Engine>,
    scratch: Scratch,
    facts: SessionFacts,
    /// There may be temporary tables.
    temporaries: bool,
    values: ScopeValues,
    client: Client,
}

impl Judged {
    /// A session of a tenant on an arena.
    pub fn new(arena: &Arena, tenant: Tenant) -> Self {
        let mut client = Client::connect(server().address(), ROLE, &arena.plain(), &[], None)
            .expect("the server answers");
        set_claims(&mut client, &tenant.claims());
        client.forbid(tenant.markers());
        Self::over(client, engine(arena.is_second()), tenant)
    }

    /// A session over a connection that carries the claims already.
    pub fn over(client: Client, engine: Arc<Engine>, tenant: Tenant) -> Self {
        let values = engine
            .slots()
            .iter()
            .map(|slot| {
                Some(match slot.claim.0.last().map(String::as_str) {
                    Some("org_id") => ScopeValue::Uuid(tenant.org().parse().unwrap()),
                    Some("sub") => ScopeValue::Uuid(tenant.user().parse().unwrap()),
                    Some("tenant") => ScopeValue::Bigint(tenant.number()),
                    Some("region") => ScopeValue::Text(tenant.region().into()),
                    other => panic!("no value for the claim {other:?}"),
                })
            })
            .collect();
        Self {
            engine,
            scratch: Scratch::default(),
            facts: SessionFacts::default(),
            temporaries: false,
            values: ScopeValues::new(values),
            client,
        }
    }

    /// The same session under another policy.
    pub fn under(mut self, engine: Arc<Engine>) -> Self {
        self.engine = engine;
        self
    }

    /// Judges a statement of the simple protocol: the text that goes to the server.
    pub fn judge(&mut self, sql: &str) -> Result<String, Denial> {
        let request = Request {
            text: sql,
            protocol: Protocol::Simple,
            declared: &[],
            facts: &self.facts,
            values: &self.values,
        };
        let cleared = self.engine.judge(request, &mut self.scratch)?;
        let effects = &cleared.plan().effects;
        self.temporaries |= effects.contains(&Effect::Temporaries);
        Ok(cleared.text().to_owned())
    }

    /// What the rewriter writes of a statement with parameters, before it is proven.
    pub fn rewriting<'a>(&'a mut self, sql: &'a str) -> Result<Option<Rewriting<'a>>, Denial> {
        let request = Request {
            text: sql,
            protocol: Protocol::Extended,
            declared: &[],
            facts: &self.facts,
            values: &self.values,
        };
        self.engine.rewriting(&request, &mut self.scratch)
    }

    /// Asks for temporary tables, as the proxy does.
    fn ask_temporaries(&mut self, status: u8) {
        if !self.temporaries || status == b'E' {
            return;
        }
        let reply = self.client.query(temporary::QUERY);
        let told = reply.value();
        let told = temporary::read(told.as_deref().map(str::as_bytes));
        self.facts.temporaries = told.expect("the server tells the temporary tables");
    }

    /// The connection behind it.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Subject for Judged {
    fn run(&mut self, sql: &str, values: &[Option<&str>]) -> Reply {
        assert!(values.is_empty(), "parameters need the proxy");
        match self.judge(sql) {
            Ok(text) => {
                let reply = self.client.query(&text);
                self.ask_temporaries(reply.status);
                reply
            }
            Err(denial) => refused(&denial),
        }
    }
}

/// What the proxy would have answered.
pub fn refused(denial: &Denial) -> Reply {
    let fields = vec![
        (b'S', "ERROR".to_owned()),
        (b'C', denial.sqlstate.to_owned()),
        (b'M', denial.message.clone()),
        (b'D', denial.detail()),
        (b'H', denial.help()),
    ];
    Reply {
        error: Some(ServerError { fields }),
        status: b'I',
        ..Reply::default()
    }
}
