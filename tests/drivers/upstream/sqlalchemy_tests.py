"""SQLAlchemy's tests of its ORM, whose tables come and go with each class of tests."""

import dataclasses

import scope
from python import Pytest

# DDL goes as migrations do, by a break-glass role on connections of its own: a client can make no table
# of tenants' rows. What waits for the test's own transaction gives up.
BY_MIGRATIONS = r'''
import os
import re

import psycopg
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import provision as _  # it registers what is replaced below
from sqlalchemy.engine import Engine
from sqlalchemy.testing import provision

DDL = re.compile(r"\s*(CREATE|DROP|ALTER|COMMENT ON)\s+(?!(GLOBAL |LOCAL )?TEMP)", re.IGNORECASE)

def migrate(statement):
    with psycopg.connect(password=os.environ["MIGRATIONS_PASSWORD"], autocommit=True,
                         options="-c lock_timeout=2s -c client_min_messages=warning") as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []

@event.listens_for(Engine, "do_execute")
def by_migrations(cursor, statement, parameters, context):
    if DDL.match(statement):
        migrate(statement.replace("%%", "%"))
        return True

@event.listens_for(Engine, "do_execute_no_params")
def by_migrations_as_well(cursor, statement, context):
    return by_migrations(cursor, statement, None, context)

# Two-phase commits of others are nobody's business.
provision.drop_all_schema_objects_pre_tables.fns["postgresql"] = lambda config, engine: None
'''

HOOK = "from sqla_pytestplugin import *  # noqa"


@dataclasses.dataclass
class SQLAlchemyORM(Pytest):
    """With tables scoped from the moment they are made."""

    scoped: str = "always"

    def prepare(self, directory):
        self.replaced = {HOOK: HOOK + "\n    import by_migrations  # noqa"}
        super().prepare(directory)
        (self.place(directory) / "by_migrations.py").write_text(BY_MIGRATIONS)

    def run(self, directory, environment, results):
        scope.everything(environment, environment["PGDATABASE"], later=True)
        return super().run(directory, environment, results)
