"""
Reads at the SQL: which tables a computation reads, with the token of each as it was before the data.

The tables that are known from earlier computations were read with the look-up, before the computation began. The token
of any other is read here, right before the first statement that reads the table. That is early enough only if the
statement has a snapshot of its own. Otherwise the value is returned, not stored, and the table is known from then on.
"""

# ruff: noqa: SLF001 -- a QuerySet's _result_cache is in private_api

import dataclasses
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from time import time
from types import MemberDescriptorType
from typing import Any, Final, NamedTuple

from django.conf import settings as django_settings
from django.core.exceptions import EmptyResultSet
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.utils.functional import LazyObject, empty

from cachedeco.invalidation import transactions
from cachedeco.invalidation.rows import table_of
from cachedeco.invalidation.tables import StatementEffect, tables
from cachedeco.invalidation.tokens import LONGEST_LIFETIME, mint
from cachedeco.runtime import conf
from cachedeco.storage.entries import is_token, new_token
from cachedeco.storage.store import Store
from cachedeco.tracking.known_tables import KnownTables
from cachedeco.tracking.views import tables_behind

UNREAD: Final = "it runs a statement of which no table is known, and which may read any"
UNTOKENED: Final = "the cache has no token for a table that it reads"
# How deep rows are looked for in arguments: a list of tuples of rows is common, more is not.
DEEPEST: Final = 4
# Where Django keeps what a user may do, once it was asked; and what decides it, beside the user's own row.
_PERMISSIONS: Final = frozenset({"_perm_cache", "_user_perm_cache", "_group_perm_cache"})
_DECIDE_PERMISSIONS: Final = frozenset({"groups", "user_permissions"})


class Noted(NamedTuple):
    """What a computation takes over from tables that it reads."""

    tokens: Mapping[str, bytes] = {}  #: of those that are new, by key
    problems: Sequence[str] = ()  #: why the result can't be stored
    ends: float = inf  #: when it ends at the latest, if the data come from a replica: seconds since the epoch


NOTHING_NEW: Final = Noted()


class TableReads:
    """The tables that one computation reads and writes."""

    __slots__ = ("_covered", "_new", "_noted", "known", "lasting", "read", "store", "written")

    def __init__(self, store: Store, known: KnownTables | None, covered: frozenset[str] = frozenset()) -> None:
        """
        Start with none.

        Args:
            store: The cache of the entry.

            known: Those of the function; without it, tables are only listed, and no token is read.

            covered: Tables whose tokens were read before the computation. Another call may have taught the function
                more of them since.
        """
        self.store = store
        self.known = known
        self._covered = covered
        self._new: dict[str, None] = {}  # those whose tokens are read here
        self.lasting: list[str] = []  #: why results of such statements are never stored
        self.read: set[str] = set()
        self.written: set[str] = set()
        self._noted: dict[tuple[int, str], StatementEffect] = {}  # kept, so that no other effect gets its id

    def note_statement(self, effect: StatementEffect, connection: BaseDatabaseWrapper) -> Noted:
        """Note what a statement is about to read, and what it writes."""
        self.written |= effect.writes
        mark = (id(effect), connection.alias)
        if mark in self._noted:
            return NOTHING_NEW
        self._noted[mark] = effect
        problems = [f"it reads the table {name}, which IGNORED_TABLES names" for name in sorted(effect.ignored)]
        if effect.everything:
            problems.append(UNREAD)
        read = set(effect.reads)
        for name in sorted(effect.unknown | (effect.reads & tables().unmanaged)):
            behind = tables_behind(connection, name)
            if behind is None:
                problems.append(f"it reads {name}, which no model writes: say what it stands for in the setting TABLES")
            else:
                read.discard(name)
                read |= behind
        ends = inf
        for name in read:
            lag = _lag_of(name, connection)
            if lag is None:
                problems.append(
                    f"it reads {name} from the database {connection.alias!r}, to which the model is not written: a "
                    "replica may be old, see the setting REPLICA_LAG"
                )
            elif lag:
                ends = min(time() + lag, ends)
        self.lasting += problems
        noted = self._note_tables(read, connection)
        return Noted(noted.tokens, (*problems, *noted.problems), ends)

    def uncovered(self, declared: Collection[str]) -> list[str]:
        """Return the tables that were read, and whose writes end nothing that depends on the declared ones."""
        every = tables()
        return sorted(table for table in self.read if every.concerned_by(table).isdisjoint(declared))

    def note_rows(self, values: Iterable[object]) -> Noted:
        """Note the tables of rows among the arguments of the call, with what is selected or prefetched on them."""
        return self._note_tables(set(tables_of_rows(values)), None)

    def _note_tables(self, names: set[str], connection: BaseDatabaseWrapper | None) -> Noted:
        self.read |= names
        if self.known is None:
            return NOTHING_NEW
        new = names - self._covered - self.known.declared - self._new.keys()
        if not new:
            return NOTHING_NEW
        self._new |= dict.fromkeys(sorted(new))
        if connection is not None and not transactions.sees_all_committed(connection):
            listed = ", ".join(sorted(new))
            problem = f"it reads {listed} for the first time, in a snapshot that may be older than the token"
            return Noted(problems=(problem,))
        keys = [self.known.key_of(name) for name in sorted(new)]
        raw: dict[str, Any] | None = self.store.get_many(keys)
        if raw is None:
            return Noted(problems=(UNTOKENED,))
        tokens: dict[str, Any] = {key: token for key, token in raw.items() if is_token(token)}
        fresh = [(key, new_token(), LONGEST_LIFETIME) for key in keys if key not in tokens]
        tokens |= mint(self.store, fresh, replaced=raw.keys() - tokens.keys())[0]
        if not all(is_token(tokens.get(key)) for key in keys):
            return Noted(problems=(UNTOKENED,))
        return Noted(tokens)


def tables_of_rows(values: Iterable[object]) -> Iterator[str]:
    """
    Yield the tables of all rows among values, and of rows that hang on these: selected or prefetched.

    Of other objects, rows are looked for in those that are made to be in keys: dataclasses, and by `__cache_key__`.
    """
    return _tables_of_rows(values, set(), DEEPEST)


def _tables_of_rows(values: Iterable[object], seen: set[int], depth: int) -> Iterator[str]:
    for value in values:
        if isinstance(value, Model):
            if id(value) not in seen:
                seen.add(id(value))
                yield from _tables_of_row(value, seen)
        elif not depth:
            continue
        elif isinstance(value, Mapping):
            yield from _tables_of_rows([*value, *value.values()], seen, depth - 1)
        elif isinstance(value, list | tuple | set | frozenset | deque):
            yield from _tables_of_rows(value, seen, depth - 1)
        elif hasattr(value.__class__, "__cache_key__") or dataclasses.is_dataclass(value.__class__):
            yield from _tables_of_rows(_attributes_of(value), seen, depth - 1)
        elif isinstance(value, QuerySet) and value._result_cache is not None:  # else a statement is to follow
            yield table_of(value.model)
            with suppress(EmptyResultSet):
                yield from tables().effect_of(str(value.query)).reads
            yield from _tables_of_rows(value._result_cache, seen, depth - 1)


def _attributes_of(value: object) -> Iterator[object]:
    """Yield what is in an object, by no code of the user's: no property is asked, and nothing lazy is made."""
    held = [*getattr(value, "__dict__", {}).values()]
    for cls in type(value).__mro__:
        for slot in vars(cls).values():
            if isinstance(slot, MemberDescriptorType):
                with suppress(AttributeError):  # it is empty
                    held.append(slot.__get__(value))
    return (each for each in held if not issubclass(type(each), LazyObject) or vars(each).get("_wrapped") is not empty)


def _tables_of_row(row: Model, seen: set[int]) -> Iterator[str]:
    options: Any = row._meta
    yield from map(table_of, (options.concrete_model, *options.all_parents))
    for rows in vars(row).get("_prefetched_objects_cache", {}).values():
        yield table_of(rows.model)
        yield from _tables_of_rows(rows, seen, DEEPEST)
    if not _PERMISSIONS.isdisjoint(vars(row)):
        yield from (
            table_of(field.related_model) for field in options.many_to_many if field.name in _DECIDE_PERMISSIONS
        )
    # Prefetched rows are also in attributes of the user's: Prefetch(to_attr=...).
    state: Any = row._state
    yield from _tables_of_rows([*state.fields_cache.values(), *vars(row).values()], seen, DEEPEST)


def _lag_of(table: str, connection: BaseDatabaseWrapper) -> float | None:
    """Return how many seconds old what is read from a table here may be; None if that is unknown: a replica."""
    lag = conf.settings().REPLICA_LAG
    by_alias = lag if isinstance(lag, Mapping) else {}
    model = tables().models.get(table)
    if model is None or not django_settings.DATABASE_ROUTERS:
        # By `using()` alone a database may be read and written: it is a replica if the setting says so.
        return by_alias.get(connection.alias, 0.0)
    written = router.db_for_write(model)
    if written == connection.alias or _is_same_database(connection, connections[written]):
        return 0.0
    return by_alias.get(connection.alias) if isinstance(lag, Mapping) else lag


def _is_same_database(one: BaseDatabaseWrapper, other: BaseDatabaseWrapper) -> bool:
    """
    Tell whether two aliases are one database, as a replica is in tests by the setting `TEST["MIRROR"]`.

    OPTIONS may name the server: a `service`, a `read_default_file`, or by `target_session_attrs` one of several hosts.
    """
    names = ("HOST", "PORT", "NAME", "OPTIONS")
    return all(one.settings_dict.get(name) == other.settings_dict.get(name) for name in names)
