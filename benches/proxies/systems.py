"""PostgreSQL and what stands before it, started in one temporary directory."""

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

ROOT = pathlib.Path(__file__).resolve().parents[2]
# pgwarden once for each pool mode.
PGWARDEN = {"pgwarden": "session", "pgwarden-tx": "transaction"}
PGBOUNCER_MODES = {"pgbouncer": "session", "pgbouncer-tx": "transaction"}
# Those of the main table; the others are started for what needs them.
SYSTEMS = ["direct", *PGWARDEN, "pgbouncer", "haproxy"]
TICKS = os.sysconf("SC_CLK_TCK")
ORG = 1  # pgbench's only branch at scale 1: every row belongs to the tenant
TENANTS = 1000
TENANT_ROWS = 100

WARDEN = """
[[listen]]
address = "127.0.0.1:{port}"
tls = {{ certificate = "{dir}/server.crt", key = "{dir}/server.key", required = false }}
[admin]
address = "127.0.0.1:{admin}"
[databases.bench]
url = "postgres://bench@127.0.0.1:{pg}/bench?sslmode=disable"
max_server_connections = 100
[pool]
mode = "{mode}"
[auth]
require_tls = false
[[auth.key]]
algorithm = "HS256"
secret_env = "PGWARDEN_BENCH_SECRET"
[audit]
target = "{name}.audit"
[policy]
file = "policy.toml"
[log]
filter = "warn"
"""

POLICY = """
version = 1
[tenant]
claim = "app_metadata.org_id"
type = "bigint"
column = "bid"
[defaults]
discover = ["public"]
"""

# Rows of a thousand tenants, and tables that only make the policy longer.
TENANT_TABLE = f"""
CREATE TABLE tenant_rows AS
  SELECT bid, id, bid * 1000 + id AS value
  FROM generate_series(1, {TENANTS}) bid, generate_series(1, {TENANT_ROWS}) id;
ALTER TABLE tenant_rows ALTER bid SET NOT NULL, ADD PRIMARY KEY (bid, id);
"""

PGBOUNCER = """
[databases]
bench = host=127.0.0.1 port={pg} dbname=bench user=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 100
max_client_conn = 3000
client_tls_sslmode = allow
client_tls_cert_file = {dir}/server.crt
client_tls_key_file = {dir}/server.key
logfile = {dir}/pgbouncer.log
pidfile = {dir}/pgbouncer.pid
ignore_startup_parameters = extra_float_digits
"""

HAPROXY = """
global
  nbthread 2
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server pg 127.0.0.1:{pg}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, what):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not listen on port {port}")


def pg_bindir():
    for candidate in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (candidate / "initdb").exists() and (candidate / "pgbench").exists():
            return candidate
    sys.exit("no PostgreSQL server binaries with pgbench: run `make setup`")


def unprivileged():
    """PostgreSQL and PgBouncer refuse to run as root."""
    return "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


class Bench:
    """PostgreSQL, and the proxies before it."""

    def __init__(self, binary):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pgwarden-bench-"))
        os.chmod(self.dir, 0o755)
        self.processes = {}
        self.ports = {}
        self.bin = pg_bindir()
        self.user = unprivileged()
        self.binary = binary
        self.load = pathlib.Path(binary).with_name("load")
        self.secret = os.urandom(32).hex()

    def start(self):
        """The systems of the main table."""
        self.start_postgres()
        self.token = self.mint([ORG])[0]
        for name in SYSTEMS[1:]:
            self.start_proxy(name)

    def start_proxy(self, name, **changes):
        """Starts one of them and waits until it listens."""
        self.ports[name] = free_port()
        if name in PGBOUNCER_MODES:
            self.start_pgbouncer(name)
        elif name == "haproxy":
            self.start_haproxy()
        else:
            self.start_pgwarden(name, **changes)
        wait_port(self.ports[name], name)

    def spawn(self, name, command, user=None, env=None):
        log = open(self.dir / f"{name}.out", "wb")
        self.processes[name] = subprocess.Popen(
            command, stdout=log, stderr=log, user=user, start_new_session=True, env=env)

    def start_postgres(self):
        self.ports["direct"] = free_port()
        self.make_certificate()
        user = self.user if os.getuid() == 0 else None
        data = self.dir / "pg"
        data.mkdir()
        if user:
            shutil.chown(data, user)
        subprocess.run([self.bin / "initdb", "-D", data, "-A", "trust", "-U", "bench", "-N"],
                       check=True, user=user, stdout=subprocess.DEVNULL, cwd=self.dir)
        port = self.ports["direct"]
        self.spawn("postgres", [
            self.bin / "postgres", "-D", data, "-p", str(port), "-k", data,
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=256MB",
            "-c", "max_connections=1300", "-c", "autovacuum=off", "-c", "ssl=on",
            "-c", f"ssl_cert_file={self.dir}/server.crt",
            "-c", f"ssl_key_file={self.dir}/server.key"], user)
        dsn = self.dsn("direct")
        # It listens before it lets anybody in.
        ready = [self.bin / "pg_isready", "-q", "-t", "1", *dsn[:4]]
        for _ in range(200):
            if subprocess.run(ready).returncode == 0:
                break
            time.sleep(0.05)
        subprocess.run([self.bin / "createdb", *dsn[:-1], "bench"], check=True)
        subprocess.run([self.bin / "pgbench", "-i", "-q", "-s", "1", *dsn], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.sql(TENANT_TABLE)

    def make_certificate(self):
        key, certificate = self.dir / "server.key", self.dir / "server.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-keyout", key, "-out", certificate],
                       check=True, stderr=subprocess.DEVNULL)
        if os.getuid() == 0:
            shutil.chown(key, self.user)
        os.chmod(key, 0o600)

    def sql(self, text):
        subprocess.run([self.bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", *self.dsn("direct")],
                       input=text, text=True, check=True)

    def mint(self, organisations):
        """A token for each."""
        env = dict(os.environ, PGWARDEN_BENCH_SECRET=self.secret)
        return [subprocess.run(
            [self.binary, "token", "mint", "--secret-env", "PGWARDEN_BENCH_SECRET", "--claims",
             json.dumps({"app_metadata": {"org_id": org}}), "--expires-in", "12h"],
            check=True, capture_output=True, text=True, env=env).stdout.strip()
            for org in organisations]

    def start_pgwarden(self, name, mode=None):
        values = dict(port=self.ports[name], admin=free_port(), pg=self.ports["direct"],
                      name=self.dir / name, mode=mode or PGWARDEN[name], dir=self.dir)
        config = self.dir / f"{name}.toml"
        config.write_text(WARDEN.format(**values))
        (self.dir / "policy.toml").write_text(POLICY)
        env = dict(os.environ, PGWARDEN_BENCH_SECRET=self.secret)
        self.spawn(name, [self.binary, "serve", "--config", config], env=env)

    def start_pgbouncer(self, name):
        place = self.dir / name
        place.mkdir()
        for file in ["server.key", "server.crt"]:
            shutil.copy(self.dir / file, place)
        file = place / "pgbouncer.ini"
        file.write_text(PGBOUNCER.format(port=self.ports[name], pg=self.ports["direct"],
                                         mode=PGBOUNCER_MODES[name], dir=place))
        user = self.user if os.getuid() == 0 else None
        for owned in [place, *place.iterdir()] if user else []:
            shutil.chown(owned, user)
        self.spawn(name, ["pgbouncer", "-q", file], user)

    def start_haproxy(self):
        file = self.dir / "haproxy.cfg"
        file.write_text(HAPROXY.format(port=self.ports["haproxy"], pg=self.ports["direct"]))
        self.spawn("haproxy", ["haproxy", "-db", "-f", file])

    def dsn(self, system):
        return ["-h", "127.0.0.1", "-p", str(self.ports[system]), "-U", "bench", "bench"]

    def stop(self):
        for name, process in reversed(self.processes.items()):
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop_proxy(self, name):
        process = self.processes.pop(name)
        process.terminate()
        process.wait(20)

    def pids(self, system):
        """A proxy and its children (HAProxy may fork a worker); none of PostgreSQL's own."""
        if system == "direct":
            return []
        pid = self.processes[system].pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_seconds(self, system):
        total = 0
        for pid in self.pids(system):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def rss_mib(self, system):
        pages = sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
                    for pid in self.pids(system))
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20



class KeepAwake:
    """Busy loops in SCHED_IDLE on every core, while one client is measured."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __enter__(self):
        self.loops = [self.loop() for _ in range(os.cpu_count() or 1)] if self.wanted else []

    def loop(self):
        loop = subprocess.Popen(["chrt", "-i", "0", "sh", "-c", "while :; do :; done"],
                                start_new_session=True)
        # Where each session is scheduled as one (sched_autogroup), idle is only so within it.
        autogroup = pathlib.Path(f"/proc/{loop.pid}/autogroup")
        if autogroup.exists():
            autogroup.write_text("19")
        return loop

    def __exit__(self, *_):
        for loop in self.loops:
            loop.kill()
            loop.wait()
