"""
Databases of each kind with the tables of the tests' models, for tests that write in every way. A pytest plugin.

`engine` gives a fresh one: SQLite in WAL mode and PostgreSQL always, MariaDB with `--soak`, alone by `make mariadb`. It
has tables that none of Django's own statements would make: a view, constraints by which the database itself deletes
rows, and what a kind of database has beside these.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Literal, NamedTuple

import pytest
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import DjangoDbBlocker

from tests.models import UNSEEN
from tests.support import mariadb
from tests.support.databases import connected, postgresql_on
from tests.support.mariadb import MariaDB
from tests.support.postgres import PostgreSQL
from tests.support.servers import HOST

Name = Literal["sqlite", "postgresql", "mariadb"]
ALIAS = "engine"

VIEW = "CREATE VIEW tests_squadview AS SELECT s.id, s.name FROM tests_squad s"
# Chains of rows that the database deletes, as DO_NOTHING trusts it to.
CHAINS = (("tests_fan", "squad_id", "tests_squad"), ("tests_scarf", "fan_id", "tests_fan"))
TRIGGER = (
    "CREATE TRIGGER {child}_cascade AFTER DELETE ON {parent} BEGIN DELETE FROM {child} WHERE {column} = OLD.id; END"
)
CONSTRAINT = "ALTER TABLE {child} ADD FOREIGN KEY ({column}) REFERENCES {parent} (id) ON DELETE CASCADE"
BY_HAND = {
    "sqlite": (),
    "mysql": ("CREATE PROCEDURE rename_squads() UPDATE tests_squad SET name = 'Called'",),
    "postgresql": (
        "CREATE MATERIALIZED VIEW tests_squadtotal AS SELECT 1 AS id, count(*) AS total FROM tests_squad",
        """CREATE FUNCTION rename_squads() RETURNS bigint LANGUAGE sql AS
        $$ UPDATE tests_squad SET name = 'Called'; SELECT count(*) FROM tests_squad $$""",
        "CREATE PROCEDURE rename_all_squads() LANGUAGE sql AS $$ UPDATE tests_squad SET name = 'Called' $$",
        "CREATE TABLE tests_oldskill () INHERITS (tests_skill)",
    ),
}


class Engine(NamedTuple):
    """A database with the tables of the tests' models, under an alias."""

    name: Name
    alias: str
    settings: dict[str, Any]

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread."""
        return connections[self.alias]

    def execute(self, sql: str, parameters: Any = None) -> list[Any]:
        """Run a statement, and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def _made(name: Name, settings: dict[str, Any]) -> Iterator[Engine]:
    """Make the tables."""
    with connected(ALIAS, settings):
        call_command("migrate", database=ALIAS, run_syncdb=True, verbosity=0)
        connection = connections[ALIAS]
        constraint = TRIGGER if connection.vendor == "sqlite" else CONSTRAINT
        driver: Any = connection.connection  # by itself: what is made here is no statement of the library's tests
        with closing(driver.cursor()) as cursor:
            cursor.execute(VIEW)
            if UNSEEN is models.DO_NOTHING:
                for child, column, parent in CHAINS:
                    cursor.execute(constraint.format(child=child, column=column, parent=parent))
            for statement in BY_HAND[connection.vendor]:
                cursor.execute(statement)
    yield Engine(name, ALIAS, settings)


@pytest.fixture(scope="session")
def _sqlite_engine(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[Engine]:
    settings = {
        **connections.settings["default"],
        "NAME": str(tmp_path_factory.mktemp("engine") / "engine.sqlite3"),
        "TEST": {},
    }
    with django_db_blocker.unblock(), _made("sqlite", settings) as engine:
        yield engine


@pytest.fixture(scope="session")
def _postgresql_engine(django_db_blocker: DjangoDbBlocker) -> Iterator[Engine]:
    with (
        PostgreSQL() as server,
        django_db_blocker.unblock(),
        _made("postgresql", postgresql_on(server.port)) as engine,
    ):
        yield engine


@pytest.fixture(scope="session")
def _mariadb_engine(django_db_blocker: DjangoDbBlocker) -> Iterator[Engine]:
    import pymysql

    pymysql.install_as_MySQLdb()
    with MariaDB() as server:
        settings = {
            "ENGINE": "django.db.backends.mysql",
            "NAME": mariadb.DATABASE,
            "USER": mariadb.USER,
            "HOST": HOST,
            "PORT": str(server.port),
        }
        with django_db_blocker.unblock(), _made("mariadb", settings) as engine:
            yield engine


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test on a kind of database: that of a server which takes long to install."""
    return [pytest.mark.soak] if name == "mariadb" else []


NAMES = [pytest.param(name, marks=marks_of(name)) for name in ("sqlite", "postgresql", "mariadb")]


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[Engine]:
    """Run the test once on every kind of database, with empty tables; give the database."""
    made: Engine = request.getfixturevalue(f"_{request.param}_engine")
    with django_db_blocker.unblock(), connected(made.alias, made.settings):
        empty(made)
        yield made


def empty(engine: Engine) -> None:
    """Empty all tables, and let primary keys begin at 1."""
    connection = engine.connection
    tables = [name for name in connection.introspection.django_table_names(only_existing=True) if "tests_" in name]
    statements = connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=True)
    connection.ops.execute_sql_flush(statements)
