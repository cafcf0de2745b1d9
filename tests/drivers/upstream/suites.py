"""The upstream suites: where they come from, and how they are run.

A suite has `prepare(directory)`, which fetches it and what it needs, once, and
`run(directory, environment, results)`, which gives each test's outcome and why it failed.
"""

from django_tests import Django
from golang import Go
from node import Mocha, Scripts
from python import Pytest
from rust import Crate

URL = "postgresql+{driver}://{{PGUSER}}:{{PGPASSWORD}}@{{PGHOST}}:{{PGPORT}}/{{PGDATABASE}}"
CONNECTION = "user={PGUSER} password={PGPASSWORD} dbname={PGDATABASE}"
PG = "pg@8.16.3"


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
        version="4.2.16",
        drivers=["psycopg[binary]==3.2.13"],
        labels=["aggregation", "aggregation_regress", "annotations", "backends", "basic",
                "bulk_create", "constraints", "custom_columns", "datatypes", "dates", "datetimes",
                "db_functions", "db_utils", "defer", "delete", "distinct_on_fields", "expressions",
                "expressions_case", "expressions_window", "extra_regress", "field_defaults",
                "filtered_relation", "generic_relations", "get_or_create", "inspectdb",
                "introspection", "invalid_models_tests", "known_related_objects", "lookup",
                "many_to_many", "many_to_one", "model_fields", "model_inheritance", "nested_foreign_keys",
                "null_queries", "one_to_one", "ordering", "or_lookups", "prefetch_related",
                "queries", "queryset_pickle", "raw_query", "reverse_lookup",
                "select_for_update", "select_related", "timezones", "transactions",
                "transaction_hooks", "update", "update_only_fields", "validation", "xor_lookups",
                # Last: what it leaves behind when DDL fails would spoil the others.
                "postgres_tests"]),
    "node-postgres": Scripts(tests="pg@4.0.0", release="pg@6.4.2", node="node@10.24.1"),
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
    "lib-pq": Go(debian="golang-github-lib-pq-dev", packages=["github.com/lib/pq"], environment={}),
    "pgx": Go(
        debian="golang-github-jackc-pgx-v4-dev",
        packages=["github.com/jackc/pgconn", "github.com/jackc/pgx/v4",
                  "github.com/jackc/pgx/v4/pgxpool", "github.com/jackc/pgx/v4/stdlib"],
        environment={name: CONNECTION + " host={PGHOST} port={PGPORT}" for name in (
            "PGX_TEST_DATABASE", "PGX_TEST_CONN_STRING", "PGX_TEST_TCP_CONN_STRING",
            "PGX_TEST_PGBOUNCER_CONN_STRING")}),
}
