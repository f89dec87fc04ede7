"""Builtins of Python 3.15; on an older one classes that have their names, and are used as they are."""

import builtins
import sys
from collections.abc import Iterator, Mapping
from typing import Any


class _FrozenDict(Mapping[Any, Any]):
    def __init__(self, items: Mapping[Any, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: object) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))


class _Sentinel:
    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.__module__ = sys._getframe(1).f_globals["__name__"]


def _named(name: str, cls: type) -> Any:
    cls.__module__, cls.__qualname__ = "builtins", name
    return getattr(builtins, name, cls)


frozendict = _named("frozendict", _FrozenDict)
sentinel = _named("sentinel", _Sentinel)
