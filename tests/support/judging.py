"""
SQLite as the judge of the parse of SQL texts: its authorizer tells which tables a statement reads and writes.

A pytest plugin. Each distinct text that a test executes on the databases of the settings is judged once in a process;
a test fails whose text was parsed wrongly.
"""

import re
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from cachedeco.invalidation.statements import Parser, Statement

Action = tuple[int, str | None, str | None, str | None, str | None]

WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
# Where these name the table. DROP INDEX does not, and changes no row.
TABLES_OF_DDL = {
    sqlite3.SQLITE_CREATE_TABLE: 1,
    sqlite3.SQLITE_CREATE_TEMP_TABLE: 1,
    sqlite3.SQLITE_DROP_TABLE: 1,
    sqlite3.SQLITE_DROP_TEMP_TABLE: 1,
    sqlite3.SQLITE_ALTER_TABLE: 2,
    sqlite3.SQLITE_CREATE_INDEX: 2,
    sqlite3.SQLITE_CREATE_VIEW: 1,
    sqlite3.SQLITE_CREATE_TEMP_VIEW: 1,
    sqlite3.SQLITE_DROP_VIEW: 1,
    sqlite3.SQLITE_DROP_TEMP_VIEW: 1,
    sqlite3.SQLITE_CREATE_TRIGGER: 2,
}
VERBS = {
    (sqlite3.SQLITE_TRANSACTION, "BEGIN"): "begin",
    (sqlite3.SQLITE_TRANSACTION, "COMMIT"): "commit",
    (sqlite3.SQLITE_TRANSACTION, "ROLLBACK"): "rollback",
    (sqlite3.SQLITE_SAVEPOINT, "BEGIN"): "savepoint",
    (sqlite3.SQLITE_SAVEPOINT, "RELEASE"): "release",
    (sqlite3.SQLITE_SAVEPOINT, "ROLLBACK"): "rollback to",
}

FUNCTIONS = {"json_each", "json_tree"}

judged: set[str] = set()
differences: list[str] = []


class Truth(NamedTuple):
    """What SQLite says of a statement, without what its triggers, views and foreign keys do by themselves."""

    writes: set[str]
    reads: set[str]
    own: set[str]  # the database's own tables, of those read
    ddl: set[str]
    verb: str | None

    @classmethod
    def of(cls, actions: list[Action], sql: str) -> "Truth":
        """Read what the authorizer was told."""
        truth = cls(set(), set(), set(), set(), next((VERBS[a[:2]] for a in actions if a[:2] in VERBS), None))
        views = {table for code, table, *_ in actions if code == sqlite3.SQLITE_READ}
        for action in actions:
            code, table, _, _, inside = action
            # It is also inside of a CTE, which is a part of the text and is not read as a view is.
            is_own = inside is None or (inside in words_in(sql) and inside not in views)
            if code in TABLES_OF_DDL:
                truth.ddl.add(str(action[TABLES_OF_DDL[code]]))
            elif code in {sqlite3.SQLITE_READ, *WRITES} and is_own and table is not None:
                reads = truth.own if table.startswith(("sqlite_", "pragma_")) else truth.reads
                (truth.writes if code in WRITES else reads).add(table)
        truth.ddl.discard("sqlite_sequence")  # made for the first key that counts
        if not truth.reads.isdisjoint(FUNCTIONS):  # SQLite makes them when they are first named
            truth.own.clear()
            truth.reads.difference_update(FUNCTIONS)
        return truth


def words_in(sql: str) -> set[str]:
    """Return the words of a text."""
    return {*re.findall(r"\w+", sql)}


def difference(sql: str, actions: list[Action]) -> str | None:
    """Return how the parse of a text differs from what SQLite says; None if it is right."""
    truth = Truth.of(actions, sql)
    touched = {name for name in truth.writes | truth.reads | truth.ddl if not name.startswith("sqlite_")}
    models = apps.get_models(include_auto_created=True) if apps.models_ready else []
    found = Parser(touched | {model._meta.db_table for model in models}).statement_of(sql)
    wrong = [*_wrong(sql, found, truth, touched)]
    return f"{', '.join(wrong)}: {found} of {truth} in {sql}" if wrong else None


def _wrong(sql: str, found: Statement, truth: Truth, touched: set[str]) -> Iterator[str]:
    # With autocommit off the driver begins a transaction before a write.
    if truth.verb not in {None, found.verb} and not (truth.verb == "begin" and found.writes):
        yield "another verb"
    if found.everything:
        yield "everything"
    # What the database deletes along with the rows of a statement is worked out from the models, and not from the text.
    writes = set[str]() if found.cascades and found.writes else truth.writes & touched
    if not writes | truth.ddl <= found.writes:
        yield "a written table is missed"
    # DDL also names what it refers to, and SQLite reads all of a table to check it.
    if not truth.ddl:
        yield from _wrong_rows(sql, found, truth, touched)


def _wrong_rows(sql: str, found: Statement, truth: Truth, touched: set[str]) -> Iterator[str]:
    reads = truth.reads
    if found.writes:
        # To check foreign keys SQLite reads tables that the text does not name.
        reads = (reads - truth.writes) & words_in(sql)
    if found.writes - (truth.writes & touched):
        yield "too many are written"
    if not reads <= found.reads:
        yield "a read table is missed"
    if found.reads - truth.reads:
        yield "too many are read"
    is_told = not sql.startswith("PRAGMA")  # of which the authorizer is told no table
    if is_told and not truth.writes and {name.casefold() for name in truth.own} != found.unknown:
        yield "others are unknown"


class JudgedCursor(SQLiteCursorWrapper):
    """Judges each text that it executes, unless it fails."""

    connection: "JudgedConnection"

    def execute(self, query: Any, params: Any = None) -> Any:
        """Execute, and judge."""
        self.connection.actions.clear()
        result = super().execute(query, params)
        self._judge(query)
        return result

    def executemany(self, query: Any, param_list: Any) -> Any:
        """Execute, and judge."""
        self.connection.actions.clear()
        result = super().executemany(query, param_list)
        self._judge(query)
        return result

    def _judge(self, query: str) -> None:
        # A savepoint's name is its only difference to the others. A statement that the connection has prepared before
        # tells the authorizer nothing.
        text = query.partition('"')[0] if query.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK TO")) else query
        if self.connection.actions and text not in judged:
            judged.add(text)
            wrong = difference(query, self.connection.actions)
            differences.extend([] if wrong is None else [wrong])


class JudgedConnection(sqlite3.Connection):
    """Keeps what the authorizer was told."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Install the authorizer."""
        super().__init__(*args, **options)
        self.actions: list[Action] = []
        actions = self.actions  # a reference to the connection would keep it alive

        def authorize(*action: Any) -> int:
            actions.append(action)
            return sqlite3.SQLITE_OK

        self.set_authorizer(authorize)

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that judges where Django asks for its own."""
        return super().cursor(JudgedCursor if factory is SQLiteCursorWrapper else factory or sqlite3.Cursor)


@pytest.fixture(autouse=True)
def _judge_statements() -> Iterator[None]:
    """Fail a test that has executed a text that is parsed wrongly."""
    differences.clear()
    yield
    assert [] == differences


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the number of texts to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["judged"] = len(judged)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep the numbers of the processes of pytest-xdist."""
    counts.append(getattr(node, "workeroutput", {}).get("judged", 0))


counts: list[int] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many texts were judged."""
    if total := sum(counts) + len(judged):
        terminalreporter.write_line(f"{total} SQL texts judged by SQLite's authorizer")
