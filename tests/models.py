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
