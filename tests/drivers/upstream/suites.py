"""The upstream suites: where they come from, and how they are run.

A suite has `prepare(directory)`, which fetches it and what it needs, once, and
`run(directory, environment, results)`, which gives each test's outcome and why it failed.
"""

import pathlib

from django_tests import Django
from golang import Go
from node import Mocha, Repository, Scripts
from programs import Program
from python import Pytest
from rust import Crate
from sqlalchemy_tests import SQLAlchemyORM
from tortoise_tests import Tortoise

URL = "postgresql+{driver}://{{PGUSER}}:{{PGPASSWORD}}@{{PGHOST}}:{{PGPORT}}/{{PGDATABASE}}"
CONNECTION = "user={PGUSER} password={PGPASSWORD} dbname={PGDATABASE}"
PG = "pg@8.16.3"
HERE = pathlib.Path(__file__).parent.parent
JDBC = "/usr/share/java/postgresql.jar"


def sqlalchemy(driver, package):
    """SQLAlchemy's suite for those who write a dialect: the one there is on PyPI over psycopg 3."""
    return Pytest(
        source="sqlalchemy==2.0.44",
        drivers=[package],
        arguments=["-o", "addopts=", "--dburi", URL.format(driver=driver),
                   "test/dialect/postgresql/test_query.py",
                   "test/dialect/postgresql/test_on_conflict.py",
                   "test/dialect/postgresql/test_dialect.py",
                   "test/dialect/test_suite.py", "test/engine/test_transaction.py"])


SUITES = {
    "asyncpg": Pytest(
        source="asyncpg==0.30.0",
        drivers=["asyncpg==0.30.0"],
        # Those look at the source's own style, and start servers themselves.
        arguments=["tests", "--ignore=tests/test__sourcecode.py",
                   "--ignore=tests/test__environment.py"],
        hidden="asyncpg"),
    "psycopg2": Pytest(
        source="psycopg2==2.9.10",
        drivers=["psycopg2-binary==2.9.10"],
        arguments=["tests"],
        environment={"PSYCOPG2_TESTDB": "{PGDATABASE}"}),
    "sqlalchemy-psycopg": sqlalchemy("psycopg", "psycopg[binary]==3.2.13"),
    "sqlalchemy-asyncpg": sqlalchemy("asyncpg", "asyncpg==0.30.0"),
    "sqlalchemy-orm": SQLAlchemyORM(
        source="sqlalchemy==2.0.44",
        drivers=["psycopg[binary]==3.2.13"],
        # One has an org_id of its own, a number; what it could not make stays in the others' way.
        arguments=["-o", "addopts=", "-k", "not M2MFilterTest",
                   "--dburi", URL.format(driver="psycopg"), "test/orm",
                   "test/sql/test_insert_exec.py", "test/sql/test_query.py",
                   "test/sql/test_resultset.py", "test/sql/test_returning.py",
                   "test/sql/test_update.py", "test/sql/test_sequences.py"]),
    "tortoise": Tortoise(
        source="tortoise_orm==1.1.9",
        drivers=["tortoise_orm==1.1.9", "asyncpg==0.30.0", "psycopg[binary,pool]==3.2.13",
                 "pytest-asyncio==1.5.0", "pydantic==2.14.3"],
        builders=["pdm-backend"],
        # Those are about MySQL's drivers, web frameworks, the texts of DDL, and time.
        arguments=["tests", *(f"--ignore=tests/{it}" for it in (
            "backends", "benchmarks", "cli", "contrib", "migrations", "schema", "test_context.py",
            "test_default.py"))],
        hidden="tortoise",
        environment={
            "TORTOISE_TEST_DB": "asyncpg://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}"}),
    "pg8000": Pytest(
        source="pg8000==1.31.2",
        drivers=["pg8000==1.31.2", "pytest-mock==3.14.0", "pytz"],
        builders=["hatchling", "versioningit"],
        # One of its tests takes a minute in the driver alone.
        arguments=["test", "--ignore-glob=*/test_benchmarks.py", "--ignore-glob=*/auth/*",
                   "--timeout=300"],
        replaced={'{"user": "postgres", "password": "pw"}':
                  '{"user": environ["PGUSER"], "database": environ["PGDATABASE"]}'}),
    "django": Django(
        version="5.2.19",
        drivers=["psycopg[binary]==3.2.13"],
        labels=["aggregation", "aggregation_regress", "annotations", "backends", "basic",
                "bulk_create", "composite_pk", "constraints", "custom_columns",
                "custom_lookups", "custom_managers", "custom_methods", "custom_pk", "datatypes",
                "dates", "datetimes", "db_functions", "db_typecasts", "db_utils", "defer",
                "defer_regress", "delete", "delete_regress", "distinct_on_fields",
                "expressions", "expressions_case", "expressions_window", "extra_regress",
                "field_defaults", "field_subclassing", "filtered_relation",
                "force_insert_update", "foreign_object", "from_db_value", "generic_relations",
                "generic_relations_regress", "get_earliest_or_latest", "get_object_or_404",
                "get_or_create", "inspectdb", "introspection", "invalid_models_tests",
                "known_related_objects", "lookup", "m2m_and_m2o", "m2m_intermediary",
                "m2m_multiple", "m2m_recursive", "m2m_regress", "m2m_signals", "m2m_through",
                "m2m_through_regress", "m2o_recursive", "managers_regress", "many_to_many",
                "many_to_one", "many_to_one_null", "max_lengths", "model_fields",
                "model_inheritance", "model_inheritance_regress", "model_options",
                "model_regress", "model_utils", "multiple_database", "mutually_referential",
                "nested_foreign_keys", "null_fk", "null_fk_ordering", "null_queries",
                "one_to_one", "or_lookups", "order_with_respect_to", "ordering",
                "prefetch_related", "properties", "proxy_models",
                "queries", "queryset_pickle", "raw_query", "reserved_names", "reverse_lookup",
                "save_delete_hooks", "select_for_update", "select_related",
                "select_related_onetoone", "select_related_regress", "signals", "string_lookup",
                "swappable_models", "timezones", "transaction_hooks", "transactions",
                "unmanaged_models", "update", "update_only_fields", "validation", "xor_lookups"],
        apart=["contenttypes_tests", "postgres_tests", "proxy_model_inheritance"]),
    "node-postgres-8": Repository(file="node-postgres_8.16.3+~cs35.24.27.orig.tar.gz"),
    "node-postgres": Scripts(tests="pg@4.5.7", release="pg@6.4.2", node="node@10.24.1"),
    "pg-cursor": Mocha(source="pg-cursor@2.10.0", packages=[PG]),
    "pg-pool": Mocha(
        source="pg-pool@3.2.0",
        packages=[PG, "pg-cursor@2.10.0", "bluebird@3.4.1", "co@4.6.0", "expect.js@0.3.1",
                  "lodash@4.17.21"]),
    "pg-query-stream": Mocha(
        source="pg-query-stream@3.3.0",
        packages=[PG, "pg-cursor@2.10.0", "concat-stream@1.0.1", "stream-spec@0.3.5",
                  "JSONStream@0.7.4", "through@2.3.8"],
        # They need stream-tester, which needs a repository that is gone.
        without=["test/stream-tester*.js", "test/pauses.js"]),
    "tokio-postgres": Crate(
        name="tokio-postgres",
        version="0.7.18",
        features=["with-uuid-1", "with-serde_json-1", "with-chrono-0_4", "array-impls"],
        replaced={
            "127.0.0.1:5433": "127.0.0.1:{PGPORT}",
            "port=5432,5433": "port=1,{PGPORT}",
            "port=5433,5433": "port={PGPORT},{PGPORT}",
            "port=5433": "port={PGPORT}",
            "user=postgres": CONNECTION,
        }),
    "jdbc": Program(
        packages="default-jdk-headless libpostgresql-jdbc-java",
        build=["javac", "-cp", JDBC, "-d", "{directory}", HERE / "java/Habits.java"],
        command=["java", "-cp", "{directory}:" + JDBC, "Habits"]),
    "node": Program(
        packages="nodejs npm",
        build=["npm", "--silent", "--no-audit", "--no-fund", "--prefix", "{directory}/node", "install",
               "pg@8.23.1", "pg-cursor@2.22.0", "pg-query-stream@4.17.0", "pg-copy-streams@7.0.0",
               "pg-promise@12.7.1", "postgres@3.4.9"],
        command=["node", HERE / "node/habits.js"],
        environment={"NODE_PATH": "{directory}/node/node_modules"}),
    "php": Program(packages="php-cli php-pgsql", command=["php", HERE / "php/habits.php"]),
    "odbc": Program(
        packages="odbc-postgresql unixodbc python3-pyodbc",
        command=["/usr/bin/python3", HERE / "python/odbc_habits.py"]),
    "lib-pq": Go(debian="golang-github-lib-pq-dev", packages=["github.com/lib/pq"], environment={}),
    "pgx": Go(
        debian="golang-github-jackc-pgx-v4-dev",
        packages=["github.com/jackc/pgconn", "github.com/jackc/pgx/v4",
                  "github.com/jackc/pgx/v4/pgxpool", "github.com/jackc/pgx/v4/stdlib"],
        environment={name: CONNECTION + " host={PGHOST} port={PGPORT}" for name in (
            "PGX_TEST_DATABASE", "PGX_TEST_CONN_STRING", "PGX_TEST_TCP_CONN_STRING",
            "PGX_TEST_PGBOUNCER_CONN_STRING")}),
}
