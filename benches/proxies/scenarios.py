"""What is measured beside the main table, each in interleaved, rotated rounds of its own."""

import load
from systems import ORG, PGBOUNCER_MODES, PGWARDEN, SYSTEMS, TENANTS, KeepAwake

# Sharing server connections by transaction, and none at all.
SHARING = ["direct", "pgwarden-tx", "pgbouncer-tx"]
ROW = "SELECT value FROM tenant_rows WHERE id = {row}"
# Where nobody adds the tenant, the application does.
OWN_ROW = ROW + " AND bid = {tenant}"
BIG = "SELECT * FROM pgbench_accounts"
IDLE = 1000


def interleave(rounds, systems, run):
    """`run(system)` for each, in another order each round: {system: [result]}."""
    results = {system: [] for system in systems}
    for number in range(rounds):
        turn = number % len(systems)
        for system in systems[turn:] + systems[:turn]:
            results[system].append(run(system))
    return results


def main_table(bench, rounds, seconds, clients):
    """{(protocol, clients, system): [result]} of `pgbench -S`."""
    cells = {}
    for number in range(rounds):
        for protocol in load.PROTOCOLS:
            for count in clients:
                turn = number % len(SYSTEMS)
                with KeepAwake(count == 1):
                    for system in SYSTEMS[turn:] + SYSTEMS[:turn]:
                        result = load.pgbench(bench, system, count, seconds, protocol)
                        cells.setdefault((protocol, count, system), []).append(result)
                print(f"round {number + 1}/{rounds} {protocol:9} {count:3} clients: " + ", ".join(
                    f"{s} {cells[protocol, count, s][-1]['latency']:.3f} ms" for s in SYSTEMS),
                    flush=True)
    return cells


def passwords(bench, name, organisations):
    file = bench.dir / name
    file.write_text("\n".join(bench.mint(organisations)) + "\n")
    return file


def tenant_tokens(bench):
    return passwords(bench, "tenants", range(1, TENANTS + 1))


def row_of(system):
    return ROW if system in PGWARDEN else OWN_ROW


def connecting(bench, rounds, seconds):
    """A connection for each transaction."""
    return interleave(rounds, SYSTEMS, lambda system: load.pgbench(
        bench, system, 4, seconds, options=("-S", "-C")))


def encrypted(bench, rounds, seconds):
    """TLS to the client; HAProxy passes it through."""
    return interleave(rounds, SYSTEMS, lambda system: load.pgbench(
        bench, system, 16, seconds, "prepared", tls=True))


def big_results(bench, rounds, seconds):
    """100,000 rows again and again over one connection."""
    tokens = passwords(bench, "token", [ORG])
    return interleave(rounds, SYSTEMS, lambda system: load.many(
        bench, system, 1, 1, seconds, BIG, tokens))


def tenants(bench, rounds, seconds, tokens):
    """1,000 tenants in turn over as many connections, 16 statements under way."""
    return interleave(rounds, SHARING, lambda system: load.many(
        bench, system, TENANTS, 16, seconds, row_of(system), tokens))


def idle_memory(bench, tokens):
    """KiB of the proxy for each idle connection: {system: KiB}."""
    kib = {}
    for system in SHARING[1:]:
        before = bench.rss_mib(system)
        with load.Held(bench, system, IDLE, tokens):
            kib[system] = (bench.rss_mib(system) - before) * 1024 / IDLE
    return kib


def by_tenants(bench, rounds, seconds, tokens):
    """CPU by the number of tenants: {system: {tenants: [µs]}}."""
    return curve([1, 10, 100, TENANTS], SHARING[1:], rounds, lambda system, count: load.many(
        bench, system, max(count, 16), 16, seconds, row_of(system),
        first_lines(bench, tokens, count)))


def first_lines(bench, tokens, count):
    file = bench.dir / f"tenants_{count}"
    file.write_text("\n".join(tokens.read_text().splitlines()[:count]) + "\n")
    return file


def by_clients(bench, rounds, seconds):
    """CPU by the number of clients."""
    return curve([1, 4, 16, 64, 256], ["pgwarden-tx", "pgbouncer-tx", "haproxy"], rounds,
                 lambda system, count: load.pgbench(bench, system, count, seconds))


def by_length(bench, rounds, seconds):
    """CPU by the statement's length in bytes: the same statement with ever more conditions."""
    def run(system, length):
        sql = "SELECT abalance FROM pgbench_accounts WHERE aid = {row}"
        number = 0
        while len(sql) < length:
            sql += f" AND abalance <> {1_000_000_000 + number}"
            number += 1
        tokens = bench.dir / "token"
        return load.many(bench, system, 16, 16, seconds, sql, tokens)
    return curve([64, 256, 1024, 4096, 16384], ["pgwarden-tx", "pgbouncer-tx", "haproxy"],
                 rounds, run)


def by_tables(bench, rounds, seconds):
    """CPU by the number of scoped tables: pgwarden starts anew for each."""
    counts, made, results = [1, 10, 100, 1000], 0, {}
    for count in counts:
        bench.sql("".join(f"CREATE TABLE more_{n} (bid bigint NOT NULL, id int);"
                          for n in range(made, count)))
        made = count
        name = f"pgwarden-{count}"
        bench.start_proxy(name, mode="transaction")
        results[count] = [load.pgbench(bench, name, 16, seconds)["cpu"] for _ in range(rounds)]
        bench.stop_proxy(name)
    bench.sql("".join(f"DROP TABLE more_{n};" for n in range(made)))
    return {"pgwarden-tx": results}


def curve(counts, systems, rounds, run):
    points = {system: {count: [] for count in counts} for system in systems}
    for number in range(rounds):
        for count in counts:
            turn = number % len(systems)
            for system in systems[turn:] + systems[:turn]:
                points[system][count].append(run(system, count)["cpu"])
    return points


def all_of(bench, rounds, seconds):
    """Everything but the main table, by name."""
    bench.start_proxy("pgbouncer-tx")
    assert set(PGBOUNCER_MODES) <= set(bench.ports)
    tokens = tenant_tokens(bench)
    found = {}
    for name, measure in [
            # Before anything else makes them grow.
            ("idle memory", lambda: idle_memory(bench, tokens)),
            ("connecting", lambda: connecting(bench, rounds, seconds)),
            ("encrypted", lambda: encrypted(bench, rounds, seconds)),
            ("big results", lambda: big_results(bench, rounds, seconds)),
            ("tenants", lambda: tenants(bench, rounds, seconds, tokens)),
            ("by tenants", lambda: by_tenants(bench, rounds, seconds, tokens)),
            ("by clients", lambda: by_clients(bench, rounds, seconds)),
            ("by length", lambda: by_length(bench, rounds, seconds)),
            ("by tables", lambda: by_tables(bench, rounds, seconds))]:
        print(f"measuring: {name}", flush=True)
        found[name] = measure()
    return found
