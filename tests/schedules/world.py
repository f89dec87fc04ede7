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
LONGEST_WAIT = 1.0

# Acts that go on after an interrupt.
INTERRUPTIBLE = set[Callable[[], object]]()

Kind = Literal["command", "row", "flight", "wait", "pause", "begin"]
Deed = Literal["step", "poll", "timeout", "evict", "crash", "kill", "fail", "interrupt", "cancel", "doubt", "end"]
# Reads; those of several keys by the key's place, which tells whether another one follows.
GOES_ON = {"get first", "get next"}
LATER = {"get next", "get last"}
READS = GOES_ON | LATER | {"get only", "get", "read row"}
DAY = 24 * 3600.0
# What may happen at any time, as often as the scenario has it. So may the end of a pause ("poll") and that of a wait
# ("timeout"), which come as time passes anyway when no actor can go on.
DISTURBANCES: tuple[Deed, ...] = ("evict", "crash", "kill", "fail", "interrupt", "cancel", "doubt")
# After the name of an actor: the step is carried out, and then interrupted before its answer arrives.
CARRIED_OUT = "!"


class Crashed(BaseException):
    """An actor is no more: nothing that it does from now on has any effect."""


class Interrupted(BaseException):
    """A signal has come, and its handler has raised this."""


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
        return tuple(about[:1]) if name in READS - {"read row"} | {"add", "incr"} else ()

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
    known: dict[tuple[str, str], Any] = field(default_factory=dict)  #: of functions under AUTO, by key and attribute

    def knows(self) -> frozenset[object]:
        """Return what tells what is known from what might be: other containers than sets follow from these."""
        return frozenset(each for each in self.known.items() if not isinstance(each[1], list | dict))


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
    fate: Choice | None = None  #: what happens to the step that is taken next
    cancel: Callable[[], object] | None = None  #: of the task that waits for this actor's step, which goes on
    is_reading: bool = False  #: a command is under way, and its answer has not been read to its end
    computed: int = 0
    missed: bool = False  #: a look-up of the read under way has found no entry to serve
    followed: bool = False  #: it has waited for a computation, and that has ended
    floor: dict[str, int] | None = None  #: what was acknowledged when the read under way began
    waited: float = 0.0
    serial: int = 0  #: of random bytes

    def begin(self) -> None:
        """Begin a call."""
        self.floor, self.waited, self.computed, self.missed, self.followed = None, 0.0, 0, False, False

    def saw(self, *what: object) -> None:
        """Add to the history."""
        self.history = hash((self.history, *what))


def _is_lease(key: str) -> bool:
    return "@" in key


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
        #: Who writes a key or row in any schedule of the scenario: pairs of it and the actor; None: any actor may.
        self.written: set[tuple[str, str]] | None = None
        self.trace: list[Step] = []
        self.computed = Counter[str]()  #: how often each row
        self.computing = Counter[str]()
        self.overlap = ""  #: a row that two have computed at one time
        self.is_unreadable = False  #: each attempt to read the cache fails
        self.serial = 0
        self.epochs = 0  #: how often those of any actor have advanced
        self.has_failed = False
        self.accusation = ""  #: what the auditor has called inconsistent
        self.violation = ""
        self.fault = ""  #: what a cache was accused of, and the call went on: no schedule lets it fail

    def twin(self, budget: Mapping[str, int]) -> "World":
        """Return a world that begins as this one is, for one schedule."""
        world = World(self.processes, budget)
        world.clock, world.serial, world.is_unreadable = self.clock, self.serial, self.is_unreadable
        world.cache, world.rows, world.acked = dict(self.cache), dict(self.rows), dict(self.acked)
        for name, process in self.processes.items():
            world.processes[name].remembered = dict(process.remembered)
            world.processes[name].known = dict(process.known)
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
        """Return bytes that no other one gets, and that this actor gets in each schedule in which it sees the same."""
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
            (frozenset(each.flights), tuple(each.remembered.items()), tuple(each.suspects.items()), each.knows())
            for each in self.processes.values()
        ]
        known = (self.has_failed, bool(self.accusation), bool(self.fault), self.overlap)
        shared = (self.clock, self.epochs, cached, tuple(self.rows.items()), tuple(self.acked.items()), *known)
        return hash((tuple(actors), shared, tuple(processes), tuple(self.left.items())))

    # --- what may happen next ---

    def choices(self) -> list[Choice]:
        """Return what may happen next; nothing where all is over."""
        living = [each for each in self.actors if not each.is_done]
        if self.written is not None:
            for each in living:
                if self._commutes(each, living):
                    return [Choice("step", each.name)]
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

    def wrote(self, what: str) -> None:
        """Note that the running actor has written a key or a row."""
        if self.written is not None and self.running is not None and not _is_lease(what):
            self.written.add((what, self.running.name))

    def _commutes(self, actor: Actor, living: list[Actor]) -> bool:
        """
        Tell whether the next step of an actor gives the same before and after all that others may do meanwhile.

        Such a step is taken at once: it is no choice. So is a read of what no other living actor writes in any
        schedule; and the flights of a process, to the only one who is there. What an actor does in memory after a step
        belongs to that step: with others in its process, only a read that goes on with the next key does nothing more.
        """
        pending = actor.pending
        if (
            actor.floor is None or self.left["interrupt"] or self.left["cancel"]
        ):  # what was acknowledged when the first step is taken matters
            return False
        is_alone = sum(each.process is actor.process for each in self.actors) == 1
        if pending.kind == "flight":
            return is_alone
        name, *about = pending.what or ("",)
        if name not in READS or (name not in GOES_ON and not is_alone) or self.left["fail"]:
            return False
        if name not in LATER and (self.left["crash"] or self.left["kill"]):  # it may end before the first key
            return False
        what = str(about[0])
        if _is_lease(what) or self.cache.get(what, (None, inf))[1] < self.clock + DAY:  # a lease, or it expires
            return False
        writers = [who for key, who in self.written or () if key == what]
        return not any(who.startswith(each.name) for each in living if each is not actor for who in writers)

    def _is_twin_of_any(self, actor: Actor, others: list[Actor]) -> bool:
        """Tell whether another one is about to do the same, after the same: then the rest follows from either."""
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
        is_same = one.remembered == other.remembered and one.known == other.known
        return is_alone and is_same and one.flights.keys() == other.flights.keys()

    def _disturbances(self, deed: Deed, living: list[Actor]) -> list[Choice]:
        match deed:
            case "evict":  # just before an actor would notice it: sooner is all the same
                noticed = {key for each in living for key in each.pending.looked_at()} if living else set(self.cache)
                targets = [key for key in self.cache if key in noticed and self.standing(key) is not None]
            case "kill":
                targets = list(dict.fromkeys(each.process.name for each in living))
            case _:
                targets = [each.name for each in living if self._can_meet(deed, each)]
                if deed in {"doubt", "interrupt"}:
                    asking = {each.name for each in living if each.pending.kind in {"command", "row"}}
                    targets += [name + CARRIED_OUT for name in targets if name in asking]
        return [Choice(deed, target) for target in targets]

    @staticmethod
    def _can_meet(deed: Deed, actor: Actor) -> bool:
        """Tell whether something can happen to an actor at the step that it is about to take."""
        match deed:
            case "fail":
                return actor.pending.what[:1] == ("read row",)
            case "doubt":
                return actor.pending.what[:1] == ("commit",)
            case "interrupt":
                return actor.act in INTERRUPTIBLE and actor.pending.kind != "begin"
            case "cancel":
                return actor.cancel is not None and actor.pending.kind != "begin"
            case _:  # a crash is where an exception may reach a thread: in what it asks another machine for
                return actor.pending.kind in {"command", "row"}

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
                self.processes[target].known.clear()
                return None
        actor = next(each for each in self.actors if each.name == target.removesuffix(CARRIED_OUT))
        if deed == "crash":
            self.end(actor)
            return None
        if deed in {"poll", "timeout"}:
            if any(each.pending.is_ready(self.clock) for each in self.actors if not each.is_done):
                self.left[deed] -= 1
            self.clock = max(self.clock, actor.pending.until)
            self.trace.append(("*", (deed, self.clock - START), None))
        actor.fate = choice if deed in DISTURBANCES else None
        return actor

    def end(self, actor: Actor) -> None:
        """Take an actor out of the world: its thread is still to be told, which also lets go of what it was to do."""
        actor.is_dead = True

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
