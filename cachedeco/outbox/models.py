"""The table of invalidations, and what is asked of it and done to it, without signals: nobody is to react to rows."""

from collections.abc import Collection
from time import time
from typing import TYPE_CHECKING, Final

from django.db import connections, models

from cachedeco.runtime import conf

# As many parameters as every database takes in one statement: Oracle 1000, an old SQLite 999.
TOGETHER: Final = 500


class Row(models.Model):
    """One token to be replaced. Moments are seconds since 1970: they need no time zone, and no switch to summer."""

    cache = models.CharField(max_length=100)  #: alias
    key = models.CharField(max_length=250)  #: without the prefix that Django adds; memcached's longest
    lifetime = models.FloatField(null=True)  #: seconds that the new token is to live, None for ever
    created = models.FloatField()
    acknowledged = models.FloatField(null=True)  #: None until the cache has it

    class Meta:
        """One index for both questions: what was not acknowledged, by id, and what was, and when."""

        app_label = "cachedeco_outbox"
        indexes = (models.Index(fields=["acknowledged", "id"], name="cachedeco_outbox_waiting"),)

    def __str__(self) -> str:
        """Say which token it is, and where."""
        return f"{self.key} in {self.cache}"


if TYPE_CHECKING:
    Rows = models.QuerySet[Row]


def rows(using: str) -> "Rows":
    """Return all rows of a database."""
    return Row._default_manager.using(using)  # noqa: SLF001 -- Django's documented name


def claimed(found: "Rows", using: str) -> "Rows":
    """
    Return rows that no other deliverer has before us, locked until the transaction ends.

    A database that can't skip what is locked gives all: two may then deliver the same row, which costs a miss.
    """
    return found.select_for_update(skip_locked=True) if can_claim(using) else found


def can_claim(using: str) -> bool:
    """Tell whether the database knows SKIP LOCKED."""
    return bool(connections[using].features.has_select_for_update_skip_locked)


def acknowledge(using: str, ids: Collection[int]) -> None:
    """Note that the caches have these: delete them where nothing is to be replayed, else once they are old enough."""
    in_order = sorted(ids)  # two who acknowledge the same rows must not wait for each other in a circle
    for n in range(0, len(in_order), TOGETHER):
        some = rows(using).filter(pk__in=in_order[n : n + TOGETHER])
        if conf.settings().OUTBOX_SECONDS:
            some.update(acknowledged=time())
        else:
            delete(some, using)


def delete(found: "Rows", using: str) -> None:
    """Delete rows with one statement."""
    found._raw_delete(using)  # noqa: SLF001 -- delete() fetches them first where anybody listens to every model
