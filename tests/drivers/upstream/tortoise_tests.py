"""Tortoise ORM's tests, over asyncpg or psycopg."""

import dataclasses

import scope
from python import Pytest

# The source package lacks the fixtures that its tests begin with. A database for each test there is
# not: the tables are made anew, by a break-glass role, as migrations are.
FIXTURES = r'''
import os
import re

import psycopg
import pytest_asyncio
import tortoise.context
from tortoise.backends.base_postgres.client import BasePostgresClient
from tortoise.context import tortoise_test_context

DDL = re.compile(r"\s*(CREATE|DROP|ALTER|COMMENT ON)\s", re.IGNORECASE)

def migrate(statement):
    with psycopg.connect(password=os.environ["MIGRATIONS_PASSWORD"], autocommit=True,
                         options="-c lock_timeout=5s -c client_min_messages=warning") as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []

run_script = BasePostgresClient.execute_script

async def script(self, query):
    if DDL.match(query):
        migrate(query)
    else:
        await run_script(self, query)

async def no_tables(self):
    tables = migrate("SELECT format('%I', relname) FROM pg_class WHERE relkind IN ('r', 'p') "
                     "AND relnamespace = 'public'::regnamespace")
    for name, in tables:
        migrate(f"DROP TABLE IF EXISTS {name} CASCADE")

async def nothing(self):
    await self.close()

def take_over(client):
    for it in client.__subclasses__():
        take_over(it)
    for name, ours in (("execute_script", script), ("db_create", no_tables), ("db_delete", nothing)):
        if name in client.__dict__ and not getattr(client.__dict__[name], "__isabstractmethod__", False):
            setattr(client, name, ours)

from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.backends.psycopg.client import PsycopgClient
take_over(BasePostgresClient)

def tables():
    return tortoise_test_context(modules=["tests.testmodels"], db_url=os.environ["TORTOISE_TEST_DB"],
                                 app_label="models", connection_label="models")

@pytest_asyncio.fixture(scope="module")
async def db_module():
    async with tables() as context:
        before, tortoise.context._global_context = tortoise.context._global_context, context
        yield context
        tortoise.context._global_context = before

@pytest_asyncio.fixture
async def db_simple(db_module):
    token = tortoise.context._current_context.set(db_module)
    yield db_module
    tortoise.context._current_context.reset(token)

class Undone(Exception):
    pass

@pytest_asyncio.fixture
async def db(db_simple):
    transaction = db_simple.db()._in_transaction()
    await transaction.__aenter__()
    yield db_simple
    await transaction.__aexit__(Undone, Undone(), None)

@pytest_asyncio.fixture
async def db_truncate(db_simple):
    yield db_simple
    for model in db_simple.apps.get_models_iterable():
        await model._meta.db.execute_query(f'DELETE FROM "{model._meta.db_table}"')

@pytest_asyncio.fixture
async def db_isolated():
    async with tables() as context:
        yield context
'''


@dataclasses.dataclass
class Tortoise(Pytest):
    """With tables scoped from the moment they are made."""

    scoped: str = "always"

    def prepare(self, directory):
        super().prepare(directory)
        (self.place(directory) / "conftest.py").write_text(FIXTURES)

    def run(self, directory, environment, results):
        scope.everything(environment, environment["PGDATABASE"], later=True)
        return super().run(directory, environment, results)
