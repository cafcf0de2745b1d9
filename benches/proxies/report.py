"""The results as Markdown: ratios of one run, medians with minimum and maximum."""

import datetime
import os
import statistics
import subprocess

import plot
from load import PROTOCOLS
from systems import ROOT, SYSTEMS

PROXIES = SYSTEMS[1:]


def spread(values, digits=2):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def pairs(ours, theirs, key):
    """Ratios of runs of the same round."""
    return [one[key] / max(other[key], 1e-9) for one, other in zip(ours, theirs)]


def ratios(cells, protocol, count, system, key):
    return pairs(cells[protocol, count, system], cells[protocol, count, "direct"], key)


def lines_of(title, heads, rows):
    lines = [f"### {title}", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def table(cells, clients, title, cell):
    rows = [[protocol, str(count), *(cell(protocol, count, system) for system in PROXIES)]
            for protocol in PROTOCOLS for count in clients]
    return lines_of(title, ["protocol", "clients", *PROXIES], rows)


def headline(cells, clients):
    """What a proxy adds to one client, and costs sixteen."""
    one, many = clients[0], clients[min(1, len(clients) - 1)]
    added = lambda protocol, system: spread(
        [(ours["p50"] - direct["p50"]) * 1000 for ours, direct in
         zip(cells[protocol, one, system], cells[protocol, one, "direct"])], 0)
    cpu = lambda protocol, system: spread([it["cpu"] for it in cells[protocol, many, system]], 1)
    heads = ["", *(f"added, {it}, µs" for it in PROTOCOLS), *(f"CPU, {it}, µs" for it in PROTOCOLS),
             f"tps extended/{many} against direct"]
    rows = [[system, *(added(it, system) for it in PROTOCOLS), *(cpu(it, system) for it in PROTOCOLS),
             spread(ratios(cells, "extended", many, system, "tps"))] for system in PROXIES]
    return lines_of(f"In short: what is added to the median latency at {one} client, and the proxy's "
                    f"own CPU time per transaction at {many}", heads, rows)


def percentiles(cells, clients):
    cell = lambda protocol, count, system: " / ".join(
        f"{statistics.median(ratios(cells, protocol, count, system, key)):.2f}"
        for key in ["p50", "p99", "p999"])
    return table(cells, clients, "Latency at the 50th, 99th and 99.9th percentile, as ratios to a "
                 "direct connection (medians)", cell)


def main_tables(cells, clients):
    ratio = lambda key: lambda p, c, s: spread(ratios(cells, p, c, s, key))
    plain = lambda key: lambda p, c, s: spread([it[key] for it in cells[p, c, s]], 1)
    return [
        headline(cells, clients),
        table(cells, clients, "Latency, as a ratio to a direct connection (lower is better)",
              ratio("latency")),
        percentiles(cells, clients),
        table(cells, clients, "Throughput, as a ratio to a direct connection (higher is better)",
              ratio("tps")),
        table(cells, clients, "The proxy's own CPU time per transaction, µs (lower is better)",
              plain("cpu")),
        table(cells, clients, "Resident memory after the round, MiB", plain("rss")),
        "![CPU per transaction and latency ratios](results.svg)\n",
    ]


def scenario(title, results, ratio, plain):
    """`ratio` and `plain`: {heading: (key, factor)} against a direct connection, and as they are."""
    rows = []
    for system in (it for it in results if it != "direct"):
        rows.append([system] + [spread(pairs(results[system], results["direct"], key))
                                for key in ratio.values()]
                    + [spread([it[key] * factor for it in results[system]], 1)
                       for key, factor in plain.values()])
    return lines_of(title, ["", *(f"{it}, against direct" for it in ratio), *plain], rows)


def scenarios(found):
    cpu = {"CPU per transaction, µs": ("cpu", 1)}
    speed = {"throughput": "tps"}
    parts = [
        scenario("A connection for each transaction (`pgbench -C`, 4 clients)", found["connecting"],
                 speed, {"CPU per connection, µs": ("cpu", 1)}),
        scenario("TLS to the client (prepared, 16 clients; HAProxy passes it through)",
                 found["encrypted"], speed, cpu),
        scenario("Big results (100,000 rows, 9 MB, one client)", found["big results"],
                 {"MB/s": "mb"}, {"CPU per 100,000 rows, ms": ("cpu", 0.001)}),
        scenario("1,000 tenants in turn over 1,000 connections (simple, 16 under way)",
                 found["tenants"], speed | {"p99": "p99"}, cpu),
        lines_of("Memory for each of 1,000 idle connections, KiB", ["", "KiB"],
                 [[system, f"{kib:.1f}"] for system, kib in found["idle memory"].items()]),
        "### What the cost depends on\n",
        "The proxy's own CPU time per transaction, by the number of tenants, of clients and of scoped "
        "tables, and by the statement's length.\n",
        "![Cost against tenants, clients, statement length and tables](curves.svg)\n",
    ]
    return parts


def versions(bench):
    def first(*command):
        run = subprocess.run(command, capture_output=True, text=True)
        return (run.stdout or run.stderr).splitlines()[0]
    return [first(bench.bin / "postgres", "--version"), first(bench.binary, "version"),
            first("pgbouncer", "--version"), first("haproxy", "-v")]


def write(bench, cells, found, args):
    intro = (
        f"Written by `make bench` on {datetime.date.today()}: {args.rounds} interleaved rounds of "
        f"{args.seconds} s of `pgbench -S`, scale 1, on {os.cpu_count()} cores, everything on one "
        "machine. pgwarden judges and rewrites every statement (`pgbench_accounts` is scoped by "
        "`bid`), with server connections of its clients' own, and (pgwarden-tx) shared by transaction; "
        "PgBouncer pools in session mode, and (pgbouncer-tx) by transaction; HAProxy relays TCP. "
        "Medians, minimum and maximum of the rounds in brackets; every ratio pairs two runs of the "
        "same round.")
    parts = ["# Results\n", intro + "\n", "Versions: " + "; ".join(versions(bench)) + ". " + args.note + "\n",
             *main_tables(cells, args.clients), *(scenarios(found) if found else [])]
    engine = ROOT / "benches" / "ENGINE.md"
    if engine.exists():
        parts.append(engine.read_text())
    (ROOT / "benches" / "RESULTS.md").write_text("\n".join(parts))
    (ROOT / "benches" / "results.svg").write_text(
        plot.bars(cells, PROTOCOLS, args.clients, PROXIES, ratios))
    if found:
        (ROOT / "benches" / "curves.svg").write_text(plot.curves(found))
