"""What a suite is run against: PostgreSQL alone, or with a pgwarden before it.

Each run gets a server and a proxy of its own, so that no suite sees what another one left.
"""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROLE = "app"
DATABASE = "suite"
ORG = "a0000000-0000-0000-0000-000000000001"

# Name: pgwarden's pool mode and the token's role, or None for PostgreSQL itself.
TARGETS = {
    "superuser": None,
    "role": None,
    "session-off": ("session", "off"),
    "transaction-off": ("transaction", "off"),
    "session": ("session", "open"),
    "transaction": ("transaction", "open"),
    "rls": None,
    "session-scoped": ("session", "scoped"),
    "transaction-scoped": ("transaction", "scoped"),
}

# Those with a second organisation's rows in each table, and what they are measured by.
SCOPED = {"rls", "session-scoped", "transaction-scoped"}


def base(target):
    """What passes there is what counts for the target."""
    return "rls" if target in SCOPED else "role"


WARDEN = """
[[listen]]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:{admin}"
[databases.{database}]
url = "postgres://{role}@127.0.0.1:{server}/{database}?sslmode=disable"
max_server_connections = 60
[databases.{database}_other]
url = "postgres://{role}@127.0.0.1:{server}/{database}_other?sslmode=disable"
[databases.postgres]
url = "postgres://{role}@127.0.0.1:{server}/postgres?sslmode=disable"
[pool]
mode = "{mode}"
[[auth.key]]
algorithm = "HS256"
secret_env = "PGWARDEN_SUITE_SECRET"
[limits]
statement_bytes = "64MiB"
[audit]
target = "{directory}/audit"
statements = "denied"
[policy]
file = "policy.toml"
[log]
filter = "warn"
"""

POLICY = pathlib.Path(__file__).with_name("policy.toml")

EXTENSIONS = "\n".join(f"CREATE EXTENSION {it};" for it in (
    "bloom", "btree_gin", "btree_gist", "citext", "hstore", "pg_trgm", "pgcrypto",
    "unaccent", '"uuid-ossp"'))

# What the suites' makers expect to be there, made by the superuser.
PREPARED = f"""
CREATE ROLE {ROLE} LOGIN PASSWORD 'secret';
CREATE DATABASE {DATABASE};
CREATE DATABASE {DATABASE}_other OWNER {ROLE};
\\connect {DATABASE}
GRANT ALL ON DATABASE {DATABASE} TO {ROLE};
GRANT ALL ON SCHEMA public TO {ROLE};
{EXTENSIONS}
CREATE SCHEMA test_schema AUTHORIZATION {ROLE};
CREATE SCHEMA test_schema_2 AUTHORIZATION {ROLE};
\\connect {DATABASE}_other
{EXTENSIONS}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, what):
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        time.sleep(0.05)
    sys.exit(f"{what} does not listen on port {port}")


def binaries():
    for place in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (place / "initdb").exists():
            return place
    sys.exit("no PostgreSQL server binaries: run `make setup`")


def account():
    """PostgreSQL refuses to run as root."""
    return "postgres" if os.getuid() == 0 else None


class System:
    """One target, running. `environment` is what a client needs to find it, what makes tables
    before it needs to find the server (SERVER_PORT), and beside it a break-glass token."""

    def __init__(self, target, pgwarden):
        self.target = target
        self.pgwarden = pgwarden
        self.bin = binaries()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pgwarden-suite-"))
        self.directory.chmod(0o755)
        self.processes = []

    def __enter__(self):
        try:
            self.server = self.start_server()
            self.environment = self.start_target()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(self, name, command, **options):
        log = open(self.directory / f"{name}.log", "wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory,
                                   start_new_session=True, **options)
        self.processes.append(process)

    def start_server(self):
        data = self.directory / "data"
        data.mkdir()
        if account():
            shutil.chown(data, account())
        subprocess.run([self.bin / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N",
                        "-E", "UTF8", "--locale=C.UTF-8"], check=True, user=account(),
                       stdout=subprocess.DEVNULL, cwd=self.directory)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": 150,
                    "max_prepared_transactions": 20, "autovacuum": "off",
                    "wal_level": "logical"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.spawn("postgres", [self.bin / "postgres", "-D", data, "-p", str(port), "-k", data,
                                *options], user=account())
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(200):
            if subprocess.run(ready, check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            sys.exit(f"PostgreSQL does not start: {(self.directory / 'postgres.log').read_text()}")
        subprocess.run([self.bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                        str(port), "-U", "postgres", "postgres"], input=PREPARED, text=True, check=True)
        return port

    def start_target(self):
        found = {"PGHOST": "127.0.0.1", "PGPORT": str(self.server), "PGDATABASE": DATABASE,
                 "PGUSER": ROLE, "PGPASSWORD": "secret", "MIGRATIONS_PASSWORD": "secret",
                 "PGSSLMODE": "disable",
                 "SERVER_PORT": str(self.server)}
        if self.target in SCOPED:
            found |= {"SCOPED_FOR": ORG, "SCOPED_BY_RLS": "off" if TARGETS[self.target] else "on"}
        proxy = TARGETS[self.target]
        if proxy is None:
            if self.target == "superuser":
                found["PGUSER"] = "postgres"
            return found
        mode, role = proxy
        port = free_port()
        config = self.directory / "warden.toml"
        config.write_text(WARDEN.format(
            port=port, admin=free_port(), database=DATABASE, role=ROLE, server=self.server,
            mode=mode, directory=self.directory))
        shutil.copy(POLICY, self.directory / "policy.toml")
        secret = dict(os.environ, PGWARDEN_SUITE_SECRET=os.urandom(32).hex())
        self.spawn("pgwarden", [self.pgwarden, "serve", "--config", config], env=secret)
        wait_port(port, "pgwarden")
        return found | {"PGPORT": str(port), "PGPASSWORD": self.token(role, secret),
                        "MIGRATIONS_PASSWORD": self.token("off", secret)}

    def token(self, role, secret):
        claims = {"role": role, "app_metadata": {"org_id": ORG}}
        return subprocess.run(
            [self.pgwarden, "token", "mint", "--secret-env", "PGWARDEN_SUITE_SECRET", "--claims",
             json.dumps(claims), "--expires-in", "12h"],
            check=True, capture_output=True, text=True, env=secret).stdout.strip()

    def denials(self):
        """What pgwarden refused, by its audit."""
        file = self.directory / "audit"
        return file.read_text().splitlines() if file.exists() else []
