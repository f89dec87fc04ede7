"""What the actors of one schedule share, what may happen next, and what must never be seen."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from typing import Any, Literal, NamedTuple

from cachedeco.loading.promise import Promise

START = 1_000_000.0
# Longer than any wait of a function here: what a call has waited in all, in seconds of the world.
LONGEST_WAIT = 5.0

Kind = Literal["command", "row", "flight", "wait", "pause", "begin"]
Deed = Literal["step", "poll", "timeout", "evict", "crash", "kill", "fail", "end"]
# What may happen at any time, as often as the scenario has it. So may the end of a pause ("poll") and that of a wait
# ("timeout"), which come as time passes anyway when nobody can go on.
DISTURBANCES: tuple[Deed, ...] = ("evict", "crash", "kill", "fail")


class Crashed(BaseException):
    """An actor is no more: nothing that it does from now on has any effect."""


class Violation(Exception):  # noqa: N818 -- what was looked for, not a fault of the explorer
    """What must never be seen was seen."""


class Failing(Exception):  # noqa: N818 -- raised for the function, as its database would
    """A row could not be read."""


class Choice(NamedTuple):
    """What may happen next."""

    deed: Deed
    target: str = ""


class Pending(NamedTuple):
    """The step that an actor is about to take."""

    kind: Kind
    what: tuple[object, ...]
    until: float = -inf  #: the time at which a wait ends by itself
    promise: Promise[Any] | None = None

    def is_ready(self, clock: float) -> bool:
        """Tell whether nothing has to be waited for any more."""
        return self.until <= clock or (self.promise is not None and self.promise.is_kept)

    def looked_at(self) -> tuple[object, ...]:
        """Return the keys of which it matters to the step what is there."""
        name, *about = self.what or ("",)
        return tuple(about) if name == "get_many" else tuple(about[:1]) if name in {"get", "add", "incr"} else ()

    def fingerprint(self) -> tuple[object, ...]:
        """Return what tells the step from others that the actor might be about to take."""
        landed = repr(self.promise.value) if self.promise is not None and self.promise.is_kept else None
        return self.kind, self.what, self.until, landed


BEGINNING = Pending("begin", ())


@dataclass(eq=False)
class Process:
    """What the actors of one process share, and no other process has."""

    name: str
    flights: dict[Any, Any] = field(default_factory=dict)
    remembered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    suspects: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(eq=False)
class Actor:
    """One who acts, in a thread of the crew."""

    name: str
    process: Process
    act: Callable[[], object]
    context: Context = field(default_factory=Context)
    baton: Lock = field(default_factory=Lock)
    pending: Pending = BEGINNING
    history: int = 0  #: stands for all that the actor has seen: with equal ones it will do the same
    is_started: bool = False
    is_dead: bool = False
    is_done: bool = False
    fails: bool = False  #: the row that is read next can't be
    floor: dict[str, int] | None = None  #: what was acknowledged when the read under way began
    waited: float = 0.0
    serial: int = 0  #: of random bytes

    def saw(self, *what: object) -> None:
        """Add to the history."""
        self.history = hash((self.history, *what))


Step = tuple[str, tuple[object, ...], object]


class World:
    """
    The cache, the rows, the clock and the actors of one schedule.

    Args:
        processes: Names.

        budget: How often each disturbance may happen.
    """

    def __init__(self, processes: Iterable[str] = ("p",), budget: Mapping[str, int] | None = None) -> None:
        """Begin with nothing."""
        self.clock = START
        self.cache: dict[str, tuple[Any, float]] = {}
        self.rows: dict[str, int] = {}
        self.acked: dict[str, int] = {}  #: the versions of which a writer has been told that they are seen from now on
        self.processes = {name: Process(name) for name in processes}
        self.leaders: dict[object, str] = {}  #: who began a flight, and which of his it is
        self.actors: list[Actor] = []
        self.running: Actor | None = None
        self.alone = next(iter(self.processes.values()))  #: whose turn it is while no actor runs
        self.left = Counter(budget or {})
        self.trace: list[Step] = []
        self.computed = 0
        self.is_unreadable = False  #: each attempt to read the cache fails
        self.serial = 0
        self.has_failed = False
        self.accusation = ""  #: what the auditor has called inconsistent
        self.violation = ""

    def twin(self, budget: Mapping[str, int]) -> "World":
        """Return a world that begins as this one is, for one schedule."""
        world = World(self.processes, budget)
        world.clock, world.serial, world.is_unreadable = self.clock, self.serial, self.is_unreadable
        world.cache, world.rows, world.acked = dict(self.cache), dict(self.rows), dict(self.acked)
        for name, process in self.processes.items():
            world.processes[name].remembered = dict(process.remembered)
        return world

    @property
    def process(self) -> Process:
        """The process in which the code that asks runs."""
        return self.running.process if self.running else self.alone

    # --- what there is ---

    def standing(self, key: str) -> Any:
        """Return what the cache holds under a key, or None."""
        value, expires = self.cache.get(key, (None, 0.0))
        return value if expires > self.clock else None

    def random_bytes(self, size: int) -> bytes:
        """Return bytes that nobody else gets, and that this actor gets in each schedule in which it sees the same."""
        if self.running is None:
            self.serial += 1
            return f"#{self.serial}".ljust(size, ".").encode()
        self.running.serial += 1
        return f"{self.running.name}{self.running.serial}".ljust(size, ".").encode()

    def fingerprint(self) -> int:
        """Return what two states have in common from which the same may follow."""
        actors = [(a.history, *a.pending.fingerprint(), a.is_dead, a.is_done) for a in self.actors]
        cached = frozenset((key, hash(held)) for key, held in self.cache.items())
        processes = [
            (frozenset(each.flights), tuple(each.remembered.items()), tuple(each.suspects.items()))
            for each in self.processes.values()
        ]
        known = (self.has_failed, bool(self.accusation))
        shared = (self.clock, cached, tuple(self.rows.items()), tuple(self.acked.items()), *known)
        return hash((tuple(actors), shared, tuple(processes), tuple(self.left.items())))

    # --- what may happen next ---

    def choices(self) -> list[Choice]:
        """Return what may happen next; nothing where all is over."""
        living = [each for each in self.actors if not each.is_done]
        ready = [each for each in living if each.pending.is_ready(self.clock)]
        waiting = [each for each in living if each not in ready]
        found = [Choice("step", each.name) for n, each in enumerate(ready) if not self._is_twin_of_any(each, ready[:n])]
        if waiting and not ready:
            soonest = min(each.pending.until for each in waiting)
            if soonest == inf:
                message = f"{', '.join(each.name for each in waiting)} wait for ever"
                raise Violation(message)
            waiting = [each for each in waiting if each.pending.until == soonest]
        ends = [Choice("poll" if each.pending.kind == "pause" else "timeout", each.name) for each in waiting]
        found += [choice for choice in ends if self.left[choice.deed] or not ready]
        disturbances = [
            choice for deed in DISTURBANCES if self.left[deed] for choice in self._disturbances(deed, living)
        ]
        return found + disturbances if found or not disturbances else [Choice("end"), *disturbances]

    def _is_twin_of_any(self, actor: Actor, others: list[Actor]) -> bool:
        """Tell whether another one is about to do the same, after the same: then whoever does it, the rest follows."""
        return any(
            each.history == actor.history
            and each.act is actor.act
            and each.pending.what == actor.pending.what
            and (each.process is actor.process or self._are_twins(each.process, actor.process))
            for each in others
        )

    def _are_twins(self, *processes: Process) -> bool:
        """Tell whether two processes have one actor each, and hold the same."""
        one, other = processes
        crews = Counter(each.process for each in self.actors)
        is_alone = crews[one] == crews[other] == 1
        return is_alone and one.flights.keys() == other.flights.keys() and one.remembered == other.remembered

    def _disturbances(self, deed: Deed, living: list[Actor]) -> list[Choice]:
        match deed:
            case "evict":  # just before somebody would notice it: sooner is all the same
                noticed = {key for each in living for key in each.pending.looked_at()} if living else set(self.cache)
                return [Choice(deed, key) for key in self.cache if key in noticed and self.standing(key) is not None]
            case "crash":  # where an exception may reach a thread: in what it asks another machine for
                return [Choice(deed, each.name) for each in living if each.pending.kind in {"command", "row"}]
            case "fail":
                return [Choice(deed, each.name) for each in living if each.pending.what[:1] == ("read row",)]
            case _:
                return [Choice(deed, name) for name in dict.fromkeys(each.process.name for each in living)]

    def apply(self, choice: Choice) -> Actor | None:
        """Make a choice happen; return whose turn it is now, if that is decided."""
        deed, target = choice
        if deed in DISTURBANCES:
            self.left[deed] -= 1
            self.trace.append(("*", (deed, target), None))
        match deed:
            case "evict":
                del self.cache[target]
                return None
            case "kill":
                for each in self.actors:
                    if each.process.name == target:
                        self.end(each)
                self.processes[target].flights.clear()
                self.processes[target].remembered.clear()
                self.processes[target].suspects.clear()
                return None
        actor = next(each for each in self.actors if each.name == target)
        if deed == "crash":
            self.end(actor)
            return None
        if deed in {"poll", "timeout"}:
            if any(each.pending.is_ready(self.clock) for each in self.actors if not each.is_done):
                self.left[deed] -= 1
            self.clock = max(self.clock, actor.pending.until)
            self.trace.append(("*", (deed, self.clock - START), None))
        actor.fails = deed == "fail"
        return actor

    def end(self, actor: Actor) -> None:
        """Take an actor out of the world: its thread, if it has one, is still to be told."""
        actor.is_dead = True
        actor.is_done = actor.is_done or not actor.is_started

    # --- what must never be seen ---

    def check(self, value: Mapping[str, int], calls: int = 1) -> None:
        """
        Fail if a read has returned versions older than those acknowledged when it began, or has waited too long.

        Args:
            value: Versions by row.

            calls: How many cached calls it was, one in another: each may wait.
        """
        actor = self.running
        floor = (actor.floor or {}) if actor else self.acked
        for row, version in value.items():
            if version < floor.get(row, 0):
                who = f"{actor.name} has read" if actor else f"a later read in {self.alone.name} gives"
                message = f"{who} version {version} of {row}, and {floor[row]} was acknowledged before it began"
                raise Violation(message)
        if actor and actor.waited > calls * LONGEST_WAIT + 1e-6:
            message = f"{actor.name} has waited for {actor.waited} seconds"
            raise Violation(message)
