"""`Work`: what leads to the result of a call that is not stored."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, final

from cachedeco.loading.effects import Flow, Ok

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
