"""An invalidation is a row of the transaction that it was made in, and is acknowledged once a cache has it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, Error, IntegrityError, connections, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from cachedeco import MISSING, Event, Namespace, deferred_invalidation
from cachedeco.invalidation import commits, retry_queue
from cachedeco.outbox.models import Row, rows
from cachedeco.outbox.recording import begin_migrations, end_migrations
from cachedeco.testing import capture_events
from cachedeco.tracking.watcher import Execute
from tests.models import Club, League
from tests.outbox.sites import (
    ALIAS,
    all_rows,
    drop_table,
    make_table,
    name_of,
    refusing,
    rename,
    sqlite_at,
    waiting_and_done,
)
from tests.support.clubs import Undone
from tests.support.databases import connected
from tests.support.faults import faulty
from tests.support.stored import whole
from tests.support.threads import in_thread

pytestmark = pytest.mark.usefixtures("database")


def errors(events: list[Event]) -> list[str]:
    """Return the reasons of the events that are errors."""
    return [event.reason.partition(":")[0] for event in events if event.kind == "error"]


# --- rows of the transaction ---


def test_row_is_seen_by_others_with_the_commit(pk: int) -> None:
    """Until the commit no other connection sees the row; after it, it is there, and acknowledged."""
    with transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        before = in_thread(waiting_and_done)

    assert ((0, 0), (0, 1)) == (before, waiting_and_done())


def test_row_is_in_the_transaction_of_another_database_too(pk: int) -> None:
    """What changed may be in a database that the invalidation does not name."""
    with transaction.atomic(using=ALIAS):
        Namespace("club", pk).invalidate(using="default")
        [row] = all_rows()
        before = in_thread(waiting_and_done)

    assert (f"{whole(f'cd:n:club:{pk}')} in default", (0, 0), (0, 1)) == (str(row), before, waiting_and_done())


@pytest.mark.usefixtures("pk")
def test_write_on_a_connection_of_no_alias_invalidates_too() -> None:
    """Django makes such a connection to create and drop databases; nothing is recorded, since no alias has its rows."""
    connection = connections[ALIAS].copy("of_no_settings")
    with capture_events() as events, connection.cursor() as cursor:
        cursor.execute("UPDATE tests_club SET name = 'new'")
    connection.close()

    assert ([], []) == (errors(events), all_rows())
    assert "invalidated" in {event.kind for event in events}


def test_row_names_the_token_and_its_lifetime(pk: int) -> None:
    """The row of a call has its lifetime, that of a namespace 30 days, and that of a function lives for ever."""
    with transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        Namespace("club", pk).invalidate(using=ALIAS)
        name_of.invalidate_all()

    call, namespace, function = all_rows()
    assert ("default", "default", f"{whole(f'cd:n:club:{pk}')} in default") == (
        call.cache,
        namespace.cache,
        str(namespace),
    )
    assert (True, 30 * 24 * 3600 - 1, None) == ((call.lifetime or 0) > 0, namespace.lifetime, function.lifetime)


@pytest.mark.parametrize("nested", [False, True])
def test_row_of_a_block_rolled_back_was_never_there(pk: int, *, nested: bool) -> None:
    """A rollback, of a savepoint too, leaves no row, and nothing is delivered."""
    inner = suppress(Undone if nested else ())
    with suppress(Undone), transaction.atomic(using=ALIAS), inner, transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        raise Undone

    assert ((0, 0), "old") == (waiting_and_done(), name_of.peek(pk))


def test_row_is_one_however_often_a_transaction_invalidates(pk: int) -> None:
    """The same invalidation again, under savepoints too, is no further row."""
    with transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        name_of.invalidate(pk)
        with transaction.atomic(using=ALIAS):
            name_of.invalidate(pk)

    assert (0, 1) == waiting_and_done()


def test_row_undone_with_a_savepoint_is_made_again(pk: int) -> None:
    """What an undone savepoint has recorded does not stand for what comes after it."""
    with transaction.atomic(using=ALIAS):
        with suppress(Undone), transaction.atomic(using=ALIAS):
            name_of.invalidate(pk)
            raise Undone
        name_of.invalidate(pk)

    assert ((0, 1), MISSING) == (waiting_and_done(), name_of.peek(pk))


def test_row_undone_with_a_savepoint_by_hand_is_made_again(pk: int) -> None:
    """Nor does that of a savepoint that was rolled back by hand."""
    with transaction.atomic(using=ALIAS):
        savepoint = transaction.savepoint(using=ALIAS)
        name_of.invalidate(pk)
        transaction.savepoint_rollback(savepoint, using=ALIAS)
        name_of.invalidate(pk)

    assert ((0, 1), MISSING) == (waiting_and_done(), name_of.peek(pk))


@pytest.mark.usefixtures("pk")
@pytest.mark.parametrize(
    ("begin", "end"),
    [("", "COMMIT"), ("", "ROLLBACK"), ("SAVEPOINT own", "ROLLBACK TO SAVEPOINT own")],
    ids=["commit", "rollback", "savepoint"],
)
def test_rows_before_an_end_in_plain_sql_do_not_stand_for_what_follows(begin: str, end: str) -> None:
    """Django is not told of it: they are committed before, or gone."""
    with transaction.atomic(using=ALIAS):
        with connections[ALIAS].cursor() as cursor:
            if begin:
                cursor.execute(begin)
            Club.objects.using(ALIAS).update(name="one")
            several, _ = waiting_and_done()
            cursor.execute(end)
        Club.objects.using(ALIAS).update(name="two")
        within = waiting_and_done()

    done = several if end == "COMMIT" else 0
    assert (several + done, (0, several + done)) == (sum(within), waiting_and_done())


def test_statement_that_fails_is_no_failure_of_the_outbox(pk: int) -> None:
    """Of a race for a row, as `get_or_create()` loses it: PostgreSQL refuses all statements up to the rollback."""
    with capture_events() as events, transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        for _ in range(2):
            with suppress(IntegrityError), transaction.atomic(using=ALIAS):
                Club.objects.using(ALIAS).create(pk=pk, name="twice")

    assert ([], 0) == (errors(events), waiting_and_done()[0])


def test_row_of_a_savepoint_released_stands_for_what_comes_after_it(pk: int) -> None:
    """What a savepoint has left is as safe as what comes after it, though another one is rolled back."""
    with transaction.atomic(using=ALIAS):
        with transaction.atomic(using=ALIAS):
            name_of.invalidate(pk)
        name_of.invalidate(pk)
        with suppress(Undone), transaction.atomic(using=ALIAS):
            name_of.invalidate(pk)
            raise Undone

    assert ((0, 1), MISSING) == (waiting_and_done(), name_of.peek(pk))


def test_invalidation_outside_of_transactions_is_recorded(pk: int) -> None:
    """In autocommit mode the row is a transaction of its own, and acknowledged at once."""
    name_of.invalidate(pk)

    assert ((0, 1), MISSING) == (waiting_and_done(), name_of.peek(pk))


def test_insert_in_autocommit_stays_and_is_recorded() -> None:
    """SQLite commits it with the last row that it returns: recording its invalidation does not undo it."""
    key = Club.objects.using(ALIAS).create(name="new").pk

    assert ["new"] == list(Club.objects.using(ALIAS).filter(pk=key).values_list("name", flat=True))
    assert (0, 4) == waiting_and_done()


def test_insert_in_a_transaction_is_recorded() -> None:
    """On SQLite no savepoint can begin while the key of a new row is being returned: it is fetched before."""
    make_table(League)

    with capture_events() as events, transaction.atomic(using=ALIAS):
        League.objects.using(ALIAS).create(name="new")
        League.objects.using(ALIAS).bulk_create([League(name="newer"), League(name="newest")])
        recorded = [row.key for row in all_rows() if "tests_league" in row.key]

    drop_table(League)
    assert ([], True) == (errors(events), bool(recorded))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_insert_in_autocommit_stays_without_the_table() -> None:
    """Before `migrate` was run the invalidation is delivered as without an outbox."""
    drop_table(Row)

    with capture_events() as events:
        key = Club.objects.using(ALIAS).create(name="new").pk

    make_table(Row)
    assert ["The outbox can't record an invalidation"] == errors(events)
    assert 1 == Club.objects.using(ALIAS).filter(pk=key).count()


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_transaction_that_is_begun_by_sql_is_told_of(pk: int, end: str) -> None:
    """Django can't insert rows into it: what it invalidates is delivered as without an outbox."""
    with capture_events() as events, connections[ALIAS].cursor() as cursor:
        cursor.execute("BEGIN")
        for name in ("new", "newer"):
            cursor.execute("UPDATE tests_club SET name = %s WHERE id = %s", [name, pk])
        name_of.invalidate(pk)
        cursor.execute(end)

    [reason] = [event.reason for event in events if event.kind == "error"]
    assert reason.endswith("Its transaction was begun by SQL, and not by atomic()")
    assert ([], "old" if end == "ROLLBACK" else "newer") == (all_rows(), name_of(pk))


def test_row_is_deleted_at_once_where_nothing_will_be_replayed(pk: int, settings: Settings) -> None:
    """With OUTBOX_SECONDS at 0 what is acknowledged leaves no row."""
    settings.CACHEDECO = {"OUTBOX_SECONDS": 0}

    name_of.invalidate(pk)

    assert ([], MISSING) == (all_rows(), name_of.peek(pk))


def test_many_rows_of_one_transaction_are_all_acknowledged() -> None:
    """More rows than one statement takes are acknowledged by several."""
    with transaction.atomic(using=ALIAS):
        for number in range(501):
            Namespace("many", number).invalidate(using=ALIAS)

    assert (0, 501) == waiting_and_done()


@pytest.fixture
def second(settings: Settings, sqlite_file: Path, tmp_path: Path) -> Iterator[str]:
    """Give the alias of another database that has an outbox, without a row."""
    path = tmp_path / "second.sqlite3"
    copy(sqlite_file, path)
    settings.DATABASE_ROUTERS = []
    with connected("second", sqlite_at(path)):
        rows("second")._raw_delete("second")
        yield "second"


def test_rows_of_several_databases_are_each_acknowledged_where_they_are(second: str) -> None:
    """They end together, as of a block that defers: the key of a row says nothing in another database."""
    with deferred_invalidation():
        Namespace("club", 7).invalidate(using=ALIAS)
        Namespace("club", 8).invalidate(using=second)
    row = rows(second).get(key=whole("cd:n:club:8"))

    assert (True, (0, 1)) == (row.acknowledged is not None, waiting_and_done())


def test_write_of_a_block_that_defers_is_recorded_again_before_a_deliverer_takes_the_row(
    pk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is written behind a delivery has a row that waits for the next one, if the process is killed in the block.

    The defect: the first write to a table had a row, and no other one.
    """
    now = [0.0]
    monkeypatch.setattr(commits, "monotonic", lambda: now[0])
    numbers: list[int] = []

    with deferred_invalidation():
        for seconds in (0.0, 0.9, 1.0, 1.9, 2.0):
            now[0] = seconds
            Club.objects.using(ALIAS).filter(pk=pk).update(name=f"at {seconds}")
            Namespace("club", pk).invalidate(using=ALIAS)
            numbers.append(len(all_rows()))

    each = numbers[0]
    assert [each, each, 2 * each, 2 * each, 3 * each] == numbers
    assert "at 2.0" == name_of(pk)


def test_write_of_a_block_that_defers_is_recorded_in_each_database(second: str) -> None:
    """The same table in another database has rows of its own, which its own deliverer finds."""
    with deferred_invalidation():
        Club.objects.using(ALIAS).update(name="new")
        Club.objects.using(second).update(name="new")
        keys = [{row.key for row in rows(using).all()} for using in (ALIAS, second)]

    assert keys[0]
    assert keys[0] == keys[1]


def test_statements_of_a_transaction(pk: int) -> None:
    """One savepoint, one INSERT for each token, and one UPDATE after the commit."""
    with CaptureQueriesContext(connections[ALIAS]) as queries, transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        name_of.invalidate_all()

    words = [query["sql"].split()[0] for query in queries if query["sql"].split()[0] not in {"BEGIN", "COMMIT"}]
    assert ["SAVEPOINT", "INSERT", "RELEASE", "INSERT", "UPDATE"] == words


# --- what does not arrive ---


def test_row_of_a_lost_invalidation_waits(pk: int) -> None:
    """What no cache has acknowledged is not acknowledged in the outbox either, and what arrived with it is."""
    with refusing(whole(f"cd:n:club:{pk}")), transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        Namespace("club", pk).invalidate(using=ALIAS)

    assert (1, 1) == waiting_and_done()


@pytest.mark.parametrize("is_recorded", [True, False])
def test_recorded_invalidation_is_not_called_lost(
    is_recorded: bool,
    pk: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log of a process that can't deliver says that the outbox will; without a row it says that it is lost."""
    if not is_recorded:
        drop_table(Row)

    with capture_events() as events, faulty(unreachable=True):
        with transaction.atomic(using=ALIAS):
            name_of.invalidate(pk)
        retry_queue.deliver_at_exit()

    make_table(Row)
    kinds = [event.kind for event in events if event.kind.startswith("invalidation_")]
    text = "".join(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert ["invalidation_delayed", *([] if is_recorded else ["invalidation_lost"])] == kinds
    assert (is_recorded, not is_recorded) == ("the outbox has recorded it" in text, "and is lost" in text)


def test_table_that_is_missing_breaks_nothing(pk: int) -> None:
    """Before `migrate` was run invalidations are delivered as without an outbox, and each transaction tells once."""
    drop_table(Row)

    with capture_events() as events, transaction.atomic(using=ALIAS):
        rename(pk, "new")
        name_of.invalidate(pk)
        name_of.invalidate_all()

    make_table(Row)
    assert (["The outbox can't record an invalidation"], "new", []) == (errors(events), name_of(pk), all_rows())


def test_migrate_that_makes_the_table_tells_no_failure(pk: int) -> None:
    """Migrations of other apps may come first, and write; what they invalidate is recorded once the table is there."""
    drop_table(Row)
    begin_migrations(using=ALIAS)

    with capture_events() as events:
        name_of.invalidate(pk)
        rename(pk, "new")
        make_table(Row)
        before = all_rows()
        name_of.invalidate(pk)
        end_migrations(using=ALIAS)
        begin_migrations(using=ALIAS)  # of a later release: the table is there
        drop_table(Row)
        name_of.invalidate(pk)

    make_table(Row)
    assert ([], ["The outbox can't record an invalidation"], "new") == (before, errors(events), name_of(pk))
    assert 3 == len([event for event in events if event.kind == "invalidated" and event.function])


def test_insert_that_fails_later_fails_the_transaction(pk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database fails after a first row, the caller is told, and neither data nor invalidation happens."""
    original = QuerySet.bulk_create

    def change() -> None:
        with transaction.atomic(using=ALIAS):
            rename(pk, "new")
            name_of.invalidate(pk)
            monkeypatch.setattr(QuerySet, "bulk_create", fail)
            name_of.invalidate_all()

    def fail(*_: object) -> None:
        raise IntegrityError

    with pytest.raises(IntegrityError):
        change()
    monkeypatch.setattr(QuerySet, "bulk_create", original)

    assert ([], "old", "old") == (all_rows(), name_of.peek(pk), name_of.uncached(pk))


def test_connection_that_is_lost_before_the_row_fails_the_transaction(pk: int) -> None:
    """Django rolls back without a word then: an error that was kept from the caller would be a write that is lost."""

    def lose(execute: Execute, sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT") and Row._meta.db_table in sql:
            connections[ALIAS].connection.close()
        return execute(sql, *rest)

    def change() -> None:
        with transaction.atomic(using=ALIAS), connections[ALIAS].execute_wrapper(lose):
            rename(pk, "new")
            name_of.invalidate(pk)

    with pytest.raises(Error):
        change()

    connections[ALIAS].close()
    assert ("old", "old") == (Club.objects.using(ALIAS).get(pk=pk).name, name_of(pk))


def test_insert_that_fails_behind_a_statement_fails_the_statement(pk: int) -> None:
    """
    Django rolls back the block then: without the exception it would end as if it had committed.

    The defects: the exception became an event, and the block's writes were gone in silence; with Django 6.1 they were
    committed, and nothing was invalidated.
    """

    def refuse(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("INSERT"):
            raise IntegrityError
        return execute(sql, params, many, context)

    def change() -> None:
        with transaction.atomic(using=ALIAS):
            name_of.invalidate_all()
            with connections[ALIAS].execute_wrapper(refuse):
                Club.objects.using(ALIAS).update(name="new")

    with pytest.raises(IntegrityError):
        change()

    assert ([], "old", "old") == (all_rows(), name_of.peek(pk), name_of.uncached(pk))


def test_acknowledgement_that_fails_breaks_nothing(pk: int) -> None:
    """A row that can't be acknowledged waits: it will be delivered again, which does no harm."""
    with capture_events() as events, faulty("set_many", after=lambda: drop_table(Row)):
        name_of.invalidate(pk)

    make_table(Row)
    assert (["The outbox can't note that an invalidation has arrived"], MISSING) == (errors(events), name_of.peek(pk))


def test_row_without_a_key_is_left_to_the_deliverer(pk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not return the keys of what it inserts, as MySQL, is no fault."""
    original = QuerySet.bulk_create

    def forget(self: QuerySet[Row], made: list[Row]) -> None:
        original(self, made)
        made[0].pk = None

    monkeypatch.setattr(QuerySet, "bulk_create", forget)

    with transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)
        name_of.invalidate_all()

    assert ((2, 0), MISSING) == (waiting_and_done(), name_of.peek(pk))


def test_block_that_will_roll_back_is_not_written_to(pk: int) -> None:
    """In a block that an error has doomed nothing is recorded, as nothing can be."""
    with capture_events() as events, transaction.atomic(using=ALIAS):
        transaction.set_rollback(True, using=ALIAS)
        name_of.invalidate(pk)

    assert ([], [], "old") == (errors(events), all_rows(), name_of.peek(pk))


def test_database_without_the_table_by_its_router_records_nothing(pk: int, settings: Settings) -> None:
    """Where a router does not allow the table, invalidations are delivered as without an outbox."""
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.Nowhere"]

    with capture_events() as events, transaction.atomic(using=ALIAS):
        name_of.invalidate(pk)

    assert ([], [], MISSING) == (errors(events), all_rows(), name_of.peek(pk))


def test_row_of_a_transaction_by_hand_waits_until_django_tells(pk: int) -> None:
    """What is delivered before the commit acknowledges nothing: the row commits with the data, and waits."""
    transaction.set_autocommit(False, using=ALIAS)
    try:
        rename(pk, "new")
        name_of.invalidate(pk)
        before = in_thread(waiting_and_done)
        transaction.commit(using=ALIAS)
        after = in_thread(waiting_and_done)
    finally:
        transaction.set_autocommit(True, using=ALIAS)

    assert ((0, 0), (1, 0), (0, 1)) == (before, after, waiting_and_done())


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_transaction_that_only_reads_is_not_broken(pk: int) -> None:
    """Where PostgreSQL refuses to write, the invalidation is delivered as without an outbox."""
    with capture_events() as events, transaction.atomic(using=ALIAS):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        name_of.invalidate(pk)
        value = name_of.uncached(pk)

    assert (["The outbox can't record an invalidation"], "old", MISSING) == (errors(events), value, name_of.peek(pk))


def test_invalidation_from_async_code_is_recorded(pk: int) -> None:
    """The twin records; the sync verb, which must not touch a database from a loop, invalidates all the same."""

    async def invalidate() -> None:
        await name_of.ainvalidate(pk)

    async_to_sync(invalidate)()

    assert ((0, 1), MISSING) == (waiting_and_done(), name_of.peek(pk))


def test_sync_verb_in_a_loop_invalidates_and_records_nothing(pk: int) -> None:
    """Django allows no database in a loop: that is an event, and the invalidation is delivered as without an outbox."""

    async def invalidate() -> None:
        name_of.invalidate(pk)

    with capture_events() as events:
        asyncio.run(invalidate())

    assert ["The outbox can't record an invalidation"] == errors(events)
    assert ([], MISSING) == (all_rows(), name_of.peek(pk))


def test_errors_are_database_errors(pk: int) -> None:
    """What a missing table raises is what the guard around the first row has met."""
    drop_table(Row)

    with capture_events() as events:
        name_of.invalidate(pk)

    make_table(Row)
    assert [True] == [isinstance(event.error, DatabaseError) for event in events if event.kind == "error"]
