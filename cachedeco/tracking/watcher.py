"""
The watcher: sees every statement that goes through Django, and tells what it writes and what it reads.

It is a wrapper around the execution of statements, as `connection.execute_wrapper()` installs them, and is put at place
0 of each connection's list: a user's block ends with a `pop()` of the last wrapper, and never takes this one. A tool
that traces statements may put its own before it. Whether it is in the list is asked, and not remembered: when Django
makes the object of a connection, when that connects, at the begin of a request and around computations.

Nothing here raises: a text that can't be understood has written every table. The exceptions, in a transaction: a row
that is read to know which parts a statement changes may be locked in a deadlock, as the statement itself would be; and
an outbox that can't record what it writes makes Django roll back the block, as a query of the database cache that fails
makes PostgreSQL.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from django.core.signals import request_finished, request_started
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from cachedeco.invalidation import boundaries, commits, transactions
from cachedeco.invalidation.parts import ChangedParts, changed_parts, has_parts
from cachedeco.invalidation.sql_forms import DML, QUERIES
from cachedeco.invalidation.tables import StatementEffect, Tables, tables
from cachedeco.invalidation.writes import end_tables
from cachedeco.runtime.databases import fails_transaction
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.tracking import collector, copies, returned_rows, views

UID: Final = "cachedeco.tracking.watcher"
UNWATCHED: Final = "The connection {alias!r} was not watched: what it has written since has invalidated nothing"
UNREAD: Final = "A statement can't be understood, and counts as a write of every table"

UNKNOWN_TABLES: Final = "The tables can't be worked out, so no statement invalidates anything until that is mended"

# Statements by which a caller begins and ends transactions by hand.
BOUNDARIES: Final = frozenset({"begin", "commit", "rollback"})
# What was computed since the transaction, or the savepoint, began is undone.
UNDOING: Final = frozenset({"rollback", "rollback to"})
# They commit what was written before them, also in the middle of a block.
COMMITTING: Final = frozenset({"begin", "commit"})
# Where DDL can't be undone, all statements may but these: definitions, maintenance, procedures.
KEEPING: Final = (
    UNDOING | DML | QUERIES | {"", "declare", "explain", "fetch", "isolation", "load", "release", "savepoint"}
)
# Nothing is told of those of them that write to no table.
UNTOLD: Final = KEEPING - UNDOING

Mark = Callable[[BaseDatabaseWrapper, Any, StatementEffect], Any]

_create: Final = connections.create_connection

# Swapped whole by mark_with().
_mark: Mark | None = None
# What kept the last statement from being understood, as it was reported.
_fault = ""


class Execute(Protocol):
    """What runs a statement: the next wrapper, or Django's cursor."""

    def __call__(self, sql: Any, params: Any, many: bool, context: dict[str, Any], /) -> Any:  # noqa: FBT001 -- Django's
        """Run it."""
        ...


def watch(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001 -- Django's
    """Run a statement, and tell what it writes and reads."""
    effect = _begin(sql, context["connection"])
    text = sql
    if _mark is not None and (effect.writes or effect.kept):
        text = _mark_text(_mark, context["connection"], sql, effect)
    if not effect.writes and effect.verb in UNTOLD:
        try:
            return execute(text, params, many, context)
        except BaseException:
            boundaries.note_failure(context["connection"])
            raise
    parts = _parts_of(effect, sql, params, context) if not many and has_parts(effect.writes) else None
    try:
        result = execute(text, params, many, context)
        returned_rows.fetch(context["connection"], context["cursor"])
    except BaseException:
        boundaries.note_failure(context["connection"])
        raise
    else:
        return result
    finally:
        if effect.verb in UNDOING:
            boundaries.note_rollback(context["connection"], sql)
        # After an exception, too: it may have been raised when the statement had run.
        try:
            _end(context["connection"], effect, parts, context["cursor"])
        except BaseException:  # an interrupt: the caller can't know that the row is written, and the entry old
            _end(context["connection"], effect, parts, context["cursor"])
            raise


def _begin(sql: Any, connection: BaseDatabaseWrapper) -> StatementEffect:
    effect = _effect_of(sql)
    if effect.elsewhere:
        effect = _effect_beyond(sql, effect, connection)
    if collector.innermost.get() is not None:
        collector.note_statement(effect, connection)
    return effect


def mark_with(mark: Mark | None) -> None:
    """
    Pass the text of every statement that writes through a function, which may add a comment; None removes it.

    By the comment, triggers of the database tell the writes that are watched from those that are not.
    """
    global _mark  # noqa: PLW0603 -- swapped whole, as said above
    _mark = mark


def _mark_text(mark: Mark, connection: BaseDatabaseWrapper, sql: Any, effect: StatementEffect) -> Any:
    try:
        return mark(connection, sql, effect)
    except Exception as error:  # noqa: BLE001 -- the user's statement runs, and without a mark the triggers record it
        pass_interrupt(error)
        emit(Event("error", reason="A statement can't be marked as watched", error=error))
        return sql


def _effect_of(sql: Any) -> StatementEffect:
    known: Tables | None = None
    try:
        known = tables()
        return known.effect_of(sql)
    except Exception as error:  # noqa: BLE001 -- the user's statement runs in any case
        pass_interrupt(error)
        if known is None:
            _tell_fault(error)
            return StatementEffect(verb="other")
        emit(Event("error", reason=UNREAD, error=error))
        return StatementEffect(writes=known.everything(), verb="other", everything=True)


def _effect_beyond(sql: Any, effect: StatementEffect, connection: BaseDatabaseWrapper) -> StatementEffect:
    """Return what a statement does that writes to a view, to a partition, or to a table of no model."""
    try:
        written, are_found = views.tables_written(connection, effect.elsewhere)
        return tables().effect_beyond(sql, written, are_found=are_found)
    except Exception as error:  # noqa: BLE001 -- as above
        pass_interrupt(error)
        emit(Event("error", reason=UNREAD, error=error))
        return effect._replace(writes=tables().everything(), everything=True)


def _tell_fault(error: Exception) -> None:
    """Emit the event of settings that have a fault, or of models: once, not for each statement."""
    global _fault  # noqa: PLW0603 -- swapped whole
    fault = f"{type(error).__name__}: {error}"
    if fault != _fault:
        _fault = fault
        emit(Event("error", reason=UNKNOWN_TABLES, error=error))


def _parts_of(effect: StatementEffect, sql: Any, params: Any, context: dict[str, Any]) -> ChangedParts | None:
    # What is read to know the parts is no read of the computation that writes.
    token = collector.innermost.set(None)
    try:
        return changed_parts(context["connection"], effect.writes, sql, params)
    except DatabaseError:
        # The database may have rolled back, as after a deadlock: without the exception, the rest would be committed.
        if not context["connection"].get_autocommit():
            raise
        return None
    except Exception as error:  # noqa: BLE001 -- a field of the user's may raise anything: all parts are ended
        pass_interrupt(error)
        return None
    finally:
        collector.innermost.reset(token)


def _end(
    connection: BaseDatabaseWrapper, effect: StatementEffect, parts: ChangedParts | None = None, cursor: object = None
) -> None:
    try:
        if parts is None:
            end_tables(connection, effect.writes)
        else:
            end_tables(connection, effect.writes, parts.after(cursor))
        if effect.defines:
            views.note_definition(connection)
        if effect.verb in BOUNDARIES:
            transactions.note_boundary(connection, effect.verb)
            if commits.has_pending():
                commits.deliver_ended()
        if effect.verb in COMMITTING or (effect.verb not in KEEPING and not connection.features.can_rollback_ddl):
            boundaries.note_commit(connection)
    except Exception as error:
        pass_interrupt(error)
        # By the outbox, or the database cache: the transaction would be undone, and end as if it had committed.
        if connection.needs_rollback or fails_transaction(error, transactions.connections_here()):
            raise
        emit(Event("error", reason="What a statement has written could not be invalidated", error=error))


# --- the lists of the connections ---


def is_watched(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the watcher is in the list of a connection."""
    return watch in connection.execute_wrappers


def are_watched(connections: Iterable[BaseDatabaseWrapper]) -> bool:
    """Tell whether the watcher is in the lists of all of these that are open, from any thread."""
    return all(each.connection is None or is_watched(each) for each in connections)


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the watcher in front of the other wrappers of a connection, once."""
    if not is_watched(connection):
        connection.execute_wrappers.insert(0, watch)


def watch_all() -> list[str]:
    """Watch the open connections of this thread; return the aliases of those that were not, which are events."""
    missed: list[str] = []
    for connection in transactions.connections_here():
        if connection.connection is not None and not is_watched(connection):
            install(connection)
            missed.append(connection.alias)
            emit(Event("unwatched", reason=UNWATCHED.format(alias=connection.alias)))
    return missed


def _create_watched(alias: str) -> BaseDatabaseWrapper:
    """Watch before the first connecting: an interrupt may fall between that and Django's signal, and leave it open."""
    connection = _create(alias)
    install(connection)
    return connection


def _on_connection(connection: BaseDatabaseWrapper, **_: object) -> None:
    install(connection)
    transactions.forget_boundary(connection)
    copies.follow(connection, _begin, _end)


def _on_request(**_: object) -> None:
    watch_all()


def start() -> None:
    """Watch all connections from now on, those of this thread that are open included. Once or several times."""
    signals = (connection_created, request_started, request_finished)
    for signal in signals:
        signal.disconnect(dispatch_uid=UID)
    connection_created.connect(_on_connection, dispatch_uid=UID)
    request_started.connect(_on_request, dispatch_uid=UID)
    request_finished.connect(_on_request, dispatch_uid=UID)
    for signal in signals:
        # First in line: a receiver that raises would leave a new connection open, and unwatched; and at both ends of a
        # request Django closes old connections, of which nothing could be told any more.
        signal.receivers.insert(0, signal.receivers.pop())
    connections.create_connection = _create_watched  # type: ignore[method-assign] # of this one object
    for connection in transactions.connections_here():
        install(connection)
        if connection.connection is not None:
            _on_connection(connection)
