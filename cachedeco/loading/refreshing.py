"""
To refresh an entry while it is still served: past its timeout, or a little before.

One caller refreshes, the one who gets the lease; the others are served what is there, at once. An entry that was
invalidated never comes here: its stamp is dead.

Before its timeout an entry is refreshed by chance, the sooner the longer its computation takes: XFetch (Vattani,
Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", PVLDB 8(8), 2015). A call takes the time
for later than it is, by an amount that is distributed exponentially with the mean of beta times the seconds that the
computation took. Without a lease e^(1/beta) callers would refresh, whatever their number.
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
from cachedeco.loading.refresh_messages import OTHER_KEY, REMEDY, SALT, Pickles
from cachedeco.loading.single_flight import Flight, join_or_lead, run_as_leader
from cachedeco.storage.entries import Entry
from cachedeco.tracking import collector


def ahead(entry: Entry, beta: float) -> float:
    """Return the time, in seconds since the epoch, that a call takes it for: XFetch."""
    # 1 - random() is never 0, of which there is no logarithm.
    return time() - entry.seconds * beta * log(1 - random())


def stale_flow(call: Miss) -> Flow[Any]:
    """Serve an entry that is due, or nearly, unless it is this caller who refreshes it."""
    way = yield partial(_way, call)
    if way is not None:
        flight, leads = join_or_lead(call, tokens_as_read(call))
        lease = (yield from _taken(flight, call)) if leads else None
        if lease and way == "caller":
            call.policy.tell("miss", call.keys[0])
            return (yield from run_as_leader(flight, call, Proceed(lease.stamp, lease)))
        if lease:
            # What it depends on, the computation around us does not: that goes on with the old value.
            with collector.computing(call.policy.store.alias, collects=False, leads=False):
                yield from _begun(flight, call, lease, way)
    return serve(call)


def _way(call: Miss) -> Literal["caller", "thread", "task"] | None:
    """Return who is to refresh, if this caller sees to it: not inside a transaction, of which nothing is shared."""
    if transactions.any_open():
        return None
    # What the block of a TestCase has written no other connection can see.
    return "caller" if transactions.any_in_test() else call.policy.refresh


def _taken(flight: Flight, call: Miss) -> EffectFlow[Lease | None]:
    """Take the lease; where another has it, nobody is to wait for us."""
    taken = None
    try:
        lease = yield partial(lease_of, call, tokens_as_read(call))
        taken = lease if (yield lease.take) else None
    finally:
        if taken is None:
            flight.complete(NO_RESULT)
    return taken


# --- elsewhere ---


def _begun(flight: Flight, call: Miss, lease: Lease, way: Literal["thread", "task"]) -> EffectFlow[None]:
    """Have it refreshed elsewhere; where that can't be, leave it to the next caller."""
    if way == "thread" and (yield Spawn(_apart(flight, call, lease))):
        return
    flight.complete(NO_RESULT)
    if way == "thread" or not (yield partial(_enqueued, call)):
        yield partial(lease.end, None)


def _apart(flight: Flight, call: Miss, lease: Lease) -> Flow[Any]:
    """Refresh in the background, if the call has the same key there."""
    is_same = False
    try:
        problem = yield partial(problem_elsewhere, call.keys, call.again.resolve_call if call.again else None, REMEDY)
        is_same = problem is None
    finally:  # a loop may end, and cancel us, before we have begun
        if not is_same:
            flight.complete(NO_RESULT)
    if is_same:
        # As where it was begun, which goes on beside us.
        with collector.computing(call.policy.store.alias, collects=False, leads=False):
            outcome = yield from run_as_leader(flight, call, Proceed(lease.stamp, lease))
        problem = outcome.error if isinstance(outcome, Err) else None
    else:
        yield partial(lease.end, FAILED)
    if problem is not None:
        call.policy.tell("error", call.keys[0], reason="The refresh failed", error=problem)
    return Ok(None)


def problem_elsewhere(keys: list[str], resolve_call: Callable[[], list[str]] | None, remedy: str) -> Exception | None:
    """
    Return what speaks against computing here: a tenant, say, that only the caller's own connection knows.

    Args:
        keys: Those of the call, where it was called.

        resolve_call: Returns them as they are here. None: nobody can tell.

        remedy: What can be done about it, for the error.
    """
    try:
        here = resolve_call() if resolve_call else keys
    except Exception as error:  # noqa: BLE001 -- whatever the user's vary does in another thread
        return error
    return None if here == keys else RuntimeError(OTHER_KEY.format(keys[0], here[0], remedy))


def _enqueued(call: Miss) -> bool:
    try:
        cast("Reinvocation", call.again).enqueue(call.keys[0])  # a call that is due came through the function itself
    except Exception as error:  # noqa: BLE001 -- arguments that can't be pickled, or whatever a queue does
        call.policy.tell("error", call.keys[0], reason="The refresh can't be enqueued", error=error)
        return False
    return True


def enqueue(call: tuple[Any, ...], key: str) -> None:
    """
    Enqueue a task that refreshes one entry.

    Args:
        call: The cached function, its arguments and its keyword arguments.

        key: The entry's.
    """
    tasks = import_module("cachedeco.loading.refresh_task")  # needs Django 6, as the setting's own check says
    tasks.refresh.enqueue(signing.dumps((call, key), salt=SALT, serializer=Pickles, compress=True))
