"""
Explore every scenario, and say how many schedules each has.

    python -m tests.schedules
    python -m tests.schedules --random 100000
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.schedules.explorer import Explored, explore, throw  # noqa: E402 -- decorated functions want Django
from tests.schedules.scenarios import LARGE, SMALL  # noqa: E402 -- as above

with suppress(ModuleNotFoundError):  # the auditor can be left out
    from tests.auditing.schedules import AUDITS

    SMALL += AUDITS


def explored(seeds: int, first: int) -> Iterator[Explored]:
    """Explore one scenario after the other."""
    for scenario in LARGE if seeds else SMALL:
        yield throw(scenario, range(first, first + seeds)) if seeds else explore(scenario)


def main() -> int:
    """Print a line for each scenario, and what was found; return how many were broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--random", type=int, default=0, metavar="N", help="throw so many of each large scenario")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="begin with this seed")
    options = parser.parse_args()
    broken, began = 0, perf_counter()
    for each in explored(options.random, options.seed):
        now = perf_counter()
        print(f"{each.schedules:>12,} schedules {each.runs:>7,} runs {now - began:>6.1f} s  {each.scenario}")  # noqa: T201
        if each.violation:
            print(each.violation)  # noqa: T201 -- what it is run for
            broken += 1
        began = now
    return broken


if __name__ == "__main__":
    sys.exit(main())
