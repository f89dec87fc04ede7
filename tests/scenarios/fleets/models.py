"""The model of the project: one release has a field more."""

from django.db import models

from tests.scenarios.fleets.release import current


class Player(models.Model):
    """A row that is cached; there is no table."""

    name = models.CharField(max_length=100)
    if current().has_rank:
        rank = models.IntegerField(default=0)

    def __str__(self) -> str:
        """Return the player's name."""
        return self.name
