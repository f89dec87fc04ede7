"""Models of each shape that a cached function may depend on or take as an argument."""

import uuid

from django.db import models


class Club(models.Model):
    """A plain model."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the club's name."""
        return self.name


class ClubClass(models.Model):
    """A model with a foreign key: what the first cached function of all listed."""

    club = models.ForeignKey(Club, on_delete=models.CASCADE, related_name="classes")
    name = models.CharField(max_length=100)
    start_time = models.DateTimeField()

    def __str__(self) -> str:
        """Return the class's name."""
        return self.name


class Member(models.Model):
    """A model with a many-to-many field."""

    name = models.CharField(max_length=100)
    clubs = models.ManyToManyField(Club, related_name="members")

    def __str__(self) -> str:
        """Return the member's name."""
        return self.name


class ProxyClub(Club):
    """A proxy: the rows and the concrete model of Club."""

    class Meta:
        """Make it a proxy."""

        proxy = True


class SportsClub(Club):
    """A multi-table child: each row is a row of Club too."""

    sport = models.CharField(max_length=100)


class UuidThing(models.Model):
    """A model whose rows have a primary key before they are saved."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the thing's name."""
        return self.name


# --- what tests/dependencies depends on: nothing else does, as a model is watched for as long as the process lives ---


class League(models.Model):
    """What a team plays in; its own rows are not watched."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the league's name."""
        return self.name


class Squad(models.Model):
    """A plain model, of which bulk writes send no signal."""

    name = models.CharField(max_length=100)
    league = models.ForeignKey(League, null=True, on_delete=models.SET_NULL, related_name="squads")
    cup = models.ForeignKey(League, null=True, default=None, on_delete=models.SET_DEFAULT, related_name="+")

    def __str__(self) -> str:
        """Return the squad's name."""
        return self.name


class ProxySquad(Squad):
    """A proxy: the rows of Squad."""

    class Meta:
        """Make it a proxy."""

        proxy = True


class YouthSquad(Squad):
    """A multi-table child: each row is a row of Squad too."""

    age = models.IntegerField()


class Player(models.Model):
    """A model of whose rows parts can be told apart."""

    name = models.CharField(max_length=100)
    number = models.IntegerField(default=0)
    squad = models.ForeignKey(Squad, null=True, on_delete=models.CASCADE, related_name="players")
    skills: "models.ManyToManyField[Skill, models.Model]" = models.ManyToManyField("Skill", related_name="players")
    matches: "models.ManyToManyField[Match, Lineup]" = models.ManyToManyField(
        "Match", through="Lineup", related_name="players"
    )

    def __str__(self) -> str:
        """Return the player's name."""
        return self.name


class Trainee(models.Model):
    """A model whose rows point to each other."""

    name = models.CharField(max_length=100)
    mentor = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="pupils")
    friends = models.ManyToManyField("self")

    def __str__(self) -> str:
        """Return the trainee's name."""
        return self.name


class Skill(models.Model):
    """The far side of a many-to-many field."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the skill's name."""
        return self.name


class Match(models.Model):
    """The far side of a many-to-many field with a model of its own between; its primary key is there before saving."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    day = models.DateField()

    def __str__(self) -> str:
        """Return the day."""
        return str(self.day)


class Lineup(models.Model):
    """What is between a player and a match."""

    player = models.ForeignKey(Player, on_delete=models.CASCADE)
    match = models.ForeignKey(Match, on_delete=models.CASCADE)

    def __str__(self) -> str:
        """Return who plays when."""
        return f"{self.player} {self.match}"


# What deletes rows in the database, where Django has it (6.1), and what leaves them there to dangle where it has not.
UNSEEN = getattr(models, "DB_CASCADE", models.DO_NOTHING)


class Fan(models.Model):
    """A model whose rows the database deletes."""

    squad = models.ForeignKey(Squad, on_delete=UNSEEN, db_constraint=UNSEEN is not models.DO_NOTHING, related_name="+")

    def __str__(self) -> str:
        """Return the number."""
        return str(self.pk)


class Scarf(models.Model):
    """A model whose rows the database deletes after those of another one."""

    fan = models.ForeignKey(Fan, on_delete=UNSEEN, db_constraint=UNSEEN is not models.DO_NOTHING, related_name="+")
    twin = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")

    def __str__(self) -> str:
        """Return the number."""
        return str(self.pk)


class SquadView(models.Model):
    """A model over a view, which tests/support/engines.py makes."""

    name = models.CharField(max_length=100)

    class Meta:
        """Leave the view to its owner."""

        managed = False
        db_table = "tests_squadview"

    def __str__(self) -> str:
        """Return the squad's name."""
        return self.name


class SquadTotal(models.Model):
    """A model over a materialized view, which is there on PostgreSQL."""

    total = models.IntegerField()

    class Meta:
        """Leave the view to its owner."""

        managed = False
        db_table = "tests_squadtotal"

    def __str__(self) -> str:
        """Return the number."""
        return str(self.total)
