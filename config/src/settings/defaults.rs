//! Defaults. Each is the value that the shipped sample shows, so that a file which leaves a key out
//! means the same as the sample.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Audit, AuditStatements, AuditTarget, Limits, Log, LogFormat, Pool, PoolMode};

impl Default for Pool {
    fn default() -> Self {
        Self {
            mode: PoolMode::Session,
            checkout_timeout: Duration::from_secs(5),
            pause_timeout: Duration::from_secs(5 * 60),
            idle_timeout: Duration::from_secs(10 * 60),
            max_lifetime: Duration::from_secs(60 * 60),
            multiplex_wait: Duration::from_micros(300),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_connections: 5000,
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_address: 1000,
            failed_logins_per_minute: 1000,
            token_bytes: 16 << 10,
            message_bytes: 64 << 20,
            total_message_bytes: 1 << 30,
            plan_cache_bytes: 64 << 20,
            statement_bytes: 1 << 20,
            drain_timeout: Duration::from_secs(30),
            worker_threads: Limits::half_the_cores(),
            busy_poll: Limits::busy_poll_of(Limits::half_the_cores()),
        }
    }
}

impl Limits {
    /// Half of the cores, rounded up: fewer threads wake each other less and cost less for each
    /// statement, and the other half is left to whoever waits for the answers.
    fn half_the_cores() -> usize {
        let cores = std::thread::available_parallelism();
        cores.map_or(1, |cores| cores.get().div_ceil(2))
    }

    /// With one thread, which then has every socket to itself. Not where there is one core: whoever is waited for
    /// would need it.
    pub(crate) fn busy_poll_of(worker_threads: usize) -> Duration {
        let cores = std::thread::available_parallelism();
        match (worker_threads, cores.map_or(1, NonZeroUsize::get)) {
            (1, 2..) => Duration::from_micros(100),
            _ => Duration::ZERO,
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            target: AuditTarget::Stdout,
            statements: AuditStatements::Denied,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}
