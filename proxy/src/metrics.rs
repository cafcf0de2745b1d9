//! The numbers of the process, in Prometheus' text format.
//!
//! Names and labels are a contract (README, "Metrics"). Every label set of a counter is closed, so each
//! is one atomic in a fixed array: counting takes no lock, and nothing that a client sends can
//! make a new time series. (Only databases are told apart by name, and there are few.)

mod hosts;
mod instruments;
mod labels;

use std::fmt::Write;
use std::time::Duration;

use pgwarden_policy::{CacheStats, DenyReason, StatementKind};

use crate::database::drift;

pub use hosts::HostState;
pub use instruments::{Counter, Gauge, Histogram};
pub use labels::{AuthOutcome, CatalogCheck, Outcome, Pin};
use labels::{KINDS, kind_index};

const REASONS: usize = DenyReason::ALL.len();

/// What databases are asked for when the numbers are shown.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What the engines' plan caches did.
    pub cache: CacheStats,
    /// The age of the oldest catalogue in use.
    pub catalog_age: Duration,
    /// Clients that wait for a server connection.
    pub waiting: usize,
    /// What clients' messages hold.
    pub message_bytes: usize,
    /// The databases, and whether they are paused.
    pub paused: Vec<(String, bool)>,
    /// The codes of what databases lack.
    pub findings: Vec<&'static str>,
    /// The hosts of databases that have several.
    pub hosts: Vec<HostState>,
}

/// All numbers of the process.
#[derive(Debug)]
pub struct Metrics {
    /// Clients that are connected, logged in or not.
    pub client_connections: Gauge,
    /// Server connections in use by a client.
    pub server_active: Gauge,
    /// Server connections waiting in the pool.
    pub server_idle: Gauge,
    /// How long the engine took, hits and misses.
    pub judge_seconds: Histogram<14>,
    /// How long clients waited for a server connection.
    pub pool_wait_seconds: Histogram<12>,
    /// Times that a session got a connection to a standby to read from.
    pub standby_checkouts: Counter,
    /// Short reads that were sent behind another session's on the same server connection.
    pub multiplexed: Counter,
    /// Audit lines that were lost because the target could not keep up.
    pub audit_dropped: Counter,
    /// Reloads that took effect.
    pub reloads_ok: Counter,
    /// Reloads that were refused: the old policy stayed.
    pub reloads_failed: Counter,
    catalog_checks: [Counter; CatalogCheck::NAMES.len()],
    pinned: [Gauge; Pin::ALL.len()],
    statements: [[Counter; KINDS.len()]; Outcome::ALL.len()],
    would_be_denials: [Counter; REASONS],
    denials: [Counter; REASONS],
    auth: [Counter; 4],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            client_connections: Gauge::default(),
            server_active: Gauge::default(),
            server_idle: Gauge::default(),
            pinned: Default::default(),
            catalog_checks: Default::default(),
            judge_seconds: Histogram::new([
                1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 100_000, 1_000_000,
            ]),
            pool_wait_seconds: Histogram::new([
                10, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000,
                30_000_000,
            ]),
            standby_checkouts: Counter::default(),
            multiplexed: Counter::default(),
            audit_dropped: Counter::default(),
            reloads_ok: Counter::default(),
            reloads_failed: Counter::default(),
            statements: Default::default(),
            would_be_denials: std::array::from_fn(|_| Counter::default()),
            denials: std::array::from_fn(|_| Counter::default()),
            auth: Default::default(),
        }
    }
}

impl Metrics {
    /// Counts a judged statement.
    pub fn statement(&self, outcome: Outcome, kind: StatementKind) {
        let row = self.statements.get(outcome.index());
        if let Some(counter) = row.and_then(|row| row.get(kind_index(kind))) {
            counter.increment();
        }
    }

    /// Counts a denial by its reason (beside [`Metrics::statement`]).
    pub fn denial(&self, reason: DenyReason) {
        count_reason(&self.denials, reason);
    }

    /// Counts what would have been a denial, by its reason, if it were not only observed.
    pub fn would_be_denial(&self, reason: DenyReason) {
        count_reason(&self.would_be_denials, reason);
    }

    /// Counts a login.
    pub fn auth(&self, outcome: AuthOutcome) {
        let [ok, bad_token, no_tenant, too_many] = &self.auth;
        match outcome {
            AuthOutcome::Ok => ok,
            AuthOutcome::BadToken => bad_token,
            AuthOutcome::NoTenant => no_tenant,
            AuthOutcome::TooMany => too_many,
        }
        .increment();
    }

    /// Counts a look at a database's catalogue.
    pub fn catalog_check(&self, outcome: CatalogCheck) {
        let [unchanged, changed, failed] = &self.catalog_checks;
        match outcome {
            CatalogCheck::Unchanged => unchanged,
            CatalogCheck::Changed => changed,
            CatalogCheck::Failed => failed,
        }
        .increment();
    }

    /// How many sessions keep their server connection for this reason.
    pub fn pinned(&self, pin: Pin) -> &Gauge {
        let [
            break_glass,
            observed,
            cursor,
            listen,
            lock,
            temporary,
            prepare,
        ] = &self.pinned;
        match pin {
            Pin::BreakGlass => break_glass,
            Pin::Observed => observed,
            Pin::Cursor => cursor,
            Pin::Listen => listen,
            Pin::Lock => lock,
            Pin::Temporary => temporary,
            Pin::Prepare => prepare,
        }
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self, gathered: &Gathered) -> String {
        let mut out = String::with_capacity(8192);
        self.render_connections(&mut out);
        render_waiting(&mut out, gathered);
        self.render_statements(&mut out);
        render_plan_cache(&mut out, &gathered.cache);
        self.pool_wait_seconds.render(
            &mut out,
            "pgwarden_pool_wait_seconds",
            "Time that clients waited for a server connection.",
        );
        self.render_catalog(&mut out, gathered);
        hosts::render(&mut out, &gathered.hosts);
        let name = "pgwarden_standby_checkouts_total";
        let help = "How often a session got a connection to a standby to read from.";
        head(&mut out, name, "counter", help);
        let value = self.standby_checkouts.value();
        line(&mut out, format_args!("{name} {value}"));
        let name = "pgwarden_multiplexed_reads_total";
        let help =
            "How often a read was sent behind another session's on the same server connection.";
        head(&mut out, name, "counter", help);
        let value = self.multiplexed.value();
        line(&mut out, format_args!("{name} {value}"));
        self.render_events(&mut out);
        out
    }

    fn render_catalog(&self, out: &mut String, gathered: &Gathered) {
        let name = "pgwarden_catalog_checks_total";
        let help =
            "How often databases were asked whether their catalogue has changed, by outcome.";
        head(out, name, "counter", help);
        for (outcome, counter) in CatalogCheck::NAMES.iter().zip(&self.catalog_checks) {
            let value = counter.value();
            line(out, format_args!("{name}{{outcome=\"{outcome}\"}} {value}"));
        }
        let name = "pgwarden_catalog_age_seconds";
        let help = "How long ago the oldest catalogue in use was known to be the server's.";
        head(out, name, "gauge", help);
        let age = gathered.catalog_age.as_secs_f64();
        line(out, format_args!("{name} {age:.3}"));
        let name = "pgwarden_schema_findings";
        let help = "What the databases lack to keep tenants apart by themselves, by code.";
        head(out, name, "gauge", help);
        for code in drift::codes() {
            let count = gathered.findings.iter().filter(|it| **it == code).count();
            line(out, format_args!("{name}{{code=\"{code}\"}} {count}"));
        }
    }

    fn render_connections(&self, out: &mut String) {
        let name = "pgwarden_client_connections";
        head(out, name, "gauge", "Clients that are connected.");
        line(
            out,
            format_args!("{name} {}", self.client_connections.value()),
        );
        let name = "pgwarden_server_connections";
        head(out, name, "gauge", "Connections to PostgreSQL.");
        let (active, idle) = (self.server_active.value(), self.server_idle.value());
        line(out, format_args!("{name}{{state=\"active\"}} {active}"));
        line(out, format_args!("{name}{{state=\"idle\"}} {idle}"));
        let name = "pgwarden_pinned_sessions";
        let help = "Sessions in transaction mode that keep their server connection, by reason.";
        head(out, name, "gauge", help);
        for pin in Pin::ALL {
            let (reason, value) = (pin.as_str(), self.pinned(pin).value());
            line(out, format_args!("{name}{{reason=\"{reason}\"}} {value}"));
        }
    }

    fn render_statements(&self, out: &mut String) {
        let name = "pgwarden_statements_total";
        head(out, name, "counter", "Statements by verdict and kind.");
        for (outcome, row) in Outcome::ALL.iter().zip(&self.statements) {
            for (kind, counter) in KINDS.iter().zip(row) {
                let (verdict, kind) = (outcome.as_str(), kind.as_str());
                let labels = format_args!("verdict=\"{verdict}\",kind=\"{kind}\"");
                line(out, format_args!("{name}{{{labels}}} {}", counter.value()));
            }
        }
        let name = "pgwarden_denials_total";
        head(out, name, "counter", "Denied statements by reason.");
        by_reason(out, name, &self.denials);
        let name = "pgwarden_would_be_denials_total";
        let help = "Statements that would be denied if they were not only observed, by reason.";
        head(out, name, "counter", help);
        by_reason(out, name, &self.would_be_denials);
        let name = "pgwarden_judge_seconds";
        self.judge_seconds
            .render(out, name, "Time to judge a statement.");
    }

    fn render_events(&self, out: &mut String) {
        let name = "pgwarden_auth_total";
        head(out, name, "counter", "Logins by outcome.");
        for (outcome, counter) in ["ok", "bad_token", "no_tenant", "too_many"]
            .iter()
            .zip(&self.auth)
        {
            let value = counter.value();
            line(out, format_args!("{name}{{outcome=\"{outcome}\"}} {value}"));
        }
        let name = "pgwarden_policy_reloads_total";
        head(out, name, "counter", "Reloads by outcome.");
        let (ok, failed) = (self.reloads_ok.value(), self.reloads_failed.value());
        line(out, format_args!("{name}{{outcome=\"ok\"}} {ok}"));
        line(out, format_args!("{name}{{outcome=\"failed\"}} {failed}"));
        let name = "pgwarden_audit_dropped_total";
        head(out, name, "counter", "Audit lines that were lost.");
        line(out, format_args!("{name} {}", self.audit_dropped.value()));
        let name = "pgwarden_build_info";
        head(out, name, "gauge", "The version that runs.");
        let version = env!("CARGO_PKG_VERSION");
        line(out, format_args!("{name}{{version=\"{version}\"}} 1"));
    }
}

fn count_reason(counters: &[Counter; REASONS], reason: DenyReason) {
    let at = DenyReason::ALL.iter().position(|known| *known == reason);
    if let Some(counter) = at.and_then(|at| counters.get(at)) {
        counter.increment();
    }
}

fn by_reason(out: &mut String, name: &str, counters: &[Counter; REASONS]) {
    for (reason, counter) in DenyReason::ALL.iter().zip(counters) {
        let (code, value) = (reason.code(), counter.value());
        line(out, format_args!("{name}{{reason=\"{code}\"}} {value}"));
    }
}

fn render_waiting(out: &mut String, gathered: &Gathered) {
    let name = "pgwarden_waiting_clients";
    head(
        out,
        name,
        "gauge",
        "Clients that wait for a server connection.",
    );
    line(out, format_args!("{name} {}", gathered.waiting));
    let name = "pgwarden_message_bytes";
    let help = "What clients' messages hold, beyond 64 KiB of each.";
    head(out, name, "gauge", help);
    line(out, format_args!("{name} {}", gathered.message_bytes));
    let name = "pgwarden_database_paused";
    head(out, name, "gauge", "Whether an operator has paused it.");
    for (database, paused) in &gathered.paused {
        // Debug escapes quotes, backslashes and newlines as the format wants them.
        let paused = u8::from(*paused);
        line(
            out,
            format_args!("{name}{{database={database:?}}} {paused}"),
        );
    }
}

fn render_plan_cache(out: &mut String, cache: &CacheStats) {
    for (what, value) in [
        ("hits", cache.hits),
        ("misses", cache.misses),
        ("evictions", cache.evictions),
    ] {
        let name = format!("pgwarden_plan_cache_{what}_total");
        head(out, &name, "counter", &format!("Plan cache {what}."));
        line(out, format_args!("{name} {value}"));
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contracted_name_is_rendered() {
        let metrics = Metrics::default();
        metrics.statement(Outcome::Rewrite, StatementKind::Select);
        metrics.denial(DenyReason::IdentityGuard);
        metrics.auth(AuthOutcome::Ok);
        metrics.judge_seconds.observe(Duration::from_micros(3));
        let text = metrics.render(&Gathered::default());
        for name in [
            "pgwarden_client_connections 0",
            "pgwarden_server_connections{state=\"idle\"} 0",
            "pgwarden_statements_total{verdict=\"rewrite\",kind=\"select\"} 1",
            "pgwarden_denials_total{reason=\"identity_guard\"} 1",
            "pgwarden_judge_seconds_bucket{le=\"0.000005\"} 1",
            "pgwarden_judge_seconds_bucket{le=\"0.000002\"} 0",
            "pgwarden_plan_cache_hits_total 0",
            "pgwarden_plan_cache_misses_total 0",
            "pgwarden_plan_cache_evictions_total 0",
            "pgwarden_pool_wait_seconds_count 0",
            "pgwarden_auth_total{outcome=\"ok\"} 1",
            "pgwarden_policy_reloads_total{outcome=\"failed\"} 0",
            "pgwarden_audit_dropped_total 0",
            "pgwarden_build_info{version=",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    }
}
