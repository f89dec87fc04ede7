"""An exception of a signal's handler at any point of a hit, a miss or an invalidation: nothing is left behind."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Final

import pytest
from pytest_django import Settings

from benchmarks.storming.tenants import BACKEND_CLASSES, BACKENDS, Backend, counted_pauses, left_behind
from cachedeco import Namespace, cached_query, cached_query_many, gather
from cachedeco.invalidation.retry_queue import enqueue
from cachedeco.storage.breaker import PendingInvalidation
from cachedeco.testing import capture_events
from tests.support.interrupts import Attempt, handled
from tests.support.selection import of_length
from tests.support.threads import PATIENCE_SECONDS

# Every so many points; a prime, so that a loop over three lines is met at each of them.
STEP: Final = of_length(usual=13, soak=1)
# Of our code and the client's that any of these calls runs through.
FEWEST_POINTS: Final = 50


class World:
    """Cached functions over numbers that change, and what is computed."""

    def __init__(self) -> None:
        """Begin with empty caches."""
        self.numbers: dict[int, int] = {}
        self.computed: list[int] = []

        @cached_query(name="interrupts.single", namespace="number:{number}", timeout=3600, ignore=("self",))
        def single(number: int) -> int:
            return self.compute(number)

        @cached_query(name="interrupts.outer", namespace="number:{number}", timeout=3600, ignore=("single",))
        def nested(number: int) -> int:
            return int(single(number))

        @cached_query_many(
            over="ids", name="interrupts.many", namespace="number:{each}", timeout=3600, ignore=("self",)
        )
        def many(ids: list[int]) -> Mapping[int, int]:
            return {each: self.compute(each) for each in ids}

        self.single, self.nested, self.many = single, nested, many

    def compute(self, number: int) -> int:
        """Return what a number stands for now."""
        self.computed.append(number)
        return self.numbers.setdefault(number, 0)


# Django's Redis cache is read on the same way as ours.
@pytest.fixture(params=[pytest.param(each, marks=pytest.mark.soak if each == "redis" else ()) for each in BACKENDS])
def reader(request: pytest.FixtureRequest, settings: Settings, _fresh_cache: None) -> Iterator[Backend]:
    """Run on each cache that has a reader of its own: exactly that class."""
    kind: Backend = request.param
    servers = {"locmem": None, "redis": "redis_server", "our-redis": "redis_server"}
    server = servers.get(kind, "memcached_server")
    location = request.getfixturevalue(server).location if server else uuid.uuid4().hex
    options = {
        "redis": {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS},
        "our-redis": {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS},
        "locmem": {"MAX_ENTRIES": 100_000},
    }.get(kind, {"connect_timeout": PATIENCE_SECONDS, "timeout": PATIENCE_SECONDS})
    settings.CACHES = {
        "default": {
            "BACKEND": BACKEND_CLASSES[kind],
            "LOCATION": location,
            "KEY_PREFIX": uuid.uuid4().hex[:8],
            "OPTIONS": options,
        }
    }
    with handled():
        yield kind


Act = Callable[[World, int], Any]
CALLS: dict[str, Act] = {
    "single": lambda world, number: world.single(number),
    "nested": lambda world, number: world.nested(number),
    "bulk": lambda world, number: world.many([number, number + 1])[number],
    "gather": lambda world, number: gather(world.nested.call(number), world.many.call([number, number + 1]))[0],
}
INVALIDATIONS: dict[str, Act] = {
    "single": lambda world, number: world.single.invalidate(number),
    "nested": lambda _, number: Namespace("number", number).invalidate(),
    "bulk": lambda world, number: world.many.invalidate([number, number + 1]),
    "gather": lambda _, number: Namespace("number", number).invalidate(),
}
pytestmark = [
    # A socket that its caller has lost is closed by Python, which says so.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("_without_lost_sockets"),
]
# The most points by far.
calls = pytest.mark.parametrize(
    "how", [pytest.param(each, marks=pytest.mark.soak if each == "gather" else ()) for each in CALLS]
)


class Trial:
    """Calls of one kind, each interrupted at another point."""

    def __init__(self, how: str) -> None:
        """Store what the call after an interrupted one asks for."""
        self.world, self.call = World(), CALLS[how]
        self.numbers = count(100, 10)
        self.points = 0  #: in the whole call
        for _ in range(2):  # the first imports what is imported late: what is interrupted there, Python leaves locked
            self.stored()

    def stored(self) -> int:
        """Return a number whose value is stored; another one each time."""
        number = next(self.numbers)
        self.call(self.world, number)
        return number

    def owing(self) -> int:
        """Return a number whose value is stored; the call for it probes the cache, which is owed an invalidation."""
        number = self.stored()
        enqueue("default", {f"owed:{number}": PendingInvalidation("", None)}, pauses=False)
        return number

    def interrupt_each_point(self, prepare: Callable[[], int], act: Act) -> Iterator[tuple[int, Attempt]]:
        """Interrupt an act on a number at each point that is tried; yield the number, and what has happened."""
        for point in count(0, STEP):
            number, attempt = prepare(), Attempt(point)
            attempt.run(lambda: act(self.world, number))  # noqa: B023 -- called here
            if not attempt.fell:
                self.points = attempt.points
                return
            yield number, attempt

    def faults_after(self, number: int, *, may_compute: bool) -> list[str]:
        """Return what an interrupted act on a number has left behind, as the next calls find it."""
        world, pauses, before = self.world, [0], len(self.world.computed)
        with counted_pauses(pauses), capture_events() as events:
            self.call(world, number)
        faults = [f"{event.reason}: {event.error!r}" for event in events if event.kind == "error"]
        faults += ["a hit is computed again"] if len(world.computed) > before and not may_compute else []
        faults += ["waits for a lease that nobody holds"] if pauses != [0] else []
        before = len(world.computed)
        self.call(world, number)
        faults += ["a value is not stored"] if len(world.computed) > before else []
        left = left_behind(is_up=True)
        return [*faults, left] if left else faults


@calls
@pytest.mark.parametrize("act", ["hit", "miss", pytest.param("probe", marks=pytest.mark.soak)])
def test_exception_at_any_point_of_a_call_leaves_nothing_behind(reader: Backend, how: str, act: str) -> None:  # noqa: ARG001
    """It reaches the caller; the next calls are hits, or compute at once and store, on connections that are clean."""
    trial, is_miss = Trial(how), act == "miss"
    faults, other = defaultdict(list), trial.stored()

    prepare = {"hit": trial.stored, "miss": lambda: next(trial.numbers), "probe": trial.owing}[act]
    for number, attempt in trial.interrupt_each_point(prepare, trial.call):
        faults[attempt.fell] += ["it is swallowed"] if attempt.is_swallowed else []
        faults[attempt.fell] += trial.faults_after(other, may_compute=False)
        faults[attempt.fell] += trial.faults_after(number, may_compute=is_miss)

    assert {} == {fell: found for fell, found in faults.items() if found}
    assert trial.points > FEWEST_POINTS


@calls
def test_exception_at_any_point_of_an_invalidation_loses_none_in_silence(reader: Backend, how: str) -> None:  # noqa: ARG001
    """It reaches the caller, who knows that the invalidation may not have arrived; to repeat it is enough."""
    trial = Trial(how)
    invalidate, world = INVALIDATIONS[how], trial.world
    faults, other = defaultdict(list), trial.stored()

    for number, attempt in trial.interrupt_each_point(trial.stored, invalidate):
        world.numbers[number] = 1
        faults[attempt.fell] += ["it is swallowed"] if attempt.is_swallowed else []
        invalidate(world, number)
        faults[attempt.fell] += [] if 1 == trial.call(world, number) else ["an old value is served"]
        faults[attempt.fell] += trial.faults_after(number, may_compute=False)
        faults[attempt.fell] += trial.faults_after(other, may_compute=False)

    assert {} == {fell: found for fell, found in faults.items() if found}
    assert trial.points > FEWEST_POINTS
