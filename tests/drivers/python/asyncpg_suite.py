"""asyncpg through the proxy: pool with reset, prepared statements, type introspection, cursors, LISTEN."""

import asyncio
import os
import uuid

import asyncpg

A = uuid.UUID("a0000000-0000-0000-0000-000000000001")
B = uuid.UUID("b0000000-0000-0000-0000-000000000002")


def options(token="TOKEN_A"):
    return dict(host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), database=os.environ["PGDATABASE"],
                user="someone", password=os.environ[token], ssl=False)


async def own_rows():
    db = await asyncpg.connect(**options())
    assert await db.fetchval("SELECT count(*) FROM leads") == 60
    assert await db.fetch("SELECT id FROM leads WHERE org_id = $1", B) == []
    assert len(await db.fetch("SELECT id FROM leads WHERE org_id = $1 AND score = $2", A, 3)) == 12
    await db.close()


async def pool_with_reset():
    async with asyncpg.create_pool(**options(), min_size=2, max_size=4) as pool:
        async def work(number):
            async with pool.acquire() as db:
                await db.execute("SET statement_timeout = '9s'")
                assert await db.fetchval("SELECT count(*) FROM leads WHERE score >= $1", 0) > 0
                return await db.fetchval("SELECT $1::int + 1", number)
        assert await asyncio.gather(*(work(n) for n in range(40))) == [n + 1 for n in range(40)]
        for _ in range(5):
            async with pool.acquire() as db:
                # The reset at release takes the timeout away and leaves the identity in force.
                assert await db.fetchval("SHOW statement_timeout") == "0"
                assert str(A) in await db.fetchval("SHOW request.jwt.claims")
                assert await db.fetchval("SELECT count(*) FROM leads") == 60


async def prepared_statements():
    db = await asyncpg.connect(**options())
    statement = await db.prepare("SELECT id, full_name FROM leads WHERE score = $1 AND status = $2 ORDER BY id LIMIT $3")
    assert [parameter.name for parameter in statement.get_parameters()] == ["int4", "call_status", "int8"]
    assert [column.name for column in statement.get_attributes()] == ["id", "full_name"]
    for score in range(10):
        for row in await statement.fetch(score, "queued", 5):
            assert isinstance(row["id"], uuid.UUID)
    await db.close()


async def type_introspection():
    db = await asyncpg.connect(**options())
    row = await db.fetchrow("SELECT pair, amount FROM payments WHERE id = 1")
    assert row["pair"]["currency"] == "EUR"
    assert await db.fetchval("SELECT status FROM leads ORDER BY id LIMIT 1") in ("queued", "ringing", "answered", "failed")
    assert await db.fetchval("SELECT percent FROM coupons WHERE code = 'SPRING'") == 15
    assert await db.fetchval("SELECT during FROM appointments WHERE id = 1") is not None
    assert await db.fetchval("SELECT array_agg(status ORDER BY id) FROM leads") is not None
    await db.close()


async def transactions_and_denials():
    db = await asyncpg.connect(**options())
    transaction = db.transaction()
    await transaction.start()
    await db.execute("UPDATE notes SET txt = $1", "x")
    try:
        async with db.transaction():
            await db.fetch("SELECT * FROM internal_secrets")
        raise AssertionError("denied")
    except asyncpg.InsufficientPrivilegeError as error:
        assert str(error).startswith("pgwarden: "), error
    assert await db.fetchval("SELECT count(*) FROM notes WHERE txt = 'x'") == 10
    await transaction.rollback()
    for org in (B, uuid.uuid4()):
        try:
            await db.execute("INSERT INTO notes (id, org_id, txt) VALUES ($1, $2, $3)", 900, org, "x")
            raise AssertionError("foreign value")
        except asyncpg.InsufficientPrivilegeError:
            pass
    transaction = db.transaction()
    await transaction.start()
    assert await db.execute("INSERT INTO notes (id, org_id, txt) VALUES ($1, $2, $3)", 900, A, "x") == "INSERT 0 1"
    await db.executemany("INSERT INTO notes (id, txt) VALUES ($1, $2)", [(910 + n, "m") for n in range(20)])
    assert await db.fetchval("SELECT count(*) FROM notes WHERE id >= 900") == 21
    await transaction.rollback()
    await db.close()


async def portals():
    db = await asyncpg.connect(**options())
    async with db.transaction():
        seen = 0
        async for row in db.cursor("SELECT id FROM calls ORDER BY id", prefetch=7):
            seen += 1
        assert seen == 120, seen
        cursor = await db.cursor("SELECT id FROM notes ORDER BY id")
        assert len(await cursor.fetch(3)) == 3
        assert len(await cursor.fetch(100)) == 7
    await db.close()


async def listen_needs_the_break_glass_role():
    db = await asyncpg.connect(**options())
    try:
        await db.add_listener("news", lambda *_: None)
        raise AssertionError("LISTEN by a tenant")
    except (asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError):
        pass
    await db.close()
    admin = await asyncpg.connect(**options("TOKEN_ADMIN"))
    heard = asyncio.get_running_loop().create_future()
    await admin.add_listener("news", lambda db, pid, channel, payload: heard.set_result((pid, channel, payload)))
    await admin.execute("NOTIFY news, 'hello'")
    pid, channel, payload = await asyncio.wait_for(heard, 5)
    assert (channel, payload) == ("news", "hello")
    # In transaction mode the client's pid is nobody's.
    assert pid == admin.get_server_pid() or os.environ.get("PGWARDEN_SUITES_POOL") == "transaction"
    await admin.close()


async def schema_introspection():
    db = await asyncpg.connect(**options())
    rows = await db.fetch("SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position", "public", "notes")
    assert [row[0] for row in rows] == ["id", "org_id", "txt"]
    await db.close()


async def main():
    for test in (own_rows, pool_with_reset, prepared_statements, type_introspection, transactions_and_denials, portals,
                 listen_needs_the_break_glass_role, schema_introspection):
        await asyncio.wait_for(test(), 30)
        print("ok", test.__name__, flush=True)


asyncio.run(main())
