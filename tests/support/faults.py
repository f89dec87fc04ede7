"""
A Django cache that misbehaves on demand, in the ways in which real ones have been seen to.

```python
with faulty("get_many", raises=TimeoutError()):          # these operations; without names: every one
with faulty("get_many", returns=["nonsense"]):           # answered without being carried out
with faulty(unreachable=True):                           # what pymemcache's HashClient says of a dead server
with faulty("set_many", drops=True):                     # acknowledged, and not carried out
with faulty("get_many", evicts=["key"]):                 # carried out after these keys were dropped
with faulty("get_many", after=classes.invalidate_all):   # carried out, and then something else happens
with faulty("set_many", raises=OSError(), times=2) as fault:   # twice; then all is well
    ...
assert 3 == len(fault.met)
```
"""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from tests.support.backends import COMMANDS, Command, Recording, outside_commands

Evicted = Collection[str] | Callable[[str], bool]
Run = Callable[[], Any]

_NOT_GIVEN = object()
_READS = frozenset({"get", "get_many", "get_or_set", "has_key"})


class FaultyCache(Recording, LocMemCache):
    """Django's LocMemCache, recording, and misbehaving as the `faulty` around the call has it."""

    def carry_out(self, command: Command, run: Run) -> Any:
        """Return what the innermost fault that concerns the command makes of it."""
        fault = _fault_meeting(command)
        return run() if fault is None else fault.behaviour(self, command, run)

    def evict(self, keys: Evicted) -> None:
        """Drop some keys, or those of which a callable says so, as a server does that needs the room."""
        prefix = self.make_key("")
        with self._lock:
            for stored in list(self._cache):
                key = stored.removeprefix(prefix)
                if keys(key) if callable(keys) else key in keys:
                    self._delete(stored)


Behaviour = Callable[[FaultyCache, Command, Run], Any]


@dataclass(eq=False)
class Fault:
    """
    One way to misbehave, and the commands that it was asked about.

    `met` has every command that the fault concerns, also those after its `times` were used up.
    """

    operations: frozenset[str]
    behaviour: Behaviour
    times: int | None = None
    met: list[Command] = field(default_factory=list)

    def meet(self, command: Command) -> bool:
        """Return whether the fault takes this command."""
        if self.operations and command.name not in self.operations:
            return False
        self.met.append(command)
        return self.times is None or len(self.met) <= self.times


class _Thread(threading.local):
    """What this thread is in the middle of."""

    in_hook = False


_active: list[Fault] = []
_lock = threading.Lock()
_thread = _Thread()


def _fault_meeting(command: Command) -> Fault | None:
    """Return the innermost fault that takes the command; in a hook of a fault, all is well."""
    if _thread.in_hook:
        return None
    with _lock:
        return next((fault for fault in reversed(_active) if fault.meet(command)), None)


def _call_hook(hook: Callable[[], object]) -> None:
    """Call a hook whose own commands are recorded, and meet no fault."""
    _thread.in_hook = True
    try:
        outside_commands(hook)
    finally:
        _thread.in_hook = False


@contextmanager
def faulty(  # noqa: PLR0913  one name for each way to misbehave reads best in a test
    *operations: str,
    raises: BaseException | type[BaseException] | None = None,
    returns: object = _NOT_GIVEN,
    unreachable: bool = False,
    drops: bool = False,
    evicts: Evicted | None = None,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
    times: int | None = None,
) -> Iterator[Fault]:
    """
    Make every FaultyCache of the process misbehave in one way, in every thread, until the block ends.

    Give exactly one of the ways; `before` and `after` may go together. Where faults are nested, the innermost
    that concerns an operation takes it.

    Args:
        operations: names of the operations concerned, as the cache's caller calls them; none are all.
        raises: the operation raises it, and is not carried out.
        returns: the operation returns it, and is not carried out.
        unreachable: the operation returns what pymemcache's HashClient does while it holds a server for dead,
            and is not carried out: `{}`, False, None, or the list of all the keys.
        drops: a write reports success, and is not carried out; reads are.
        evicts: the operation is carried out after these keys have been dropped.
        before: the operation is carried out after this was called, outside of any fault.
        after: the operation is carried out, this is called, and what the operation returned is returned.
        times: how often; then the operations are carried out as ever.

    """
    if unknown := set(operations).difference(COMMANDS):
        msg = f"faulty() got {', '.join(sorted(unknown))}; the operations are {', '.join(COMMANDS)}."
        raise ValueError(msg)
    ways: dict[str, Behaviour | None] = {
        "raises": None if raises is None else _raising(raises),
        "returns": None if returns is _NOT_GIVEN else lambda _cache, _command, _run: returns,
        "unreachable": _unreachable if unreachable else None,
        "drops": _dropping if drops else None,
        "evicts": None if evicts is None else _evicting(evicts),
        "before or after": _hooked(before, after) if before or after else None,
    }
    given = [behaviour for behaviour in ways.values() if behaviour is not None]
    if len(given) != 1:
        msg = f"faulty() takes exactly one of {', '.join(ways)}; got {len(given)}."
        raise TypeError(msg)
    fault = Fault(frozenset(operations), given[0], times)
    _active.append(fault)
    try:
        yield fault
    finally:
        _active.remove(fault)


def _raising(exception: BaseException | type[BaseException]) -> Behaviour:
    """Return the behaviour that raises."""

    def behaviour(_cache: FaultyCache, _command: Command, _run: Run) -> Any:
        raise exception

    return behaviour


def _evicting(keys: Evicted) -> Behaviour:
    """Return the behaviour that drops keys first."""

    def behaviour(cache: FaultyCache, _command: Command, run: Run) -> Any:
        cache.evict(keys)
        return run()

    return behaviour


def _hooked(before: Callable[[], object] | None, after: Callable[[], object] | None) -> Behaviour:
    """Return the behaviour that lets something else happen around the operation."""

    def behaviour(_cache: FaultyCache, _command: Command, run: Run) -> Any:
        if before is not None:
            _call_hook(before)
        result = run()
        if after is not None:
            _call_hook(after)
        return result

    return behaviour


def _unreachable(_cache: FaultyCache, command: Command, _run: Run) -> Any:
    """Return what Django's PyMemcacheCache returns while HashClient holds the server for dead."""
    match command.name:
        case "get_many":
            return {}
        case "set_many":
            return list(command.keys)
        case "get":
            return command.default
        case "add" | "delete" | "has_key" | "touch":
            return False
        case _:
            return None


def _dropping(_cache: FaultyCache, command: Command, run: Run) -> Any:
    """Return what a write returns that has succeeded."""
    if command.name in _READS:
        return run()
    match command.name:
        case "set_many":
            return []
        case "add" | "delete" | "touch":
            return True
        case _:
            return None
