"""Blocks that also decorate functions: a sync function runs in a block, an async one is awaited in one."""

import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import iscoroutinefunction

from cachedeco.runtime.reprs import repr_of

P = ParamSpec("P")
R = TypeVar("R")

OpenBlock = Callable[[], AbstractContextManager[None]]


def refuse_arguments(block: str, given: Sequence[object]) -> None:
    """
    Refuse arguments for a block that takes none, such as the function below it: it was decorated without parentheses.

    Raises:
        TypeError: There is one.
    """
    if given:
        msg = f"{block}({repr_of(given[0])}) takes no arguments: @{block}() above a function, or `with {block}():`."
        raise TypeError(msg)


def decorate(function: Callable[P, R], open_block: OpenBlock, *, refusal: str = "") -> Callable[P, R]:
    """
    Return a function each call of which runs in a block of its own, which *open_block* opens.

    A sync function that returns a coroutine, as a decorator above an async function may be one, is async as well.

    Raises:
        TypeError: It is a generator function, whose body runs after the block, or a class; or it is async, and
            *refusal* says why it can't run inside.
    """
    if inspect.isclass(function):
        msg = (
            f"{repr_of(function)} is a class, which this would turn into a function; decorate its methods, or use "
            "`with`."
        )
        raise TypeError(msg)
    refuse_generator(function)
    refused = f"{repr_of(function)} is async: {refusal}"
    if not iscoroutinefunction(function):  # asgiref's: on Python 3.11 inspect's knows no marked callables

        @wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> Any:
            with open_block():
                result = function(*args, **kwargs)
            if not inspect.iscoroutine(result):
                return result
            if refusal:
                result.close()  # or Python warns that it was never awaited
                raise TypeError(refused)
            return _await_inside(result, open_block)

        return inside
    if refusal:
        raise TypeError(refused)

    @wraps(function)
    async def awaited_inside(*args: P.args, **kwargs: P.kwargs) -> Any:
        with open_block():
            return await function(*args, **kwargs)

    return awaited_inside  # type: ignore[return-value] # a coroutine function for a coroutine function


async def _await_inside(coroutine: Coroutine[Any, Any, Any], open_block: OpenBlock) -> Any:
    with open_block():
        return await coroutine


def refuse_generator(function: object) -> None:
    """
    Refuse a generator function.

    Raises:
        TypeError: It is one: its body runs after the block.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"{repr_of(function)} is a generator function: its body would run outside; use `with` inside it."
        raise TypeError(msg)


class Block(AbstractContextManager[None]):
    """A block that also decorates: `with block:`, `@block`."""

    def __init__(self, open_block: OpenBlock, *, refusal: str = "") -> None:
        """Prepare; *open_block* opens the block, for each `with` and each call anew. For *refusal* see `decorate()`."""
        self._open_block = open_block
        self._refusal = refusal
        self._open: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        """Begin."""
        opened = self._open_block()
        opened.__enter__()
        self._open.append(opened)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """End."""
        return self._open.pop().__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate a function, sync or async.

        Raises:
            TypeError: It is async, and the block belongs to a thread; otherwise as `decorate()`.
        """
        return decorate(function, self._open_block, refusal=self._refusal)
