//! File descriptors: as many as the settings promise connections.
//!
//! The soft limit that a process starts with (1,024, mostly) is for programs that use `select`;
//! who needs more raises it to the hard limit. Where that is too low, the log says so at the start,
//! instead of clients being turned away later.

use pgwarden_config::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For listeners, control connections, cancels, files, and what the runtime needs.
const RESERVE: usize = 128;

/// Raises the limit to what the settings need.
pub(crate) fn raise(settings: &Settings) {
    let needed = u64::try_from(needed(settings)).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(&limit, needed) else {
        return;
    };
    let outcome = setrlimit(Resource::Nofile, raised);
    let open_files = match outcome {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    if let Some(open_files) = open_files.filter(|it| *it < needed) {
        tracing::warn!(
            open_files,
            needed,
            "the limit of open files is lower than limits.client_connections and \
             max_server_connections need: raise it (systemd: LimitNOFILE=, ulimit -Hn)"
        );
    }
}

/// `None` where the limit will do.
fn raised(limit: &Rlimit, needed: u64) -> Option<Rlimit> {
    let current = limit.current.filter(|it| *it < needed)?;
    let most = limit.maximum.map_or(needed, |most| most.min(needed));
    Some(Rlimit {
        current: Some(most.max(current)),
        maximum: limit.maximum,
    })
}

fn needed(settings: &Settings) -> usize {
    let databases = settings.databases.iter();
    let servers = databases.map(|(_, database)| database.max_server_connections);
    servers.fold(
        RESERVE.saturating_add(settings.limits.client_connections),
        usize::saturating_add,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(current: Option<u64>, maximum: Option<u64>) -> Rlimit {
        Rlimit { current, maximum }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be_and_never_lowered() {
        let raised = |current, maximum| {
            raised(&limit(current, maximum), 5000).map(|it| (it.current, it.maximum))
        };
        assert_eq!(raised(None, None), None);
        assert_eq!(raised(Some(5000), Some(9000)), None);
        let (soft, hard) = (Some(1024), Some(9000));
        assert_eq!(raised(soft, hard), Some((Some(5000), hard)));
        assert_eq!(raised(soft, None), Some((Some(5000), None)));
        assert_eq!(raised(soft, Some(4096)), Some((Some(4096), Some(4096))));
        assert_eq!(
            raised(Some(1024), Some(1024)),
            Some((Some(1024), Some(1024)))
        );
    }
}
