"""SQLite and PostgreSQL judge the parse of random SQL: which tables each statement reads and writes."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from random import Random
from typing import Any

import psycopg
import pytest

from cachedeco.invalidation.statements import Parser
from tests.support.engines import Engine
from tests.support.grammar import COLUMNS, TABLES, Grammar
from tests.support.selection import of_length

Truth = tuple[set[str], set[str]]  # the tables that are written, and those that are read
Judge = Callable[[str], Truth | None]

WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
LOCKS = """
    SELECT relname, mode FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relpersistence = 't'
"""


@contextmanager
def sqlite_judge() -> Generator[Judge]:
    """Give a judge who asks the authorizer of SQLite; None for what SQLite refuses."""
    actions: list[tuple[Any, ...]] = []
    # Nothing is prepared before: the authorizer is told once for each text.
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
    for name in TABLES:
        connection.execute(f'CREATE TABLE "{name}" ({COLUMNS})')
    connection.set_authorizer(lambda *action: actions.append(action) or sqlite3.SQLITE_OK)

    def judge(text: str) -> Truth | None:
        connection.execute("BEGIN")
        actions.clear()
        try:
            connection.execute(text)
        except sqlite3.Error:
            return None
        else:
            written = {table for code, table, *_ in actions if code in WRITES}
            read = {table for code, table, *_ in actions if code == sqlite3.SQLITE_READ}
            return written & {*TABLES}, read & {*TABLES}
        finally:
            connection.execute("ROLLBACK")

    with closing(connection):
        yield judge


@contextmanager
def postgresql_judge(engine: Engine) -> Generator[Judge]:
    """Give a judge who looks at the locks that a statement takes; None for what PostgreSQL refuses."""
    engine.connection.ensure_connection()
    driver: Any = engine.connection.connection  # by itself: nothing of it is watched
    for name in TABLES:
        driver.execute(f'CREATE TEMP TABLE "{name}" ({COLUMNS})')

    def judge(text: str) -> Truth | None:
        driver.execute("BEGIN")
        try:
            driver.execute(text)
            locks = driver.execute(LOCKS).fetchall()
        except psycopg.Error:
            return None
        else:
            written, read = (
                {name for name, held in locks if held == mode} for mode in ("RowExclusiveLock", "AccessShareLock")
            )
            return written & {*TABLES}, read & {*TABLES}
        finally:
            driver.execute("ROLLBACK")

    yield judge


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_tables_of_random_statements_are_those_of_the_database(engine: Engine) -> None:
    """None that is read or written is missed, none that is written is too many, and no name is taken for a table."""
    judging = sqlite_judge() if engine.name == "sqlite" else postgresql_judge(engine)
    parser = Parser(TABLES)
    judged = 0
    with judging as judge:
        for seed in range(of_length(400, 5_000)):
            text = Grammar(Random(seed), "sqlite" if engine.name == "sqlite" else "postgresql").statement()
            truth = judge(text)
            if truth is not None:
                written, read = truth
                found = parser.statement_of(text)
                judged += 1
                assert (written, False, set()) == (found.writes, found.everything, found.unknown - {"made"}), (
                    seed,
                    text,
                )
                assert read - written <= found.reads, (seed, text)

    assert judged > of_length(100, 1_500)
