"""On a real PostgreSQL: what the server knows of a transaction, and a connection that is cut in its commit."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, connections, transaction
from pytest_django import DjangoDbBlocker, Settings

from cachedeco import MISSING, cached_query
from cachedeco.invalidation import transactions
from tests.conftest import UseCaches
from tests.models import Club
from tests.support.backends import Commands
from tests.support.clubs import Undone, assert_nothing_waits
from tests.support.databases import connected, postgresql_on
from tests.support.postgres import PostgreSQL
from tests.support.relay import CHUNK, Relay
from tests.support.threads import in_thread

ALIAS = "real"


class CommitCutter(Relay):
    """Carries all that is said; once it is armed, cuts the connection after a COMMIT, before the answer."""

    is_armed = False
    _has_passed_commit = False

    async def _carry_requests(
        self, requests: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        del client
        while message := await requests.read(CHUNK):
            self._has_passed_commit |= self.is_armed and b"COMMIT" in message
            server.write(message)
            await server.drain()

    async def _carry_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while answer := await answers.read(CHUNK):
            if self._has_passed_commit:
                return
            client.write(answer)
            await client.drain()


@pytest.fixture(scope="module")
def postgresql_server(django_db_blocker: DjangoDbBlocker) -> Iterator[PostgreSQL]:
    """Give a PostgreSQL with the table of the clubs."""
    with PostgreSQL() as server:
        with (
            django_db_blocker.unblock(),
            connected(ALIAS, postgresql_on(server.port)),
            connections[ALIAS].schema_editor() as editor,
        ):
            editor.create_model(Club)
        yield server


@pytest.fixture
def cutter(postgresql_server: PostgreSQL, django_db_blocker: DjangoDbBlocker) -> Iterator[CommitCutter]:
    """Stand between Django and the server."""
    with (
        CommitCutter(postgresql_server.port) as relay,
        django_db_blocker.unblock(),
        connected(ALIAS, postgresql_on(relay.port)),
    ):
        yield relay
    assert_nothing_waits()


@pytest.fixture
def pk(cutter: CommitCutter) -> int:
    """Give the primary key of a club of the name "old", whose function was called."""
    assert not cutter.is_armed
    key: int = Club.objects.using(ALIAS).create(name="old").pk
    assert "old" == name_of(key)
    return key


@cached_query(using=ALIAS, name="real.name_of")
def name_of(pk: int) -> str:
    """Return the name of a club."""
    return Club.objects.using(ALIAS).get(pk=pk).name


@cached_query(depends_on=(), name="real.name_without_queries")
def name_without_queries(pk: int) -> int:
    """Return what no query gives."""
    return pk


def rename(pk: int, name: str = "new") -> None:
    """Change a club's name, and invalidate nothing."""
    Club.objects.using(ALIAS).filter(pk=pk).update(name=name)


def test_connection_cut_after_the_commit_arrived_invalidates(pk: int, cutter: CommitCutter) -> None:
    """The row is changed, the caller gets an error, and the old value is not served."""

    @transaction.atomic(using=ALIAS)
    def change() -> None:
        rename(pk)
        name_of.invalidate(pk)
        cutter.is_armed = True

    with pytest.raises(OperationalError):
        change()
    cutter.is_armed = cutter._has_passed_commit = False
    connections[ALIAS].close()

    assert (MISSING, "new", "new") == (name_of.peek(pk), name_of.uncached(pk), name_of(pk))


def test_transaction_that_has_only_read_stores_at_once(pk: int) -> None:
    """At READ COMMITTED, what a request computes before it writes anything is there for others before it ends."""
    name_of.invalidate(pk)

    with transaction.atomic(using=ALIAS):
        name_of(pk)
        during = in_thread(lambda: name_of.peek(pk))

    assert "old" == during


@pytest.mark.parametrize(("undo", "expected"), [(False, "new"), (True, MISSING)])
def test_value_read_after_a_write_is_stored_at_commit(pk: int, expected: object, *, undo: bool) -> None:
    """The server knows of a write that no invalidation told of, in a savepoint that was released too."""
    name_of.invalidate(pk)

    with suppress(Undone), transaction.atomic(using=ALIAS):
        with transaction.atomic(using=ALIAS):
            rename(pk)
        name_of(pk)
        during = in_thread(lambda: name_of.peek(pk))
        if undo:
            raise Undone

    assert (MISSING, expected) == (during, name_of.peek(pk))


@pytest.mark.parametrize("text", ["ROLLBACK TO SAVEPOINT mine", "rollback work to mine;", "ROLLBACK TO mine_x1"])
def test_savepoint_of_the_callers_own_sql_takes_what_was_computed_with_it(pk: int, text: str) -> None:
    """Django asks no hook about it: the statement itself drops the values that wait for the commit."""
    name_of.invalidate(pk)
    name = text.rsplit(maxsplit=1)[-1].rstrip(";")

    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        cursor.execute(f"SAVEPOINT {name}")
        rename(pk)
        undone = name_of(pk)
        cursor.execute(text)
        peeked, inside = name_of.peek(pk), name_of(pk)

    assert ("new", MISSING, "old", "old") == (undone, peeked, inside, name_of.peek(pk))


def test_savepoint_of_django_keeps_what_was_computed_before_it(pk: int) -> None:
    """A rollback that Django makes undoes what came after the savepoint, and no more."""
    name_of.invalidate(pk)

    with transaction.atomic(using=ALIAS):
        Club.objects.using(ALIAS).create(name="another")
        name_of(pk)
        with suppress(Undone), transaction.atomic(using=ALIAS):
            rename(pk)
            raise Undone

    assert "old" == name_of.peek(pk)


def test_old_snapshot_stores_nothing(pk: int) -> None:
    """SET TRANSACTION changes the level behind Django's back: the server is asked."""
    name_of.invalidate(pk)

    with transaction.atomic(using=ALIAS):
        connections[ALIAS].cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        name_of(pk)

    assert MISSING is name_of.peek(pk)


def test_transaction_that_has_failed_can_not_be_asked(pk: int) -> None:
    """Where a statement has failed, the server answers nothing: such a transaction may have written."""
    connection = connections[ALIAS]

    with suppress(Undone), transaction.atomic(using=ALIAS):
        with suppress(Exception), closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT no_such_column")
        found = transactions.may_have_written(connection), transactions.snapshot_may_be_old()
        raise Undone

    assert (True, True) == found
    assert pk


def test_transaction_begun_by_hand_delivers_at_once_and_after_its_end(pk: int, commands: Commands) -> None:
    """BEGIN as SQL is seen by the driver: what another caller stored before the commit is dead after it."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("BEGIN")
        rename(pk)
        commands.clear()
        name_of.invalidate(pk)
        at_once = commands.names
        inside: list[Any] = [name_of(pk), in_thread(lambda: name_of(pk))]
        cursor.execute("COMMIT")

    assert (["set_many"], ["new", "old"], "new") == (at_once, inside, name_of(pk))


class CacheThere:
    """A router of the database cache's table to the PostgreSQL, as where the project has no other database."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        """Choose the PostgreSQL for entries."""
        return ALIAS if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read


@contextmanager
def autocommit_off() -> Iterator[None]:
    """Commit at the end, by the caller's own hand."""
    transaction.set_autocommit(False, using=ALIAS)
    try:
        yield
        transaction.commit(using=ALIAS)
    finally:
        transaction.rollback(using=ALIAS)
        transaction.set_autocommit(True, using=ALIAS)


@pytest.fixture
def broken(pk: int, settings: Settings, use_caches: UseCaches) -> int:
    """Give the primary key of a club, where each query of the cache fails, on the database of the club."""
    settings.DATABASE_ROUTERS = [CacheThere()]
    use_caches(default={"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "no_such_table"})
    return pk


@pytest.mark.parametrize(
    ("block", "verb"),
    [
        (partial(transaction.atomic, using=ALIAS), lambda: name_without_queries(1)),
        (partial(transaction.atomic, using=ALIAS), lambda: name_without_queries.peek(1)),
        (autocommit_off, lambda: name_without_queries(1)),
        (autocommit_off, lambda: name_without_queries.peek(1)),
        (autocommit_off, lambda: name_without_queries.invalidate(1)),
        (autocommit_off, lambda: None),  # what the write itself invalidates is sent at once
    ],
    ids=["call in atomic", "peek in atomic", "call", "peek", "invalidate", "write"],
)
def test_query_of_the_database_cache_that_fails_the_transaction_raises(
    block: Callable[[], AbstractContextManager[None]], verb: Callable[[], object], broken: int
) -> None:
    """PostgreSQL answers the COMMIT by a rollback, of which Django says nothing: the write would be lost in silence."""

    def change() -> None:
        with block():
            rename(broken)
            verb()

    with pytest.raises(ProgrammingError, match="no_such_table"):
        change()

    assert "old" == Club.objects.using(ALIAS).get(pk=broken).name
    assert 1 == name_without_queries(1)


@pytest.mark.parametrize("block", [partial(transaction.atomic, using=ALIAS), autocommit_off], ids=["atomic", "by hand"])
def test_transaction_that_the_caller_has_failed_keeps_the_callers_error(
    block: Callable[[], AbstractContextManager[None]], broken: int
) -> None:
    """The cache is refused as the caller is: its exception would hide the first one."""
    with suppress(IntegrityError), block():
        try:
            Club.objects.using(ALIAS).create(pk=broken, name="again")
        finally:
            assert 1 == name_without_queries(1)

    assert "old" == Club.objects.using(ALIAS).get(pk=broken).name
