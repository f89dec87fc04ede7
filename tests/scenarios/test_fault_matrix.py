"""
Every verb, under every fault: the result is right, nothing is raised, and nothing old is there when all is well again.

Other processes may find something old only where it was reported that an invalidation is delayed; this one, which owes
it, delivers it first.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pytest

from cachedeco import MISSING, CachedQuery, Event, Namespace, listening
from cachedeco.storage import breaker
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import PROGRAMS, Kind
from tests.support.clocks import replace_time
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.threads import PATIENCE_SECONDS
from tests.support.wire import Fault, Wire

# Seconds that a client waits for an answer while there is a fault.
HASTE = 0.05
TIMEOUT = 60.0

CLIENTS: dict[str, Callable[[float], dict[str, Any]]] = {
    # HashClient as Django has it would keep quiet for a minute; this one asks again at once.
    "memcached": lambda seconds: {
        "timeout": seconds,
        "connect_timeout": seconds,
        "retry_attempts": 0,
        "dead_timeout": 0,
    },
    "ours": lambda seconds: {"timeout": seconds, "connect_timeout": seconds},
    "redis": lambda seconds: {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": None},
}
# What a backend that is none of Django's may do. To set_many, None is how django-redis says that all went well.
MISBEHAVIOUR: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "returns None": (("get_many", "add", "set", "delete"), {"returns": None}),
    "raises ValueError": ((), {"raises": ValueError("no")}),
}

Cached = CachedQuery[..., str]
Entry = Literal["absent", "fresh", "due", "stale"]


@dataclass(frozen=True)
class Verb:
    """What is done, to which entry, and what it may give; those that tell of a change leave nothing old."""

    do: Callable[[Side, Cached], object]
    results: tuple[object, ...]
    entry: Entry = "fresh"
    tells: bool = False


VERBS: dict[str, Verb] = {
    "hit": Verb(lambda side, read: side.call(read, 1), ("old", "new")),
    "miss": Verb(lambda side, read: side.call(read, 1), ("new",), "absent"),
    "due": Verb(lambda side, read: side.call(read, 1), ("new",), "due"),
    "stale": Verb(lambda side, read: side.call(read, 1), ("old", "new"), "stale"),
    "peek": Verb(lambda side, read: side.call(read.peek, 1), ("old", MISSING)),
    "set": Verb(lambda side, read: side.call(read.call(1).set, "new"), (None,), tells=True),
    "refresh": Verb(lambda side, read: side.call(read.refresh, 1), ("new",), tells=True),
    "invalidate": Verb(lambda side, read: side.call(read.invalidate, 1), (None,), tells=True),
    "invalidate_all": Verb(lambda side, read: side.call(read.invalidate_all), (None,), tells=True),
    "Namespace.invalidate": Verb(lambda side, _: side.call(Namespace("row", 1).invalidate), (None,), tells=True),
}
verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


class Truth:
    """What is cached, the clock by which it is due, and the invalidations that have not arrived."""

    def __init__(self, side: Side) -> None:
        """Decorate, on one side."""
        self.value = "old"
        self.now = 1e9
        self.queue: list[Event] = []

        @side.cached(ignore=("self",), namespace="row:{number}", timeout=TIMEOUT, stale_if_error=9 * TIMEOUT)
        def read(number: int) -> str:  # noqa: ARG001 -- only the key tells it
            return self.value

        @side.cached(ignore=("self",), namespace="row:{number}", timeout=TIMEOUT, stale_while_revalidate=9 * TIMEOUT)
        def read_stale(number: int) -> str:  # noqa: ARG001 -- as above
            return self.value

        self.functions: dict[Entry, Cached] = {
            "absent": read,
            "fresh": read,
            "due": read,
            "stale": read_stale,
        }

    def hear(self, event: Event) -> None:
        """Note what is delayed or lost."""
        if event.kind in {"invalidation_delayed", "invalidation_lost"}:
            self.queue.append(event)


Meeting = Callable[[Callable[[], object]], AbstractContextManager[object]]


def check(side: Side, verb: Verb, patch: pytest.MonkeyPatch, meeting: Meeting) -> None:
    """Do something under a fault; check what it gives, and what is there when all is well again."""
    truth = Truth(side)
    replace_time(patch, lambda: truth.now)
    read = truth.functions[verb.entry]
    if verb.entry != "absent":
        side.call(read, 1)
    if verb.entry in {"due", "stale"}:
        truth.now += TIMEOUT + 1
    truth.value = "new"

    with meeting(lambda: side.call(read.peek, 1)), listening(truth.hear):
        result = verb.do(side, read)

    assert result in verb.results
    if verb.tells:
        if not truth.queue:
            with elsewhere(patch):
                assert "new" == side.call(read, 1)
        end_pause()
        assert "new" == side.call(read, 1)
    truth.value = "newest"
    end_pause()
    side.call(read.invalidate, 1)
    assert "newest" == side.call(read, 1)
    assert {} == breaker.breakers


@contextmanager
def elsewhere(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the cache, and owe it nothing, until the block ends: as another process does."""
    with patch.context() as apart:
        apart.setattr(breaker, "breakers", {})
        yield


def end_pause() -> None:
    """Have the next command ask the cache whether it is well: seconds later it would."""
    for trouble in breaker.breakers.values():
        trouble.end_pause()


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Run the test once on each kind of server."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def wire(kind: Kind, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Give the wire to a server that the tests share."""
    with Wire(request.getfixturevalue(f"{PROGRAMS[kind]}_server")) as wire:
        yield wire


@pytest.fixture
def meeting(fault: Fault, kind: Kind, wire: Wire, cache_config: CacheConfig, use_caches: UseCaches) -> Meeting:
    """Give the block in which the wire has a fault, and the client no patience: on a connection that was well."""
    prefix = cache_config(kind)["KEY_PREFIX"]

    def use(seconds: float) -> None:
        options = CLIENTS[kind](seconds)
        use_caches(default=cache_config(kind, server=wire, KEY_PREFIX=prefix, OPTIONS=options))

    @contextmanager
    def met(connect: Callable[[], object]) -> Iterator[None]:
        use(HASTE)
        if fault != "refused":  # which is what becomes of a connection to be made
            connect()
        with wire.faulty(fault):
            yield
        # Settings that change are another cache, to which nothing is owed; here it is the same as before.
        breakers = breaker.breakers.copy()
        use(PATIENCE_SECONDS)
        breaker.breakers.update(breakers)

    use(PATIENCE_SECONDS)
    return met


@pytest.mark.covering(2)
@both
@verbs
@pytest.mark.parametrize("fault", get_args(Fault))
def test_verb_on_a_faulty_wire(side: Side, verb: Verb, meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    """With any fault of the messages, the call goes on, and what is old is gone or known to be there."""
    check(side, verb, monkeypatch, meeting)


@pytest.mark.covering(2)
@both
@verbs
@pytest.mark.parametrize("fault", MISBEHAVIOUR)
@pytest.mark.usefixtures("faulty_backend")
def test_verb_on_a_faulty_backend(side: Side, verb: Verb, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for a backend that answers nonsense, or raises what is not expected."""
    operations, way = MISBEHAVIOUR[fault]

    check(side, verb, monkeypatch, lambda _connect: faulty(*operations, **way))
