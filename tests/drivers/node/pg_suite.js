// node-postgres through the proxy: simple and prepared, pool, errors, types, transactions.
'use strict'
const assert = require('node:assert')
const path = require('node:path')
const { Client, Pool } = require(path.join(process.env.NODE_MODULES, 'pg'))

const A = 'a0000000-0000-0000-0000-000000000001'
const B = 'b0000000-0000-0000-0000-000000000002'

const options = (token = 'TOKEN_A') => ({
  host: process.env.PGHOST, port: Number(process.env.PGPORT), database: process.env.PGDATABASE,
  user: 'someone', password: process.env[token], ssl: false, statement_timeout: 20000,
})

async function connected (work, token) {
  const client = new Client(options(token))
  await client.connect()
  try { await work(client) } finally { await client.end() }
}

const tests = {
  async ownRows () {
    await connected(async db => {
      assert.strictEqual((await db.query('SELECT count(*)::int AS n FROM leads')).rows[0].n, 60)
      assert.deepStrictEqual((await db.query('SELECT id FROM leads WHERE org_id = $1', [B])).rows, [])
      assert.strictEqual((await db.query('SELECT id FROM leads WHERE org_id = $1', [A])).rowCount, 60)
      assert.strictEqual((await db.query("SELECT id FROM leads WHERE org_id = '" + B + "' OR true")).rowCount, 60)
    })
    await connected(async db => {
      assert.strictEqual((await db.query('SELECT DISTINCT org_id FROM leads')).rows[0].org_id, B)
    }, 'TOKEN_B')
  },
  async severalStatements () {
    await connected(async db => {
      const results = await db.query('SELECT 1 AS a; SELECT count(*)::int AS n FROM leads; SELECT 3 AS c')
      assert.strictEqual(results[1].rows[0].n, 60)
    })
  },
  async prepared () {
    await connected(async db => {
      for (let score = 0; score < 10; score++) {
        const { rows } = await db.query({ name: 'by-score', text: 'SELECT id, score FROM leads WHERE score = $1', values: [score] })
        assert(rows.every(row => row.score === score))
      }
      const { rows, fields } = await db.query({ text: 'SELECT id, score, org_id FROM leads WHERE score = $1', values: [3], rowMode: 'array' })
      assert.strictEqual(fields.length, 3)
      assert(rows.every(row => row[2] === A))
    })
  },
  async binaryResults () {
    await connected(async db => {
      const { rows } = await db.query({ text: 'SELECT 5::int4 AS n, count(*) AS c FROM leads', values: [], binary: true })
      assert.strictEqual(rows[0].n, 5)
    })
  },
  async poolOfClients () {
    const pool = new Pool({ ...options(), max: 4 })
    const counts = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('SELECT count(*)::int AS n, $1::int AS k FROM leads', [n])))
    counts.forEach((result, n) => { assert.strictEqual(result.rows[0].n, 60); assert.strictEqual(result.rows[0].k, n) })
    await pool.end()
  },
  async errors () {
    await connected(async db => {
      for (const [text, code] of [['SELECT nosuch FROM leads', '42703'], ['SELEC', '42601'], ['SELECT 1/0', '22012'], ['SELECT * FROM internal_secrets', '42501'], ['TRUNCATE leads', '0A000']]) {
        await assert.rejects(db.query(text), { code })
        await assert.rejects(db.query(text, []), { code })
        await assert.rejects(db.query({ name: 'n' + code, text, values: [] }), { code })
        assert.strictEqual((await db.query('SELECT count(*)::int AS n FROM leads')).rows[0].n, 60)
      }
      await assert.rejects(db.query('SELECT * FROM internal_secrets'), error => {
        assert(error.message.startsWith('pgwarden: '))
        assert(error.detail.includes('reason=unlisted_relation'))
        assert(error.hint)
        return true
      })
      // A denied statement's name is free for another.
      assert.strictEqual((await db.query({ name: 'n42501', text: 'SELECT 7 AS n', values: [] }).catch(error => ({ rows: [{ n: error.message.includes('must be unique') ? 7 : 0 }] }))).rows[0].n, 7)
    })
    const bad = new Client({ ...options(), password: 'no token' })
    await assert.rejects(bad.connect(), { code: '28P01' })
  },
  async transactions () {
    await connected(async db => {
      await db.query('BEGIN')
      await db.query('UPDATE notes SET txt = $1, org_id = $2', ['x', A])
      await assert.rejects(db.query('UPDATE notes SET org_id = $1', [B]), { code: '42501' })
      await assert.rejects(db.query('SELECT 1'), { code: '25P02' })
      await db.query('ROLLBACK')
      assert.strictEqual((await db.query('SELECT txt FROM notes WHERE id = 1')).rows[0].txt, 'n1')
      await db.query('BEGIN')
      const { rows } = await db.query('INSERT INTO notes (id, txt) VALUES ($1, $2), ($3, $4) RETURNING *', [900, 'x', 901, 'y'])
      assert.deepStrictEqual(rows.map(row => row.org_id), [A, A])
      await db.query('ROLLBACK')
    })
  },
  async types () {
    await connected(async db => {
      const { rows } = await db.query('SELECT tags, meta, created_at, status FROM leads WHERE meta IS NOT NULL AND tags IS NOT NULL ORDER BY id LIMIT 1')
      assert(Array.isArray(rows[0].tags) && typeof rows[0].meta === 'object' && rows[0].created_at instanceof Date)
      const list = await db.query('SELECT id FROM campaigns WHERE id = ANY($1) ORDER BY id', [[1, 2, 3]])
      assert.deepStrictEqual(list.rows.map(row => row.id), [1, 3])
    })
  },
  async queueOfQueries () {
    await connected(async db => {
      const results = await Promise.allSettled([
        db.query('SELECT 1 AS n'), db.query('SELECT * FROM internal_secrets'), db.query('SELECT 2 AS n'),
        db.query('SELECT $1::int AS n', [3]), db.query('SELECT 1/0'), db.query('SELECT count(*)::int AS n FROM leads'),
      ])
      assert.deepStrictEqual(results.map(result => result.status === 'fulfilled' ? result.value.rows[0].n : result.reason.code), [1, '42501', 2, 3, '22012', 60])
    })
  },
}

;(async () => {
  for (const [name, test] of Object.entries(tests)) {
    await test()
    console.log('ok', name)
  }
})().catch(error => { console.error(error); process.exit(1) })
