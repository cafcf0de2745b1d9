import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.*;
import java.util.concurrent.Callable;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObjectManager;

/**
 * What pgjdbc does on the wire, one habit a test: the switch to a named statement after five executions, batches
 * rewritten into one INSERT, rows fetched by portal, savepoints of its own, generated keys, catalogue queries of
 * DatabaseMetaData. Prints "ok NAME", or "not ok NAME: why"; a runner compares what it says with and without pgwarden.
 */
public class Habits {
    interface Test { void run(Connection c) throws Exception; }

    static final String URL = "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE");

    static String env(String name) { return System.getenv(name); }

    static Connection connect(String... options) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", env("PGUSER"));
        p.setProperty("password", env("PGPASSWORD"));
        p.setProperty("sslmode", "disable");
        for (int i = 0; i < options.length; i += 2) p.setProperty(options[i], options[i + 1]);
        return DriverManager.getConnection(URL, p);
    }

    static void same(Object wanted, Object found) {
        if (!Objects.equals(wanted, found)) throw new AssertionError("wanted " + wanted + ", found " + found);
    }

    static void test(String name, String[] options, Test body) {
        try (Connection c = connect(options)) {
            body.run(c);
            System.out.println("ok " + name);
        } catch (Throwable e) {
            String state = e instanceof SQLException ? ((SQLException) e).getSQLState() + " " : "";
            String text = (state + e).replace('\n', ' ');
            System.out.println("not ok " + name + ": " + text);
        }
    }

    static void test(String name, Test body) { test(name, new String[0], body); }

    /** In each of pgjdbc's ways to run a query. */
    static void everyMode(String name, Test body) {
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"})
            test(name + ", " + mode, new String[] {"preferQueryMode", mode}, body);
    }

    static void run(Connection c, String... statements) throws SQLException {
        try (Statement s = c.createStatement()) { for (String it : statements) s.execute(it); }
    }

    static List<String> strings(ResultSet r) throws SQLException {
        List<String> found = new ArrayList<>();
        while (r.next()) found.add(r.getString(1));
        return found;
    }

    static String one(Connection c, String query) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(query)) {
            return r.next() ? r.getString(1) : null;
        }
    }

    /** Takes a SQLSTATE for granted. */
    static void fails(String state, Callable<?> body) throws Exception {
        try {
            body.call();
        } catch (SQLException e) {
            same(state, e.getSQLState());
            return;
        }
        throw new AssertionError("it did not fail");
    }

    public static void main(String[] arguments) throws Exception {
        // The tables, by the server itself: lasting DDL is nobody's business behind pgwarden.
        String server = URL.replace(":" + env("PGPORT") + "/", ":" + env("SERVER_PORT") + "/");
        try (Connection c = DriverManager.getConnection(server, env("PGUSER"), env("PGPASSWORD"))) {
            run(c, "CREATE TABLE jdbc_items (id serial PRIMARY KEY, name text NOT NULL, amount numeric(10,2), at timestamptz DEFAULT now(), tags text[], doc jsonb, raw bytea)",
                "CREATE TABLE jdbc_child (id int PRIMARY KEY, item int REFERENCES jdbc_items (id))",
                "CREATE INDEX jdbc_items_name ON jdbc_items (name)",
                "CREATE TYPE jdbc_mood AS ENUM ('sad', 'fine')");
        }
        // Behind pgwarden they are known when it has read the catalogue.
        for (int tries = 0; tries < 100; tries++)
            try (Connection c = connect()) {
                run(c, "SELECT FROM jdbc_child");
                break;
            } catch (SQLException e) { Thread.sleep(200); }
        queries();
        batches();
        cursors();
        transactions();
        keys();
        values();
        metadata();
        sessions();
        copies();
        recovery();
    }

    static void queries() {
        everyMode("a parameter, twelve times over", c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT ?::int + 1, ?::text")) {
                for (int i = 0; i < 12; i++) {
                    s.setInt(1, i);
                    s.setString(2, "x" + i);
                    try (ResultSet r = s.executeQuery()) {
                        r.next();
                        same(i + 1, r.getInt(1));
                        same("x" + i, r.getString(2));
                    }
                }
            }
        });
        everyMode("several statements in one", c -> {
            try (Statement s = c.createStatement()) {
                same(true, s.execute("SELECT 1; SELECT 2; SELECT 3"));
                for (int i = 1; i <= 3; i++) {
                    ResultSet r = s.getResultSet();
                    r.next();
                    same(i, r.getInt(1));
                    s.getMoreResults();
                }
            }
        });
        test("several statements with parameters", c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT ?::int; SELECT ?::int")) {
                for (int i = 0; i < 8; i++) {
                    s.setInt(1, i);
                    s.setInt(2, -i);
                    s.execute();
                    ResultSet r = s.getResultSet();
                    r.next();
                    same(i, r.getInt(1));
                    same(true, s.getMoreResults());
                    r = s.getResultSet();
                    r.next();
                    same(-i, r.getInt(1));
                }
            }
        });
        everyMode("an empty statement", c -> {
            try (Statement s = c.createStatement()) { same(false, s.execute("")); same(false, s.execute(";")); }
        });
        test("server-prepared from the first time", new String[] {"prepareThreshold", "-1"}, c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT ?::bigint")) {
                s.setLong(1, 1L << 40);
                for (int i = 0; i < 3; i++) try (ResultSet r = s.executeQuery()) { r.next(); same(1L << 40, r.getLong(1)); }
                same(true, s.unwrap(PGStatement.class).isUseServerPrepare());
            }
        });
        test("a cache of two statements", new String[] {"preparedStatementCacheQueries", "2", "prepareThreshold", "1"}, c -> {
            for (int round = 0; round < 5; round++)
                for (int i = 0; i < 9; i++)
                    try (PreparedStatement s = c.prepareStatement("SELECT ?::int + " + i)) {
                        s.setInt(1, 1);
                        try (ResultSet r = s.executeQuery()) { r.next(); same(1 + i, r.getInt(1)); }
                    }
        });
        test("the type of a parameter changes", new String[] {"prepareThreshold", "2"}, c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT ?")) {
                for (int i = 0; i < 4; i++) {
                    s.setInt(1, 5);
                    try (ResultSet r = s.executeQuery()) { r.next(); same("5", r.getString(1)); }
                    s.setString(1, "five");
                    try (ResultSet r = s.executeQuery()) { r.next(); same("five", r.getString(1)); }
                    s.setNull(1, Types.BIGINT);
                    try (ResultSet r = s.executeQuery()) { r.next(); same(null, r.getString(1)); }
                }
            }
        });
        test("a parameter's description before it runs", c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT name, amount FROM jdbc_items WHERE id = ? AND amount > ?")) {
                ParameterMetaData p = s.getParameterMetaData();
                same(2, p.getParameterCount());
                same(Types.INTEGER, p.getParameterType(1));
                same(Types.NUMERIC, p.getParameterType(2));
                ResultSetMetaData m = s.getMetaData();
                same("name", m.getColumnName(1));
                same("jdbc_items", ((org.postgresql.PGResultSetMetaData) m).getBaseTableName(1));
                same(ResultSetMetaData.columnNoNulls, m.isNullable(1));
            }
        });
        everyMode("calls with the escapes of JDBC", c -> {
            same("abc", one(c, "SELECT {fn lcase('ABC')}"));
            same("2", one(c, "SELECT {fn length({fn concat('a', 'b')})}"));
            same("2020-01-02", one(c, "SELECT {d '2020-01-02'}"));
        });
        test("a function through CallableStatement", c -> {
            try (CallableStatement s = c.prepareCall("{? = call upper(?)}")) {
                s.registerOutParameter(1, Types.VARCHAR);
                s.setString(2, "abc");
                s.execute();
                same("ABC", s.getString(1));
            }
        });
        test("max rows", c -> {
            try (Statement s = c.createStatement()) {
                s.setMaxRows(3);
                same(3, strings(s.executeQuery("SELECT generate_series(1, 100)")).size());
                same(3, strings(s.executeQuery("SELECT generate_series(1, 100)")).size());
            }
        });
        test("a query times out", c -> {
            try (Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                fails("57014", () -> s.executeQuery("SELECT count(*) FROM generate_series(1, 2000000000)"));
            }
            same("1", one(c, "SELECT 1"));
        });
        test("a query is cancelled", c -> {
            try (Statement s = c.createStatement()) {
                Thread t = new Thread(() -> { try { Thread.sleep(500); s.cancel(); } catch (Exception e) { } });
                t.start();
                fails("57014", () -> s.executeQuery("SELECT count(*) FROM generate_series(1, 2000000000)"));
                t.join();
            }
            same("1", one(c, "SELECT 1"));
        });
    }

    static void batches() {
        for (String rewritten : new String[] {"false", "true"}) {
            String how = rewritten.equals("true") ? ", rewritten" : "";
            String[] options = {"reWriteBatchedInserts", rewritten};
            test("a batch of INSERTs" + how, options, c -> {
                for (int size : new int[] {1, 2, 3, 8, 130, 1000}) {
                    run(c, "DELETE FROM jdbc_items");
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name, amount) VALUES (?, ?)")) {
                        for (int i = 0; i < size; i++) {
                            s.setString(1, "n" + i);
                            s.setBigDecimal(2, BigDecimal.valueOf(i, 2));
                            s.addBatch();
                        }
                        same(size, s.executeBatch().length);
                    }
                    same("" + size, one(c, "SELECT count(*) FROM jdbc_items"));
                }
            });
            test("a batch with RETURNING" + how, options, c -> {
                run(c, "DELETE FROM jdbc_items");
                try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                    for (int i = 0; i < 20; i++) { s.setString(1, "n" + i); s.addBatch(); }
                    s.executeBatch();
                    same(20, strings(s.getGeneratedKeys()).size());
                }
            });
            test("a batch with a fault in it" + how, options, c -> {
                run(c, "DELETE FROM jdbc_items");
                try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name) VALUES (?)")) {
                    for (String name : new String[] {"a", null, "b"}) { s.setString(1, name); s.addBatch(); }
                    try {
                        s.executeBatch();
                        throw new AssertionError("it did not fail");
                    } catch (BatchUpdateException e) { same("23502", e.getSQLState()); }
                }
                same("0", one(c, "SELECT count(*) FROM jdbc_items"));
            });
            test("a batch of an upsert" + how, options, c -> {
                run(c, "DELETE FROM jdbc_items", "INSERT INTO jdbc_items (id, name) VALUES (1000001, 'old')");
                try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name")) {
                    for (int i = 0; i < 10; i++) { s.setInt(1, 1000001 + i); s.setString(2, "new" + i); s.addBatch(); }
                    s.executeBatch();
                }
                same("new0", one(c, "SELECT name FROM jdbc_items WHERE id = 1000001"));
            });
        }
        test("a batch of texts", c -> {
            run(c, "DELETE FROM jdbc_items");
            try (Statement s = c.createStatement()) {
                for (int i = 0; i < 300; i++) s.addBatch("INSERT INTO jdbc_items (name) VALUES ('t" + i + "')");
                s.addBatch("UPDATE jdbc_items SET amount = 1");
                int[] counts = s.executeBatch();
                same(300, counts[300]);
            }
        });
        test("a batch whose types change", c -> {
            run(c, "DELETE FROM jdbc_items");
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name, amount) VALUES (?, ?)")) {
                for (int i = 0; i < 20; i++) {
                    s.setString(1, "n" + i);
                    if (i % 3 == 0) s.setInt(2, i); else if (i % 3 == 1) s.setBigDecimal(2, BigDecimal.ONE); else s.setNull(2, Types.NULL);
                    s.addBatch();
                }
                same(20, s.executeBatch().length);
            }
        });
    }

    static void cursors() {
        test("rows by portal", c -> {
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) {
                s.setFetchSize(7);
                same(100, strings(s.executeQuery("SELECT generate_series(1, 100)")).size());
            }
            c.commit();
        });
        test("two portals by turns", new String[] {"defaultRowFetchSize", "5"}, c -> {
            c.setAutoCommit(false);
            try (PreparedStatement a = c.prepareStatement("SELECT generate_series(1, ?)"); PreparedStatement b = c.prepareStatement("SELECT generate_series(1, ?)")) {
                a.setInt(1, 40);
                b.setInt(1, 40);
                ResultSet x = a.executeQuery(), y = b.executeQuery();
                for (int i = 1; i <= 40; i++) {
                    x.next();
                    y.next();
                    same(i, x.getInt(1));
                    same(i, y.getInt(1));
                    if (i == 20) same("1", one(c, "SELECT 1"));
                }
            }
            c.rollback();
        });
        test("a portal is left half read, many times", new String[] {"defaultRowFetchSize", "3", "prepareThreshold", "2"}, c -> {
            c.setAutoCommit(false);
            for (int i = 0; i < 10; i++) {
                try (PreparedStatement s = c.prepareStatement("SELECT generate_series(1, 50)")) {
                    ResultSet r = s.executeQuery();
                    for (int n = 0; n < 5; n++) r.next();
                }
                if (i % 3 == 0) c.commit();
            }
        });
        test("adaptive fetch", new String[] {"adaptiveFetch", "true", "defaultRowFetchSize", "2", "maxResultBuffer", "100k"}, c -> {
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) { same(500, strings(s.executeQuery("SELECT repeat('x', 100) FROM generate_series(1, 500)")).size()); }
        });
        test("a result that can be scrolled", c -> {
            try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
                ResultSet r = s.executeQuery("SELECT generate_series(1, 10)");
                r.last();
                same(10, r.getInt(1));
                r.absolute(3);
                same(3, r.getInt(1));
            }
        });
        test("a result that can be written", c -> {
            run(c, "DELETE FROM jdbc_items", "INSERT INTO jdbc_items (id, name) VALUES (1, 'a'), (2, 'b')");
            try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_SENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                ResultSet r = s.executeQuery("SELECT id, name FROM jdbc_items ORDER BY id");
                r.next();
                r.updateString("name", "aa");
                r.updateRow();
                r.moveToInsertRow();
                r.updateInt("id", 3);
                r.updateString("name", "c");
                r.insertRow();
                r.moveToCurrentRow();
                r.next();
                r.deleteRow();
            }
            same("aa,c", one(c, "SELECT string_agg(name, ',' ORDER BY id) FROM jdbc_items"));
        });
        test("a cursor by name", c -> {
            c.setAutoCommit(false);
            run(c, "DECLARE jc CURSOR FOR SELECT generate_series(1, 9)");
            same(4, fetched(c, "FETCH 4 FROM jc"));
            same(5, fetched(c, "FETCH ALL FROM jc"));
            run(c, "CLOSE jc");
            c.commit();
        });
        test("a cursor that is held", c -> {
            run(c, "DECLARE jh CURSOR WITH HOLD FOR SELECT generate_series(1, 9)");
            same(4, fetched(c, "FETCH 4 FROM jh"));
            same(5, fetched(c, "FETCH ALL FROM jh"));
            run(c, "CLOSE jh");
        });
    }

    static int fetched(Connection c, String text) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(text)) { return strings(r).size(); }
    }

    static void transactions() {
        everyMode("commit and rollback", c -> {
            run(c, "DELETE FROM jdbc_items");
            c.setAutoCommit(false);
            run(c, "INSERT INTO jdbc_items (name) VALUES ('kept')");
            c.commit();
            run(c, "INSERT INTO jdbc_items (name) VALUES ('gone')");
            c.rollback();
            same("kept", one(c, "SELECT string_agg(name, ',') FROM jdbc_items"));
        });
        test("savepoints", c -> {
            run(c, "DELETE FROM jdbc_items");
            c.setAutoCommit(false);
            run(c, "INSERT INTO jdbc_items (name) VALUES ('a')");
            Savepoint named = c.setSavepoint("Mine \"x\"");
            run(c, "INSERT INTO jdbc_items (name) VALUES ('b')");
            Savepoint unnamed = c.setSavepoint();
            fails("23502", () -> { run(c, "INSERT INTO jdbc_items (name) VALUES (NULL)"); return null; });
            c.rollback(unnamed);
            c.releaseSavepoint(unnamed);
            c.rollback(named);
            c.commit();
            same("a", one(c, "SELECT string_agg(name, ',') FROM jdbc_items"));
        });
        for (String how : new String[] {"always", "conservative", "never"})
            test("autosave " + how, new String[] {"autosave", how, "prepareThreshold", "1"}, c -> {
                c.setAutoCommit(false);
                for (int i = 0; i < 8; i++) {
                    same("1", one(c, "SELECT 1"));
                    try { one(c, "SELECT 1/0"); } catch (SQLException e) { same("22012", e.getSQLState()); }
                    if (how.equals("always")) same("2", one(c, "SELECT 2"));
                    else {
                        fails("25P02", () -> one(c, "SELECT 2"));
                        c.rollback();
                    }
                }
                c.commit();
            });
        test("isolation and read only", c -> {
            for (int level : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE}) {
                c.setTransactionIsolation(level);
                same(level, c.getTransactionIsolation());
                c.setAutoCommit(false);
                same("1", one(c, "SELECT 1"));
                c.commit();
                c.setAutoCommit(true);
            }
            c.setReadOnly(true);
            c.setAutoCommit(false);
            fails("25006", () -> { run(c, "INSERT INTO jdbc_items (name) VALUES ('x')"); return null; });
            c.rollback();
            c.setReadOnly(false);
            run(c, "INSERT INTO jdbc_items (name) VALUES ('x')");
            c.commit();
        });
        for (String how : new String[] {"ignore", "transaction", "always"})
            test("read only, by " + how, new String[] {"readOnly", "true", "readOnlyMode", how}, c -> {
                same("1", one(c, "SELECT 1"));
                c.setReadOnly(false);
                run(c, "DELETE FROM jdbc_items WHERE false");
                c.setReadOnly(true);
                same("2", one(c, "SELECT 2"));
            });
    }

    static void keys() {
        test("generated keys, all columns", c -> {
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                for (int i = 0; i < 7; i++) {
                    s.setString(1, "k" + i);
                    same(1, s.executeUpdate());
                    ResultSet r = s.getGeneratedKeys();
                    same(true, r.next());
                    same("k" + i, r.getString("name"));
                }
            }
        });
        test("generated keys, by name", c -> {
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name) VALUES (?)", new String[] {"id"})) {
                s.setString(1, "k");
                s.executeUpdate();
                ResultSet r = s.getGeneratedKeys();
                r.next();
                same(1, r.getMetaData().getColumnCount());
            }
        });
        test("generated keys of UPDATE and DELETE", c -> {
            run(c, "DELETE FROM jdbc_items", "INSERT INTO jdbc_items (name) VALUES ('a'), ('b')");
            try (Statement s = c.createStatement()) {
                same(2, s.executeUpdate("UPDATE jdbc_items SET amount = 1", Statement.RETURN_GENERATED_KEYS));
                same(2, strings(s.getGeneratedKeys()).size());
                same(2, s.executeUpdate("DELETE FROM jdbc_items", new String[] {"name"}));
                same(Arrays.asList("a", "b"), strings(s.getGeneratedKeys()));
            }
        });
        test("RETURNING", c -> {
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items (name, amount) VALUES (?, ?) RETURNING id, at")) {
                for (int i = 0; i < 7; i++) {
                    s.setString(1, "r");
                    s.setBigDecimal(2, BigDecimal.TEN);
                    ResultSet r = s.executeQuery();
                    r.next();
                    if (r.getObject(2, OffsetDateTime.class) == null) throw new AssertionError("no time");
                }
            }
        });
    }

    static void values() {
        for (String binary : new String[] {"true", "false"})
            test("values there and back" + (binary.equals("true") ? ", binary" : ""), new String[] {"binaryTransfer", binary, "prepareThreshold", "1"}, c -> {
                run(c, "DELETE FROM jdbc_items");
                try (PreparedStatement w = c.prepareStatement("INSERT INTO jdbc_items (name, amount, at, tags, doc, raw) VALUES (?, ?, ?, ?, ?::jsonb, ?)");
                     PreparedStatement r = c.prepareStatement("SELECT name, amount, at, tags, doc, raw, ?::date, ?::uuid, ?::float8, ?::bool FROM jdbc_items WHERE name = ?")) {
                    for (int i = 0; i < 7; i++) {
                        w.setString(1, "é€" + i);
                        w.setBigDecimal(2, new BigDecimal("12.34"));
                        w.setObject(3, OffsetDateTime.parse("2020-01-02T03:04:05Z"));
                        w.setArray(4, c.createArrayOf("text", new String[] {"a", null, "\"q\""}));
                        w.setString(5, "{\"a\": 1}");
                        w.setBytes(6, new byte[] {0, 1, (byte) 255});
                        same(1, w.executeUpdate());
                        UUID u = UUID.randomUUID();
                        r.setObject(1, LocalDate.of(2020, 2, 29));
                        r.setObject(2, u);
                        r.setDouble(3, 1.5);
                        r.setBoolean(4, true);
                        r.setString(5, "é€" + i);
                        ResultSet f = r.executeQuery();
                        f.next();
                        same(new BigDecimal("12.34"), f.getBigDecimal(2));
                        same(OffsetDateTime.parse("2020-01-02T03:04:05Z").toInstant(), f.getObject(3, OffsetDateTime.class).toInstant());
                        same("[a, null, \"q\"]", Arrays.toString((String[]) f.getArray(4).getArray()));
                        same("{\"a\": 1}", f.getString(5));
                        same(3, f.getBytes(6).length);
                        same(LocalDate.of(2020, 2, 29), f.getObject(7, LocalDate.class));
                        same(u, f.getObject(8));
                        same(1.5, f.getDouble(9));
                        same(true, f.getBoolean(10));
                    }
                }
            });
        test("arrays and ANY", c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT x FROM generate_series(1, 10) x WHERE x = ANY (?)")) {
                for (int i = 0; i < 7; i++) {
                    s.setArray(1, c.createArrayOf("int4", new Integer[] {2, 3}));
                    same(Arrays.asList("2", "3"), strings(s.executeQuery()));
                }
            }
        });
        test("an array of a table's rows", c -> {
            run(c, "DELETE FROM jdbc_items", "INSERT INTO jdbc_items (id, name) VALUES (1, 'a')");
            same("1", one(c, "SELECT (i).id FROM (SELECT unnest(array_agg(j)) AS i FROM jdbc_items j) q"));
        });
        test("a type of its own", c -> {
            for (int i = 0; i < 7; i++)
                try (PreparedStatement s = c.prepareStatement("SELECT ?::jdbc_mood, ?::jdbc_mood[]")) {
                    s.setString(1, "fine");
                    s.setArray(2, c.createArrayOf("jdbc_mood", new String[] {"sad"}));
                    ResultSet r = s.executeQuery();
                    r.next();
                    same("fine", r.getString(1));
                    same("jdbc_mood", r.getMetaData().getColumnTypeName(1));
                    same("sad", ((Object[]) r.getArray(2).getArray())[0].toString());
                }
        });
        test("SQLXML and streams", c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT ?::xml, ?::text")) {
                SQLXML x = c.createSQLXML();
                x.setString("<a/>");
                s.setSQLXML(1, x);
                s.setCharacterStream(2, new StringReader("long".repeat(1000)));
                ResultSet r = s.executeQuery();
                r.next();
                same("<a/>", r.getSQLXML(1).getString());
                same(4000, r.getString(2).length());
            }
        });
    }

    static void metadata() {
        test("product and versions", c -> {
            DatabaseMetaData m = c.getMetaData();
            same("PostgreSQL", m.getDatabaseProductName());
            m.getDatabaseProductVersion();
            m.getMaxColumnNameLength();
            m.getSQLKeywords();
            same(true, c.isValid(2));
            same("public", c.getSchema());
            same(env("PGDATABASE"), c.getCatalog());
            if (m.getUserName() == null) throw new AssertionError("no user");
        });
        list("getSchemas", m -> m.getSchemas(), "public");
        list("getCatalogs", m -> m.getCatalogs(), env("PGDATABASE"));
        list("getTableTypes", m -> m.getTableTypes(), "TABLE");
        list("getTables", m -> m.getTables(null, "public", "jdbc%", null), null);
        list("getTables of a kind", m -> m.getTables(null, null, "jdbc_items", new String[] {"TABLE", "VIEW"}), null);
        list("getColumns", m -> m.getColumns(null, "public", "jdbc_items", "%"), null);
        list("getPrimaryKeys", m -> m.getPrimaryKeys(null, "public", "jdbc_items"), null);
        list("getIndexInfo", m -> m.getIndexInfo(null, "public", "jdbc_items", false, false), null);
        list("getImportedKeys", m -> m.getImportedKeys(null, "public", "jdbc_child"), null);
        list("getExportedKeys", m -> m.getExportedKeys(null, "public", "jdbc_items"), null);
        list("getCrossReference", m -> m.getCrossReference(null, null, "jdbc_items", null, null, "jdbc_child"), null);
        list("getTypeInfo", m -> m.getTypeInfo(), "bool");
        list("getProcedures", m -> m.getProcedures(null, "public", "%"), "");
        list("getFunctions", m -> m.getFunctions(null, "pg_catalog", "upper"), null);
        list("getFunctionColumns", m -> m.getFunctionColumns(null, "pg_catalog", "upper", "%"), null);
        list("getProcedureColumns", m -> m.getProcedureColumns(null, "public", "%", "%"), "");
        list("getTablePrivileges", m -> m.getTablePrivileges(null, "public", "jdbc_items"), null);
        list("getColumnPrivileges", m -> m.getColumnPrivileges(null, "public", "jdbc_items", "id"), null);
        list("getBestRowIdentifier", m -> m.getBestRowIdentifier(null, "public", "jdbc_items", 0, false), null);
        list("getVersionColumns", m -> m.getVersionColumns(null, "public", "jdbc_items"), null);
        list("getUDTs", m -> m.getUDTs(null, "public", "%", null), "");
        list("getClientInfoProperties", m -> m.getClientInfoProperties(), "ApplicationName");
        test("what ORMs read of a result", c -> {
            try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT i.id, i.name AS alias, i.doc FROM jdbc_items i")) {
                ResultSetMetaData m = r.getMetaData();
                for (int i = 1; i <= m.getColumnCount(); i++) {
                    m.getTableName(i);
                    m.getSchemaName(i);
                    m.isAutoIncrement(i);
                    m.isNullable(i);
                    m.getColumnClassName(i);
                }
                same(true, m.isAutoIncrement(1));
            }
        });
    }

    interface Listing { ResultSet of(DatabaseMetaData m) throws SQLException; }

    /** `first` stands in the first column of some row; null: any row will do; "": none needs to be there. */
    static void list(String name, Listing listing, String first) {
        test(name, c -> {
            List<String> found = strings(listing.of(c.getMetaData()));
            if ("".equals(first)) return;
            if (first == null ? found.isEmpty() : !found.contains(first)) throw new AssertionError("found " + found.size() + " rows");
        });
    }

    static void sessions() {
        test("settings by the URL", new String[] {"options", "-c statement_timeout=12345 -c search_path=public", "ApplicationName", "Habits", "currentSchema", "public"}, c -> {
            same("12345ms", one(c, "SHOW statement_timeout"));
            same("Habits", one(c, "SHOW application_name"));
            c.setClientInfo("ApplicationName", "other");
            same("other", one(c, "SHOW application_name"));
            same("other", c.getClientInfo("ApplicationName"));
        });
        test("a schema by setSchema", c -> {
            c.setSchema("test_schema");
            same("test_schema", c.getSchema());
            for (int i = 0; i < 3; i++) same("test_schema", one(c, "SELECT current_schema()"));
        });
        test("a statement's time-out by SET", c -> {
            run(c, "SET statement_timeout = '2s'");
            same("2s", one(c, "SHOW statement_timeout"));
            run(c, "SET LOCAL statement_timeout = '1s'", "RESET statement_timeout", "SET TIME ZONE 'Europe/Rome'", "SET DateStyle TO 'ISO, DMY'");
            same("0", one(c, "SHOW statement_timeout"));
            same("Europe/Rome", one(c, "SHOW TimeZone"));
        });
        test("the network time-out", c -> {
            c.setNetworkTimeout(Runnable::run, 10000);
            same("1", one(c, "SELECT 1"));
        });
        test("notifications", c -> {
            run(c, "LISTEN foo");
            try (Connection other = connect()) { run(other, "NOTIFY foo, 'hello'"); }
            org.postgresql.PGNotification[] found = c.unwrap(PGConnection.class).getNotifications(5000);
            same("hello", found[0].getParameter());
            run(c, "UNLISTEN *");
        });
        test("a temporary table", c -> {
            run(c, "CREATE TEMP TABLE jt (a int, b text)", "INSERT INTO jt VALUES (1, 'x'), (2, 'y')");
            same("2", one(c, "SELECT count(*) FROM jt"));
            run(c, "TRUNCATE jt", "DROP TABLE jt");
        });
        test("warnings", c -> {
            try (Statement s = c.createStatement()) {
                s.execute("DROP TABLE IF EXISTS jdbc_nobody");
                if (s.getWarnings() == null) throw new AssertionError("no warning");
                same("00000", s.getWarnings().getSQLState());
            }
        });
        test("DISCARD ALL", new String[] {"prepareThreshold", "1"}, c -> {
            for (int i = 0; i < 4; i++) {
                try (PreparedStatement s = c.prepareStatement("SELECT 7")) { ResultSet r = s.executeQuery(); r.next(); same(7, r.getInt(1)); }
                run(c, "DISCARD ALL");
            }
        });
        test("DEALLOCATE ALL", new String[] {"prepareThreshold", "1"}, c -> {
            for (int i = 0; i < 4; i++) {
                try (PreparedStatement s = c.prepareStatement("SELECT 7")) { ResultSet r = s.executeQuery(); r.next(); same(7, r.getInt(1)); }
                run(c, "DEALLOCATE ALL");
            }
        });
        test("PREPARE and EXECUTE of SQL", c -> {
            run(c, "PREPARE jp (int) AS SELECT $1 + 1");
            same("3", one(c, "EXECUTE jp (2)"));
            same("4", one(c, "EXECUTE jp (3)"));
            run(c, "DEALLOCATE jp");
        });
        test("a wrong password", c -> {
            Properties p = new Properties();
            p.setProperty("user", env("PGUSER"));
            p.setProperty("password", "nobody");
            p.setProperty("sslmode", "disable");
            // Where PostgreSQL trusts, it lets in.
            try { DriverManager.getConnection(URL, p).close(); } catch (SQLException e) { same("28P01", e.getSQLState()); }
        });
        test("an unknown database", c -> fails("3D000", () -> {
            Properties p = new Properties();
            p.setProperty("user", env("PGUSER"));
            p.setProperty("password", env("PGPASSWORD"));
            p.setProperty("sslmode", "disable");
            return DriverManager.getConnection(URL.replace("/" + env("PGDATABASE"), "/jdbc_nowhere"), p);
        }));
        test("many connections, one after the other", c -> {
            for (int i = 0; i < 30; i++) try (Connection d = connect()) { same("1", one(d, "SELECT 1")); }
        });
    }

    static void copies() {
        test("COPY in and out", c -> {
            run(c, "DELETE FROM jdbc_items");
            CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
            same(3L, m.copyIn("COPY jdbc_items (name, amount) FROM STDIN (FORMAT csv)", new StringReader("a,1\nb,2\n\"c,c\",3\n")));
            StringWriter out = new StringWriter();
            m.copyOut("COPY (SELECT name, amount FROM jdbc_items ORDER BY name) TO STDOUT (FORMAT csv, HEADER)", out);
            same("name,amount\na,1.00\nb,2.00\n\"c,c\",3.00\n", out.toString());
            StringWriter whole = new StringWriter();
            same(3L, m.copyOut("COPY jdbc_items (name) TO STDOUT", whole));
        });
        test("COPY that fails", c -> {
            CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
            fails("22P02", () -> m.copyIn("COPY jdbc_items (name, amount) FROM STDIN", new StringReader("a\tb\n")));
            same("1", one(c, "SELECT 1"));
        });
        test("COPY that is cancelled", c -> {
            var in = c.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY jdbc_items (name) FROM STDIN");
            in.writeToCopy("a\n".getBytes(), 0, 2);
            in.cancelCopy();
            same("1", one(c, "SELECT 1"));
        });
        test("a large object", c -> {
            c.setAutoCommit(false);
            LargeObjectManager m = c.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = m.createLO();
            var o = m.open(oid);
            o.write("hello".getBytes());
            o.close();
            m.delete(oid);
            c.commit();
        });
    }

    static void recovery() {
        test("an error, then on", c -> {
            fails("42601", () -> one(c, "SELEC 1"));
            fails("42703", () -> one(c, "SELECT nobody FROM jdbc_items"));
            fails("22012", () -> one(c, "SELECT 1/0"));
            fails("23505", () -> { run(c, "INSERT INTO jdbc_items (id, name) VALUES (-1, 'x')", "INSERT INTO jdbc_items (id, name) VALUES (-1, 'x')"); return null; });
            fails("23503", () -> { run(c, "INSERT INTO jdbc_child VALUES (1, -5)"); return null; });
            same("1", one(c, "SELECT 1"));
        });
        test("a table changes under a prepared statement", new String[] {"prepareThreshold", "1"}, c -> {
            run(c, "DROP TABLE IF EXISTS jdbc_shape", "CREATE TABLE jdbc_shape (a int)", "INSERT INTO jdbc_shape VALUES (1)");
            try (PreparedStatement s = c.prepareStatement("SELECT * FROM jdbc_shape")) {
                for (int i = 0; i < 7; i++) strings(s.executeQuery());
                run(c, "ALTER TABLE jdbc_shape ADD COLUMN b int");
                ResultSet r = s.executeQuery();
                same(2, r.getMetaData().getColumnCount());
            }
            run(c, "DROP TABLE jdbc_shape");
        });
        test("a table that is not there", c -> fails("42P01", () -> one(c, "SELECT * FROM jdbc_nobody")));
        test("an error's position", c -> {
            try {
                one(c, "SELECT id, nobody FROM jdbc_items WHERE id = 1");
                throw new AssertionError("it did not fail");
            } catch (org.postgresql.util.PSQLException e) {
                same(12, e.getServerErrorMessage().getPosition());
            }
        });
    }
}
