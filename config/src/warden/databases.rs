//! `[databases.<name>]`.

use crate::database_url::DatabaseUrl;
use crate::document::Origin;
use crate::reader::{Complaint, Section};
use crate::settings::{Database, Databases, RootCertificates};
use crate::values::{count, word};

use super::Reader;

const DEFAULT_MAX_SERVER_CONNECTIONS: usize = 20;

/// The name that stands for any.
const ANY: &str = "*";

impl Reader<'_> {
    pub(super) fn databases(&mut self, root: &mut Section<'_>) -> Databases {
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
            let Some(mut database) = self.database(section) else {
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

    fn database(&mut self, mut section: Section<'_>) -> Option<Database> {
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
        section.finish(&mut self.report);
        let (url, origin) = url?;
        let url = self.url(&url, origin)?;
        if let (Some((named_at, _)), Some(_)) = (&secret, &url.password) {
            let complaint =
                Complaint::new("the URL already has a password").help("leave it out of the URL");
            self.report.complain(named_at, complaint);
        }
        Some(Database {
            host: url.host,
            port: url.port,
            user: url.user,
            password: url.password.or(secret.and_then(|(_, secret)| secret)),
            dbname: url.dbname,
            ssl_mode: url.ssl_mode,
            ssl_root: url.ssl_root.map(|root| self.root_certificates(root)),
            max_server_connections: most,
        })
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

    fn root_certificates(&self, root: RootCertificates) -> RootCertificates {
        match root {
            RootCertificates::System => RootCertificates::System,
            RootCertificates::File(path) => RootCertificates::File(self.folder.join(path)),
        }
    }
}
