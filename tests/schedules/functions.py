"""Cached functions over the rows of the world."""

from cachedeco import Namespace, cached_query
from tests.schedules.acts import counted
from tests.schedules.world import LONGEST_WAIT

TIMEOUT = 60.0


@cached_query(name="schedules.plain", timeout=TIMEOUT, wait=LONGEST_WAIT)
def plain() -> dict[str, int]:
    """Return a row."""
    return counted("row")


@cached_query(name="schedules.spaced", namespace="ns", timeout=TIMEOUT, wait=LONGEST_WAIT)
def spaced() -> dict[str, int]:
    """Return a row, in a namespace."""
    return counted("row")


@cached_query(name="schedules.stale", timeout=TIMEOUT, stale_while_revalidate=TIMEOUT, wait=LONGEST_WAIT)
def stale() -> dict[str, int]:
    """Return a row, that may be old in years but not invalidated."""
    return counted("row")


@cached_query(name="schedules.rescued", timeout=TIMEOUT, stale_if_error=TIMEOUT, wait=LONGEST_WAIT)
def rescued() -> dict[str, int]:
    """Return a row, or the last one where it can't be read."""
    return counted("row")


@cached_query(name="schedules.inner", timeout=TIMEOUT, wait=LONGEST_WAIT)
def inner() -> dict[str, int]:
    """Return a row, for another one."""
    return counted("in")


@cached_query(name="schedules.outer", timeout=TIMEOUT, wait=LONGEST_WAIT)
def outer() -> dict[str, int]:
    """Return a row, and what a cached function inside gives."""
    return inner() | counted("out")


@cached_query(name="schedules.late", timeout=TIMEOUT, wait=LONGEST_WAIT)
def late() -> dict[str, int]:
    """Return a row, and then what a cached function inside gives."""
    return counted("out") | inner()


@cached_query(name="schedules.outermost", timeout=TIMEOUT, wait=LONGEST_WAIT)
def outermost() -> dict[str, int]:
    """Return what a cached function inside gives, in which there is another one."""
    return outer() | counted("top")


@cached_query(name="schedules.distant", cache="other", timeout=TIMEOUT, wait=LONGEST_WAIT)
def distant() -> dict[str, int]:
    """Return what a cached function in another cache gives."""
    return inner() | counted("out")


@cached_query(name="schedules.aging", timeout=TIMEOUT, stale_while_revalidate=TIMEOUT, wait=LONGEST_WAIT)
def aging() -> dict[str, int]:
    """Return what a cached function inside gives: it may be old in years, but not invalidated."""
    return inner() | counted("out")


@cached_query(name="schedules.twice", timeout=TIMEOUT, wait=LONGEST_WAIT)
def twice() -> dict[str, int]:
    """Return the older of what a cached function inside gives at two times."""
    return min(inner(), inner(), key=lambda versions: versions["in"])


def invalidate_namespace() -> None:
    """Invalidate the namespace of `spaced`."""
    Namespace("ns").invalidate()
