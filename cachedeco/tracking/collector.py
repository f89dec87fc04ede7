"""
The collector: what a computation has depended on so far. What a nested call depended on, the call around it does too.

While a computation runs, each cached call inside it records here its tokens, the time at which its value ends, the
values that it varies by, or why it has none of these. The tokens become a part of the stamp of the new entry. The entry
contains the names of these nested tokens, and each process remembers them by function, and by entry where they differ,
so that one read can ask for all. A process that meets the first entry of a function needs a second one.

The computation of a thread or task is found by a ContextVar: tasks, `sync_to_async` and `asyncio.to_thread` carry it
along, and so does `contextvars.copy_context().run` for a thread of the user's own. Several threads may record at once.

A token in another cache than the entry has its alias before its name.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from math import inf
from time import time
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.tables import StatementEffect
from cachedeco.invalidation.transactions import connections_here
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.tracking.reads import Noted, TableReads

# Nested tokens that one entry may depend on: each hit asks for all of them.
MOST_NESTED_TOKENS: Final = 2_000
UNNOTED: Final = "What a statement reads could not be noted"
UNNOTED_ROWS: Final = "The rows among its arguments could not be noted"
BYPASSED: Final = "a cached call inside it went past the cache"
NOTHING_FOUND: Final = "peek() of {}() inside it has found nothing, and nothing tells when a value is there"

# What a call varies by: each callable of its option *vary*, and the value that this has given, as text of a key.
Variation = tuple[tuple[Callable[..., object], str], ...]
Varied = tuple[str, tuple[Callable[..., object], str]]  # the name of a function, and one item of its variation


class Use(NamedTuple):
    """What a computation takes over from a call inside it, beside its tokens."""

    function: str = ""  #: its name
    variation: Variation = ()
    ends: float = inf  #: when the value ends, its stale window counted: seconds since the epoch


class Dependencies(NamedTuple):
    """What a computation depended on."""

    tokens: Mapping[str, bytes] = {}  #: those of nested calls, by name
    ends: float = inf  #: when the first of the nested values ends, its stale window counted: seconds since the epoch
    varied: Sequence[Varied] = ()  #: what nested calls vary by
    problem: str = ""  #: why the result can't be stored
    statements: int = 0  #: how many it has run itself on databases


class Computation:
    """A running computation, and the dependencies of its nested calls so far."""

    __slots__ = (
        "alias",
        "collects",
        "connections",
        "ends",
        "has_ended",
        "is_auditable",
        "is_leading",
        "locking",
        "parent",
        "problems",
        "reads",
        "statements",
        "tokens",
        "varied",
    )

    def __init__(
        self,
        alias: str,
        *,
        collects: bool,
        leads: bool,
        reads: TableReads | None = None,
    ) -> None:
        """Start without dependencies, inside the computation that runs now; see `collect_dependencies()`."""
        self.reads = reads  #: None: it does not depend on what its statements read
        self.alias = alias
        parent: Computation | None = _current_computation()
        self.parent = parent
        self.collects = collects
        #: followers wait for it, or for a parent: it must not wait itself
        self.is_leading: bool = leads or (parent is not None and parent.is_leading)
        self.has_ended = False
        self.is_auditable = True  #: False once a nested call may return another value without an invalidation
        # Only changed by operations that are atomic: several threads record at once.
        self.tokens: dict[str, bytes] = {}
        self.ends: list[float] = []
        self.varied: list[Varied] = []
        self.problems: list[str] = []
        self.connections: list[BaseDatabaseWrapper] = []  # of its thread when it began, and those that it has used
        self.locking: list[BaseDatabaseWrapper] = []  # those on which it has locked rows
        self.statements = 0  # a figure for people: two threads at once may lose one

    def begin(self) -> None:
        """Be the innermost one. Inside a `try` that ends it: an interrupt must not leave one that never ends."""
        innermost.set(self)
        if self.parent is not None:  # which may have begun on an event loop, and end there
            self.note_connections_here()

    def end(self) -> None:
        """
        Be no longer the innermost one.

        Behind `has_ended = True`: an interrupt that comes before the first line here is mended by the next look.
        """
        try:
            if self.parent is not None:
                self.parent.note_connections(self.connections)
        finally:
            # An abandoned coroutine is closed in any context, where another computation may be the innermost one.
            if innermost.get() is self:
                innermost.set(self.parent)

    def note_connections_here(self) -> None:
        """Note the connections of this thread."""
        self.note_connections(connections_here())

    def note_connections(self, connections: Iterable[BaseDatabaseWrapper]) -> None:
        """Note connections that it has used, or may use."""
        self.connections += [each for each in connections if each not in self.connections]

    def dependencies(self) -> Dependencies:
        """Return a copy of the dependencies so far: a task that the computation started may still record some."""
        ends, problems = self.ends.copy(), self.problems.copy()
        return Dependencies(
            dict(self.tokens),
            min(ends, default=inf),
            tuple(self.varied),
            problems[0] if problems else "",
            self.statements,
        )


innermost: ContextVar[Computation | None] = ContextVar("cachedeco_computation", default=None)


def _current_computation() -> Computation | None:
    """Return the innermost computation of this thread or task that has not ended: a task may outlive its parents."""
    computation = found = innermost.get()
    while computation is not None and computation.has_ended:
        computation = computation.parent
    if computation is not found:  # here the parents have ended, or an interrupt came between the lines of their end
        innermost.set(computation)
    return computation


@contextmanager
def collect_dependencies(
    alias: str, *, collects: bool, leads: bool = False, reads: TableReads | None = None
) -> Generator[Computation]:
    """
    Collect the dependencies that nested calls and statements record while the block runs, for an entry in a cache.

    *collects* tells whether the entry depends on nested calls at all; *leads*, whether followers may wait. *reads*
    notes the tables that are read, if the entry depends on them.
    """
    computation = Computation(alias, collects=collects, leads=leads, reads=reads)
    try:
        computation.begin()
        yield computation
    finally:
        computation.has_ended = True
        computation.end()


def read_apart() -> AbstractContextManager[object]:
    """
    Keep what a nested call reads past the cache out of the tables that the computation around it has read.

    These the function around it is known to read from then on, in each of its calls, while this call gives a value that
    is not stored, or does not depend on nested calls. Who only lists what a computation reads gets these reads, too.
    """
    computation = _current_computation()
    if computation is None or computation.reads is None or computation.reads.known is None:
        return nullcontext()
    return collect_dependencies(computation.alias, collects=False)


def is_leading() -> bool:
    """Tell whether this thread or task computes as a leader: a leader never waits for another leader."""
    computation = _current_computation()
    return computation is not None and computation.is_leading


def record_dependency(alias: str, keys: Sequence[str], raw: Mapping[str, object], use: Use) -> None:
    """Record in the enclosing computation what a call depended on: the key of its entry, then those of its tokens."""
    computation = _current_computation()
    if computation is None or not computation.collects:
        return
    for key in keys[1:]:
        token_alias, _, token_key = key.rpartition(" ")
        name = token_key if (token_alias or alias) == computation.alias else f"{token_alias or alias} {token_key}"
        # The first one read: after an invalidation in between, the entry must be dead at birth.
        computation.tokens.setdefault(name, raw[key])  # type: ignore[arg-type] # tokens, as the caller has tested
    if use.ends != inf:
        computation.ends.append(use.ends)
    varied = [(use.function, item) for item in use.variation]
    computation.varied += [each for each in varied if each not in computation.varied]


def note_statement(effect: StatementEffect, connection: BaseDatabaseWrapper) -> None:
    """
    Note in the enclosing computation what a statement of it is about to read, and what it writes. Never raises.

    Only in the innermost one: a nested call hands on what it depends on, by tokens.
    """
    computation = _current_computation()
    if computation is None:
        return
    computation.statements += 1
    computation.note_connections([connection])
    if effect.locks:
        computation.locking.append(connection)
    if computation.reads is not None:
        _note(computation, UNNOTED, computation.reads.note_statement, effect, connection)


def note_rows(computation: Computation, reads: TableReads, values: Iterable[object]) -> None:
    """Note the tables of rows among the arguments of a computation that begins. Never raises."""
    _note(computation, UNNOTED_ROWS, reads.note_rows, values)


def _note(computation: Computation, failure: str, note: Callable[..., Noted], *args: object) -> None:
    try:
        noted = note(*args)
    except Exception as error:  # noqa: BLE001 -- the user's router or mapping may raise anything; the function runs on
        pass_interrupt(error)
        emit(Event("error", reason=failure, error=error))
        noted = Noted(problems=(failure,))
    for key, token in noted.tokens.items():
        computation.tokens.setdefault(key, token)
    computation.problems += noted.problems
    if noted.ends != inf:
        computation.ends.append(noted.ends)


def mark_uncacheable(problem: str = BYPASSED) -> None:
    """Mark the enclosing computation uncacheable: this nested call has no stamp to depend on, or was not stored."""
    computation = _current_computation()
    if computation is not None and computation.collects:
        computation.problems.append(problem)


def mark_unauditable() -> None:
    """Mark the enclosing computation as not auditable: a nested call may change without an invalidation."""
    computation = _current_computation()
    if computation is not None:
        computation.is_auditable = False


def find_problem(dependencies: Dependencies, variation: Variation) -> str:
    """Return why a call with these variations and ends of nested calls can't be stored; empty if it can."""
    if unshared := find_unshared(dependencies, variation):
        return unshared
    return "the value of a cached call inside it has ended" if dependencies.ends <= time() else ""


def find_unshared(dependencies: Dependencies, variation: Variation) -> str:
    """
    Return by which variation of a nested call this one does not vary; empty if it shares all.

    It shares one if the same callable has given the same value.
    """
    for function, item in dependencies.varied:
        if item not in variation:
            name = getattr(item[0], "__qualname__", repr(item[0]))
            return f"{function}() inside it varies by {name}, and this call does not: give it the same vary="
    return ""
