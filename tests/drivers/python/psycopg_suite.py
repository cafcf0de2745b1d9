"""psycopg 3 through the proxy: text and binary, prepared, pipelines, transactions, executemany, COPY."""

import os
import uuid

import psycopg
from psycopg import errors, sql
from psycopg.types.json import Jsonb

A = uuid.UUID("a0000000-0000-0000-0000-000000000001")
B = uuid.UUID("b0000000-0000-0000-0000-000000000002")


def connect(token="TOKEN_A", **options):
    return psycopg.connect(
        host=os.environ["PGHOST"], port=os.environ["PGPORT"], dbname=os.environ["PGDATABASE"],
        user="someone", password=os.environ[token], sslmode="disable", **options)


def own_rows():
    with connect() as db:
        assert db.execute("SELECT count(*) FROM leads").fetchone() == (60,)
        assert db.execute("SELECT DISTINCT org_id FROM leads").fetchall() == [(A,)]
        assert db.execute("SELECT id FROM leads WHERE org_id = %s", (B,)).fetchall() == []
        assert db.execute("SELECT id FROM leads WHERE org_id = %s", (str(B),)).fetchall() == []
    with connect("TOKEN_B") as db:
        assert db.execute("SELECT DISTINCT org_id FROM leads").fetchall() == [(B,)]


def text_and_binary():
    with connect() as db:
        for binary in (False, True):
            with db.cursor(binary=binary) as cursor:
                cursor.execute("SELECT id, score, full_name, created_at, tags, meta FROM leads WHERE score = %s ORDER BY id", (3,))
                rows = cursor.fetchall()
                assert len(rows) == 12 and all(row[1] == 3 for row in rows), rows
                cursor.execute("SELECT %s::uuid, %s::int[], %s::jsonb", (A, [1, 2], Jsonb({"a": 1})))
                assert cursor.fetchone() == (A, [1, 2], {"a": 1})
        rows = db.execute("SELECT id FROM leads WHERE org_id = %b AND score = %b", (A, 3)).fetchall()
        assert len(rows) == 12


def prepared():
    with connect() as db:
        for prepare in (True, None):
            for score in range(10):
                rows = db.execute("SELECT id, score FROM leads WHERE score = %s", (score,), prepare=prepare).fetchall()
                assert all(row[1] == score for row in rows)
        for number in range(120):
            # More statements than psycopg keeps: it deallocates the oldest.
            assert db.execute(f"SELECT {number}, count(*) FROM notes", prepare=True).fetchone() == (number, 10)


def transactions():
    with connect() as db:
        with db.transaction(force_rollback=True):
            db.execute("UPDATE notes SET txt = 'x'")
            try:
                with db.transaction():
                    db.execute("SELECT 1/0")
                raise AssertionError("division by zero")
            except errors.DivisionByZero:
                pass
            assert db.execute("SELECT DISTINCT txt FROM notes").fetchall() == [("x",)]
            try:
                with db.transaction():
                    db.execute("SELECT * FROM internal_secrets")
                raise AssertionError("denied")
            except errors.InsufficientPrivilege as error:
                assert str(error).startswith("pgwarden: "), error
                assert "reason=unlisted_relation" in error.diag.message_detail
            assert db.execute("SELECT count(*) FROM notes").fetchone() == (10,)
        assert db.execute("SELECT txt FROM notes WHERE id = 1").fetchone() == ("n1",)


def pipeline():
    with connect(autocommit=True) as db:
        with db.pipeline():
            cursors = [db.execute("SELECT %s::int, count(*) FROM leads", (number,)) for number in range(30)]
            assert [cursor.fetchone() for cursor in cursors] == [(number, 60) for number in range(30)]
        try:
            with db.pipeline() as pipe:
                db.execute("SELECT count(*) FROM leads")
                pipe.sync()
                db.execute("SELECT * FROM internal_secrets")
                db.execute("SELECT 1")
            raise AssertionError("denied")
        except errors.InsufficientPrivilege:
            pass
        assert db.execute("SELECT count(*) FROM leads").fetchone() == (60,)


def executemany():
    with connect() as db:
        with db.transaction(force_rollback=True):
            cursor = db.cursor()
            cursor.executemany("INSERT INTO notes (id, org_id, txt) VALUES (%s, %s, %s)", [(900 + n, A, f"m{n}") for n in range(50)])
            assert cursor.rowcount == 50
            cursor.executemany("UPDATE notes SET txt = %s WHERE id = %s RETURNING id", [("u", 900), ("u", 901)], returning=True)
            assert cursor.fetchone() == (900,)
        try:
            db.cursor().executemany("INSERT INTO notes (id, org_id) VALUES (%s, %s)", [(950, A), (951, B)])
            raise AssertionError("foreign value")
        except errors.InsufficientPrivilege:
            db.rollback()
        assert db.execute("SELECT count(*) FROM notes WHERE id >= 900").fetchone() == (0,)


def missing_tenant_is_filled_in():
    with connect() as db:
        with db.transaction(force_rollback=True):
            row = db.execute("INSERT INTO notes (id, txt) VALUES (%s, %s) RETURNING org_id", (900, "x")).fetchone()
            assert row == (A,)
            row = db.execute(sql.SQL("UPDATE {} SET {} = %s WHERE id = %s RETURNING *").format(sql.Identifier("notes"), sql.Identifier("txt")), ("y", 900)).fetchone()
            assert row == (900, A, "y")


def copy():
    with connect() as db:
        with db.cursor().copy("COPY plans (id, name) TO STDOUT") as out:
            assert len(list(out.rows())) == 3
        with db.transaction(force_rollback=True):
            with db.cursor().copy("COPY holidays (day, name) FROM STDIN") as into:
                into.write_row(("2031-01-01", "copied"))
            assert db.execute("SELECT name FROM holidays WHERE day = '2031-01-01'").fetchone() == ("copied",)
        with db.cursor().copy("COPY leads (id, org_id) TO STDOUT (FORMAT binary)") as out:
            out.set_types(["int8", "uuid"])
            rows = list(out.rows())
        assert len(rows) == 60 and {row[1] for row in rows} == {A}
        with db.transaction(force_rollback=True):
            for form in ("text", "csv"):
                with db.cursor().copy(f"COPY notes (id, org_id, txt) FROM STDIN (FORMAT {form})") as into:
                    into.write(f"{901 if form == 'text' else 902},{A},x\n".replace(",", "," if form == "csv" else "\t"))
            with db.cursor().copy("COPY notes (id, org_id, txt) FROM STDIN (FORMAT binary)") as into:
                into.set_types(["int4", "uuid", "text"])
                into.write_row((903, A, "x"))
            stored = db.execute("SELECT id, org_id FROM notes WHERE id > 900 ORDER BY id").fetchall()
            assert stored == [(901, A), (902, A), (903, A)], stored
        try:
            with db.cursor().copy("COPY notes (id, org_id, txt) FROM STDIN (FORMAT binary)") as into:
                into.set_types(["int4", "uuid", "text"])
                into.write_row((901, A, "x"))
                into.write_row((902, B, "x"))
            raise AssertionError("a foreign row was copied")
        except errors.InsufficientPrivilege as error:
            assert "line 2" in str(error), error
            db.rollback()
        assert db.execute("SELECT count(*) FROM notes WHERE id > 900").fetchone() == (0,)


def server_side_cursors():
    with connect() as db:
        for binary in (False, True):
            with db.cursor("c", binary=binary, scrollable=True) as cursor:
                cursor.itersize = 7
                cursor.execute("SELECT id, org_id FROM leads WHERE score >= %s OR %s ORDER BY id", (0, True))
                rows = list(cursor)
                assert len(rows) == 60 and {row[1] for row in rows} == {A}
                cursor.scroll(5, mode="absolute")
                assert cursor.fetchmany(3) == rows[5:8]
                cursor.scroll(-2)
                assert cursor.fetchone() == rows[6]
        db.commit()
        with db.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT org_id FROM notes WHERE org_id = %s", (B,))
            db.commit()
            assert cursor.fetchall() == []


def statements_of_sql():
    with connect() as db:
        db.execute("PREPARE named (uuid) AS SELECT count(*) FROM leads WHERE org_id = $1")
        assert db.execute("EXECUTE named (%s)" % db.execute("SELECT quote_literal(%s::text)", (str(B),)).fetchone()).fetchone() == (0,)
        assert db.execute("EXECUTE named ('%s')" % A).fetchone() == (60,)
        db.execute("DEALLOCATE named")


def type_introspection():
    from psycopg.types import TypeInfo
    from psycopg.types.enum import EnumInfo
    from psycopg.types.composite import CompositeInfo
    with connect() as db:
        assert EnumInfo.fetch(db, "call_status").labels == ["queued", "ringing", "answered", "failed"]
        assert TypeInfo.fetch(db, "citext") is not None
        assert CompositeInfo.fetch(db, "money_pair").field_names == ["amount", "currency"]


def server_side_parameters_of_every_sort():
    with connect() as db:
        row = db.execute("SELECT %s, %s::text, %s::numeric, %s::bool, %s::bytea, %s::date", (1, "ä", "1.5", True, b"\x00\xff", "2026-01-01")).fetchone()
        assert row[0] == 1 and row[1] == "ä" and row[4] == b"\x00\xff"
        assert db.execute("SELECT id FROM campaigns WHERE id = ANY(%s) ORDER BY id", ([1, 2, 3],)).fetchall() == [(1,), (3,)]


def errors_are_the_servers():
    with connect(autocommit=True) as db:
        for text, kind in (("SELECT nosuch FROM leads", errors.UndefinedColumn), ("SELEC", errors.SyntaxError), ("SELECT 1/0", errors.DivisionByZero)):
            try:
                db.execute(text)
                raise AssertionError(text)
            except kind as error:
                assert error.diag.sqlstate
    try:
        connect("NOSUCH") if "NOSUCH" in os.environ else psycopg.connect(
            host=os.environ["PGHOST"], port=os.environ["PGPORT"], dbname=os.environ["PGDATABASE"], user="x", password="bad", sslmode="disable")
        raise AssertionError("logged in")
    except psycopg.OperationalError:
        pass


for test in (own_rows, text_and_binary, prepared, transactions, pipeline, executemany, missing_tenant_is_filled_in, copy,
             server_side_cursors, statements_of_sql,
             type_introspection, server_side_parameters_of_every_sort, errors_are_the_servers):
    test()
    print("ok", test.__name__, flush=True)
