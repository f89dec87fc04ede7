"""
How many computations does an expiry cause where callers refresh early, at random?

Simulated by a clock that stands still between calls: one entry, calls at random moments, and nothing that the machine
does counts. Without a lease only the decision of each call is cachedeco's, and who decides to refresh does. "As it is"
is cachedeco as it runs, on a cache in memory: a call during a computation comes from another thread.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import product
from math import e, inf, sqrt
from statistics import mean, stdev
from unittest import mock

from django.test.utils import override_settings

from cachedeco import cached_query
from cachedeco.loading.refreshing import xfetch_time
from cachedeco.storage.entries import Entry
from stampeding.tables import Table

COMPUTATION_SECONDS = 0.2
CALLS_PER_SECOND = 1000.0
BETAS = (1.0, 1.5, 2.0)
# One of so many simulated expiries is of cachedeco as it is, where a call is some forty times as dear as a decision.
AS_IT_IS = 50
# In computations and betas before the expiry: one call in e^15 is early by more, so three expiries in ten thousand.
HORIZON = 15
TIMEOUT_SECONDS = 60.0
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
Expiry = tuple[int, float]  #: how many computations it caused, and how many seconds before it the first began


class Clock:
    """A clock that goes on only when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    @contextmanager
    def read(self) -> Iterator[None]:
        """Have cachedeco read this clock."""
        ours = [module for name, module in sys.modules.items() if name.startswith("cachedeco.")]
        with ExitStack() as stack:
            for module, clock in product(ours, (time.time, time.perf_counter)):
                if getattr(module, clock.__name__, None) is clock:
                    stack.enter_context(mock.patch.object(module, clock.__name__, self))
            yield

    def calls_until(self, end: Callable[[], float], call: Callable[[], object]) -> None:
        """Call at random moments until the end."""
        while (moment := self.now + random.expovariate(CALLS_PER_SECOND)) < end():
            self.now = moment
            call()
        self.now = end()


def run(expiries: int) -> None:
    """Simulate so many expiries, two at least, and print the table."""
    clock = Clock()
    title = f"Simulated, {CALLS_PER_SECOND:g} calls a second, {COMPUTATION_SECONDS:g} s a computation"
    title += ": computations for each expiry"
    heads = "beta,expiries,no lease,e^(1/beta),first begun before,expiries,as it is,first begun before"
    table = Table(title, heads.split(","))
    with clock.read(), override_settings(CACHES={"default": LOCMEM}):
        for beta in BETAS:
            number, counts, before = cells([without_lease(clock, beta) for _ in range(expiries)])
            as_ours = as_it_is(clock, beta, max(2, expiries // AS_IT_IS))
            table.add(f"{beta:g}", number, counts, f"{e ** (1 / beta):.2f}", before, *cells(as_ours))
    table.show()


def cells(expiries: list[Expiry]) -> list[str]:
    """Return how many there were, the mean of their computations and its standard error, and when they began."""
    counts = [count for count, _ in expiries]
    error = stdev(counts) / sqrt(len(counts))
    return [str(len(counts)), f"{mean(counts):.2f} ± {error:.2f}", f"{mean(before for _, before in expiries):.2f} s"]


def without_lease(clock: Clock, beta: float) -> Expiry:
    """Let everybody compute who decides to."""
    entry = Entry(None, clock.now + HORIZON * beta * COMPUTATION_SECONDS, COMPUTATION_SECONDS)
    begun: list[float] = []

    def call() -> None:
        if xfetch_time(entry, beta) >= entry.expires:
            begun.append(clock.now)

    clock.calls_until(lambda: begun[0] + COMPUTATION_SECONDS if begun else inf, call)
    return len(begun), entry.expires - begun[0]


def as_it_is(clock: Clock, beta: float, number: int) -> list[Expiry]:
    """Call a cached function through its expiries, one after the other."""
    begun: list[float] = []
    is_filled = False

    def compute() -> None:
        begun.append(clock.now)
        if is_filled:
            clock.calls_until(lambda: begun[0] + COMPUTATION_SECONDS, lambda: others.submit(value).result())
        else:
            clock.now += COMPUTATION_SECONDS

    @cached_query(name=f"early {beta:g}", timeout=TIMEOUT_SECONDS, early=beta, ignore=["compute"])
    def value() -> None:
        compute()

    expiries: list[Expiry] = []
    with ThreadPoolExecutor(1) as others:
        value()
        is_filled = True
        for _ in range(number):
            begun.clear()
            expires = clock.now + TIMEOUT_SECONDS
            clock.now = expires - HORIZON * beta * COMPUTATION_SECONDS
            clock.calls_until(lambda: clock.now if begun else inf, value)
            expiries.append((len(begun), expires - begun[0]))
    return expiries
