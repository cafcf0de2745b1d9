'use strict'
// What today's Node.js clients do on the wire, one habit a test: pipelines of node-postgres, cursors and streams over
// portals, postgres.js' describe-first and its transactions, pg-promise's formatted texts, COPY streams. Prints
// "ok NAME", or "not ok NAME: why"; a runner compares what it says with and without pgwarden.
const assert = require('node:assert/strict')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const pg = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const copy = require('pg-copy-streams')
const postgres = require('postgres')
const pgp = require('pg-promise')({ noWarnings: true })

const env = process.env
const config = { host: env.PGHOST, port: +env.PGPORT, database: env.PGDATABASE, user: env.PGUSER, password: env.PGPASSWORD, ssl: false }
// Behind pgwarden lasting tables are nobody's to make.
const server = { ...config, port: +env.SERVER_PORT }

const tests = []
const test = (name, body) => tests.push([name, body])
const withClient = (options, work) => async () => {
  const client = new pg.Client({ ...config, ...options })
  client.on('error', () => {})
  await client.connect()
  try { await work(client) } finally { await client.end() }
}
const code = async (wanted, promise) => {
  const error = await promise.then(() => null, it => it)
  assert.equal(error && error.code, wanted)
}

for (const options of [{}, { pipeline: true }]) {
  const how = options.pipeline ? ', in a pipeline' : ''
  const each = (name, work) => test(name + how, withClient(options, client => {
    if (options.pipeline) client.pipelining = true
    return work(client)
  }))
  each('queries at once', async client => {
    const found = await Promise.all(Array.from({ length: 60 }, (_, i) => client.query('SELECT $1::int AS n', [i])))
    assert.deepEqual(found.map(it => it.rows[0].n), Array.from({ length: 60 }, (_, i) => i))
  })
  each('one name at once', async client => {
    const one = i => client.query({ name: 'one', text: 'SELECT $1::int AS n', values: [i] })
    for (let round = 0; round < 3; round++) {
      const found = await Promise.all([1, 2, 3, 4].map(one))
      assert.deepEqual(found.map(it => it.rows[0].n), [1, 2, 3, 4])
    }
  })
  each('an error among others', async client => {
    const found = await Promise.allSettled(['SELECT 1 AS n', 'SELEC 1', 'SELECT 1/0', 'SELECT nobody', 'SELECT 3 AS n'].map(it => client.query(it)))
    assert.deepEqual(found.map(it => it.reason ? it.reason.code : it.value.rows[0].n), [1, '42601', '22012', '42703', 3])
  })
  each('an error of a name, which is used again', async client => {
    await assert.rejects(client.query({ name: 'bad', text: 'SELECT $1::nonexistent_type_xyz', values: [1] }))
    const good = await client.query({ name: 'bad', text: 'SELECT $1::int AS n', values: [42] })
    assert.equal(good.rows[0].n, 42)
  })
  each('a transaction at once', async client => {
    const found = await Promise.all(['BEGIN', 'CREATE TEMP TABLE nt (n int)', 'INSERT INTO nt VALUES (1), (2) RETURNING n', 'COMMIT', 'SELECT count(*)::int AS n FROM nt'].map(it => client.query(it)))
    assert.equal(found[2].rows.length, 2)
    assert.equal(found[4].rows[0].n, 2)
  })
  each('a transaction that fails at once', async client => {
    const found = await Promise.allSettled(['BEGIN', 'SELECT 1/0', 'SELECT 2', 'ROLLBACK', 'SELECT 3 AS n'].map(it => client.query(it)))
    assert.equal(found[1].reason.code, '22012')
    assert.equal(found[2].reason.code, '25P02')
    assert.equal(found[4].value.rows[0].n, 3)
  })
  each('settings at once', async client => {
    const found = await Promise.all(["SET statement_timeout = '7s'", 'SHOW statement_timeout', 'RESET statement_timeout', 'SHOW statement_timeout'].map(it => client.query(it)))
    assert.deepEqual([found[1].rows[0].statement_timeout, found[3].rows[0].statement_timeout], ['7s', '0'])
  })
  each('rows of the table', async client => {
    await client.query('DELETE FROM node_items')
    const ids = await Promise.all(['a', 'b', null].map(it => client.query('INSERT INTO node_items (name, doc) VALUES ($1, $2) RETURNING id', [it || 'c', { k: it }])))
    assert.equal(new Set(ids.map(it => it.rows[0].id)).size, 3)
    const found = await client.query('SELECT name, doc FROM node_items WHERE name = ANY ($1) ORDER BY name', [['a', 'c']])
    assert.deepEqual(found.rows, [{ name: 'a', doc: { k: 'a' } }, { name: 'c', doc: { k: null } }])
  })
}
test('several statements in one', withClient({}, async client => {
  const found = await client.query("SELECT 1 AS n; SELECT 2 AS n; SET TIME ZONE 'UTC'")
  assert.deepEqual(found.map(it => it.command), ['SELECT', 'SELECT', 'SET'])
}))
test('rows by the portion', withClient({}, async client => {
  const found = await client.query({ text: 'SELECT generate_series(1, 10) AS n', rows: 3 })
  assert.equal(found.rows.length, 10)
}))
test('a cursor', withClient({}, async client => {
  const cursor = client.query(new Cursor('SELECT generate_series(1, $1::int) AS n', [10]))
  assert.equal((await cursor.read(4)).length, 4)
  assert.equal((await cursor.read(100)).length, 6)
  assert.equal((await cursor.read(100)).length, 0)
  const left = client.query(new Cursor('SELECT generate_series(1, 1000) AS n'))
  await left.read(10)
  await left.close()
  assert.equal((await client.query('SELECT 7 AS n')).rows[0].n, 7)
  const bad = client.query(new Cursor('SELECT 1/(5 - n) FROM generate_series(1, 10) AS n'))
  await code('22012', bad.read(10))
  assert.equal((await client.query('SELECT 8 AS n')).rows[0].n, 8)
}))
test('a stream', withClient({}, async client => {
  let sum = 0
  for await (const row of client.query(new QueryStream('SELECT generate_series(1, 500) AS n', [], { batchSize: 7 }))) sum += row.n
  assert.equal(sum, 125250)
  for await (const row of client.query(new QueryStream('SELECT generate_series(1, 500) AS n', [], { batchSize: 7 }))) if (row.n === 20) break
  assert.equal((await client.query('SELECT 9 AS n')).rows[0].n, 9)
}))
test('COPY in and out', withClient({}, async client => {
  await client.query('CREATE TEMP TABLE nc (a int, b text)')
  await pipeline(Readable.from(['1\tx\n', '2\ty', '\n3\t\\N\n']), client.query(copy.from('COPY nc FROM STDIN')))
  const parts = []
  for await (const part of client.query(copy.to('COPY (SELECT a FROM nc ORDER BY a) TO STDOUT'))) parts.push(part)
  assert.equal(Buffer.concat(parts).toString(), '1\n2\n3\n')
  await code('22P02', pipeline(Readable.from(['x\ty\n']), client.query(copy.from('COPY nc FROM STDIN'))))
  assert.equal((await client.query('SELECT count(*)::int AS n FROM nc')).rows[0].n, 3)
}))
test('a notification', withClient({}, async client => {
  const heard = new Promise(resolve => client.on('notification', resolve))
  await client.query('LISTEN foo')
  await withClient({}, other => other.query("SELECT pg_notify('foo', 'hello')"))()
  assert.equal((await heard).payload, 'hello')
}))
test('a statement times out, and is cancelled', withClient({ statement_timeout: 300 }, async client => {
  await code('57014', client.query('SELECT count(*) FROM generate_series(1, 2000000000)'))
  assert.equal((await client.query('SHOW statement_timeout')).rows[0].statement_timeout, '300ms')
}))
test('a pool', async () => {
  const pool = new pg.Pool({ ...config, max: 6 })
  const found = await Promise.all(Array.from({ length: 100 }, (_, i) => pool.query('SELECT $1::int AS n', [i])))
  assert.deepEqual(found.map(it => it.rows[0].n), Array.from({ length: 100 }, (_, i) => i))
  await pool.end()
})
test('no such database', async () => {
  const client = new pg.Client({ ...config, database: 'node_nowhere' })
  await code('3D000', client.connect())
})

const sql = postgres({ ...config, username: config.user, max: 4, onnotice: () => {}, idle_timeout: 5 })
test('postgres.js, queries at once', async () => {
  const found = await Promise.all(Array.from({ length: 60 }, (_, i) => sql`SELECT ${i}::int AS n`))
  assert.deepEqual(found.map(it => it[0].n), Array.from({ length: 60 }, (_, i) => i))
})
test('postgres.js, rows, helpers and types', async () => {
  await sql`DELETE FROM node_items`
  const made = await sql`INSERT INTO node_items ${sql([{ name: 'a', doc: { x: 1 } }, { name: 'b', doc: null }], 'name', 'doc')} RETURNING *`
  assert.equal(made.length, 2)
  const found = await sql`SELECT * FROM node_items WHERE name IN ${sql(['a', 'z'])} AND id = ANY (${made.map(it => it.id)})`
  assert.deepEqual(found[0].doc, { x: 1 })
  await sql`UPDATE node_items SET ${sql({ name: 'c' }, 'name')} WHERE id = ${made[1].id}`
  assert.equal((await sql`SELECT count(*)::int AS n FROM ${sql('node_items')} WHERE name = 'c'`)[0].n, 1)
  assert.deepEqual((await sql`SELECT ${sql.array([1, 2])}::int[] AS a, ${new Date(0)}::timestamptz AS t, ${sql.json({ y: 2 })}::jsonb AS j`)[0], { a: [1, 2], t: new Date(0), j: { y: 2 } })
})
test('postgres.js, a transaction, savepoints', async () => {
  await sql`DELETE FROM node_items`
  await sql.begin(async sql => {
    await sql`INSERT INTO node_items (name) VALUES ('kept')`
    await code('22012', sql.savepoint(async sql => {
      await sql`INSERT INTO node_items (name) VALUES ('gone')`
      await sql`SELECT 1/0`
    }))
    await Promise.all([1, 2, 3].map(i => sql`SELECT ${i}::int`))
  })
  await code('23502', sql.begin('isolation level repeatable read', sql => [sql`DELETE FROM node_items`, sql`INSERT INTO node_items (name) VALUES (NULL)`]))
  assert.deepEqual((await sql`SELECT name FROM node_items`).map(it => it.name), ['kept'])
})
test('postgres.js, cursors, forEach, describe, simple', async () => {
  let rows = 0
  for await (const part of sql`SELECT generate_series(1, 100) AS n`.cursor(9)) rows += part.length
  assert.equal(rows, 100)
  await sql`SELECT generate_series(1, 100) AS n`.cursor(10, part => part[0].n > 30 ? sql.CLOSE : undefined)
  await sql`SELECT generate_series(1, 10) AS n`.forEach(() => rows++)
  assert.equal(rows, 110)
  const described = await sql`SELECT name, id FROM node_items WHERE id = ${1}`.describe()
  assert.deepEqual([described.types, described.columns.map(it => it.name)], [[23], ['name', 'id']])
  assert.equal((await sql.unsafe('SELECT 1 AS n; SELECT 2 AS n'))[1][0].n, 2)
  assert.equal((await sql`SELECT 1 AS n; SELECT 2 AS n`.simple())[1][0].n, 2)
  assert.equal((await sql.unsafe('SELECT $1::int AS n', [5], { prepare: true }))[0].n, 5)
})
test('postgres.js, errors, then on', async () => {
  await code('42703', sql`SELECT nobody FROM node_items`)
  await code('22P02', sql`SELECT ${'x'}::int`)
  assert.equal((await sql`SELECT 1 AS n`)[0].n, 1)
})
test('postgres.js, COPY', async () => {
  await sql.begin(async sql => {
    await sql`CREATE TEMP TABLE pc (a int) ON COMMIT DROP`
    await pipeline(Readable.from(['1\n', '2\n']), await sql`COPY pc FROM STDIN`.writable())
    const parts = []
    for await (const part of await sql`COPY pc TO STDOUT`.readable()) parts.push(part)
    assert.equal(Buffer.concat(parts).toString(), '1\n2\n')
  })
})
test('postgres.js, listen and notify', async () => {
  let hear
  const heard = new Promise(resolve => { hear = resolve })
  const { unlisten } = await sql.listen('foo', hear)
  await sql.notify('foo', 'hello')
  assert.equal(await heard, 'hello')
  await unlisten()
})
test('postgres.js, a query is cancelled', async () => {
  const query = sql`SELECT count(*) FROM generate_series(1, 2000000000)`
  setTimeout(() => query.cancel(), 400)
  await code('57014', query.execute())
  assert.equal((await sql`SELECT 1 AS n`)[0].n, 1)
})
test('postgres.js, reserved connections', async () => {
  const own = await sql.reserve()
  await own`SET statement_timeout = '5s'`
  assert.equal((await own`SHOW statement_timeout`)[0].statement_timeout, '5s')
  await own`RESET statement_timeout`
  own.release()
})
test('postgres.js, arrays of a type of its own', async () => {
  // It reads the array types of pg_type when it connects.
  assert.deepEqual((await sql`SELECT ARRAY['sad']::node_mood[] AS m`)[0].m, ['sad'])
})

const db = pgp({ ...config, max: 4 })
test('pg-promise, formatted texts, tasks, transactions', async () => {
  await db.none('DELETE FROM node_items')
  const set = new pgp.helpers.ColumnSet(['name', { name: 'doc', mod: ':json' }], { table: 'node_items' })
  const ids = await db.many(pgp.helpers.insert([{ name: "o'x", doc: { a: 1 } }, { name: 'b', doc: null }], set) + ' RETURNING id')
  assert.equal(ids.length, 2)
  await db.none(pgp.helpers.update([{ id: ids[0].id, name: 'z' }], ['?id', 'name'], 'node_items') + ' WHERE v.id = t.id')
  await db.tx(t => t.batch([t.one('SELECT 1 AS n'), t.tx(u => u.one("SELECT count(*)::int AS n FROM node_items WHERE name = 'z'"))])).then(it => assert.equal(it[1].n, 1))
  assert.equal((await db.multi('SELECT 1; SELECT 2')).length, 2)
  assert.equal((await db.one(new pgp.PreparedStatement({ name: 'p', text: 'SELECT $1::int AS n', values: [3] }))).n, 3)
  assert.equal((await db.one(new pgp.ParameterizedQuery({ text: 'SELECT $1::text AS s', values: ['q'] }))).s, 'q')
  assert.equal((await db.func('generate_series', [1, 3])).length, 3)
})

;(async () => {
  const setup = new pg.Client(server)
  await setup.connect()
  await setup.query("CREATE TYPE node_mood AS ENUM ('sad', 'fine'); CREATE TABLE node_items (id serial PRIMARY KEY, name text NOT NULL, doc jsonb)")
  await setup.end()
  // Behind pgwarden they are known when it has read the catalogue.
  for (let tries = 0; tries < 100; tries++) {
    const known = await withClient({}, client => client.query('SELECT FROM node_items'))().then(() => true, () => false)
    if (known) break
    await new Promise(resolve => setTimeout(resolve, 200))
  }
  for (const [name, body] of tests) {
    let timer
    const late = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error('it takes too long')), 30000) })
    await Promise.race([body(), late]).then(() => console.log(`ok ${name}`), error =>
      console.log(`not ok ${name}: ${(error.code || '')} ${error.message} ${error.hint || ''}`.replaceAll('\n', ' ')))
    clearTimeout(timer)
  }
  process.exit(0)
})()
