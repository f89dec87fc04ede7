"""Counts of what work costs: no timing, so that a busy machine changes nothing."""

import sys
from collections.abc import Callable

FEW, MANY = 20, 200


def calls_of(work: Callable[[], object]) -> int:
    """Count the calls of functions, of Python and C, that some work makes in this thread."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def fewest_calls_of(work: Callable[[], object]) -> int:
    """Count the calls of work that is done several times, where it makes the fewest: no garbage is collected then."""
    return min(calls_of(work) for _ in range(5))


def growth(work: Callable[[int], object]) -> float:
    """Return how many times the calls of one more round are those of one of the first."""
    work(1)
    first, few, many = (calls_of(lambda n=n: work(n)) for n in (1, FEW, MANY))  # type: ignore[misc] # n is an int
    return ((many - few) / (MANY - FEW)) / ((few - first) / (FEW - 1))
