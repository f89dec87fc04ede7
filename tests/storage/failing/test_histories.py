"""Any history of outages, writes, invalidations and pauses: this process never reads what it has invalidated."""

from contextlib import ExitStack

from django.test import override_settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pytest import MonkeyPatch  # noqa: PT013 -- the only name

from cachedeco import MISSING, Namespace, cached_query
from cachedeco.storage import breaker
from tests.storage.failing.clocks import Clock, longest
from tests.support.backends import cache_entry
from tests.support.faults import faulty
from tests.support.selection import of_length

NUMBERS = (1, 2)
OUTAGES = {
    "raises": {"raises": TimeoutError},
    "silent": {"unreachable": True},
    "nonsense": {"returns": ["nonsense"]},
}

numbers = st.sampled_from(NUMBERS)
truth: dict[int, int] = {}


@cached_query(name="histories.read", namespace="numbers:{number}", timeout=None)
def read(number: int) -> int:
    """Return what is true of a number."""
    return truth[number]


class Histories(RuleBasedStateMachine):
    """One process, one cache; the cache forgets nothing while it is out."""

    def __init__(self) -> None:
        """Begin with an empty cache that is well."""
        super().__init__()
        self.clock = Clock()
        self.within = ExitStack()
        self.outage: ExitStack | None = None
        truth.update(dict.fromkeys(NUMBERS, 0))

    @initialize(failures=st.sampled_from([0, 1, 3]))
    def begin(self, failures: int) -> None:
        """Put the settings in force."""
        entry = {**cache_entry("faulty", "histories"), "ALIAS": "default"}
        cachedeco = {"BREAKER_FAILURES": failures}
        self.within.enter_context(override_settings(CACHES={"default": entry}, CACHEDECO=cachedeco))
        patch = self.within.enter_context(MonkeyPatch.context())
        patch.setattr(breaker, "monotonic", self.clock)
        patch.setattr(breaker, "uniform", longest)

    @rule(number=numbers, way=st.sampled_from(["call", "function", "namespace", "parent"]))
    def write(self, number: int, way: str) -> None:
        """Change the truth, and invalidate."""
        truth[number] += 1
        ways = {
            "call": lambda: read.invalidate(number),
            "function": read.invalidate_all,
            "namespace": Namespace("numbers", number).invalidate,
            "parent": Namespace("numbers").invalidate,
        }
        ways[way]()

    @rule(number=numbers)
    def ask(self, number: int) -> None:
        """Read what is true."""
        assert truth[number] == read(number)

    @rule(number=numbers)
    def look(self, number: int) -> None:
        """Look, which computes nothing: there is the truth or nothing."""
        assert read.peek(number) in {truth[number], MISSING}

    @rule(seconds=st.sampled_from([0.5, 1, 2, 30]))
    def wait(self, seconds: float) -> None:
        """Let a part of a pause pass, or all of it."""
        self.clock.advance(seconds)

    @precondition(lambda self: self.outage is None)
    @rule(how=st.sampled_from(sorted(OUTAGES)), only=st.sampled_from([(), ("set_many",)]))
    def go_out(self, how: str, only: tuple[str, ...]) -> None:
        """Stop answering, in one way or another, or only to writes."""
        self.outage = ExitStack()
        self.outage.enter_context(faulty(*only, **OUTAGES[how]))  # type: ignore[arg-type] # what faulty() takes

    @precondition(lambda self: self.outage is not None)
    @rule()
    def come_back(self) -> None:
        """Answer again, with the old memory."""
        assert self.outage
        self.outage.close()
        self.outage = None

    @invariant()
    def is_open_where_something_is_owed(self) -> None:
        """No state is closed and owed something."""
        assert not [each for each in breaker.breakers.values() if each.queue and each.retry_at is None]

    def teardown(self) -> None:
        """Leave the cache well."""
        if self.outage:
            self.outage.close()
        self.within.close()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=of_length(30, soak=2000), stateful_step_count=30)
