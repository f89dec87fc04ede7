"""Classmethods above our decorators, which is the wrong order. Imported by the tests of that alone."""

import functools
from collections.abc import Callable

from cachedeco import cached_query, cached_query_many


def shout(function: Callable[..., str]) -> Callable[..., str]:
    """Put "!" after what a function returns."""

    @functools.wraps(function)
    def inside(*args: object, **kwargs: object) -> str:
        return f"{function(*args, **kwargs)}!"

    return inside


class Misplaced:
    """A class with a function of each kind under a classmethod."""

    @classmethod
    @cached_query
    def plain(cls, number: int = 1) -> str:
        """Be refused."""
        raise NotImplementedError

    @classmethod
    @cached_query(timeout=60)
    async def waiting(cls, number: int = 1) -> str:
        """Be refused when awaited."""
        raise NotImplementedError

    @classmethod
    @cached_query_many(over="ids")
    def many(cls, ids: list[int]) -> dict[int, str]:
        """Be refused."""
        raise NotImplementedError

    @classmethod
    @cached_query_many(over="ids")
    async def waiting_many(cls, ids: list[int]) -> dict[int, str]:
        """Be refused when awaited."""
        raise NotImplementedError

    @classmethod
    @shout
    @cached_query
    def wrapped(cls, number: int = 1) -> str:
        """Be an ordinary classmethod, of a wrapper that has no verbs to lose."""
        return f"{cls.__name__} {number}"


class Derived(Misplaced):
    """A subclass, which inherits them."""
