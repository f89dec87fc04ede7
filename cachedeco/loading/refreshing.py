"""
Stale-while-revalidate and early refresh (XFetch): refresh an entry while the old value is still served.

One caller refreshes, the one that gets the lease; the others are served the old value, at once. An invalidated entry
never comes here: its stamp is dead.

Before its timeout an entry is refreshed at random, the earlier the longer its computation takes: XFetch (Vattani,
Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", PVLDB 8(8), 2015). A call compares the
expiry with a time ahead of the clock, by an exponentially distributed amount whose mean is beta times the seconds of
the last computation. Without a lease e^(1/beta) callers would refresh on average, for any number of callers.
"""

import pickle
from asyncio import CancelledError
from functools import partial
from importlib import import_module
from math import log
from random import random
from time import time
from typing import Any, Final, Literal, cast

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core import signing

from cachedeco.invalidation import transactions
from cachedeco.loading.effects import EffectFlow, Flow, Ok, Spawn
from cachedeco.loading.flights import NO_RESULTS, Flight, flight_name, join_or_lead
from cachedeco.loading.found import renew_keys
from cachedeco.loading.leases import FAILED, Held, lease_of
from cachedeco.loading.load import Load, Miss
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.serving import serve_each
from cachedeco.loading.single_flight import run_as_leader
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.log import text_of_key
from cachedeco.storage.entries import Entry
from cachedeco.storage.serializers import to_pickle
from cachedeco.tracking import collector

SALT: Final = "cachedeco.refresh"
OTHER_KEY: Final = "In the background the call of {0} is that of {1}: what it varies on is not known there. {2}"
REMEDY: Final = 'Say CACHEDECO["REFRESH"] = "caller".'


def xfetch_time(entry: Entry, beta: float) -> float:
    """Return the time that XFetch compares with an entry's expiry, in seconds since the epoch: a random time ahead."""
    # 1 - random() is never 0, which has no logarithm.
    return time() - entry.seconds * beta * log(1 - random())


def stale_flow(load: Load) -> Flow[Values]:
    """Serve stale entries, or some that are refreshed early, unless this caller won the lease and must refresh them."""
    policy = load.policy
    values: Values = {}
    mode = yield partial(_refresh_mode, policy)
    flight, held, is_handed_over = Flight(), Held(), False
    try:
        led = (yield partial(_claim, flight, load, held)) if mode is not None else None
        if led is not None and mode == "caller":
            for miss in led.misses:
                policy.emit("miss", miss.key, reason="refresh")
            error = yield from run_as_leader(flight, led, held[0])
            if error is not None:
                return error
            values = led.values
        elif led is not None and mode is not None:
            # The enclosing computation used the stale values, so it must not inherit the refresh's dependencies.
            with collector.collect_dependencies(policy.store.alias, collects=False):
                is_handed_over = yield from _start_in_background(flight, led, held, mode)
    except BaseException:  # an interrupt
        held.give_back()
        raise
    finally:
        if not is_handed_over:
            flight.complete(NO_RESULTS)
    others = {miss.id: miss.found for miss in load.misses if miss.id not in values}
    return Ok(values | serve_each(policy, others))


def _refresh_mode(policy: CachePolicy) -> Literal["caller", "thread", "task"] | None:
    """Return what refreshes the entry; None in a transaction, whose values are never shared."""
    if transactions.any_open():
        return None
    # No other connection sees what the transaction of a TestCase has written.
    return "caller" if transactions.any_in_test() else policy.refresh


def _claim(flight: Flight, load: Load, held: Held) -> Load | None:
    """Lead the flights that have no leader, and take the lease for them; None if another caller refreshes."""
    policy, misses = load.policy, [Miss(miss.id, miss.found) for miss in load.misses]  # perhaps of another thread
    for miss in misses:
        miss.name, miss.stamp = flight_name(policy, miss), miss.tokens
    others = join_or_lead(flight, misses)
    led = load.with_misses(miss for miss in misses if miss not in others)
    return led if led.misses and held.take(lease_of(policy, led.misses)) else None


# --- in the background ---


def _start_in_background(flight: Flight, load: Load, held: Held, mode: Literal["thread", "task"]) -> EffectFlow[bool]:
    """
    Have a thread or a task refresh the entries; if that fails, release the lease for the next caller.

    Returns:
        Whether a thread has the flight now, and will complete it.
    """
    if mode == "thread":
        refresh = _refresh_in_thread(flight, load, held.copy())
        next(refresh)  # now it holds the lease, and cleans up even if an event loop ends before its first step
        held.clear()
        if (yield Spawn(refresh)):
            return True
        yield refresh.close
    elif not (yield partial(_enqueue_task, load)):
        yield held.give_back
    return False


def _refresh_in_thread(flight: Flight, load: Load, held: Held) -> Flow[Any]:
    """Refresh the entries as a leader, if the call has the same keys in this thread or task: after a first `next()`."""
    [lease] = held
    try:
        yield _begun
        problem = yield partial(find_key_mismatch, load, REMEDY)
        if problem is None:
            # The enclosing computation, inherited with the context, goes on meanwhile: it must not inherit.
            with collector.collect_dependencies(load.policy.store.alias, collects=False):
                error = yield from run_as_leader(flight, load, lease)
            problem = error and error.error
        else:
            yield partial(lease.end, FAILED)
    except BaseException:
        held.give_back()
        raise
    finally:
        flight.complete(NO_RESULTS)
    if problem is not None and not isinstance(problem, CancelledError):  # a loop that ends has not failed
        load.policy.emit("error", load.misses[0].key, reason="The refresh failed", error=problem)
    return Ok(None)


def _begun() -> None:
    """Be the effect at which a flow has begun: unlike one that has not, it cleans up when it is closed or collected."""


def find_key_mismatch(load: Load, remedy: str) -> Exception | None:
    """Return an error, with a remedy, if a key differs in this thread, as where `vary` reads a thread-local tenant."""
    keys = [found.keys for found in load.found]
    try:
        call: Any = cast("Any", load.call_of)(load.ids)  # what may be stale has one
        keys_here = call._resolve_keys()  # noqa: SLF001 -- a call of ours
    except Exception as error:  # noqa: BLE001 -- the user's `vary` may raise anything in another thread
        pass_interrupt(error)
        return error
    for there, here in zip(keys, keys_here, strict=True):
        if renew_keys(load.policy, there) != renew_keys(load.policy, here):
            return RuntimeError(OTHER_KEY.format(text_of_key(there[0]), text_of_key(here[0]), remedy))
    return None


def _enqueue_task(load: Load) -> bool:
    try:
        call: Any = cast("Any", load.call_of)(load.ids)
        named = call, call._entry_keys()  # noqa: SLF001 -- a call of ours
        tasks = import_module("cachedeco.loading.refresh_task")  # needs Django 6, as the setting's own check says
        tasks.refresh.enqueue(signing.dumps(named, salt=SALT, serializer=PickleSerializer, compress=True))
    except Exception as error:  # noqa: BLE001 -- arguments that can't be pickled, or any failure of the queue
        pass_interrupt(error)
        load.policy.emit("error", load.misses[0].key, reason="The refresh can't be enqueued", error=error)
        return False
    return True


# --- in a task: signed messages name the call and its keys ---


class PickleSerializer:
    """Pickles signed messages, for Django's signing."""

    def dumps(self, obj: object) -> bytes:
        """Pickle an object."""
        return to_pickle(obj)

    def loads(self, data: bytes) -> Any:
        """Unpickle bytes whose signature by this project's SECRET_KEY Django has verified."""
        return pickle.loads(data)  # noqa: S301 -- verified, as the docstring says


def refresh_from(message: str) -> None:
    """
    Refresh the entries that a message names.

    Raises:
        RuntimeError: The call has other keys here.
    """
    call, keys = signing.loads(message, salt=SALT, serializer=PickleSerializer)
    for there, here in zip(keys, call._entry_keys(), strict=True):  # noqa: SLF001 -- a call of ours
        if there != here:
            raise RuntimeError(OTHER_KEY.format(text_of_key(there), text_of_key(here), REMEDY))
    if iscoroutinefunction(call):
        async_to_sync(call.arefresh)()
    else:
        call.refresh()
