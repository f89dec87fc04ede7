"""
Explore every scenario, and say how many schedules each has; then print the table of the documentation.

    python -m tests.schedules
    python -m tests.schedules --random 100000
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import starmap
from time import perf_counter

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.schedules.explorer import Explored, explore, throw  # noqa: E402 -- decorated functions want Django
from tests.schedules.scenarios import KINDS, LARGE  # noqa: E402 -- as above

with suppress(ModuleNotFoundError):  # the auditor can be left out
    from tests.auditing.schedules import AUDITS

    KINDS["audits"] = AUDITS


def explored(seeds: int, first: int) -> Iterator[tuple[str, Explored]]:
    """Explore one scenario after the other, and give each with its kind."""
    for kind, scenarios in {"large ones": LARGE}.items() if seeds else KINDS.items():
        for scenario in scenarios:
            yield kind, throw(scenario, range(first, first + seeds)) if seeds else explore(scenario)


def row(kind: str, found: list[Explored]) -> str:
    """Return a row of the table in docs/explanation/measurements.md."""
    schedules, runs = sum(each.schedules for each in found), sum(each.runs for each in found)
    return f"| {kind} | {len(found)} | {schedules:,} | {runs:,} |"


def main() -> int:
    """Print a line for each scenario, and what was found; return how many were broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--random", type=int, default=0, metavar="N", help="throw so many of each large scenario")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="begin with this seed")
    options = parser.parse_args()
    began = perf_counter()
    found: dict[str, list[Explored]] = {}
    for kind, each in explored(options.random, options.seed):
        found.setdefault(kind, []).append(each)
        now = perf_counter()
        print(f"{each.schedules:>12,} schedules {each.runs:>7,} runs {now - began:>6.1f} s  {each.scenario}")  # noqa: T201
        if each.violation:
            print(each.violation)  # noqa: T201 -- what it is run for
        began = now
    every = [each for kind in found.values() for each in kind]
    print("", *starmap(row, [*found.items(), ("all", every)]), sep="\n")  # noqa: T201 -- for the documentation
    return sum(bool(each.violation) for each in every)


if __name__ == "__main__":
    sys.exit(main())
