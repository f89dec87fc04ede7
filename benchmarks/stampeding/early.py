"""How many computations does an expiry cause where callers refresh early, at random?"""

import random
from collections.abc import Callable
from math import e, log, sqrt
from statistics import mean, stdev

from stampeding.tables import Table

COMPUTATION = 0.2  # seconds
RATE = 1000.0  # calls a second
BETAS = (1.0, 1.5, 2.0)
EXPIRIES = 1000
# So many times beta and a computation before the expiry, one call in e^15 is early: three in a million expiries.
HORIZON = 15

Decision = Callable[[float, float, float, float], bool]  #: now, expiry, seconds it took, beta


# BEFORE THE MERGE: to be replaced by cachedeco's own decision.
def is_early(now: float, expires: float, seconds: float, beta: float) -> bool:
    """Tell whether this call is to refresh before the expiry."""
    return now - seconds * beta * log(1.0 - random.random()) >= expires  # noqa: S311 -- no secret


def run() -> None:
    """Simulate, and print the table."""
    title = (
        f"Simulated, {RATE:g} calls a second, {COMPUTATION:g} s a computation, {EXPIRIES} expiries each: computations"
    )
    table = Table(
        f"{title} an expiry", ("beta", "no lease", "sd", "e^(1/beta)", "with a lease", "seconds before expiry")
    )
    for beta in BETAS:
        alone = [one_expiry(beta, lease=False) for _ in range(EXPIRIES)]
        leased = [one_expiry(beta, lease=True) for _ in range(EXPIRIES)]
        counts = [count for count, _ in alone]
        middle = f"{mean(counts):.2f} ± {stdev(counts) / sqrt(EXPIRIES):.2f}"
        ahead = mean(seconds for _, seconds in alone)
        table.add(
            f"{beta:g}",
            middle,
            f"{stdev(counts):.2f}",
            f"{e ** (1 / beta):.2f}",
            f"{mean(count for count, _ in leased):.2f}",
            f"{ahead:.2f}",
        )
    table.show()


def one_expiry(beta: float, *, lease: bool) -> tuple[int, float]:
    """Return how many computations one expiry causes, and how long before it the first one began."""
    now = -HORIZON * beta * COMPUTATION  # the expiry is at 0
    begun: list[float] = []
    while not begun or now < begun[0] + COMPUTATION:  # when the first ends, the entry is fresh
        taken = lease and begun
        if not taken and (now >= 0 or is_early(now, 0.0, COMPUTATION, beta)):
            begun.append(now)
        now += random.expovariate(RATE)
    return len(begun), -begun[0]
