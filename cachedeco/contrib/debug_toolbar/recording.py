"""What the cache did during one request: calls, invalidations and problems, from events."""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Final, NamedTuple

from django.db import connections

from cachedeco.contrib.observing import ObservedCommand, read_of, write_of
from cachedeco.functions.spec import all_specs
from cachedeco.runtime.events import Event
from cachedeco.runtime.frames import caller_frame
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.reprs import shorten, shorten_reason
from cachedeco.runtime.units import duration
from cachedeco.storage.entries import Details, read_details
from cachedeco.tracking.collector import innermost

PROBLEMS: Final = frozenset(
    {
        "advice",
        "breaker_closed",
        "breaker_opened",
        "error",
        "inconsistent",
        "invalidation_delayed",
        "invalidation_lost",
        "unwatched",
    }
)
# In the key of an entry: the arguments, what the call varies by, and the serializer with the release.
_KEY: Final = re.compile(r":e:(?P<name>[^(]*)\((?P<arguments>.*?)(\|(?P<variation>[^|]*)\|[\w.+-]+\))?$", re.DOTALL)
_LENGTH: Final = re.compile(r"(?<![\w.])\d+'")  # before a text, so that no text can be taken for two
MOST_ENDS: Final = 1000


@dataclass
class RecordedCall:
    """One call of a cached function, or one id of a call over many ids."""

    function: str
    arguments: str
    outcome: str  #: the kind of the event, or "remembered": a hit in the request's memory, without a command
    where: str  #: the line of the project that called
    reason: str = ""
    ended: str = ""  #: what has invalidated the entry, as far as this process knows, and when
    look_up: float = 0.0  #: seconds; 0 where a call before has read for both
    size: int | None = None  #: bytes of the entry
    age: float | None = None  #: seconds since the entry was stored
    saved: float = 0.0  #: seconds
    statements_saved: int = 0
    computing: float = 0.0  #: seconds
    statements: int = 0  #: of its computation, those of nested calls included
    unstored: str = ""  #: why the value was not stored
    is_nested: bool = False  #: whether it lies inside the computation of another call


class SentInvalidation(NamedTuple):
    """An invalidation that this process has sent."""

    at: float  #: seconds since the epoch
    request: str
    where: str


class SentInvalidations:
    """The last invalidations of this process, by what they were of. Thread-safe."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_subject: OrderedDict[str, SentInvalidation] = OrderedDict()
        self._lock = RLock()

    def add(self, subject: str, end: SentInvalidation) -> None:
        """Remember one, and forget the oldest."""
        with self._lock:
            self._by_subject[subject] = end
            self._by_subject.move_to_end(subject)
            if len(self._by_subject) > MOST_ENDS:
                self._by_subject.popitem(last=False)

    def find(self, reason: str, key: str, function: str) -> str:
        """Return in words what has caused a miss with this reason; empty if this process does not know."""
        head, _, named = reason.partition(": ")
        if head != "invalidated":
            return ""
        subject = named.replace("the nested ", "the ", 1)
        if named == "the function":
            subject = f"the function {function}()"
        elif named == "this call" and (matched := _KEY.search(key)) is not None:
            subject = f"the call {matched['name']}({matched['arguments']})"
        end = self._by_subject.get(subject)
        if end is None:
            return ""
        by = " at ".join(filter(None, (end.request, end.where))) or "another thread"
        return f"by {by}, {duration(time() - end.at)} ago"


class Recording:
    """The events of one request. Thread-safe: the view may start threads."""

    def __init__(self, find_end: Callable[[str, str, str], str]) -> None:
        """Begin with nothing; *find_end* says in words what has caused a miss."""
        self.calls: list[RecordedCall] = []
        self.invalidations: list[tuple[Event, str]] = []
        self.problems: list[tuple[Event, str]] = []
        self._find_end = find_end
        # By function and key, the last one last, each with the statements before.
        self._computing: dict[tuple[str, str], list[tuple[RecordedCall, int]]] = {}
        self._served: dict[str, ObservedCommand] = {}  # the read from which a key was served, by key
        self._counted: ObservedCommand | None = None  # the read whose time is in a call
        self._lock = RLock()

    def record(self, event: Event, where: str) -> None:
        """Add an event, and the line that caused it."""
        with self._lock:
            if event.kind in {"hit", "stale"}:
                self._record_served(event, where)
            elif event.kind in {"miss", "bypassed"}:
                self._record_computing(event, where)
            elif event.kind in {"computed", "shared", "stored", "unstored"}:
                self._record_end(event)
            elif event.kind == "invalidated":
                self.invalidations.append((event, where))
            elif event.kind in PROBLEMS:
                self.problems.append((event, where))

    def _record_served(self, event: Event, where: str) -> None:
        call, command = self._new_call(event, where), read_of(event.key)
        if command is None or self._served.get(event.key) is command:
            call.outcome = "remembered"
        else:
            self._served[event.key] = command
        call.saved = event.seconds
        if command is not None and (details := _details_in(event, command)):
            call.statements_saved, call.age = details.statements, max(0.0, time() - details.stored_at)

    def _record_computing(self, event: Event, where: str) -> None:
        call = self._new_call(event, where)
        call.ended = self._find_end(event.reason, event.key, event.function)
        if not call.ended and event.seconds:  # by another process
            call.ended = f"{duration(event.seconds)} ago"
        self._computing.setdefault((event.function, event.key), []).append((call, count_statements()))

    def _record_end(self, event: Event) -> None:
        known = self._computing.get((event.function, event.key))
        if not known:
            return  # a refresh, or set()
        call, statements_before = known[-1]
        if event.kind == "computed":
            if event.key == "":  # of calls inside each other that bypass the cache, the innermost ends first
                known.pop()
            call.computing, call.statements = event.seconds, count_statements() - statements_before
        elif event.kind == "shared":
            call.outcome, call.saved = "shared", event.seconds
        elif event.kind == "unstored":
            call.unstored = event.reason
        elif (command := write_of(event.key)) is not None:
            call.size = len(command.values[event.key] or b"")

    def _new_call(self, event: Event, where: str) -> RecordedCall:
        command = read_of(event.key)
        call = RecordedCall(event.function, _arguments_in(event.key), event.kind, where, shorten_reason(event.reason))
        call.is_nested = innermost.get() is not None
        if command is not None:
            if command is not self._counted:
                self._counted, call.look_up = command, command.seconds
            value = command.values[event.key]
            call.size = None if value is None else len(value)
        self.calls.append(call)
        return call


def count_statements() -> int:
    """Return how many statements the connections of this thread have run, as far as `DEBUG` has Django log them."""
    return sum(len(connection.queries_log) for connection in connections.all(initialized_only=True))


def caller() -> str:
    """Return the line of the project that this thread is in; empty in a thread that none of its code has started."""
    frame = caller_frame()
    if frame is None:
        return ""
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}, line {frame.f_lineno}"


def _arguments_in(key: str) -> str:
    """Return the arguments that are in the key of an entry, and what the call varies by."""
    matched = _KEY.search(key)
    if matched is None:
        return ""
    texts = filter(None, (matched["arguments"], matched["variation"]))
    return shorten(_LENGTH.sub("", " | ".join(texts)))


def _details_in(event: Event, command: ObservedCommand) -> Details | None:
    """Return what the bytes of an entry say beside its value."""
    data = command.values[event.key]
    spec = next((spec for spec in all_specs() if spec.name == event.function), None)
    if spec is None or data is None:
        return None
    return read_details(spec.resolve().policy.codec, event.key, data)
