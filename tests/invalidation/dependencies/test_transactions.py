"""A changed row invalidates at the commit of the transaction that changed it, on each database."""

import pytest
from django.db import connections, transaction
from django.db.models import QuerySet

from cachedeco import MISSING, bypass, cached_query, mode
from tests.invalidation.dependencies.roster import is_kept, kept, made_squad, players_of, squads
from tests.models import Player, Squad
from tests.support.backends import Commands
from tests.support.threads import in_thread

real = pytest.mark.django_db(transaction=True, databases=["default", "other"])
wrapped = pytest.mark.django_db(databases=["default", "other"])


@cached_query(using="other", depends_on=[Squad])
def other_squads() -> list[str]:
    """Return the names of all squads of the other database."""
    return list(Squad.objects.using("other").values_list("name", flat=True))


def rename(squad: Squad) -> None:
    """Save a squad under another name."""
    squad.name = "South"
    squad.save()


@real
def test_row_saved_in_a_transaction_is_seen_when_it_commits() -> None:
    """The transaction sees it at once, everybody else at the commit."""
    squad = made_squad()
    squads()

    with transaction.atomic():
        rename(squad)
        within = [squads(), in_thread(squads)]

    assert ([["South"], ["North"]], ["South"]) == (within, squads())


@real
def test_row_saved_in_a_transaction_that_rolls_back_was_never_saved() -> None:
    """What did not happen invalidates nothing."""
    squad = made_squad()
    squads()

    with transaction.atomic():
        rename(squad)
        transaction.set_rollback(True)

    assert ["North"] == squads.peek()


@wrapped
def test_row_saved_in_a_test_case_is_seen_at_once() -> None:
    """The blocks that wrap a test are nothing to wait for."""
    squad = made_squad()
    squads()

    rename(squad)

    assert ["South"] == squads()


@real
@pytest.mark.parametrize("using", ["default", "other"])
def test_invalidation_waits_for_the_database_that_was_written(using: str) -> None:
    """It is the writer's transaction that counts, though the function waits for another database otherwise."""
    squad = made_squad(using=using)
    squads()
    other_squads()
    [elsewhere] = {"default", "other"} - {using}

    with transaction.atomic(using=using):
        rename(squad)
        with transaction.atomic(using=elsewhere):
            pass
        before = in_thread(lambda: (is_kept(squads), is_kept(other_squads)))

    assert ((True, True), (False, False)) == (before, (is_kept(squads), is_kept(other_squads)))


@real
def test_row_moved_in_a_transaction_is_locked_where_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two who move a row at once, the second must see where the first has put it."""
    squad = made_squad()
    player = Player.objects.create(name="Ann", squad=squad)
    asked: list[bool] = []
    original = QuerySet.select_for_update

    def select_for_update(rows: "QuerySet[Player]", *, no_key: bool) -> "QuerySet[Player]":
        asked.append(no_key)
        return original(rows, no_key=no_key)

    monkeypatch.setattr(QuerySet, "select_for_update", select_for_update)
    features = connections["default"].features
    # SQLite has no such lock, and leaves the words out: it locks the whole file.
    monkeypatch.setattr(features, "has_select_for_update", value=True)
    monkeypatch.setattr(connections["default"].ops, "for_update_sql", lambda **_: "")
    player.save()
    outside = list(asked)

    with transaction.atomic():
        player.save()

    assert ([], [features.has_select_for_no_key_update]) == (outside, asked)


@wrapped
def test_mode_off_sends_nothing_and_bypass_invalidates(commands: Commands) -> None:
    """Modes are to a saved row what they are to `invalidate()`."""
    squad = made_squad()
    player = Player.objects.create(name="Ann", squad=squad)
    players_of(squad.pk)
    commands.clear()

    with mode("off"):
        player.save()
    off = list(commands)
    with bypass():
        player.save()

    assert ([], []) == (off, kept(players_of, squad.pk))
    assert MISSING is players_of.peek(squad.pk)
