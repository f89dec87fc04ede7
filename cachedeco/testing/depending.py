"""`assert_depends`: find the tables that a cached function reads, and does not depend on."""

from typing import Any, Final, ParamSpec

from cachedeco.functions.base import CachedFunction
from cachedeco.loading.effects import unwrap
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.refusals import ValueOrigin
from cachedeco.testing.assertions import call_from_sync, format_call, name_of
from cachedeco.tracking import collector, watcher
from cachedeco.tracking.collector import Computation
from cachedeco.tracking.reads import TableReads

P = ParamSpec("P")

REMEDY: Final = "Name their models in depends_on=, or say depends_on=[AUTO]."


def assert_depends(function: CachedFunction[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """
    Fail if a call reads tables that it does not depend on: their changes would leave its entry as it is.

    ::

        assert_depends(club_classes, club)

    The plain function is called, and its value serialized, as a miss does; nothing is stored. Tables of rows among the
    arguments count as read, and those of rows that its key passes through. Cached calls inside are hits or misses as
    usual, and answer for what they read themselves. Under AUTO it fails if what is read can't be followed, or if
    nothing is read: then nothing would end the entry.

    Raises:
        AssertionError: There are such tables; the message has them, and what to do.
        TypeError: The function is async, and this thread runs an event loop.
    """
    __tracebackhide__ = True
    name_of(function)
    callable_: Any = function
    policy = function._spec.resolve().policy
    reads = TableReads(policy.store, None)
    with collector.collect_dependencies(policy.store.alias, collects=True, reads=reads) as computation:
        watcher.watch_all()
        in_keys = function._spec.objects_in_keys(callable_.call(*args, **kwargs)._calls())  # noqa: SLF001 -- ours
        collector.note_rows(computation, reads, [function._bound_args, args, kwargs, *in_keys])
        value = call_from_sync(function.uncached, args, kwargs)
        values = unwrap(materialize(ValueOrigin(policy.function), value, [None], takes_ids=False))
        policy.codec.serializer.dumps(values[None])
    fault = _fault_of(policy, reads, computation)
    if fault:
        msg = f"{format_call(function.uncached, args, kwargs)} {fault}"
        raise AssertionError(msg)


def _fault_of(policy: CachePolicy, reads: TableReads, computation: Computation) -> str:
    """Return what is wrong, as the rest of a sentence; empty if nothing is."""
    dependencies = computation.dependencies()
    if policy.tables is None:
        missing = reads.uncovered(policy.declared)
        return f"reads {', '.join(missing)}, and does not depend on them. {REMEDY}" if missing else ""
    if dependencies.problem:
        return f"can't be stored under AUTO: {dependencies.problem}."
    if not reads.read and not dependencies.tokens:
        return "has read no table, so that nothing ends its entry under AUTO. Say what it depends on."
    return ""
