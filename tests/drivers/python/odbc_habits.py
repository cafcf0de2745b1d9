"""What psqlODBC does on the wire, one habit a test, through pyodbc: savepoints around each statement, cursors that it
declares, prepares on the server and in the driver, the catalogue functions. Prints "ok NAME", or "not ok NAME: why"; a
runner compares what it says with and without pgwarden."""

import contextlib
import datetime
import decimal
import os
import threading
import time

import pyodbc

pyodbc.pooling = False
WAYS = {
    "as it is": "",
    "savepoints for statements": "Protocol=7.4-2;",
    "a rollback for each error": "Protocol=7.4-1;",
    "no rollback": "Protocol=7.4-0;",
    "declared cursors": "UseDeclareFetch=1;Fetch=7;",
    "prepared in the driver": "UseServerSidePrepare=0;",
    "settings of its own": "ConnSettings=SET statement_timeout %3d 12345;",
    "updatable cursors": "UpdatableCursors=1;",
}


def connect(more="", port="PGPORT", **options):
    env = os.environ
    return pyodbc.connect(
        f"Driver={{PostgreSQL Unicode}};Server={env['PGHOST']};Port={env[port]};Database={env['PGDATABASE']};"
        f"UID={env['PGUSER']};PWD={env['PGPASSWORD']};SSLmode=disable;{more}", **options)


@contextlib.contextmanager
def connection(more="", **options):
    made = connect(more, **options)
    try:
        yield made
    finally:
        made.close()


def fails(state, work):
    try:
        work()
    except pyodbc.Error as error:
        assert error.args[0] == state, error
    else:
        raise AssertionError("it did not fail")


def parameters(c):
    cursor = c.cursor()
    for n in range(12):
        row = cursor.execute("SELECT CAST(? AS int) + 1, CAST(? AS text)", n, f"x'é{n}").fetchone()
        assert (row[0], row[1]) == (n + 1, f"x'é{n}"), row


def rows(c):
    cursor = c.cursor()
    cursor.execute("DELETE FROM odbc_items")
    for n in range(9):
        cursor.execute("INSERT INTO odbc_items (name, amount, at, raw) VALUES (?, ?, ?, ?)", f"n{n}",
                       decimal.Decimal("1.50"), datetime.datetime(2020, 1, 2, 3, 4, 5), b"\0\xff")
        assert cursor.rowcount == 1
    found = cursor.execute("SELECT name, amount, at, raw FROM odbc_items ORDER BY id").fetchall()
    assert len(found) == 9 and tuple(found[0]) == (
        "n0", decimal.Decimal("1.50"), datetime.datetime(2020, 1, 2, 3, 4, 5), b"\0\xff"), found[0]
    assert cursor.execute("INSERT INTO odbc_items (name) VALUES ('r') RETURNING id").fetchone()[0]
    c.commit()


def many(c):
    cursor = c.cursor()
    cursor.execute("DELETE FROM odbc_items")
    for fast in (False, True):
        cursor.fast_executemany = fast
        cursor.executemany("INSERT INTO odbc_items (name, amount) VALUES (?, ?)",
                           [(f"m{n}", decimal.Decimal(n)) for n in range(60)])
    c.commit()
    assert cursor.execute("SELECT count(*) FROM odbc_items").fetchone()[0] == 120


def transactions(c):
    cursor = c.cursor()
    cursor.execute("DELETE FROM odbc_items")
    cursor.execute("INSERT INTO odbc_items (name) VALUES ('kept')")
    c.commit()
    cursor.execute("INSERT INTO odbc_items (name) VALUES ('gone')")
    c.rollback()
    assert [it[0] for it in cursor.execute("SELECT name FROM odbc_items")] == ["kept"]
    c.commit()


def errors(c):
    cursor = c.cursor()
    fails("42601", lambda: cursor.execute("SELEC 1"))
    c.rollback()
    fails("42703", lambda: cursor.execute("SELECT nobody FROM odbc_items"))
    c.rollback()
    fails("22012", lambda: cursor.execute("SELECT 1/0").fetchall())
    c.rollback()
    fails("23502", lambda: cursor.execute("INSERT INTO odbc_items (name) VALUES (NULL)"))
    c.rollback()
    assert cursor.execute("SELECT 1").fetchone()[0] == 1


def on_after_an_error(c):
    """With savepoints the transaction goes on."""
    cursor = c.cursor()
    cursor.execute("DELETE FROM odbc_items")
    for n in range(5):
        cursor.execute("INSERT INTO odbc_items (name) VALUES (?)", f"s{n}")
        fails("22012", lambda: cursor.execute("SELECT 1/0").fetchall())
        fails("23502", lambda: cursor.execute("INSERT INTO odbc_items (name) VALUES (?)", None))
    c.commit()
    assert cursor.execute("SELECT count(*) FROM odbc_items").fetchone()[0] == 5


def large(c):
    assert len(c.cursor().execute("SELECT x, repeat('y', 200) FROM generate_series(1, 500) x").fetchall()) == 500


def results(c):
    cursor = c.cursor()
    cursor.execute("SELECT 1; SELECT 2; SELECT 3")
    found = [cursor.fetchone()[0]]
    while cursor.nextset():
        found.append(cursor.fetchone()[0])
    assert found == [1, 2, 3], found


def two_at_once(c):
    one, other = c.cursor(), c.cursor()
    one.execute("SELECT x FROM generate_series(1, 30) x")
    other.execute("SELECT x FROM generate_series(1, 30) x")
    for n in range(1, 31):
        assert one.fetchone()[0] == n and other.fetchone()[0] == n


def calls(c):
    assert c.cursor().execute("{? = call upper(?)}".replace("? = ", ""), "abc").fetchone()[0] == "ABC"
    assert c.cursor().execute("SELECT {fn UCASE('abc')}, {d '2020-01-02'}").fetchone()[0] == "ABC"


def cancelled(c):
    cursor = c.cursor()
    timer = threading.Timer(0.5, cursor.cancel)
    timer.start()
    try:
        cursor.execute("SELECT count(*) FROM generate_series(1, 2000000000)").fetchall()
    except pyodbc.Error as error:
        assert error.args[0] in ("57014", "HY008"), error
    else:
        raise AssertionError("it did not fail")
    c.rollback()
    assert cursor.execute("SELECT 1").fetchone()[0] == 1


EACH = {"a parameter, twelve times over": parameters, "rows": rows, "many rows": many, "transactions": transactions,
        "errors": errors, "a large result": large, "several results": results, "two statements at once": two_at_once,
        "calls and escapes": calls}


def listed(first, work):
    def check(c):
        found = work(c.cursor()).fetchall()
        assert any(first in str(row) for row in found), f"{len(found)} rows"
    return check


CATALOGUE = {
    "tables": listed("odbc_items", lambda it: it.tables()),
    "tables of a name": listed("odbc_items", lambda it: it.tables("odbc_items", None, None, "TABLE")),
    "schemas": listed("public", lambda it: it.tables("", "", "%")),
    "columns": listed("amount", lambda it: it.columns("odbc_items")),
    "primary keys": listed("id", lambda it: it.primaryKeys("odbc_items")),
    "foreign keys": listed("odbc_child", lambda it: it.foreignKeys("odbc_items")),
    "imported keys": listed("odbc_items", lambda it: it.foreignKeys(None, None, None, "odbc_child")),
    "statistics": listed("odbc_items", lambda it: it.statistics("odbc_items")),
    "row versions": listed("xmin", lambda it: it.rowVerColumns("odbc_items")),
    "procedures": lambda c: c.cursor().procedures().fetchall(),
    "procedure columns": lambda c: c.cursor().procedureColumns("upper").fetchall(),
    "types": listed("text", lambda it: it.getTypeInfo()),
    "what the driver tells": lambda c: [c.getinfo(it) for it in (
        pyodbc.SQL_DBMS_VER, pyodbc.SQL_DBMS_NAME, pyodbc.SQL_USER_NAME, pyodbc.SQL_DATABASE_NAME,
        pyodbc.SQL_MAX_COLUMN_NAME_LEN, pyodbc.SQL_DEFAULT_TXN_ISOLATION)],
}


def test(name, work, more="", **options):
    try:
        with connection(more, **options) as c:
            work(c)
        print(f"ok {name}")
    except Exception as error:  # Each is told, none is lost.
        print(f"not ok {name}: {type(error).__name__} {error}".replace("\n", " "))


def main():
    setup = connect(port="SERVER_PORT", autocommit=True)
    setup.execute("CREATE TABLE odbc_items (id serial PRIMARY KEY, name text NOT NULL, amount numeric(10,2), "
                  "at timestamp, raw bytea)")
    setup.execute("CREATE TABLE odbc_child (id int PRIMARY KEY, item int REFERENCES odbc_items (id))")
    setup.close()
    for _ in range(100):  # Behind pgwarden they are known when it has read the catalogue.
        with contextlib.suppress(pyodbc.Error), connection() as c:
            c.execute("SELECT FROM odbc_child")
            break
        time.sleep(0.2)
    for way, more in WAYS.items():
        for autocommit in (False, True):
            for name, work in EACH.items():
                if autocommit and work is transactions:
                    continue
                how = "each of its own" if autocommit else "in transactions"
                test(f"{name}, {way}, {how}", work, more, autocommit=autocommit)
    test("on after an error", on_after_an_error, "Protocol=7.4-2;")
    test("a statement is cancelled", cancelled)
    for name, work in CATALOGUE.items():
        test(name, work)


if __name__ == "__main__":
    main()
