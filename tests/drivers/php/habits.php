<?php
/**
 * What PDO and ext/pgsql do on the wire, one habit a test: named statements and emulated ones, a new name for each
 * prepare and a DEALLOCATE behind it, savepoints, COPY, notifications, catalogue queries for columns. Prints
 * "ok NAME", or "not ok NAME: why"; a runner compares what it says with and without pgwarden.
 */

function of(string $name): string { return getenv($name); }

function pdo(array $options = [], string $more = ''): PDO
{
    $dsn = 'pgsql:host=' . of('PGHOST') . ';port=' . of('PGPORT') . ';dbname=' . of('PGDATABASE') . ';sslmode=disable' . $more;
    return new PDO($dsn, of('PGUSER'), of('PGPASSWORD'), $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function plain(string $more = '')
{
    $to = 'host=' . of('PGHOST') . ' port=' . of('PGPORT') . ' dbname=' . of('PGDATABASE') . ' sslmode=disable user=' . of('PGUSER');
    $connection = @pg_connect("$to password='" . of('PGPASSWORD') . "' $more", PGSQL_CONNECT_FORCE_NEW);
    if (!$connection) throw new Exception(error_get_last()['message']);
    return $connection;
}

function same($wanted, $found): void
{
    if ($wanted !== $found) throw new Exception('wanted ' . json_encode($wanted) . ', found ' . json_encode($found));
}

function fails(string $state, callable $body): void
{
    try {
        $body();
    } catch (PDOException $e) {
        same($state, (string) ($e->errorInfo[0] ?? $e->getCode()));
        return;
    }
    throw new Exception('it did not fail');
}

function test(string $name, callable $body): void
{
    try {
        $body();
        echo "ok $name\n";
    } catch (Throwable $e) {
        echo "not ok $name: ", str_replace("\n", ' ', $e->getMessage()), "\n";
    }
}

// The tables, by the server itself: lasting DDL is nobody's business behind pgwarden.
$setup = new PDO('pgsql:host=' . of('PGHOST') . ';port=' . of('SERVER_PORT') . ';dbname=' . of('PGDATABASE'), of('PGUSER'), of('PGPASSWORD'));
$setup->exec('CREATE TABLE php_items (id serial PRIMARY KEY, name text NOT NULL, amount numeric(10,2), flag bool, raw bytea)');
$setup = null;
// Behind pgwarden they are known when it has read the catalogue.
for ($tries = 0; $tries < 100; $tries++) {
    try {
        pdo()->query('SELECT FROM php_items');
        break;
    } catch (PDOException $e) {
        usleep(200000);
    }
}

$ways = [
    'native' => [],
    'emulated' => [PDO::ATTR_EMULATE_PREPARES => true],
    'unprepared' => [PDO::PGSQL_ATTR_DISABLE_PREPARES => true],
    'persistent' => [PDO::ATTR_PERSISTENT => true],
];
foreach ($ways as $way => $options) {
    test("a parameter, twelve times over, $way", function () use ($options) {
        $db = pdo($options);
        $s = $db->prepare('SELECT ?::int + 1 AS a, ?::text AS b');
        for ($i = 0; $i < 12; $i++) {
            $s->execute([$i, "x'\\$i"]);
            same(['a' => $i + 1, 'b' => "x'\\$i"], $s->fetch(PDO::FETCH_ASSOC));
        }
    });
    test("named parameters, $way", function () use ($options) {
        $s = pdo($options)->prepare('SELECT :a::text || :b::text || :a::text');
        $s->execute(['a' => 'x', 'b' => 'y']);
        same('xyx', $s->fetchColumn());
    });
    test("rows are written and read, $way", function () use ($options) {
        $db = pdo($options);
        $db->exec('DELETE FROM php_items');
        $s = $db->prepare('INSERT INTO php_items (name, amount, flag, raw) VALUES (:name, :amount, :flag, :raw)');
        for ($i = 0; $i < 7; $i++) {
            $s->bindValue(':name', "é€$i");
            $s->bindValue(':amount', $i % 2 ? '1.50' : null);
            $s->bindValue(':flag', $i % 2 == 0, PDO::PARAM_BOOL);
            $s->bindValue(':raw', "\x00\xff'", PDO::PARAM_LOB);
            $s->execute();
            same(1, $s->rowCount());
        }
        $rows = $db->query('SELECT * FROM php_items ORDER BY id')->fetchAll(PDO::FETCH_ASSOC);
        same(7, count($rows));
        same('1.50', $rows[1]['amount']);
        same("\x00\xff'", stream_get_contents($rows[0]['raw']));
        same((string) $rows[6]['id'], $db->lastInsertId('php_items_id_seq'));
        same((string) $rows[6]['id'], $db->lastInsertId());
    });
    test("transactions, $way", function () use ($options) {
        $db = pdo($options);
        $db->exec('DELETE FROM php_items');
        $db->beginTransaction();
        $db->exec("INSERT INTO php_items (name) VALUES ('kept')");
        same(true, $db->inTransaction());
        $db->exec('SAVEPOINT level1');
        fails('23502', fn() => $db->exec('INSERT INTO php_items (name) VALUES (NULL)'));
        $db->exec('ROLLBACK TO SAVEPOINT level1');
        $db->commit();
        $db->beginTransaction();
        $db->exec('DELETE FROM php_items');
        $db->rollBack();
        same('kept', $db->query('SELECT name FROM php_items')->fetchColumn());
    });
    test("an error, then on, $way", function () use ($options) {
        $db = pdo($options);
        fails('42601', fn() => $db->query('SELEC 1'));
        fails('42703', fn() => $db->prepare('SELECT nobody FROM php_items')->execute());
        fails('22P02', fn() => $db->prepare('SELECT ?::int')->execute(['x']));
        same(1, $db->query('SELECT 1')->fetchColumn());
    });
    test("LIKE, IN and the question mark, $way", function () use ($options) {
        $db = pdo($options);
        $s = $db->prepare("SELECT '{\"a\": 1}'::jsonb ?? 'a', 'abc' LIKE ?");
        $s->execute(['a%']);
        same([true, true], $s->fetch(PDO::FETCH_NUM));
        $s = $db->prepare('SELECT x FROM generate_series(1, 5) x WHERE x IN (?, ?)');
        $s->execute([2, 3]);
        same([2, 3], $s->fetchAll(PDO::FETCH_COLUMN));
    });
    test("two statements by turns, $way", function () use ($options) {
        $db = pdo($options);
        $a = $db->prepare('SELECT ?::text');
        $b = $db->prepare('SELECT ?::text || ?::text');
        for ($i = 0; $i < 6; $i++) {
            $a->execute(["a$i"]);
            $b->execute(["b$i", 'c']);
            same("a$i", $a->fetchColumn());
            same("b{$i}c", $b->fetchColumn());
        }
    });
}
test('many statements, each prepared and dropped', function () {
    $db = pdo();
    for ($i = 0; $i < 200; $i++) {
        $s = $db->prepare("SELECT ?::int + $i");
        $s->execute([1]);
        same($i + 1, $s->fetchColumn());
        $s = null;
    }
});
test('several statements in one text', function () {
    $db = pdo();
    same(0, $db->exec("SET TIME ZONE 'UTC'; SELECT 1; DELETE FROM php_items WHERE false"));
});
test('a cursor that scrolls', function () {
    $db = pdo();
    $db->beginTransaction();
    $s = $db->prepare('SELECT generate_series(1, 10)', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $s->execute();
    same([1], $s->fetch(PDO::FETCH_NUM));
    same([10], $s->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_LAST));
    same([4], $s->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 4));
    $s->closeCursor();
    $db->commit();
});
test('what a column is', function () {
    $s = pdo()->query('SELECT id, name FROM php_items');
    $meta = $s->getColumnMeta(1);
    same('php_items', $meta['table']);
    same('text', $meta['native_type']);
});
test('rows by COPY', function () {
    $db = pdo();
    $db->exec('DELETE FROM php_items');
    same(true, $db->pgsqlCopyFromArray('php_items', ["a\t1.00", "b\t2.00"], "\t", '\\\\N', 'name,amount'));
    $rows = $db->pgsqlCopyToArray('php_items', "\t", '\\\\N', 'name,amount');
    same(["a\t1.00\n", "b\t2.00\n"], $rows);
});
test('a notification', function () {
    $db = pdo();
    $db->exec('LISTEN foo');
    pdo()->exec("NOTIFY foo, 'hello'");
    $found = $db->pgsqlGetNotify(PDO::FETCH_ASSOC, 5000);
    same('hello', $found['payload'] ?? null);
});
test('attributes', function () {
    $db = pdo();
    same(true, str_starts_with($db->getAttribute(PDO::ATTR_SERVER_VERSION), '1'));
    same(true, strlen($db->getAttribute(PDO::ATTR_SERVER_INFO)) > 0);
    same(true, strlen($db->getAttribute(PDO::ATTR_CONNECTION_STATUS)) > 0);
    same("'it''s'", $db->quote("it's"));
});
test('a large object', function () {
    $db = pdo();
    $db->beginTransaction();
    $oid = $db->pgsqlLOBCreate();
    $stream = $db->pgsqlLOBOpen($oid, 'w');
    if (!$stream) throw new Exception(implode(' ', $db->errorInfo()));
    fwrite($stream, 'hello');
    $db->pgsqlLOBUnlink($oid);
    $db->commit();
});
test('settings by the DSN', function () {
    $db = pdo([], ";application_name=habits;options='-c statement_timeout=1234'");
    same('habits', $db->query('SHOW application_name')->fetchColumn());
    same('1234ms', $db->query('SHOW statement_timeout')->fetchColumn());
    $db->exec("SET client_encoding TO 'UTF8'");
    $db->exec("SET NAMES 'UTF8'");
    same('UTF8', $db->query('SHOW client_encoding')->fetchColumn());
});

// ext/pgsql
test('pg_query_params, pg_prepare', function () {
    $c = plain();
    same('3', pg_fetch_result(pg_query_params($c, 'SELECT $1::int + $2::int', [1, 2]), 0, 0));
    pg_prepare($c, 'mine', 'SELECT $1::text');
    for ($i = 0; $i < 8; $i++) same("v$i", pg_fetch_result(pg_execute($c, 'mine', ["v$i"]), 0, 0));
    pg_prepare($c, '', 'SELECT $1::int');
    same('5', pg_fetch_result(pg_execute($c, '', [5]), 0, 0));
});
test('several results of one text', function () {
    $c = plain();
    pg_send_query($c, 'SELECT 1; SELECT 2; SELECT 3');
    $found = [];
    while ($r = pg_get_result($c)) $found[] = pg_fetch_result($r, 0, 0);
    same(['1', '2', '3'], $found);
});
test('what a statement does while nobody waits', function () {
    $c = plain();
    pg_send_query_params($c, 'SELECT $1::text', ['x']);
    while (pg_connection_busy($c)) usleep(1000);
    same('x', pg_fetch_result(pg_get_result($c), 0, 0));
    pg_get_result($c);
    pg_send_query($c, 'SELECT count(*) FROM generate_series(1, 1000000000)');
    usleep(300000);
    same(true, pg_cancel_query($c));
    same('1', pg_fetch_result(pg_query($c, 'SELECT 1'), 0, 0));
});
test('pg_insert, pg_update, pg_select, pg_delete', function () {
    $c = plain();
    pg_query($c, 'DELETE FROM php_items');
    same(true, (bool) pg_insert($c, 'php_items', ['name' => 'a', 'amount' => '1.5']));
    same(true, pg_update($c, 'php_items', ['name' => 'b'], ['name' => 'a']));
    same('b', pg_select($c, 'php_items', ['name' => 'b'])[0]['name']);
    same(true, pg_delete($c, 'php_items', ['name' => 'b']));
});
test('pg_meta_data', function () {
    $meta = pg_meta_data(plain(), 'php_items', true);
    same('numeric', $meta['amount']['type'] ?? null);
});
test('pg_copy_from, pg_copy_to', function () {
    $c = plain();
    pg_query($c, 'DELETE FROM php_items');
    same(true, pg_copy_from($c, 'php_items', ["1\ta\t\\N\tt\t\\N\n", "2\tb\t\\N\tt\t\\N\n"]));
    same(2, count(pg_copy_to($c, 'php_items')));
});
test('names of fields and tables', function () {
    $c = plain();
    $r = pg_query($c, 'SELECT id, name, 1.5::numeric(4,2) FROM php_items');
    same('php_items', pg_field_table($r, 1));
    same('text', pg_field_type($r, 1));
    same('numeric', pg_field_type($r, 2));
    same('name', pg_field_name($r, 1));
});
test('a connection that is reset', function () {
    $c = plain();
    same(true, pg_connection_reset($c));
    same(true, pg_ping($c));
    same('UTF8', pg_client_encoding($c));
    same(0, pg_set_client_encoding($c, 'UTF8'));
    same('on', pg_parameter_status($c, 'standard_conforming_strings'));
    same(PGSQL_TRANSACTION_IDLE, pg_transaction_status($c));
});
test('notices and notifications', function () {
    $c = plain();
    pg_query($c, 'DROP TABLE IF EXISTS php_nobody');
    same(true, str_contains((string) pg_last_notice($c), 'does not exist'));
    pg_query($c, 'LISTEN foo');
    pg_query(plain(), "NOTIFY foo, 'x'");
    for ($i = 0; $i < 50 && !($n = pg_get_notify($c)); $i++) usleep(50000);
    same('x', $n['payload'] ?? null);
});
test('pg_trace of an error', function () {
    $c = plain();
    pg_send_query($c, 'SELECT 1/0');
    same('22012', pg_result_error_field(pg_get_result($c), PGSQL_DIAG_SQLSTATE));
});
test('persistent connections by pg_pconnect', function () {
    for ($i = 0; $i < 5; $i++) {
        $c = pg_pconnect('host=' . of('PGHOST') . ' port=' . of('PGPORT') . ' dbname=' . of('PGDATABASE') . ' user=' . of('PGUSER') . " password='" . of('PGPASSWORD') . "'");
        same('1', pg_fetch_result(pg_query($c, 'SELECT 1'), 0, 0));
        pg_close($c);
    }
});
