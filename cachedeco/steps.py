"""
What a call wants done, one step at a time, and the two drivers that do it: one for sync code and one for async.

The steps are written once, as generators that yield what they want done: a callable that talks to the cache or to
the database connection, or `COMPUTE`, the user's function. `run()` does it here and now; `arun()` awaits the function,
and does the rest in the thread where Django keeps its connections.
"""

from collections.abc import Awaitable, Callable, Generator
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from asgiref.sync import sync_to_async

V = TypeVar("V")


class Work(Enum):
    """What a step may be, besides a callable."""

    COMPUTE = "call the user's function"


COMPUTE: Final = Work.COMPUTE
Steps = Generator[Callable[[], Any] | Literal[Work.COMPUTE], Any, V]


def run(steps: Steps[V], compute: Callable[[], V]) -> V:
    """Take the steps here and now."""
    answer: object = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # the generator's own V
        # Outside the try: a StopIteration of the user's function is no end of the steps.
        answer = compute() if step is COMPUTE else step()


async def arun(steps: Steps[V], compute: Callable[[], Awaitable[V]]) -> V:
    """Take the steps, each but the computation in the thread where Django keeps its connections."""
    answer: object = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # as above
        answer = await compute() if step is COMPUTE else await sync_to_async(step)()
