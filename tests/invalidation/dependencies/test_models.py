"""Each change of rows of a model invalidates what depends on the model."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import date

import pytest
from asgiref.sync import async_to_sync
from django.core import serializers
from django.db.models import Model
from django.db.transaction import atomic

from cachedeco import CachedQuery, Namespace, cached_query
from tests.invalidation.dependencies.roster import (
    fellow_pupils,
    is_kept,
    kept,
    lineup,
    made_squad,
    matches_on,
    name_of,
    number_of_skills,
    players,
    skills_used,
    squads,
    youths,
)
from tests.models import Fan, League, Lineup, Match, Player, ProxySquad, Scarf, Skill, Squad, Trainee, YouthSquad
from tests.support.backends import Commands
from tests.support.sides import Side, both
from tests.support.stored import bare, bare_each

pytestmark = pytest.mark.django_db


@pytest.fixture
def squad() -> Squad:
    """Give a squad, of which the names are stored."""
    made = made_squad()
    assert ["North"] == squads()
    return made


def rename(squad: Squad) -> None:
    """Save a squad under another name."""
    squad.name = "South"
    squad.save()


def rename_async(squad: Squad) -> None:
    """Save a squad under another name, from async code."""
    squad.name = "South"
    async_to_sync(squad.asave)()


def load(squad: Squad) -> None:
    """Load a fixture that has the row."""
    squad.name = "South"
    [loaded] = serializers.deserialize("json", serializers.serialize("json", [squad]))
    loaded.save()


CHANGES: dict[str, tuple[Callable[[Squad], object], list[str]]] = {
    "save": (rename, ["South"]),
    "asave": (rename_async, ["South"]),
    "create": (lambda _: made_squad("East"), ["North", "East"]),
    "get_or_create": (lambda s: Squad.objects.get_or_create(name="East", league=s.league), ["North", "East"]),
    "update_or_create": (lambda s: Squad.objects.update_or_create({"name": "South"}, pk=s.pk), ["South"]),
    "proxy": (lambda s: rename(ProxySquad.objects.get(pk=s.pk)), ["South"]),
    "multi-table child": (lambda s: YouthSquad.objects.create(name="Y", age=9, league=s.league), ["North", "Y"]),
    "fixture": (load, ["South"]),
    "delete": (lambda s: s.delete(), []),
    "delete of a proxy": (lambda s: ProxySquad.objects.get(pk=s.pk).delete(), []),
    "delete of a QuerySet": (lambda _: Squad.objects.all().delete(), []),
    "adelete of a QuerySet": (lambda _: async_to_sync(Squad.objects.all().adelete)(), []),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_change_that_sends_a_signal_invalidates(
    squad: Squad, change: Callable[[Squad], object], expected: list[str]
) -> None:
    """The next call sees the row as it is."""
    change(squad)

    assert expected == squads()


@both
def test_either_side_sees_a_saved_row(side: Side) -> None:
    """An async function depends on models as a sync one does."""
    computed: list[int] = []

    @side.cached(depends_on=[Squad], ignore=("computed",), name="tests.dependencies.sides")
    def times() -> int:
        computed.append(1)
        return len(computed)

    before = [side.call(times), side.call(times)]

    made_squad()

    assert ([1, 1], 2) == (before, side.call(times))


@pytest.mark.usefixtures("backend")
def test_saved_row_is_seen_on_every_backend(squad: Squad) -> None:
    """The namespace of a model is one like any other, on every kind of cache."""
    squads()

    rename(squad)

    assert ["South"] == squads()


def test_row_of_another_model_leaves_it_alone(squad: Squad) -> None:
    """What does not depend on a model keeps its entries."""
    Player.objects.create(name="Ann", squad=squad)

    assert is_kept(squads)


def test_hit_reads_one_key_for_each_model(squad: Squad, commands: Commands) -> None:
    """A dependency on a model costs a hit one key, for any model."""
    name_of(squad)
    commands.clear()

    squads()
    name_of(squad)

    [[*model], [*part]] = [command.keys[3:] for command in commands]
    assert ["cd:n:table.tests_squad"] == bare_each(model)
    assert ["cd:n:rows.tests_squad", f"cd:n:rows.tests_squad:id.{squad.pk}"] == bare_each(part)


@pytest.mark.parametrize("block", [nullcontext, atomic], ids=["alone", "in a transaction"])
def test_saved_row_tells_each_cache_of_model_and_part(
    commands: Commands, block: Callable[[], AbstractContextManager[None]]
) -> None:
    """The tokens of the model and of the part of it that the row is in are rewritten all at once."""
    match = Match(day=date(2024, 5, 1))

    with block():
        match.save()
    matches_on.peek(match.day)

    sent = [command for command in commands if command.name == "set_many"]
    names = {"cd:n:table.tests_match", "cd:n:rows.tests_match:day.2024-05-01"}
    assert (1, names) == (len(sent), {bare(key) for command in sent for key in command.keys})


# --- families ---


def test_saved_parent_invalidates_what_depends_on_its_children(squad: Squad) -> None:
    """A child's rows have columns in the parent's table."""
    child = YouthSquad.objects.create(name="Young", age=9, league=squad.league)
    before = youths()

    rename(Squad.objects.get(pk=child.pk))

    assert (["Young"], ["South"]) == (before, youths())


def test_deleted_child_invalidates_what_depends_on_its_parent(squad: Squad) -> None:
    """A child's row is a row of the parent too."""
    child = YouthSquad.objects.create(name="Young", age=9, league=squad.league)
    before = squads()

    child.delete()

    assert (["North", "Young"], ["North"]) == (before, squads())


# --- many-to-many ---


def with_skills(squad: Squad) -> tuple[Player, Skill]:
    """Return a player who has one skill, and another skill."""
    player, had, other = Player.objects.create(name="Ann"), *[Skill.objects.create(name=name) for name in "ab"]
    player.squad = squad
    player.skills.add(had)
    return player, other


M2M: dict[str, Callable[[Player, Skill], object]] = {
    "add": lambda player, other: player.skills.add(other),
    "add, from the other side": lambda player, other: other.players.add(player),
    "remove": lambda player, _: player.skills.remove(*player.skills.all()),
    "set": lambda player, other: player.skills.set([other]),
    "clear": lambda player, _: player.skills.clear(),
    "clear, from the other side": lambda player, _: player.skills.get().players.clear(),
}


@pytest.mark.parametrize("change", M2M.values(), ids=M2M)
@pytest.mark.parametrize("function", [players, skills_used, number_of_skills], ids=["one", "other", "through"])
def test_changed_relation_invalidates_both_sides_and_what_is_between(
    squad: Squad, change: Callable[[Player, Skill], object], function: CachedQuery[[], int]
) -> None:
    """Whichever side of a many-to-many field is changed from, what depends on either is invalidated."""
    player, other = with_skills(squad)
    function()

    change(player, other)

    assert not is_kept(function)


@pytest.mark.parametrize("function", [players, skills_used, number_of_skills], ids=["one", "other", "through"])
def test_deleted_side_invalidates_what_depends_on_the_relation(squad: Squad, function: CachedQuery[[], int]) -> None:
    """Django deletes the rows between in silence: the deletion of either side stands for them."""
    player, _ = with_skills(squad)
    function()

    player.delete()

    assert not is_kept(function)


def test_relation_with_a_model_of_its_own_invalidates_that(squad: Squad) -> None:
    """The model that a relation goes through is invalidated whichever way its rows come to be."""
    match, player = Match.objects.create(day=date(2024, 5, 1)), Player.objects.create(name="Ann", squad=squad)
    counts = [lineup(match.pk)]

    player.matches.add(match)
    counts.append(lineup(match.pk))
    Lineup.objects.get().delete()
    counts.append(lineup(match.pk))
    match.lineup_set.create(player=player)
    counts.append(lineup(match.pk))
    player.matches.clear()

    assert [0, 1, 0, 1, 0] == [*counts, lineup(match.pk)]


def test_relation_to_the_same_model_invalidates() -> None:
    """A many-to-many field may lead to where it comes from."""
    one, other = [Trainee.objects.create(name=name) for name in "ab"]
    fellow_pupils(one)

    one.friends.add(other)

    assert [] == kept(fellow_pupils, one)


# --- what follows from a deletion ---


def test_cascade_invalidates(squad: Squad) -> None:
    """Rows that go with another row are gone."""
    Player.objects.create(name="Ann", squad=squad)
    before = players()

    squad.delete()

    assert (["Ann"], []) == (before, players())


@pytest.mark.parametrize("field", ["league", "cup"], ids=["SET_NULL", "SET_DEFAULT"])
def test_row_that_loses_what_it_points_to_invalidates(squad: Squad, field: str) -> None:
    """Django sends nothing for rows whose foreign key it sets anew: the deletion of the other row stands for them."""
    league = League.objects.create(name="Gone")
    Squad.objects.update(**{field: league})
    name_of(squad)
    squads()

    League.objects.filter(pk=league.pk).delete()

    assert (False, []) == (is_kept(squads), kept(name_of, squad))


@pytest.mark.parametrize("model", [Fan, Scarf], ids=["one step", "two steps"])
def test_row_that_the_database_deletes_invalidates(squad: Squad, model: type[Model]) -> None:
    """The database may delete what points to a deleted row, and what points to that: no signal tells: we suppose it."""

    @cached_query(depends_on=[model], name=f"tests.dependencies.unseen.{model.__name__}")
    def number() -> int:
        return 0

    number()

    squad.delete()

    assert not is_kept(number)


def test_deletion_of_what_its_own_rows_point_to_is_told_once(squad: Squad, commands: Commands) -> None:
    """A row that others of the same model point to invalidates them all as it is: once."""
    scarf = Scarf.objects.create(fan=Fan.objects.create(squad=squad))

    @cached_query(depends_on=[Scarf], name="tests.dependencies.twins")
    def twins() -> int:
        return 0

    twins()
    commands.clear()

    with atomic():
        scarf.delete()
    twins()

    tokens = [key for command in commands if command.name == "set_many" for key in command.keys if ":n:" in key]
    assert ["cd:n:rows.tests_scarf", "cd:n:table.tests_scarf"] == sorted(bare_each(tokens))


@pytest.mark.usefixtures("squad")
def test_deletion_of_what_no_row_points_to_leaves_it_alone() -> None:
    """What depends on the rows that point is invalidated, and what depends on others is not."""
    skill = Skill.objects.create(name="a")
    squads()

    skill.delete()

    assert is_kept(squads)


def test_invalidated_by_hand_by_class_name_or_proxy() -> None:
    """A model's namespace covers its parts, and is the same by whichever name."""
    squad = made_squad()
    ways = [Namespace.for_model(Squad), Namespace.for_model("tests.squad"), Namespace.for_model(ProxySquad)]
    kept_after = []

    for way in ways:
        squads()
        name_of(squad)
        way.invalidate()
        kept_after.append((is_kept(squads), kept(name_of, squad)))

    assert [(False, [])] * 3 == kept_after
