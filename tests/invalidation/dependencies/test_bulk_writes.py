"""Bulk writes, of which Django tells nobody, invalidate where the manager is one of ours."""

from collections.abc import Callable

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.template import Context, Engine

from cachedeco import Namespace
from cachedeco.managers import InvalidatingManager, InvalidatingQuerySet
from tests.invalidation.dependencies.roster import (
    is_kept,
    kept,
    made_squad,
    name_of,
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
    """`add()` of a related manager writes by the base manager, which is ours where the model says so."""
    other = made_squad("East")
    before = players_of(other.pk)

    other.players.add(*squad.players.all())

    assert ([], ["Ann"], []) == (before, players_of(other.pk), players_of(squad.pk))


@pytest.mark.parametrize(
    "nothing",
    [
        lambda: Player.objects.filter(name="Nobody").update(name="Bob"),
        lambda: Player.objects.bulk_create([]),
        lambda: Player.objects.bulk_update([], ["name"]),
        lambda: Player.objects.filter(name="Nobody")._raw_delete("default"),  # type: ignore[attr-defined]
    ],
    ids=["update", "bulk_create", "bulk_update", "_raw_delete"],
)
def test_bulk_write_of_nothing_invalidates_nothing(squad: Squad, nothing: Callable[[], object]) -> None:
    """A nightly job that finds nothing to do empties no cache."""
    nothing()

    assert (True, [squad.pk]) == (is_kept(players), kept(players_of, squad.pk))


def test_bulk_write_of_many_batches_is_told_once(squad: Squad, commands: Commands) -> None:
    """One `bulk_update()`, however many statements it takes, sends one command at its commit."""
    Player.objects.bulk_create([Player(name=f"{n}", squad=squad) for n in range(5)])
    is_kept(players)
    commands.clear()

    Player.objects.bulk_update(renamed(), ["name"], batch_size=2)
    is_kept(players)

    assert [{"cd:n:model.tests.player", "cd:n:rows.tests.player"}] == [
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


def test_bulk_write_by_a_stock_manager_is_for_the_caller_to_tell(squad: Squad) -> None:
    """Django tells nobody of `update()`: the model's namespace does."""
    kept_before = [squads(), name_of(squad)]
    Squad.objects.update(name="South")
    is_unsignalled = [squads(), name_of(squad)]

    Namespace.for_model(Squad).invalidate()

    assert ([["North"], "North"], [["South"], "South"]) == (is_unsignalled, [squads(), name_of(squad)])
    assert kept_before == is_unsignalled


def test_bulk_write_concerns_the_family(squad: Squad) -> None:
    """Rows of a child are rows of its parents: a manager of ours on one tells the others."""
    YouthSquad.objects.create(name="Young", age=9, league=squad.league)
    youths()
    squads()
    manager = InvalidatingManager["YouthSquad"]()
    manager.model = YouthSquad

    manager.update(name="Old")

    assert (["Old"], ["North", "Old"]) == (youths(), squads())


def test_queryset_of_one_s_own_invalidates(squad: Squad) -> None:
    """A QuerySet that derives from ours brings it to its manager."""

    class Own(InvalidatingQuerySet[Player]):
        def named(self, name: str) -> "Own":
            return self.filter(name=name)

    manager = Own.as_manager()
    manager.model = Player

    manager.named("Ann").update(name="Bob")

    assert ["Bob"] == players_of(squad.pk)


def test_no_template_can_write(squad: Squad) -> None:
    """Django marks what alters data, so that no template calls it; so do we."""
    template = Engine().from_string("{{ rows.update }}{{ rows.bulk_create }}")

    shown = template.render(Context({"rows": Player.objects.all()}))

    assert ("", ["Ann"]) == (shown, players_of(squad.pk))
