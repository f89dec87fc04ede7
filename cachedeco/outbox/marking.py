"""Mark statements that the watcher has seen, so that the triggers of PostgreSQL do not record them once more."""

from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.raw_queries import ask
from cachedeco.invalidation.tables import StatementEffect
from cachedeco.outbox.triggers import LONGEST_MARK, TRIGGER
from cachedeco.runtime import modes

# What fires triggers, and names its tables.
VERBS: Final = frozenset({"insert", "update", "delete", "truncate", "merge"})
# A name with one of these would end the comment, or the list, or be a placeholder.
UNMARKABLE: Final = frozenset("*':%")

_has_triggers: dict[str, bool] = {}


def mark(connection: BaseDatabaseWrapper, sql: Any, effect: StatementEffect) -> Any:
    """
    Return the text of a statement with a comment that names the tables which the watcher takes care of.

    Without it the triggers record the statement, which does no harm: its invalidation is sent twice.
    """
    if (
        connection.vendor != "postgresql"
        or effect.verb not in VERBS
        or not isinstance(sql, str)
        or modes.current_mode() == "off"  # nothing is invalidated then
        or not _knows_triggers(connection)
    ):
        return sql
    # As a trigger knows its table: of a name like 'schema"."table' the last part.
    tables = sorted(name.rpartition('"."')[2].strip('"') for name in effect.writes | effect.kept)
    driver: Any = connection.connection
    # psycopg 2 and 3 know the process of the server. Behind a proxy it is another one, and the triggers record.
    comment = f" /*cachedeco:{driver.info.backend_pid}:{':'.join(tables)}:*/"
    if len(comment) > LONGEST_MARK or not UNMARKABLE.isdisjoint("".join(tables)):
        return sql
    return sql + comment


def _knows_triggers(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a database has triggers of ours. It is asked once: those that are added later do record."""
    found = _has_triggers.get(connection.alias)
    if found is None:
        row = ask(connection, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = %s)", [TRIGGER])
        if row is None:  # in a transaction that has failed: the statement fails as well
            return False
        found = _has_triggers[connection.alias] = row[0]
    return found
