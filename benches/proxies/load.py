"""One run of a load through one system: pgbench, or benches/load for what pgbench can't do."""

import json
import os
import re
import subprocess
import sys

PROTOCOLS = ["simple", "extended", "prepared"]


def fail(bench, system, what, stderr):
    log = bench.dir / f"{system}.out"
    said = log.read_text()[-2000:] if log.exists() else ""
    sys.exit(f"{what} through {system} failed:\n{stderr}\n{said}")


def pgbench(bench, system, clients, seconds, protocol="simple", options=("-S",), tls=False):
    """Latencies in ms, transactions per second, CPU in µs per transaction, RSS in MiB."""
    env = dict(os.environ, PGPASSWORD=bench.token, PGSSLMODE="require" if tls else "disable")
    log = bench.dir / "pgbench_log"
    for old in bench.dir.glob("pgbench_log*"):
        old.unlink()
    before = bench.cpu_seconds(system)
    run = subprocess.run(
        [bench.bin / "pgbench", "-n", "-M", protocol, "-c", str(clients), "-j",
         str(min(clients, 2)), "-T", str(seconds), "--log", f"--log-prefix={log}", *options,
         *bench.dsn(system)], capture_output=True, text=True, env=env)
    if run.returncode != 0:
        fail(bench, system, f"pgbench ({protocol}, {clients} clients)", run.stderr)
    cpu = bench.cpu_seconds(system) - before
    done = int(re.search(r"actually processed: (\d+)", run.stdout)[1])
    # Column 3 is the transaction's time in µs.
    times = sorted(int(line.split(" ", 3)[2]) for file in bench.dir.glob("pgbench_log*")
                   for line in file.read_text().splitlines())
    at = lambda part: times[min(len(times) - 1, int(len(times) * part))] / 1000
    return {"latency": float(re.search(r"latency average = ([\d.]+) ms", run.stdout)[1]),
            "p50": at(0.5), "p99": at(0.99), "p999": at(0.999),
            "tps": float(re.search(r"tps = ([\d.]+)", run.stdout)[1]),
            "cpu": cpu / max(done, 1) * 1e6, "rss": bench.rss_mib(system)}


def command(bench, system, connections, passwords, options):
    arguments = [bench.load, "--address", f"127.0.0.1:{bench.ports[system]}", "--user", "bench",
                 "--database", "bench", "--connections", str(connections), *options]
    return arguments + (["--passwords", passwords] if passwords else [])


def many(bench, system, connections, workers, seconds, sql, passwords=None):
    """`sql` over many connections in turn; {tenant} and {row} are filled in."""
    before = bench.cpu_seconds(system)
    run = subprocess.run(
        command(bench, system, connections, passwords,
                ["--workers", str(workers), "--seconds", str(seconds), "--sql", sql]),
        capture_output=True, text=True)
    if run.returncode != 0:
        fail(bench, system, f"{connections} connections", run.stderr)
    out = json.loads(run.stdout)
    done = max(out["transactions"], 1)
    # Opening the connections costs the proxy, too, but not as part of a transaction.
    opening = opened_cpu(bench, system, connections, passwords)
    cpu = max(bench.cpu_seconds(system) - before - 2 * opening, 0.0)
    return {"latency": out["p50"] / 1000, "p50": out["p50"] / 1000,
            "p99": out["p99"] / 1000, "p999": out["p999"] / 1000,
            "tps": out["transactions"] / out["seconds"], "cpu": cpu / done * 1e6,
            "mb": out["bytes"] / out["seconds"] / 1e6, "rss": bench.rss_mib(system)}


def opened_cpu(bench, system, connections, passwords):
    """The proxy's CPU seconds for opening and closing the connections."""
    before = bench.cpu_seconds(system)
    with Held(bench, system, connections, passwords):
        pass
    return bench.cpu_seconds(system) - before


class Held:
    """Idle connections, for as long as the block lasts."""

    def __init__(self, bench, system, connections, passwords=None):
        self.bench, self.system = bench, system
        self.command = command(bench, system, connections, passwords, ["--hold"])

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            fail(self.bench, self.system, "idle connections", self.process.communicate()[1])

    def __exit__(self, *_):
        self.process.communicate()
