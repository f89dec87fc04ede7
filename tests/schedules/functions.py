"""Cached functions over the rows of the world."""

from collections.abc import Sequence

from cachedeco import Namespace, agather, cached_query, cached_query_many, gather
from tests.schedules.acts import counted
from tests.schedules.database import ALIAS as DATABASE
from tests.schedules.tenants import tenant
from tests.schedules.world import LONGEST_WAIT, Failing

TIMEOUT = 60.0
BRIEF = 20.0


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


@cached_query_many(over="rows", name="schedules.many", timeout=TIMEOUT, wait=LONGEST_WAIT)
def many(rows: Sequence[str]) -> dict[str, int]:
    """Return some rows."""
    return {row: counted(row)[row] for row in rows}


@cached_query_many(over="rows", name="schedules.none", timeout=TIMEOUT, wait=LONGEST_WAIT)
def none(rows: Sequence[str]) -> dict[str, int]:
    """Read some rows, and raise."""
    for row in rows:
        counted(row)
    raise Failing


@cached_query(name="schedules.album", timeout=TIMEOUT, wait=LONGEST_WAIT)
def album() -> dict[str, int]:
    """Return a row, and what a bulk call inside gives."""
    return many(["a", "b"]) | counted("out")


@cached_query(name="schedules.first", timeout=TIMEOUT, wait=LONGEST_WAIT)
def first() -> dict[str, int]:
    """Return one of two rows."""
    return counted("a")


@cached_query(name="schedules.second", timeout=TIMEOUT, wait=LONGEST_WAIT)
def second() -> dict[str, int]:
    """Return the other one."""
    return counted("b")


def both() -> dict[str, int]:
    """Gather two rows."""
    one, other = gather(first.call(), second.call())
    return one | other


@cached_query(name="schedules.shelf", timeout=TIMEOUT, wait=LONGEST_WAIT)
def shelf() -> dict[str, int]:
    """Return what is gathered inside."""
    return both() | counted("out")


@cached_query(name="schedules.brief", timeout=BRIEF, wait=LONGEST_WAIT)
def brief() -> dict[str, int]:
    """Return a row, for a shorter time than others."""
    return counted("in")


@cached_query(name="schedules.lasting", cache="other", timeout=None, wait=LONGEST_WAIT)
def lasting() -> dict[str, int]:
    """Return what is stored for a short time, for ever, in another cache."""
    return brief() | counted("out")


@cached_query(name="schedules.tenanted", cache="tenants", timeout=TIMEOUT, wait=LONGEST_WAIT)
def tenanted() -> dict[str, int]:
    """Return a row of the current tenant."""
    return counted(f"row of {tenant.get()}")


@cached_query(name="schedules.transacted", timeout=TIMEOUT, wait=LONGEST_WAIT, using=DATABASE)
def transacted() -> dict[str, int]:
    """Return a row, in whichever transaction is open."""
    return counted("row")


@cached_query(name="schedules.awaited", timeout=TIMEOUT, wait=LONGEST_WAIT)
async def awaited() -> dict[str, int]:
    """Return a row, to a task."""
    return counted("row")


@cached_query(name="schedules.awaited_outer", timeout=TIMEOUT, wait=LONGEST_WAIT)
async def awaited_outer() -> dict[str, int]:
    """Return a row, and what a cached function inside gives, to a task."""
    return await awaited() | counted("out")


@cached_query_many(over="rows", name="schedules.awaited_many", timeout=TIMEOUT, wait=LONGEST_WAIT)
async def awaited_many(rows: Sequence[str]) -> dict[str, int]:
    """Return some rows, to a task."""
    return {row: counted(row)[row] for row in rows}


@cached_query(name="schedules.awaited_first", cache="loops", timeout=TIMEOUT, wait=LONGEST_WAIT)
async def awaited_first() -> dict[str, int]:
    """Return one of two rows, by a cache that event loops read and write."""
    return counted("a")


@cached_query(name="schedules.awaited_second", cache="loops", timeout=TIMEOUT, wait=LONGEST_WAIT)
async def awaited_second() -> dict[str, int]:
    """Return the other one."""
    return counted("b")


async def awaited_both() -> dict[str, int]:
    """Gather two rows."""
    one, other = await agather(awaited_first.call(), awaited_second.call())
    return one | other


def invalidate_namespace() -> None:
    """Invalidate the namespace of `spaced`."""
    Namespace("ns").invalidate()
