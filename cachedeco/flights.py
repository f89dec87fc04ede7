"""Who computes: the steps of a call that could not be served."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from cachedeco.events import Event, emit
from cachedeco.keeping import Terms, keep, settled, stamped
from cachedeco.steps import COMPUTE, Steps


def steps_of_bypass(function: str, otherwise: Callable[[], None] | None = None) -> Steps[Any]:
    """Compute, and store nothing. *otherwise* is called then, as in `steps_of_miss`."""
    emit(Event("bypassed", function))
    began = perf_counter()
    value = yield COMPUTE
    emit(Event("computed", function, seconds=perf_counter() - began))
    if otherwise:
        yield otherwise
    return value


def steps_of_miss(
    terms: Terms,
    keys: Sequence[str],
    found: Mapping[str, object] | None,
    otherwise: Callable[[], None] | None = None,
) -> Steps[Any]:
    """
    Compute and store.

    Args:
        terms: Those of the function.

        keys: The entry's key, then those of its tokens.

        found: What was read of them; None where the cache could not be asked.

        otherwise: Called where the value can't be stored, or does not arrive.
    """
    # Before the computation: an invalidation that arrives during it must find the entry dead at birth.
    stamp = yield partial(stamped, terms, keys, found)
    began = perf_counter()
    value = yield COMPUTE
    value = yield partial(settled, terms, value)
    seconds = perf_counter() - began
    terms.tell("computed", keys[0], seconds=seconds)
    if stamp is not None:
        yield partial(keep, terms, keys[0], stamp, seconds, value, otherwise)
    elif otherwise:
        yield otherwise
    return value
