#!/usr/bin/env python3
"""Side-by-side latency of pgwarden, PgBouncer and HAProxy in front of one PostgreSQL.

Runs `pgbench -S` in interleaved, rotated rounds, so that a machine whose speed drifts treats every
system alike, and writes ratios with their minimum and maximum to benches/RESULTS.md and a plot
beside it. Absolute times are printed for orientation only.

What is measured, for each protocol (simple, extended, prepared) and number of clients:
  * latency as pgbench's average, as a ratio to a direct connection of the same round;
  * the proxy's own CPU time per transaction, from /proc/PID/stat;
  * the proxy's resident memory after the round.
With one client the cores are kept out of idle by SCHED_IDLE loops: waking a halted virtual CPU
costs as much as a proxy does.
"""

import argparse
import datetime
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import plot

ROOT = pathlib.Path(__file__).resolve().parents[2]
# pgwarden once for each pool mode.
PGWARDEN = {"pgwarden": "session", "pgwarden-tx": "transaction"}
SYSTEMS = ["direct", *PGWARDEN, "pgbouncer", "haproxy"]
PROTOCOLS = ["simple", "extended", "prepared"]
TICKS = os.sysconf("SC_CLK_TCK")
ORG = 1  # pgbench's only branch at scale 1: every row belongs to the tenant

WARDEN = """
[[listen]]
address = "127.0.0.1:{port}"
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

PGBOUNCER = """
[databases]
bench = host=127.0.0.1 port={pg} dbname=bench user=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = session
default_pool_size = 100
max_client_conn = 200
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
    """The four systems, started in one temporary directory."""

    def __init__(self, binary):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pgwarden-bench-"))
        os.chmod(self.dir, 0o755)
        self.processes = {}
        self.ports = {name: free_port() for name in SYSTEMS}
        self.bin = pg_bindir()
        self.user = unprivileged()
        self.binary = binary
        self.secret = os.urandom(32).hex()

    def start(self):
        self.start_postgres()
        for name, mode in PGWARDEN.items():
            self.start_pgwarden(name, mode)
        self.start_pgbouncer()
        self.start_haproxy()
        for name in SYSTEMS:
            wait_port(self.ports[name], name)

    def spawn(self, name, command, user=None, env=None):
        log = open(self.dir / f"{name}.out", "wb")
        self.processes[name] = subprocess.Popen(
            command, stdout=log, stderr=log, user=user, start_new_session=True, env=env)

    def start_postgres(self):
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
            "-c", "max_connections=300", "-c", "autovacuum=off"], user)
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

    def start_pgwarden(self, name, mode):
        values = dict(port=self.ports[name], admin=free_port(), pg=self.ports["direct"],
                      name=self.dir / name, mode=mode)
        config = self.dir / f"{name}.toml"
        config.write_text(WARDEN.format(**values))
        (self.dir / "policy.toml").write_text(POLICY)
        env = dict(os.environ, PGWARDEN_BENCH_SECRET=self.secret)
        self.spawn(name, [self.binary, "serve", "--config", config], env=env)
        claims = '{"app_metadata":{"org_id":%d}}' % ORG
        self.token = subprocess.run(
            [self.binary, "token", "mint", "--secret-env", "PGWARDEN_BENCH_SECRET",
             "--claims", claims, "--expires-in", "12h"],
            check=True, capture_output=True, text=True, env=env).stdout.strip()

    def start_pgbouncer(self):
        file = self.dir / "pgbouncer.ini"
        file.write_text(PGBOUNCER.format(port=self.ports["pgbouncer"], pg=self.ports["direct"],
                                         dir=self.dir))
        os.chmod(self.dir, 0o777)
        self.spawn("pgbouncer", ["pgbouncer", "-q", file],
                   self.user if os.getuid() == 0 else None)

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

    def pids(self, system):
        """A proxy and its children (HAProxy may fork a worker)."""
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

    def round(self, system, protocol, clients, seconds):
        """One pgbench run: latency in ms, transactions, CPU µs per transaction, RSS."""
        env = dict(os.environ, PGPASSWORD=self.token, PGSSLMODE="disable")
        before = self.cpu_seconds(system)
        run = subprocess.run(
            [self.bin / "pgbench", "-n", "-S", "-M", protocol, "-c", str(clients),
             "-j", str(min(clients, 2)), "-T", str(seconds), *self.dsn(system)],
            capture_output=True, text=True, env=env)
        if run.returncode != 0:
            sys.exit(f"pgbench through {system} ({protocol}, {clients} clients) failed:\n"
                     f"{run.stderr}\n{(self.dir / f'{system}.out').read_text()[-2000:]}")
        cpu = self.cpu_seconds(system) - before
        latency = float(re.search(r"latency average = ([\d.]+) ms", run.stdout)[1])
        tps = float(re.search(r"tps = ([\d.]+)", run.stdout)[1])
        done = int(re.search(r"actually processed: (\d+)", run.stdout)[1])
        return {"latency": latency, "tps": tps, "cpu": cpu / done * 1e6, "rss": self.rss_mib(system)}


class KeepAwake:
    """Busy loops in SCHED_IDLE on every core, while one client is measured."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __enter__(self):
        self.loops = [subprocess.Popen(["chrt", "-i", "0", "sh", "-c", "while :; do :; done"])
                      for _ in range(os.cpu_count() or 1)] if self.wanted else []

    def __exit__(self, *_):
        for loop in self.loops:
            loop.kill()
            loop.wait()


def measure(bench, rounds, seconds, clients):
    cells = {}
    for number in range(rounds):
        for protocol in PROTOCOLS:
            for count in clients:
                turn = number % len(SYSTEMS)
                with KeepAwake(count == 1):
                    for system in SYSTEMS[turn:] + SYSTEMS[:turn]:
                        result = bench.round(system, protocol, count, seconds)
                        cells.setdefault((protocol, count, system), []).append(result)
                print(f"round {number + 1}/{rounds} {protocol:9} {count:3} clients: " + ", ".join(
                    f"{s} {cells[protocol, count, s][-1]['latency']:.3f} ms" for s in SYSTEMS),
                    flush=True)
    return cells


def spread(values, digits=2):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def ratios(cells, protocol, count, system, key, base="direct"):
    pairs = zip(cells[protocol, count, system], cells[protocol, count, base])
    return [ours[key] / theirs[key] for ours, theirs in pairs]


def table(cells, clients, key, systems, title, ratio):
    lines = [f"### {title}", "", "| protocol | clients | " + " | ".join(systems) + " |",
             "|---|---|" + "---|" * len(systems)]
    for protocol in PROTOCOLS:
        for count in clients:
            row = []
            for system in systems:
                if ratio:
                    row.append(spread(ratios(cells, protocol, count, system, key)))
                else:
                    row.append(spread([c[key] for c in cells[protocol, count, system]], 1))
            lines.append(f"| {protocol} | {count} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def versions(bench):
    def first(*command):
        run = subprocess.run(command, capture_output=True, text=True)
        return (run.stdout or run.stderr).splitlines()[0]
    return [first(bench.bin / "postgres", "--version"), first(bench.binary, "version"),
            first("pgbouncer", "--version"), first("haproxy", "-v")]


def report(bench, cells, args):
    proxies = SYSTEMS[1:]
    parts = [
        "# Results", "",
        f"Written by `make bench` on {datetime.date.today()}: {args.rounds} interleaved rounds of "
        f"{args.seconds} s of `pgbench -S`, scale 1, on {os.cpu_count()} cores, everything on one "
        "machine. pgwarden judges and rewrites every statement (`pgbench_accounts` is scoped by "
        "`bid`), with server connections of its clients' own, and (pgwarden-tx) shared by transaction; "
        "PgBouncer pools in session mode; HAProxy relays TCP. Medians, minimum and maximum "
        "of the rounds in brackets; every ratio pairs two runs of the same round.", "",
        "Versions: " + "; ".join(versions(bench)) + ".", "",
        table(cells, args.clients, "latency", proxies,
              "Latency, as a ratio to a direct connection (lower is better)", True),
        table(cells, args.clients, "tps", proxies,
              "Throughput, as a ratio to a direct connection (higher is better)", True),
        table(cells, args.clients, "cpu", proxies,
              "The proxy's own CPU time per transaction, µs (lower is better)", False),
        table(cells, args.clients, "rss", proxies, "Resident memory after the round, MiB", False),
        "![CPU per transaction and latency ratios](results.svg)", "",
    ]
    engine = ROOT / "benches" / "ENGINE.md"
    if engine.exists():
        parts.append(engine.read_text())
    (ROOT / "benches" / "RESULTS.md").write_text("\n".join(parts))
    (ROOT / "benches" / "results.svg").write_text(
        plot.bars(cells, PROTOCOLS, args.clients, proxies, ratios))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/pgwarden"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    args = parser.parse_args()
    bench = Bench(args.binary)
    try:
        bench.start()
        report(bench, measure(bench, args.rounds, args.seconds, args.clients), args)
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
