"""Cached functions that depend on models, and what is stored of them."""

from datetime import date
from typing import Any
from uuid import UUID

from cachedeco import MISSING, CachedQuery, cached_query, rows
from tests.models import League, Lineup, Match, Player, Skill, Squad, Trainee, YouthSquad


@cached_query(depends_on=[Squad])
def squads() -> list[str]:
    """Return the names of all squads."""
    return list(Squad.objects.order_by("pk").values_list("name", flat=True))


@cached_query(depends_on=["tests.YouthSquad"])
def youths() -> list[str]:
    """Return the names of the squads of the young, of which the parent's table knows."""
    return list(YouthSquad.objects.order_by("pk").values_list("name", flat=True))


@cached_query(depends_on=[Player])
def players() -> list[str]:
    """Return the names of all players."""
    return list(Player.objects.order_by("pk").values_list("name", flat=True))


@cached_query(depends_on=[rows(Player, squad_id="{squad_id}")])
def players_of(squad_id: int | None) -> list[str]:
    """Return the names of the players of a squad."""
    return list(Player.objects.filter(squad_id=squad_id).order_by("pk").values_list("name", flat=True))


@cached_query(key="{squad.pk}", depends_on=[rows(Player, squad="{squad}")])
def players_in(squad: Squad) -> list[str]:
    """Return the names of the players of a squad, which comes as a row."""
    return list(Player.objects.filter(squad=squad).order_by("pk").values_list("name", flat=True))


@cached_query(depends_on=[rows("tests.Player", number="{number}")])
def with_number(number: int) -> list[str]:
    """Return the names of the players that have a number."""
    return list(Player.objects.filter(number=number).order_by("pk").values_list("name", flat=True))


@cached_query(depends_on=[rows(Trainee, mentor_id="{pupil.mentor_id}")], key="{pupil.pk}")
def fellow_pupils(pupil: Trainee) -> list[str]:
    """Return the names of those that have the same mentor as one."""
    return list(Trainee.objects.filter(mentor=pupil.mentor_id).order_by("pk").values_list("name", flat=True))


@cached_query(depends_on=[Player.skills.through])
def number_of_skills() -> int:
    """Return how often any player has any skill."""
    return Player.skills.through.objects.count()


@cached_query(depends_on=[Skill])
def skills_used() -> int:
    """Return how many skills some player has."""
    return Skill.objects.filter(players__isnull=False).count()


@cached_query(depends_on=[rows(Lineup, match_id="{match_id}")])
def lineup(match_id: UUID) -> int:
    """Return how many play in a match."""
    return Lineup.objects.filter(match_id=match_id).count()


@cached_query(depends_on=[rows(Match, day="{day}")])
def matches_on(day: date) -> int:
    """Return how many matches are on a day."""
    return Match.objects.filter(day=day).count()


@cached_query(depends_on=[rows(YouthSquad, age="{age}")])
def youths_of(age: int) -> int:
    """Return how many squads there are of an age."""
    return YouthSquad.objects.filter(age=age).count()


@cached_query(depends_on=[rows(Squad, pk="{squad.pk}")], key="{squad.pk}")
def name_of(squad: Squad) -> str:
    """Return the name of one squad."""
    return Squad.objects.get(pk=squad.pk).name


def made_squad(name: str = "North", using: str = "default") -> Squad:
    """Make a squad, in a league that is there for it."""
    league, _ = League.objects.using(using).get_or_create(pk=1, defaults={"name": "First"})
    return Squad.objects.using(using).create(name=name, league=league)


def kept(function: CachedQuery[..., Any], *calls: object) -> list[object]:
    """Return those of some arguments of which the value is still stored."""
    return [call for call in calls if function.peek(call) is not MISSING]


def is_kept(function: CachedQuery[..., Any]) -> bool:
    """Tell whether the value of a function without parameters is still stored."""
    return function.peek() is not MISSING
