"""Rows of every shape, in a module that imports no cached function."""

from datetime import date

from django.db.models import Model

from tests.models import Fan, League, Lineup, Match, Player, Scarf, Skill, Squad, Trainee, YouthSquad

ModelClass = type[Model]

PlayerSkill: ModelClass = Player.skills.through
Friend: ModelClass = Trainee.friends.through
MODELS: tuple[ModelClass, ...] = (
    Fan,
    Friend,
    League,
    Lineup,
    Match,
    Player,
    PlayerSkill,
    Scarf,
    Skill,
    Squad,
    Trainee,
    YouthSquad,
)


def fill(alias: str) -> None:
    """Make rows in every table."""
    first = League.objects.using(alias).create(name="First")
    League.objects.using(alias).create(name="Second")
    north = Squad.objects.using(alias).create(name="North", league=first)
    Squad.objects.using(alias).create(name="South", league=first)
    YouthSquad.objects.using(alias).create(name="Young", age=12)
    ann = Player.objects.using(alias).create(name="Ann", number=1, squad=north)
    Player.objects.using(alias).create(name="Bob", number=2)
    ann.skills.add(Skill.objects.using(alias).create(name="Pass"))
    Skill.objects.using(alias).create(name="Shot")
    match = Match.objects.using(alias).create(day=date(2026, 1, 1))
    Lineup.objects.using(alias).create(player=ann, match=match)
    mentor = Trainee.objects.using(alias).create(name="Cem")
    mentor.friends.add(Trainee.objects.using(alias).create(name="Dan", mentor=mentor))
    Scarf.objects.using(alias).create(fan=Fan.objects.using(alias).create(squad=north))
