"""Bulk writes, of which Django sends no signal, invalidate with any manager."""

from collections.abc import Callable

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from tests.invalidation.dependencies.roster import (
    is_kept,
    kept,
    made_squad,
    players,
    players_of,
    squads,
    youths,
)
from tests.models import Player, Squad, YouthSquad
from tests.support.backends import Commands
from tests.support.stored import bare_each

pytestmark = pytest.mark.django_db


@pytest.fixture
def squad() -> Squad:
    """Give a squad with one player, all of whose values are stored."""
    squad = made_squad()
    Player.objects.create(name="Ann", squad=squad)
    assert (["Ann"], ["Ann"]) == (players(), players_of(squad.pk))
    return squad


def renamed() -> list[Player]:
    """Return all players under another name, not saved."""
    found = list(Player.objects.all())
    for player in found:
        player.name = "Bob"
    return found


CHANGES: dict[str, tuple[Callable[[Squad], object], list[str]]] = {
    "update": (lambda _: Player.objects.update(name="Bob"), ["Bob"]),
    "aupdate": (lambda _: async_to_sync(Player.objects.all().aupdate)(name="Bob"), ["Bob"]),
    "update of a filter": (lambda s: Player.objects.filter(squad=s).exclude(pk=0).update(name="Bob"), ["Bob"]),
    "bulk_create": (lambda s: Player.objects.bulk_create([Player(name="Bob", squad=s)]), ["Ann", "Bob"]),
    "abulk_create": (
        lambda s: async_to_sync(Player.objects.all().abulk_create)([Player(name="Bob", squad=s)]),
        ["Ann", "Bob"],
    ),
    "bulk_update": (lambda _: Player.objects.bulk_update(renamed(), ["name"]), ["Bob"]),
    "abulk_update": (lambda _: async_to_sync(Player.objects.all().abulk_update)(renamed(), ["name"]), ["Bob"]),
    "_raw_delete": (lambda _: Player.objects.all()._raw_delete("default"), []),  # type: ignore[attr-defined]
    "update of a related manager": (lambda s: s.players.update(name="Bob"), ["Bob"]),
    "bulk_create of a related manager": (lambda s: s.players.bulk_create([Player(name="B", squad=s)]), ["Ann", "B"]),
    "clear": (lambda s: s.players.clear(), []),
    "remove": (lambda s: s.players.remove(*s.players.all()), []),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_bulk_write_invalidates_model_and_parts(
    squad: Squad, change: Callable[[Squad], object], expected: list[str]
) -> None:
    """What depends on the model, and on any part of it, sees the rows as they are."""
    change(squad)

    assert (expected, False) == (players_of(squad.pk), is_kept(players))


def test_rows_added_to_what_they_point_to_invalidate(squad: Squad) -> None:
    """`add()` of a related manager writes by the base manager, and is seen as any other write."""
    other = made_squad("East")
    before = players_of(other.pk)

    other.players.add(*squad.players.all())

    assert ([], ["Ann"], []) == (before, players_of(other.pk), players_of(squad.pk))


@pytest.mark.parametrize(
    "nothing",
    [
        lambda: Player.objects.none().update(name="Bob"),
        lambda: Player.objects.bulk_create([]),
        lambda: Player.objects.bulk_update([], ["name"]),
    ],
    ids=["update", "bulk_create", "bulk_update"],
)
def test_bulk_write_without_a_statement_invalidates_nothing(squad: Squad, nothing: Callable[[], object]) -> None:
    """Only a statement invalidates, whether or not it has found rows."""
    nothing()

    assert (True, [squad.pk]) == (is_kept(players), kept(players_of, squad.pk))


def test_created_rows_invalidate_their_parts_alone(squad: Squad) -> None:
    """The parameters of `bulk_create()` name the parts that the rows come into."""
    others = [made_squad(name) for name in ("East", "South")]
    for other in others:
        players_of(other.pk)

    Player.objects.bulk_create([Player(name="Bob", squad=squad), Player(name="Cid", squad=others[0])])

    assert [others[1].pk] == kept(players_of, squad.pk, *[each.pk for each in others])


def test_bulk_write_of_many_batches_is_told_once(squad: Squad, commands: Commands) -> None:
    """One `bulk_update()`, however many statements it takes, sends one command at its commit."""
    Player.objects.bulk_create([Player(name=f"{n}", squad=squad) for n in range(5)])
    is_kept(players)
    commands.clear()

    Player.objects.bulk_update(renamed(), ["name"], batch_size=2)
    is_kept(players)

    assert [{"cd:n:table.tests_player", "cd:n:rows.tests_player"}] == [
        set(bare_each(command.keys)) for command in commands if command.name == "set_many"
    ]


def test_bulk_write_waits_for_the_commit(squad: Squad) -> None:
    """After a rollback nothing was written, and nothing is invalidated."""
    with transaction.atomic():
        Player.objects.update(name="Bob")
        within = is_kept(players)
        transaction.set_rollback(True)

    assert (False, True) == (within, is_kept(players))
    assert ["Ann"] == players_of(squad.pk)


def test_bulk_write_concerns_the_family(squad: Squad) -> None:
    """Rows of a child are rows of its parents."""
    YouthSquad.objects.create(name="Young", age=9, league=squad.league)
    youths()
    squads()

    YouthSquad.objects.update(name="Old")

    assert (["Old"], ["North", "Old"]) == (youths(), squads())
