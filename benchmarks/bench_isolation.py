"""
What does isolation add to a test in the runner?

    python benchmarks/bench_isolation.py [--rounds 40] [--tests 500]

CPU time of this thread (user and system). In each round both contenders run the same number of tests that do nothing
(`startTest` and `stopTest` of the result, which is where a runner meets isolation), and then make the same number of
cache keys, in random order; "added" is the median of the differences within the rounds. Prints what was measured, on
what, and with which spread; it judges nothing, and is no part of the tests.
"""

import argparse
import io
import os
import platform
import random
import sys
import unittest
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from time import process_time

sys.path.insert(0, str(Path(__file__).parent.parent))

from django.conf import settings
from django.core.cache import cache

Contenders = dict[str, Callable[[], object]]
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "KEY_PREFIX": "site"}
GOAL = 50  # microseconds a test


class Nothing(unittest.TestCase):
    """A test case to name."""

    def test_nothing(self) -> None:
        """Do nothing."""


def a_test(results: type[unittest.TextTestResult]) -> Callable[[], object]:
    """Return what a runner with results of this class does around one test."""
    stream = unittest.runner._WritelnDecorator(io.StringIO())  # noqa: SLF001 -- what unittest gives its results
    result = results(stream, descriptions=False, verbosity=0)
    test = Nothing("test_nothing")

    def around() -> None:
        result.startTest(test)
        result.stopTest(test)

    return around


def a_key() -> object:
    """Make one key."""
    return cache.make_key("club_page_classes")


def measured(rounds: int, repeats: int) -> dict[str, list[float]]:
    """Return microseconds a call, for each round; the first round warms up and is thrown away."""
    from cachedeco.testing import isolated
    from cachedeco.testing.runner import with_fresh_scopes

    plain = {"test": a_test(unittest.TextTestResult), "key": a_key}
    ours = {"test": a_test(with_fresh_scopes(unittest.TextTestResult)), "key": a_key}
    times: dict[str, list[float]] = {f"{name}, {where}": [] for name in plain for where in ("plain", "isolated")}
    for _ in range(rounds + 1):
        for label in random.sample(list(times), len(times)):
            name, where = label.split(", ")
            call = (ours if where == "isolated" else plain)[name]
            with isolated() if where == "isolated" else nullcontext():
                began = process_time()
                for _ in range(repeats):
                    call()
                times[label].append((process_time() - began) / repeats * 1e6)
    return {label: each[1:] for label, each in times.items()}


def show(times: dict[str, list[float]]) -> None:
    """Print the table, and the figure that the goal is about."""
    print(f"\n{'':24}{'median':>9}{'quartiles':>18}{'added':>10}")
    for label, each in times.items():
        low, _, high = quantiles(each, n=4)
        line = f"{label:24}{median(each):8.2f}µ{f'{low:.2f} to {high:.2f}':>18}"
        if label.endswith("isolated"):
            line += f"{added(times, label.split(',')[0]):+9.2f}µ"
        print(line)
    print(f"\nIsolation adds {added(times, 'test'):.1f} microseconds to a test; the goal is at most {GOAL}.")


def added(times: dict[str, list[float]], name: str) -> float:
    """Return the median of the differences within the rounds."""
    pairs = zip(times[f"{name}, isolated"], times[f"{name}, plain"], strict=True)
    return median(ours - theirs for ours, theirs in pairs)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tests", type=int, default=500)
    options = parser.parse_args()
    settings.configure(CACHES={"default": LOCMEM}, DATABASES={})
    print(f"Python {platform.python_version()}, Django {version('Django')}")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.rounds} rounds of {options.tests} tests, and keys")
    show(measured(options.rounds, options.tests))


if __name__ == "__main__":
    main()
