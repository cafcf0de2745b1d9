//! What the fuzz targets judge over: the suites' policy and schema, whose snapshot `scripts/fuzz.sh`
//! has written to the file that `PGWARDEN_FUZZ_CATALOG` names. Messages that make, change or drop something are
//! judged under the same policy with lasting DDL and unlisted tables allowed: under the other they would be
//! refused at their first word. And how they come by statements: `splice` mutates along their grammar, bytes at
//! random come in one of ten.

mod random;
mod splice;
mod tokens;

use std::sync::Arc;

use pgwarden_config::{File, read_policy};
use pgwarden_policy::engine::Limits;
use pgwarden_policy::{
    Catalog, Denial, Engine, Plan, Policy, Protocol, Request, ScopeValue, ScopeValues, Scratch,
    SessionFacts,
};
use random::Random;
use splice::Pieces;

/// Two engines, and a session of each of two tenants.
pub struct World {
    engine: Engine,
    /// Of the policy that lets clients make tables.
    making: Engine,
    facts: SessionFacts,
    tenants: [ScopeValues; 2],
    scratch: Scratch,
}

impl World {
    /// With a plan cache of so many bytes.
    pub fn new(plan_cache_bytes: usize) -> Self {
        let catalog = Arc::new(catalog());
        let [engine, making] = [POLICY.to_owned(), making_policy()].map(|policy| {
            let limits = Limits { plan_cache_bytes, ..Limits::default() };
            let engine = Engine::new(read(&policy), Arc::clone(&catalog), limits);
            engine.unwrap_or_else(|problems| panic!("the policy does not fit: {problems:?}"))
        });
        let tenants = [0xa0_u128, 0xb0].map(|tenant| values(&engine, tenant));
        Self { engine, making, facts: SessionFacts::default(), tenants, scratch: Scratch::default() }
    }

    /// Judges a text of a tenant (0 or 1); gives what would be sent, and its plan.
    pub fn judge(&mut self, tenant: usize, text: &str, protocol: Protocol) -> Result<(String, Arc<Plan>), Denial> {
        let request =
            Request { text, protocol, declared: &[], facts: &self.facts, values: &self.tenants[tenant] };
        let engine = if makes(text) { &self.making } else { &self.engine };
        let cleared = engine.judge(request, &mut self.scratch)?;
        Ok((cleared.text().to_owned(), Arc::clone(cleared.plan())))
    }
}

/// libFuzzer's mutator: changes `data[..size]` into a text of at most `size_max` bytes.
pub fn mutate(data: &mut [u8], size: usize, size_max: usize, seed: u32) -> usize {
    let mut dice = Random::new(seed);
    let text = data.get(..size).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.filter(|_| dice.below(10) > 0);
    let changed = text.and_then(|text| splice::mutate(text, Pieces::of_cases(), &mut dice));
    let written = changed.and_then(|text| write(&text, size_max, data));
    written.unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, size_max))
}

/// libFuzzer's crossing of two inputs: the first with pieces of the second.
pub fn cross(one: &[u8], two: &[u8], out: &mut [u8], seed: u32) -> usize {
    let (Ok(one), Ok(two)) = (std::str::from_utf8(one), std::str::from_utf8(two)) else {
        return 0;
    };
    let mut pieces = Pieces::default();
    pieces.add(two);
    let crossed = splice::mutate(one, &pieces, &mut Random::new(seed));
    crossed.and_then(|text| write(&text, out.len(), out)).unwrap_or_default()
}

fn write(text: &str, size_max: usize, out: &mut [u8]) -> Option<usize> {
    let fits = !text.is_empty() && text.len() <= size_max;
    out.get_mut(..text.len()).filter(|_| fits)?.copy_from_slice(text.as_bytes());
    Some(text.len())
}

const POLICY: &str = include_str!("../../tests/fixtures/policy.toml");

/// The policy with what it denies by default allowed.
fn making_policy() -> String {
    let allowed = "unlisted = \"write\"\nddl = \"unscoped\"\nexplain = \"allow\"";
    let policy = POLICY.replacen("unlisted = \"deny\"", allowed, 1);
    assert_ne!(policy, POLICY, "the suites' policy says what is unlisted");
    policy
}

/// Whether a text has a word that makes or changes something. What is judged again (a rewritten text, one with
/// other constants) has it as well.
fn makes(text: &str) -> bool {
    let mut words = text.split(|it: char| !it.is_ascii_alphabetic());
    let making = ["create", "alter", "drop", "truncate", "explain"];
    words.any(|word| making.iter().any(|it| word.eq_ignore_ascii_case(it)))
}

fn read(policy: &str) -> Arc<Policy> {
    let file = File::new("policy.toml", policy);
    match read_policy(&file) {
        Ok(loaded) => loaded.policy,
        Err(problems) => panic!("{problems}"),
    }
}

fn catalog() -> Catalog {
    let path = std::env::var_os("PGWARDEN_FUZZ_CATALOG").expect("scripts/fuzz.sh sets it");
    let text = std::fs::read(path).expect("the snapshot can be read");
    pgwarden_schema::read_snapshot(&text).expect("it is a snapshot")
}

/// A tenant's value of every claim: the number is its uuids' first byte.
fn values(engine: &Engine, tenant: u128) -> ScopeValues {
    let values = engine.slots().iter().zip(1..);
    let value = |number: u128| ScopeValue::Uuid(uuid::Uuid::from_u128(tenant << 120 | number));
    ScopeValues::new(values.map(|(_, number)| Some(value(number))).collect())
}
