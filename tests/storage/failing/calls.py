"""Cached functions to call, and ways to have the cache fail them."""

from collections.abc import Callable

from cachedeco import cached_query
from tests.support.backends import Commands
from tests.support.faults import faulty

PROBE = ["set_many", "get_many"]
HIT = ["get_many"]


@cached_query(name="failing.double", namespace="numbers:{number}", timeout=300)
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


def fail(times: int) -> None:
    """Have reading fail so many times in a row."""
    with faulty(raises=TimeoutError):
        for _ in range(times):
            double(4)


def sent(commands: Commands, act: Callable[[], object]) -> list[str]:
    """Return the commands that something sends."""
    commands.clear()
    act()
    return commands.names


@cached_query(name="failing.bare")
def bare(number: int) -> int:
    """Return a number: in no namespace, so that its tokens are minted one by one."""
    return number


def lose(invalidate: Callable[[], object]) -> None:
    """Have an invalidation not be acknowledged."""
    with faulty("set_many", raises=TimeoutError):
        invalidate()
