"""`Work`: what leads to the result of a call that is not stored."""

from collections.abc import Callable
from typing import Any, NamedTuple, final

from cachedeco.loading.effects import Flow


@final
class Work(NamedTuple):
    """
    What leads to the result of a call that is not stored: the arguments of `run()` and `arun()`.

    Where a stored value or this is returned, `type(it) is Work` tells the two apart: no function returns one, and
    isinstance() would work out a lazy object.
    """

    flow: Flow[Any]
    compute: Callable[..., Any]
