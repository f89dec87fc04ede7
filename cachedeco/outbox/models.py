"""The table of the outbox and its queries. They send no signals, so that no receiver reacts to rows."""

from collections.abc import Collection
from time import time
from typing import TYPE_CHECKING, Final

from django.db import connections, models, router

from cachedeco.runtime import conf
from cachedeco.runtime.databases import databases

# Parameters of one statement, below the limits of the databases: Oracle 1000, an old SQLite 999.
MAX_PARAMETERS: Final = 500

# In the column `cache` of rows that a trigger has inserted: they concern every cache, and `key` is a statement without
# its details, such as "UPDATE clubs_club". A deliverer replaces them by rows of the tokens that such a write ends.
BY_TRIGGER: Final = ""


class Row(models.Model):
    """One token to replace. Times are seconds since 1970, which need no time zone."""

    cache = models.CharField(max_length=100)  #: alias of the cache, or BY_TRIGGER
    key = models.CharField(max_length=250)  #: whole, as the cache's server gets it; 250 is memcached's limit
    lifetime = models.FloatField(null=True)  #: seconds that the new token lives, None for ever
    created = models.FloatField()
    acknowledged = models.FloatField(null=True)  #: None until the cache acknowledges it

    class Meta:
        """One index for both queries: unacknowledged rows by id, and acknowledged rows by time."""

        app_label = "cachedeco_outbox"
        indexes = (models.Index(fields=["acknowledged", "id"], name="cachedeco_outbox_waiting"),)

    def __str__(self) -> str:
        """Return the key and the alias."""
        return f"{self.key} in {self.cache}"


if TYPE_CHECKING:
    Rows = models.QuerySet[Row]


def outbox_databases() -> list[str]:
    """Return the aliases of the databases that have the table, according to the routers."""
    return [alias for alias in databases() if router.allow_migrate_model(alias, Row)]


def has_table(using: str) -> bool:
    """Ask the database whether it has the table."""
    return Row._meta.db_table in connections[using].introspection.table_names()


def rows(using: str) -> "Rows":
    """Return all rows of a database."""
    return Row._default_manager.using(using)


def claim(found: "Rows", using: str) -> "Rows":
    """
    Return the rows that no other deliverer has claimed, locked until the transaction ends.

    A database that can't skip locked rows returns all: two deliverers may deliver the same row, which costs a miss.
    """
    return found.select_for_update(skip_locked=True) if can_claim(using) else found


def can_claim(using: str) -> bool:
    """Tell whether the database supports SKIP LOCKED."""
    return bool(connections[using].features.has_select_for_update_skip_locked)


def acknowledge(using: str, ids: Collection[int]) -> None:
    """Mark rows as acknowledged; delete them at once if the replay window is 0."""
    in_order = sorted(ids)  # two processes that acknowledge the same rows must not deadlock
    for n in range(0, len(in_order), MAX_PARAMETERS):
        chunk = rows(using).filter(pk__in=in_order[n : n + MAX_PARAMETERS])
        if conf.settings().OUTBOX_SECONDS:
            chunk.update(acknowledged=time())
        else:
            delete(chunk, using)


def delete(found: "Rows", using: str) -> None:
    """Delete rows with one statement."""
    found._raw_delete(using)  # noqa: SLF001 -- delete() fetches the rows first if a receiver listens to every model
