"""Calls of each method of a cache, and what each gives where the server is out of reach."""

from django.core.cache import BaseCache

from tests.support.sides import Side

# By name of the method: its arguments, and what it gives where the server is out of reach.
READS: dict[str, tuple[tuple[object, ...], object]] = {
    "get": (("key", "default"), "default"),
    "get_many": ((["key", "other"],), {}),
    "has_key": (("key",), False),
    "get_or_set": (("key", "default"), "default"),
    "set_many": (({"key": 1, "other": 2},), ["key", "other"]),
}
# ... and what it gives with ignore_exc; a ValueError is what says that there is no such key.
WRITES: dict[str, tuple[tuple[object, ...], object]] = {
    "set": (("key", 1), None),
    "add": (("key", 1), False),
    "touch": (("key",), False),
    "delete": (("key",), False),
    "delete_many": ((["key", "other"],), None),
    "incr": (("key",), ValueError),
    "decr": (("key",), ValueError),
    "incr_version": (("key",), ValueError),
    "decr_version": (("key",), ValueError),
    "clear": ((), None),
}


def called(cache: BaseCache, side: Side, name: str, arguments: tuple[object, ...]) -> object:
    """Return what a method gives on a side, or the type of what it raises."""
    try:
        return side.call(getattr(cache, name), *arguments)
    except Exception as error:  # noqa: BLE001 -- each is compared
        return type(error)
