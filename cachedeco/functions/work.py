"""`Work`: what leads to the result of a call that is not stored, and what its caller gets of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, final

from cachedeco.loading.effects import Err, Flow, Ok
from cachedeco.loading.materializing import Values
from cachedeco.storage.serializers import ABSENT, Raised

V = TypeVar("V")


@final
class Work(NamedTuple):
    """
    What leads to the result of a call that is not stored: the arguments of `run()` and `arun()`.

    Where a stored value or this is returned, `type(it) is Work` tells the two apart: no function returns one, and
    isinstance() would work out a lazy object.
    """

    flow: Flow[Any]
    compute: Callable[..., Any]


def flow_of(serve: Callable[[], V | Work]) -> Flow[V]:
    """Find out in the thread in which a flow runs what leads to a result, and do it."""
    served = serve()
    return (yield from served.flow) if type(served) is Work else Ok(served)


def only_value(flow: Flow[Values]) -> Flow[Any]:
    """Run the flow of a function that takes no ids, and return its value."""
    outcome = yield from flow
    if isinstance(outcome, Err):
        return outcome
    [value] = outcome.value.values()
    return Err(value.error) if type(value) is Raised else Ok(value)


def present_values(flow: Flow[Values], ids: Sequence[Any]) -> Flow[dict[Any, Any]]:
    """Run the flow of a function over ids; return the values in their order, without those that it does not know."""
    outcome = yield from flow
    if isinstance(outcome, Err):
        return outcome
    raised = next((each for each in outcome.value.values() if type(each) is Raised), None)
    return Ok(without_absent(ids, outcome.value)) if raised is None else Err(raised.error)


def without_absent(ids: Sequence[Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the caller's result: in the order of the ids, without those that the function does not know."""
    return {each: value for each in ids if (value := values[each]) is not ABSENT}
