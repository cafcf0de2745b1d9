//! `[databases.<name>]`.

use std::time::Duration;

use crate::database_url::DatabaseUrl;
use crate::document::Origin;
use crate::environment::Environment;
use crate::reader::{Complaint, Section};
use crate::secret::Secret;
use crate::settings::{Database, Databases, PoolMode, RootCertificates, TargetSession};
use crate::values::{choice, count, duration_between, word};

use super::{Reader, readable};

const DEFAULT_MAX_SERVER_CONNECTIONS: usize = 20;

/// The server would do little else than answer.
const CATALOG_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Verdicts must not rest on what the database was long ago.
const CATALOG_INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);

/// Hosts are asked several times within it.
const REPLICA_LAG_MIN: Duration = Duration::from_millis(400);

/// Longer is no bound that anybody could reckon with.
const REPLICA_LAG_MAX: Duration = Duration::from_secs(60 * 60);

/// Where statements that only read go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Primary,
    PreferReplica,
}

const READS: &[(&str, Reads)] = &[
    ("primary", Reads::Primary),
    ("prefer_replica", Reads::PreferReplica),
];

/// The name that stands for any.
const ANY: &str = "*";

/// Reads a server's URL that does not stand in a file: that of a command line. Without a password
/// in it, `PGPASSWORD` is taken, as libpq's programs do.
///
/// # Errors
/// What is wrong with the URL; nothing of it is repeated.
pub fn read_database(url: &str, environment: &Environment) -> Result<Database, Vec<String>> {
    let url = DatabaseUrl::parse(url).map_err(|complaints| {
        let sentence = |it: Complaint| match it.help {
            Some(help) => format!("{}; {help}", it.message),
            None => it.message,
        };
        complaints.into_iter().map(sentence).collect::<Vec<_>>()
    })?;
    let password = environment.get("PGPASSWORD").map(Secret::new);
    let dbname = url.dbname.unwrap_or_else(|| url.user.clone());
    Ok(Database {
        hosts: url.hosts,
        target: url.target,
        order: url.order,
        user: url.user,
        password: url.password.or(password),
        dbname: Some(dbname),
        ssl_mode: url.ssl_mode,
        ssl_root: url.ssl_root,
        max_server_connections: 1,
        catalog_interval: Database::CATALOG_INTERVAL,
        max_replica_lag: None,
    })
}

impl Reader<'_> {
    pub(super) fn databases(&mut self, root: &mut Section<'_>, mode: PoolMode) -> Databases {
        let mut databases = Databases::default();
        let sections = root.named_sections(&mut self.report, "databases");
        if sections.is_empty() {
            let complaint = Complaint::new("there is no [databases.<name>]")
                .help("write [databases.app] with url = \"postgres://user@host:5432/app\"");
            self.report.missing(root.origin(), complaint);
        }
        for (entry, section) in sections {
            if entry.key.is_empty() {
                self.complain(&entry.origin, Complaint::new("a database needs a name"));
            }
            let Some(mut database) = self.database(section, mode) else {
                continue;
            };
            if entry.key == ANY {
                databases.any = Some(database);
            } else {
                database.dbname.get_or_insert_with(|| entry.key.clone());
                databases.named.insert(entry.key.clone(), database);
            }
        }
        databases
    }

    fn database(&mut self, mut section: Section<'_>, mode: PoolMode) -> Option<Database> {
        let url = section.required(&mut self.report, "url", |node| {
            Ok((word(node)?, &node.origin))
        });
        let secret = self.secret(&mut section, "password_env", "password_file");
        let most = section.or(
            &mut self.report,
            "max_server_connections",
            count,
            DEFAULT_MAX_SERVER_CONNECTIONS,
        );
        let catalog_interval = section.or(
            &mut self.report,
            "catalog_interval",
            duration_between(CATALOG_INTERVAL_MIN, CATALOG_INTERVAL_MAX),
            Database::CATALOG_INTERVAL,
        );
        let reads = section.optional(&mut self.report, "reads", |node| {
            Ok((choice(READS)(node)?, &node.origin))
        });
        let max_replica_lag = section.or(
            &mut self.report,
            "max_replica_lag",
            duration_between(REPLICA_LAG_MIN, REPLICA_LAG_MAX),
            Database::MAX_REPLICA_LAG,
        );
        section.finish(&mut self.report);
        let (url, origin) = url?;
        let url = self.url(&url, origin)?;
        let reads = reads.filter(|(reads, _)| *reads == Reads::PreferReplica);
        if let Some((_, origin)) = reads {
            self.check_replicas(&url, mode, origin);
        }
        if let (Some((named_at, _)), Some(_)) = (&secret, &url.password) {
            let complaint =
                Complaint::new("the URL already has a password").help("leave it out of the URL");
            self.report.complain(named_at, complaint);
        }
        Some(Database {
            hosts: url.hosts,
            target: url.target,
            order: url.order,
            user: url.user,
            password: url.password.or(secret.and_then(|(_, secret)| secret)),
            dbname: url.dbname,
            ssl_mode: url.ssl_mode,
            ssl_root: match url.ssl_root {
                Some(root) => Some(self.root_certificates(root, origin)?),
                None => None,
            },
            max_server_connections: most,
            catalog_interval,
            max_replica_lag: reads.map(|_| max_replica_lag),
        })
    }

    fn check_replicas(&mut self, url: &DatabaseUrl, mode: PoolMode, origin: &Origin) {
        let primary = matches!(
            url.target,
            TargetSession::Primary | TargetSession::ReadWrite
        );
        if url.hosts.len() < 2 || !primary {
            let message =
                "reads = \"prefer_replica\" needs several hosts, of which the primary is wanted";
            let help = "write postgres://user@host1,host2/database?target_session_attrs=primary";
            self.complain(origin, Complaint::new(message).help(help));
        }
        if mode == PoolMode::Session {
            let message = "reads = \"prefer_replica\" needs transaction pooling";
            let help = "write mode = \"transaction\" in [pool]";
            self.complain(origin, Complaint::new(message).help(help));
        }
    }

    fn url(&mut self, written: &str, origin: &Origin) -> Option<DatabaseUrl> {
        match DatabaseUrl::parse(written) {
            Ok(url) => Some(url),
            Err(complaints) => {
                for complaint in complaints {
                    self.complain(origin, complaint);
                }
                None
            }
        }
    }

    fn root_certificates(
        &mut self,
        root: RootCertificates,
        origin: &Origin,
    ) -> Option<RootCertificates> {
        match root {
            RootCertificates::System => Some(RootCertificates::System),
            RootCertificates::File(path) => match readable(self.folder.join(path)) {
                Ok(path) => Some(RootCertificates::File(path)),
                Err(complaint) => {
                    self.complain(origin, complaint);
                    None
                }
            },
        }
    }
}
