//! Fills the throwaway server: the proxy's role, the database `app`, the call centre.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use tokio_postgres::{Client, Config, NoTls};

use super::postgres::Postgres;
use super::{DemoError, SCHEMA_SQL, data_sql, tenants};

/// Besides the superuser on its socket, only the proxy's role gets in, with a password.
pub(super) fn let_in(data: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).open(data.join("pg_hba.conf"))?;
    file.write_all(b"host app pgwarden 127.0.0.1/32 scram-sha-256\n")
}

/// Gives the password of the proxy's role.
pub(super) async fn fill(server: &Postgres, scale: u32) -> Result<String, DemoError> {
    // As unguessable as a key, and it needs no quoting.
    let password = tenants::Key::random()?.secret().to_owned();
    let admin = connect(server, "postgres").await?;
    let role = format!(
        "CREATE ROLE pgwarden LOGIN PASSWORD '{password}' \
         NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
    );
    admin.batch_execute(&role).await?;
    admin.batch_execute("CREATE DATABASE app").await?;
    let app = connect(server, "app").await?;
    app.batch_execute(SCHEMA_SQL).await?;
    app.batch_execute(&data_sql(scale)).await?;
    app.batch_execute("VACUUM ANALYZE").await?;
    Ok(password)
}

/// As superuser, through the socket.
async fn connect(server: &Postgres, database: &str) -> Result<Client, DemoError> {
    let mut config = Config::new();
    config.host_path(server.directory());
    config.port(server.address().port());
    config.user("postgres").dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // It ends with the client, who sees its errors, too.
        let _ = connection.await;
    });
    Ok(client)
}
