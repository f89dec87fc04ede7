"""On a real PostgreSQL: parts at the statement, with its texts, its types and its locks."""

from collections.abc import Iterator
from datetime import date
from threading import Event, Thread

import pytest
from django.db import OperationalError, connections, transaction
from pytest_django import DjangoDbBlocker

from cachedeco import cached_query, rows
from tests.invalidation.dependencies.roster import kept
from tests.models import Fan, League, Lineup, Match, Player, Scarf, Skill, Squad, YouthSquad
from tests.support.databases import connected, postgresql_on
from tests.support.parts import PartsWorld, by_squad
from tests.support.postgres import PostgreSQL
from tests.support.threads import in_thread

ALIAS = "real"


@pytest.fixture(scope="module")
def _postgresql(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Have a PostgreSQL with the tables of the players under an alias."""
    with PostgreSQL() as server, django_db_blocker.unblock(), connected(ALIAS, postgresql_on(server.port)):
        with connections[ALIAS].schema_editor() as editor:
            for model in (League, Squad, YouthSquad, Skill, Match, Player, Lineup, Fan, Scarf):
                editor.create_model(model)
        yield


@cached_query(depends_on=[rows(Match, day="{day}")], name="tests.dependencies.postgresql.matches")
def matches_on(day: date) -> int:
    """Return how many matches are on a day."""
    return Match.objects.using(ALIAS).filter(day=day).count()


@pytest.mark.usefixtures("_postgresql")
def test_rows_created_in_bulk_come_by_lists() -> None:
    """Django passes the values of many rows as one list for each column."""
    days = [date(2024, 5, day) for day in (1, 2, 3)]
    for day in days:
        matches_on(day)

    Match.objects.using(ALIAS).bulk_create([Match(day=day) for day in days[:2]])

    assert days[2:] == kept(matches_on, *days)


@pytest.mark.usefixtures("_postgresql")
def test_second_of_two_transactions_that_move_a_row_sees_where_the_first_has_put_it() -> None:
    """The row is locked as it is read: what the first one commits is what the second one leaves."""
    world = PartsWorld(ALIAS)
    row = world.old[0]
    started, moved = Event(), Event()

    def move_second() -> None:
        player = Player.objects.using(ALIAS).get(pk=row.pk)
        player.squad_id = world.squads[2]
        with transaction.atomic(ALIAS):
            connections[ALIAS].cursor().execute("SELECT 1")
            started.set()
            player.save(using=ALIAS)
        moved.set()
        connections[ALIAS].close()

    with transaction.atomic(ALIAS):
        row.squad_id = world.squads[1]
        row.save(using=ALIAS)
        second = Thread(target=move_second)
        second.start()
        started.wait()
    by_squad(ALIAS, world.squads[1])  # with the row, or without it: before the second one, or after it
    second.join()

    assert moved.is_set()
    assert by_squad.uncached(ALIAS, world.squads[1]) == by_squad(ALIAS, world.squads[1])


@pytest.mark.usefixtures("_postgresql")
def test_lock_that_is_not_given_is_the_error_of_the_statement() -> None:
    """The user sees the error of the database, and not that of a transaction that was aborted before."""
    world = PartsWorld(ALIAS)
    row = world.old[0]

    def save() -> str:
        try:
            with transaction.atomic(ALIAS):
                connections[ALIAS].cursor().execute("SET LOCAL lock_timeout = '10ms'")
                row.save(using=ALIAS)
        except OperationalError as error:
            return type(error.__cause__).__name__
        finally:
            connections[ALIAS].close()
        return ""

    with transaction.atomic(ALIAS):
        Player.objects.using(ALIAS).select_for_update().get(pk=row.pk)
        error = in_thread(save)

    assert "LockNotAvailable" == error
