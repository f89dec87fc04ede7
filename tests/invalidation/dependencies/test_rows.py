"""What depends on some rows of a model is invalidated by these, by those that come to be so, and by no others."""

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from enum import Enum
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext

from cachedeco import MISSING, Namespace, cached_query, mode, rows
from tests.invalidation.dependencies.conftest import Starting
from tests.invalidation.dependencies.roster import (
    fellow_pupils,
    is_kept,
    kept,
    made_squad,
    matches_on,
    name_of,
    players_in,
    players_of,
    squads,
    with_number,
    youths_of,
)
from tests.models import League, Match, Player, Skill, Squad, Trainee, YouthSquad

pytestmark = pytest.mark.django_db


class Number(int, Enum):
    """A number under a name."""

    ZERO = 0


def player_of(pk: int) -> Player:
    """Return the player of a squad."""
    return Player.objects.get(squad_id=pk)


def move(player: Player, pk: int | None) -> None:
    """Move a player to another squad."""
    player.squad_id = pk
    player.save()


def test_saved_row_invalidates_its_part_alone(pks: list[int]) -> None:
    """A row that stays where it is concerns those of the same value."""
    player_of(pks[0]).save()

    assert pks[1:] == kept(players_of, *pks)


def test_moved_row_invalidates_what_it_left_and_what_it_came_to(pks: list[int]) -> None:
    """A moved row empties one part, and fills another; a third stays."""
    move(player_of(pks[0]), pks[1])

    assert ([[], ["Norther", "Easter"]], pks[2:]) == (
        [players_of(pk) for pk in pks[:2]],
        kept(players_of, pks[2]),
    )


def test_created_and_deleted_rows_invalidate_their_part(pks: list[int]) -> None:
    """A row comes into one part, and goes from one."""
    Player.objects.create(name="Ann", squad_id=pks[0])
    player_of(pks[1]).delete()

    assert pks[2:] == kept(players_of, *pks)


def test_rows_deleted_by_queryset_or_cascade_invalidate_their_parts(pks: list[int]) -> None:
    """Each deleted row sends a signal, since a receiver listens."""
    Player.objects.filter(squad=pks[0]).delete()
    Squad.objects.get(pk=pks[1]).delete()

    assert pks[2:] == kept(players_of, *pks)


def test_row_goes_to_no_value_and_back(pks: list[int]) -> None:
    """A row without a value has a part of its own, that of None."""
    without = [players_of(None)]
    player = player_of(pks[0])

    move(player, None)
    without.append(players_of(None))
    move(player, pks[0])

    assert ([], ["Norther"], [], ["Norther"]) == (*without, players_of(None), players_of(pks[0]))


def test_row_comes_by_its_instance(pks: list[int]) -> None:
    """A foreign key's parameter may be called as the field is, and be the row."""
    squads = [Squad.objects.get(pk=pk) for pk in pks]
    for squad in squads:
        players_in(squad)

    move(player_of(pks[0]), pks[1])

    assert squads[2:] == kept(players_in, *squads)


def test_value_of_a_template_is_the_call_s() -> None:
    """A template reads the value from what a parameter has."""
    mentor, other = Trainee.objects.create(name="Ann"), Trainee.objects.create(name="Bob")
    pupils = [Trainee.objects.create(name="C", mentor=each) for each in (mentor, other)]
    for pupil in pupils:
        fellow_pupils(pupil)

    Trainee.objects.create(name="D", mentor=mentor)

    assert pupils[1:] == kept(fellow_pupils, *pupils)


@pytest.mark.parametrize(
    ("template", "expected"),
    [("{prefix}-{number}", []), ("a-1", []), ("", ["a", 1])],
    ids=["fields", "text", "empty"],
)
def test_template_may_be_made_of_several_pieces(template: str, expected: list[object], starting: Starting) -> None:
    """The pieces of a template are put together as text."""
    with starting():

        @cached_query(depends_on=[rows(Skill, name=template)], name="tests.dependencies.pieces")
        def pieces(prefix: str, number: int) -> bool:
            return Skill.objects.filter(name=f"{prefix}-{number}").exists()

    pieces("a", 1)

    Skill.objects.create(name="a-1")

    assert expected == ([] if pieces.peek("a", 1) is MISSING else ["a", 1])


def test_primary_key_makes_a_part_of_one_row() -> None:
    """What depends on one row is left alone by all others."""
    north, east = made_squad("North"), made_squad("East")
    before = [name_of(north), name_of(east)]

    north.name = "South"
    north.save()

    assert (["North", "East"], [], [east], "South") == (
        before,
        kept(name_of, north),
        kept(name_of, east),
        name_of(north),
    )


def test_value_in_another_form_is_the_same(pks: list[int]) -> None:
    """What a parameter, a URL and an instance hold need not be of one type."""
    day = date(2024, 5, 1)
    matches_on(day)
    with_number(Number.ZERO)
    player = player_of(pks[0])
    player.squad_id = str(pks[1])  # type: ignore[assignment] # as from a form

    Match.objects.create(day="2024-05-01")
    player.save()

    assert ([], [], pks[2:]) == (kept(matches_on, day), kept(with_number, Number.ZERO), kept(players_of, *pks))


# --- what the instance does not know ---


def test_row_that_was_moved_unseen_leaves_the_right_part(pks: list[int]) -> None:
    """Where a row comes from is what the database says, not what an old instance remembers."""
    old = player_of(pks[0])
    move(player_of(pks[0]), pks[1])
    players_of(pks[1])

    move(old, pks[2])

    assert (["Easter"], ["Norther", "Souther"]) == (players_of(pks[1]), players_of(pks[2]))


@pytest.mark.parametrize(
    "change", [lambda old: old.save(update_fields=["name"]), Player.delete], ids=["save", "delete"]
)
def test_row_that_was_moved_unseen_is_changed_where_it_is(pks: list[int], change: Callable[[Player], object]) -> None:
    """A save that leaves the value alone, and a delete, change the row in the part where the database has it."""
    old = player_of(pks[0])
    move(player_of(pks[0]), pks[1])
    for pk in pks:
        players_of(pk)

    change(old)

    assert pks[2:] == kept(players_of, *pks[1:])


def test_row_made_by_hand_is_the_one_of_its_key(pks: list[int]) -> None:
    """An instance that was never loaded may be a row there is."""
    Player(pk=player_of(pks[0]).pk, name="Ann", squad_id=pks[1]).save()

    assert pks[2:] == kept(players_of, *pks)


def test_deferred_value_is_not_fetched(pks: list[int]) -> None:
    """A row that was loaded without the field is saved without it, and concerns the part where it is."""
    Player.objects.only("name").get(squad_id=pks[0]).save()

    assert pks[1:] == kept(players_of, *pks)


def test_value_that_the_database_computes_invalidates_its_part(pks: list[int]) -> None:
    """Where the value is an expression, and Django does not fetch what came of it, all parts are invalidated."""
    player = player_of(pks[0])
    with_number(2)
    player.number = F("number") + 2

    player.save()

    assert (["Norther"], [player.pk]) == (with_number(2), [each.pk for each in Player.objects.filter(number=2)])


def test_row_with_a_key_before_it_is_saved_is_new() -> None:
    """A row that the database does not have as yet has left no part."""
    days = [date(2024, 5, day) for day in (1, 2)]
    for day in days:
        matches_on(day)

    Match.objects.create(pk=uuid4(), day=days[0])

    assert days[1:] == kept(matches_on, *days)


def test_save_that_fails_leaves_nothing_behind(pks: list[int]) -> None:
    """What a save that failed had remembered is no part of the next one."""
    player = player_of(pks[0])
    with suppress(ValueError), atomic():
        player.number = "none"  # type: ignore[assignment] # what the database refuses
        player.save()
    player.number = 1

    player.save()

    assert pks[1:] == kept(players_of, *pks)


# --- what can't be told apart ---


def test_change_of_a_relation_invalidates_all_parts(pks: list[int]) -> None:
    """A relation of many rows tells of no one row's value."""
    player_of(pks[0]).skills.add(Skill.objects.create(name="a"))

    assert [] == kept(players_of, *pks)


def test_deleted_row_that_rows_of_its_own_model_point_to_invalidates_all_parts() -> None:
    """Rows whose mentor goes have none: of which part they are Django does not say."""
    pupils = [Trainee.objects.create(name="C", mentor=Trainee.objects.create(name=name)) for name in "ab"]
    for pupil in pupils:
        fellow_pupils(pupil)

    Trainee.objects.create(name="without pupils").delete()

    assert [] == kept(fellow_pupils, *pupils)


def test_saved_parent_invalidates_the_part_of_its_child() -> None:
    """A parent's row and its child's have one primary key."""
    league = League.objects.create(name="First")
    made, _ = [YouthSquad.objects.create(name="Y", age=age, league=league) for age in (9, 10)]
    youths_of(9)
    youths_of(10)

    Squad.objects.get(pk=made.pk).save()

    assert [10] == kept(youths_of, 9, 10)


def test_created_child_invalidates_its_own_part_and_the_parent_s() -> None:
    """A child's row is inserted behind its parent's, by the same primary key."""
    league = League.objects.create(name="First")
    made = YouthSquad.objects.create(name="Y", age=9, league=league)
    for age in (9, 10, 11):
        youths_of(age)
    name_of(made)

    YouthSquad.objects.create(name="Z", age=10, league=league)

    assert ([9, 11], [made]) == (kept(youths_of, 9, 10, 11), kept(name_of, made))


@pytest.mark.parametrize("change", [lambda child: child.save(), lambda child: child.delete()], ids=["save", "delete"])
def test_child_invalidates_its_own_part_and_the_parent_s(change: Callable[[YouthSquad], object]) -> None:
    """A child's row has the values of both tables."""
    league = League.objects.create(name="First")
    nine, ten = [YouthSquad.objects.create(name="Y", age=age, league=league) for age in (9, 10)]
    for each in (nine, ten):
        youths_of(each.age)
        name_of(each)

    change(nine)

    assert [ten] == kept(name_of, ten)
    assert [] == kept(youths_of, 9)


def test_part_invalidated_by_hand(pks: list[int]) -> None:
    """A part has a name, for writes that send no signal; it is also that of the whole model's dependants."""
    Namespace.for_model(Player, squad_id=pks[0]).invalidate()
    Namespace.for_model("tests.Player", squad=Squad.objects.get(pk=pks[1])).invalidate()

    assert pks[2:] == kept(players_of, *pks)


def test_part_invalidated_by_hand_ends_all_parts_of_other_tables() -> None:
    """Which row of its parent a changed row of a child has is unknown: any may have changed with it."""
    league = League.objects.create(name="First")
    made = [YouthSquad.objects.create(name="Y", age=age, league=league) for age in (9, 10)]
    for each in made:
        youths_of(each.age)
        name_of(each)
    squads()

    Namespace.for_model(YouthSquad, age=9).invalidate()

    assert ([10], [], False) == (kept(youths_of, 9, 10), kept(name_of, *made), is_kept(squads))


# --- what it costs ---


def test_save_asks_the_database_once_more(pks: list[int]) -> None:
    """However many fields tell parts apart, one query finds what the row was."""
    player = player_of(pks[0])

    with CaptureQueriesContext(
        connection,
    ) as queries:
        player.save()

    assert ["SELECT", "UPDATE"] == [query["sql"].split()[0] for query in queries]


def test_new_row_is_not_asked_for() -> None:
    """A row that has no key as yet is not in the database."""
    with CaptureQueriesContext(connection) as queries:
        Player.objects.create(name="Ann")

    assert ["INSERT"] == [query["sql"].split()[0] for query in queries]


@pytest.mark.parametrize("change", [Player.save, Player.delete], ids=["save", "delete"])
def test_mode_off_asks_and_sends_nothing(pks: list[int], change: Callable[[Player], object]) -> None:
    """Where the cache is off, a save is what it is without the library."""
    player = player_of(pks[0])

    with mode("off"), CaptureQueriesContext(connection) as queries:
        change(player)

    assert ("SELECT" not in queries[0]["sql"].split()[:1] or change is Player.delete, pks) == (
        True,
        kept(players_of, *pks),
    )
