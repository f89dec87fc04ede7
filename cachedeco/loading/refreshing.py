"""
Stale-while-revalidate and early refresh (XFetch): refresh an entry while the old value is still served.

One caller refreshes, the one that gets the lease; the others are served the old value, at once. An invalidated entry
never comes here: its stamp is dead.

Before its timeout an entry is refreshed at random, the earlier the longer its computation takes: XFetch (Vattani,
Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", PVLDB 8(8), 2015). A call compares the
expiry with a time ahead of the clock, by an exponentially distributed amount whose mean is beta times the seconds of
the last computation. Without a lease e^(1/beta) callers would refresh on average, for any number of callers.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from math import log
from random import random
from time import time
from typing import Any, Literal, cast

from django.core import signing

from cachedeco.invalidation import transactions
from cachedeco.loading.computing import NO_RESULT, Miss, Reinvocation, serve, tokens_as_read
from cachedeco.loading.effects import EffectFlow, Err, Flow, Ok, Spawn
from cachedeco.loading.leases import FAILED, Lease, Proceed, lease_of
from cachedeco.loading.refresh_messages import OTHER_KEY, REMEDY, SALT, PickleSerializer
from cachedeco.loading.single_flight import Flight, join_or_lead, run_as_leader
from cachedeco.storage.entries import Entry
from cachedeco.tracking import collector


def xfetch_time(entry: Entry, beta: float) -> float:
    """Return the time that XFetch compares with an entry's expiry, in seconds since the epoch: a random time ahead."""
    # 1 - random() is never 0, which has no logarithm.
    return time() - entry.seconds * beta * log(1 - random())


def stale_flow(miss: Miss) -> Flow[Any]:
    """Serve a stale entry, or one that is refreshed early, unless this caller won the lease and must refresh it."""
    mode = yield partial(_refresh_mode, miss)
    if mode is not None:
        flight, leads = join_or_lead(miss, tokens_as_read(miss))
        lease = (yield from _take_lease(flight, miss)) if leads else None
        if lease and mode == "caller":
            miss.policy.emit("miss", miss.keys[0])
            return (yield from run_as_leader(flight, miss, Proceed(lease.stamp, lease)))
        if lease:
            # The enclosing computation used the stale value, so it must not inherit the refresh's dependencies.
            with collector.collect_dependencies(miss.policy.store.alias, collects=False, leads=False):
                yield from _start_in_background(flight, miss, lease, mode)
    return serve(miss)


def _refresh_mode(miss: Miss) -> Literal["caller", "thread", "task"] | None:
    """Return what refreshes the entry; None in a transaction, whose values are never shared."""
    if transactions.any_open():
        return None
    # No other connection sees what the transaction of a TestCase has written.
    return "caller" if transactions.any_in_test() else miss.policy.refresh


def _take_lease(flight: Flight, miss: Miss) -> EffectFlow[Lease | None]:
    """Return the lease if this caller gets it; otherwise end the flight, since this caller computes nothing."""
    taken = None
    try:
        lease = yield partial(lease_of, miss, tokens_as_read(miss))
        taken = lease if (yield lease.take) else None
    finally:
        if taken is None:
            flight.complete(NO_RESULT)
    return taken


# --- in the background ---


def _start_in_background(flight: Flight, miss: Miss, lease: Lease, mode: Literal["thread", "task"]) -> EffectFlow[None]:
    """Have a thread or a task refresh the entry; if that fails, release the lease for the next caller."""
    if mode == "thread" and (yield Spawn(_refresh_in_thread(flight, miss, lease))):
        return
    flight.complete(NO_RESULT)
    if mode == "thread" or not (yield partial(_enqueue_task, miss)):
        yield partial(lease.end, None)


def _refresh_in_thread(flight: Flight, miss: Miss, lease: Lease) -> Flow[Any]:
    """Refresh the entry as a leader, if the call has the same key in this thread or task."""
    is_same = False
    try:
        resolve_call = miss.reinvocation.resolve_call if miss.reinvocation else None
        problem = yield partial(find_key_mismatch, miss.keys, resolve_call, REMEDY)
        is_same = problem is None
    finally:  # the event loop may end, and cancel this flow, before the refresh starts
        if not is_same:
            flight.complete(NO_RESULT)
    if is_same:
        # The enclosing computation, inherited with the context, goes on meanwhile: it must not inherit dependencies.
        with collector.collect_dependencies(miss.policy.store.alias, collects=False, leads=False):
            outcome = yield from run_as_leader(flight, miss, Proceed(lease.stamp, lease))
        problem = outcome.error if isinstance(outcome, Err) else None
    else:
        yield partial(lease.end, FAILED)
    if problem is not None:
        miss.policy.emit("error", miss.keys[0], reason="The refresh failed", error=problem)
    return Ok(None)


def find_key_mismatch(keys: list[str], resolve_call: Callable[[], list[str]] | None, remedy: str) -> Exception | None:
    """
    Return an error if the key differs in this thread (for example, `vary` reads a thread-local tenant).

    Args:
        keys: Those of the call, in the caller's thread.

        resolve_call: Returns them as they are in this thread. None: they can't be computed again.

        remedy: What the error advises.
    """
    try:
        keys_here = resolve_call() if resolve_call else keys
    except Exception as error:  # noqa: BLE001 -- the user's `vary` may raise anything in another thread
        return error
    return None if keys_here == keys else RuntimeError(OTHER_KEY.format(keys[0], keys_here[0], remedy))


def _enqueue_task(miss: Miss) -> bool:
    try:
        cast("Reinvocation", miss.reinvocation).enqueue(miss.keys[0])  # a stale entry has one
    except Exception as error:  # noqa: BLE001 -- arguments that can't be pickled, or any failure of the queue
        miss.policy.emit("error", miss.keys[0], reason="The refresh can't be enqueued", error=error)
        return False
    return True


def enqueue(call: tuple[Any, ...], key: str) -> None:
    """
    Enqueue a task that refreshes one entry.

    Args:
        call: The cached function, its arguments and its keyword arguments.

        key: That of the entry.
    """
    tasks = import_module("cachedeco.loading.refresh_task")  # needs Django 6, as the setting's own check says
    tasks.refresh.enqueue(signing.dumps((call, key), salt=SALT, serializer=PickleSerializer, compress=True))
