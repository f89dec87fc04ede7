"""A club, and the classes that it holds."""

from django.db import models


class Club(models.Model):
    """A club."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the club's name."""
        return self.name


class ClubClass(models.Model):
    """A class of a club."""

    club = models.ForeignKey(Club, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the class's name."""
        return self.name
