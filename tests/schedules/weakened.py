"""The library with one line of defence taken away: a schedule must be found in which it is missed."""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from cachedeco.invalidation import epochs
from cachedeco.loading import flights
from cachedeco.loading.flights import Flight
from cachedeco.loading.found import Found, Wanted
from cachedeco.loading.leases import Held, claim_stamps
from cachedeco.loading.load import FlightResult, Load, Miss, Results, propagate_dependencies
from cachedeco.loading.lookup import look_up
from cachedeco.loading.lookup_on_loop import recall_or_look_up_on_loop
from cachedeco.loading.materializing import materialize
from cachedeco.loading.new_entries import add_results_of_error
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.remembering import Memory
from cachedeco.loading.stamping import build_stamps
from cachedeco.loading.writing import new_entry, store_entries
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged
from cachedeco.tracking import collector, watcher
from cachedeco.tracking.known_tables import KnownTables
from cachedeco.tracking.reads import TableReads
from tests.schedules import scenarios, simulation
from tests.schedules.explorer import Scenario


def _stamped_late(policy: CachePolicy, miss: Miss, *_: object, **__: object) -> Any:
    now = Miss(None, Found(miss.found.keys, policy.store.get_many(miss.found.keys[1:])))
    build_stamps(policy, [now])
    return now.stamp, ""


def _note_the_last(alias: str, keys: Any, found: Any, _use: object = None) -> None:
    computation = collector.innermost.get()
    if computation is not None and computation.collects:
        assert alias == computation.alias
        computation.tokens |= {key: found[key] for key in keys[1:]}


def _complete_by_name(flight: Flight, results: Results) -> None:
    for name in flight.names:
        if flights._flights.pop(name, None) is flight and not flight.promise.is_kept:
            flight.promise.keep(results)


def _stored_without_marks(load: Load, on_failure: Any = None, marks: Any = ()) -> None:
    _store(load, on_failure)
    for key, _, _ in marks:
        load.policy.store.delete(key)


def _claimed_always(load: Load, held: Held) -> Any:
    lease = _claim(load, held)
    held[:] = [lease] if lease else []
    return lease


def _thoughtful(*args: Any, **kwargs: Any) -> Any:
    """Take time between the last row that is read and the end of the computation."""
    simulation.step("row", ("think",), lambda: None)
    return materialize(*args, **kwargs)


class _ByBareKey(dict[str, Any]):
    """Results by key, whose tenant does not matter."""

    def __contains__(self, key: object) -> bool:
        """Look for the rest of the key."""
        return super().__contains__(_bare(key))

    def __getitem__(self, key: str) -> Any:
        """Get by the rest of the key."""
        return super().__getitem__(_bare(key))


def _bare(key: object) -> str:
    return str(key).partition(":")[2]


def _completed_for_any_tenant(flight: Flight, results: Results) -> None:
    _complete(flight, _ByBareKey({_bare(key): result for key, result in results.items()}))


def _read_interleaved(store: Store, keys: Sequence[str]) -> Any:
    """Read the entry and the token of an id, then those of the next one."""

    def place(key: str) -> tuple[str, bool]:
        found = re.search(r"each=1'(\w)", key)
        return found[1] if found else "a", "cd:e:" not in key

    order = sorted(keys, key=place)
    found = dict(zip(order, _read_each(store, order) or (), strict=False))
    return [found.get(key) for key in keys]


def _read_tokens_first(store: Store, keys: Sequence[str]) -> Any:
    """Read the tokens, then the entries."""
    order = [*[key for key in keys if "cd:e:" not in key], *[key for key in keys if "cd:e:" in key]]
    found = dict(zip(order, _read_each(store, order) or (), strict=False))
    return [found.get(key) for key in keys]


async def _read_tokens_first_on_loop(store: Store, keys: Sequence[str]) -> Any:
    order = [*[key for key in keys if "cd:e:" not in key], *[key for key in keys if "cd:e:" in key]]
    found = dict(zip(order, await _read_on_loop(store, order) or (), strict=False))
    return [found.get(key) for key in keys]


async def _looked_up_one_by_one_on_loop(wanted: Sequence[Wanted]) -> Any:
    found: list[Any] = [await recall_or_look_up_on_loop([each]) for each in wanted]
    return None if any(map(callable, found)) else [each for [each] in found]


async def _stored_without_marks_on_loop(store: Store, items: Any) -> Acknowledged:
    stored = await _set_each_on_loop(store, items[:-1])
    store.delete(items[-1][0])
    return Acknowledged([*stored, True])


def _looked_up_one_by_one(wanted: Sequence[Wanted]) -> list[Found]:
    """Look up each call by a read of its own."""
    return [look_up(policy, [keys])[0] for policy, keys in wanted]


def _advance_before_the_write(store: Store, items: Sequence[Item]) -> list[bool]:
    epochs.advance([key for key, _, _ in items])
    return _set_tokens(store, items)


def _remember_by_epochs_of_later(memory: Memory, keys: Any, entry_keys: Any, values: Any, _since: object) -> Any:
    return _remember(memory, keys, entry_keys, values, epochs.last())


def _error_of_others(load: Load, *args: Any) -> Any:
    add_results_of_error(load, *args)
    for miss in load.misses:
        assert miss.result is not None
        miss.result = miss.result._replace(computed_with=frozenset({"another key"}))


def _noted_late(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    result = execute(sql, params, many, context)
    return _watch(lambda *_: result, sql, params, many, context)


def _noted_in_any_snapshot(reads: TableReads, names: set[str], _connection: object) -> Any:
    return _note_tables(reads, names, None)


class _KnownByNow:
    """The tables that the function is known to read by now, also those for which the look-up has not asked."""

    def __init__(self, tables: KnownTables) -> None:
        self._tables = tables

    def __rsub__(self, names: set[str]) -> set[str]:
        """Return the names of others."""
        return names - self._tables.names


def _reads_of_what_is_known_by_now(store: Store, tables: KnownTables, _misses: object) -> TableReads:
    known: Any = _KnownByNow(tables)
    return TableReads(store, tables, known)


def _handed_on_with_the_newer(policy: CachePolicy, found: Found, result: FlightResult) -> None:
    own = zip(found.keys[1:], result.stamp or (), strict=True)
    stamp = tuple([result.nested_tokens.get(key, token) for key, token in own])
    _propagate(policy, found, result._replace(stamp=stamp))


_watch, _note_tables, _propagate = watcher.watch, TableReads._note_tables, propagate_dependencies
_store, _claim, _complete, _read_each = store_entries, claim_stamps, Flight.complete, Store.read_each
_set_tokens, _remember = Store.set_tokens, Memory.remember
_read_on_loop, _set_each_on_loop = Store.start_read_on_loop, Store.set_each_on_loop
NOT_LOOKED_AGAIN = {"loading.following._standing_keys": lambda _load, results, _reraised: set(results)}

# What is replaced in cachedeco, by what, and where it is missed.
WEAKENED: dict[str, tuple[dict[str, Any], str]] = {
    "stamp read after the computation": (
        {"loading.new_entries.stamp_if_cacheable": _stamped_late},
        "two readers, one writer, own token",
    ),
    "flights named by key alone, whose followers do not look again": (
        {
            "loading.single_flight.flight_name": lambda policy, miss: (policy.store.alias, miss.key, ()),
            **NOT_LOOKED_AGAIN,
        },
        "two readers, one writer, own token",
    ),
    "followers who do not look again": (NOT_LOOKED_AGAIN, "a call inside a call, last"),
    "calls inside that are not noted": (
        {"loading.computing.propagate_dependencies": lambda *_: None},
        "a call inside a call, first",
    ),
    "calls inside noted by the last token": (
        {"tracking.collector.record_dependency": _note_the_last},
        "a call inside a call twice",
    ),
    "flights without a stamp that do not depart": (
        {"loading.flights.Flight.rename": lambda *_: None, "loading.computing.materialize": _thoughtful},
        "three readers of a cache that can't be read, one writer",
    ),
    "flights that land by their name": (
        {"loading.flights.Flight.complete": _complete_by_name},
        "three readers of a cache that can't be read do not wait in vain",
    ),
    "leases without a mark": (
        {"loading.writing.store_entries": _stored_without_marks},
        "two processes compute once",
    ),
    "flights named by the key before the prefix": (
        {
            "loading.single_flight.flight_name": lambda policy, miss: (policy.store.alias, _bare(miss.key), ()),
            "loading.flights.Flight.complete": _completed_for_any_tenant,
            **NOT_LOOKED_AGAIN,
        },
        "two tenants, one reader each",
    ),
    "stamps built after the snapshot": (
        {"invalidation.transactions.snapshot_may_be_old": lambda: False},
        "a reader with an old snapshot, one writer",
    ),
    "keys read id by id": (
        {"storage.store.Store.read_each": _read_interleaved},
        "a bulk call of two ids that are written one after the other",
    ),
    "tokens of a gather read before its entries": (
        {"storage.store.Store.read_each": _read_tokens_first},
        "a gather of two calls that are written one after the other",
    ),
    "calls of a gather looked up one by one": (
        {"functions.gathering.recall_or_look_up": _looked_up_one_by_one},
        "a gather of two calls that are written one after the other",
    ),
    "tokens of an async gather read before its entries": (
        {"storage.store.Store.start_read_on_loop": _read_tokens_first_on_loop},
        "an async gather of two calls that are written one after the other",
    ),
    "calls of an async gather looked up one by one": (
        {"functions.gathering.recall_or_look_up_on_loop": _looked_up_one_by_one_on_loop},
        "an async gather of two calls that are written one after the other",
    ),
    "stamp read after the computation of an async gather": (
        {"loading.new_entries.stamp_if_cacheable": _stamped_late},
        "an async gather of one call that is stored, one writer",
    ),
    "leases without a mark, of loops": (
        {"storage.store.Store.set_each_on_loop": _stored_without_marks_on_loop},
        "loops of two processes compute once",
    ),
    "epochs that advance before the write": (
        {
            "invalidation.delivery.epochs": SimpleNamespace(advance=lambda _: None),
            "storage.store.Store.set_tokens": _advance_before_the_write,
        },
        "a warm reader thrice in one block, one writer",
    ),
    "epochs that are read after the cache": (
        {"loading.remembering.Memory.remember": _remember_by_epochs_of_later},
        "a warm reader thrice in one block, one writer",
    ),
    "exceptions that followers do not take": (
        {"loading.computing.add_results_of_error": _error_of_others},
        "two bulk calls that raise",
    ),
    "commits in doubt that invalidate nothing": (
        {"invalidation.commits.Pending._may_be_committed": lambda *_: False},
        "a commit in doubt, one reader",
    ),
    "deletes that leave their answer": (
        {"storage.store.delete": lambda cache, key: cache.delete(key) is True},
        "a reader of what raises gets a signal",
    ),
    "leases that are not given back after a signal": (
        {"loading.leases.Held.give_back": lambda _: None},
        "a reader gets a signal",
    ),
    "leases that are not given back after a cancellation": (
        {"loading.leases.Lease.end": lambda *_: None},
        "a task is cancelled",
    ),
    "entries that outlive what they contain": (
        {"loading.new_entries.new_entry": lambda policy, prepared, *_: new_entry(policy, prepared)},
        "a cold call for ever with a warm brief one inside, in another cache",
    ),
    "tokens of new tables that are read after their data": (
        {"tracking.watcher.watch": _noted_late},
        "a cold reader under AUTO, a write in autocommit",
    ),
    "new tables that are stored in any snapshot": (
        {"tracking.reads.TableReads._note_tables": _noted_in_any_snapshot},
        "two new tables in REPEATABLE READ, one writer",
    ),
    "snapshots that are never old": (
        {"invalidation.transactions.sees_all_committed": lambda _: True},
        "two new tables beside an open cursor, one writer",
    ),
    "entries under the tables of the look-up alone": (
        {"loading.new_entries.with_tables": lambda _policy, _found, stamp, _nested: (stamp, {})},
        "a call learns what another one is about to read",
    ),
    "tables known by now that count as asked for": (
        {"loading.computing.reads_of": _reads_of_what_is_known_by_now},
        "a call learns what another one is about to read",
    ),
    "the newer of two tokens handed on": (
        {"loading.computing.propagate_dependencies": _handed_on_with_the_newer},
        "a table read by a call, and then by a call inside it",
    ),
    "no leases": ({"loading.single_flight.claim_stamps": _claimed_always}, "two processes compute once"),
}


def scenario(name: str) -> Scenario:
    """Return the small scenario of a name."""
    return next(each for each in scenarios.SMALL if each.name == name)
