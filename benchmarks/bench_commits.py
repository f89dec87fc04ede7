"""
Does a hit cost more than it did at another commit?

    python benchmarks/bench_commits.py COMMIT [--pairs 20] [--calls 4000]

The two commits take turns, each in a process of its own, so that what else the machine does meets both alike. CPU time,
user and system, per hit over the bare `get_many` of the same keys in the same process; the median and the quartiles of
all processes. Prints what was measured; it judges nothing, and is no part of the tests.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
VALUE = [{"id": n, "name": f"Class {n}", "level": "beginners"} for n in range(20)]


def measure(directory: str, cache: dict[str, Any], calls: int) -> dict[str, float]:
    """Return the microseconds of a hit and of the bare command, with the package of a directory."""
    sys.path.insert(0, directory)
    import django
    from django.conf import settings
    from django.core.cache import caches

    settings.configure(CACHES={"default": cache}, DATABASES={})
    django.setup()
    import cachedeco
    from cachedeco import cached_query

    if Path(directory) not in Path(cachedeco.__file__).parents:
        sys.exit(f"{cachedeco.__file__} is not in {directory}")

    @cached_query(timeout=600, name=f"bench.{os.getpid()}")
    def classes(club: int) -> list[dict[str, object]]:
        return [{**each, "club": club} for each in VALUE]

    classes(7)
    keys = classes._spec.resolve_call((7,), {})[1]  # noqa: SLF001 -- the very keys of a hit
    caches["default"].set_many(caches["default"].get_many(keys) | {keys[0]: classes(7)}, 600, version=2)
    contenders = {"hit": lambda: classes(7), "bare": lambda: caches["default"].get_many(keys, version=2)}
    spent = dict.fromkeys(contenders, 0.0)
    for _ in range(20):
        for name, call in contenders.items():
            began = process_time()
            for _ in range(calls // 20):
                call()
            spent[name] += process_time() - began
    return {name: seconds / calls * 1e6 for name, seconds in spent.items()}


def compare(title: str, checkouts: dict[str, str], cache: dict[str, Any], pairs: int, calls: int) -> None:
    """Let the checkouts take turns, and print what each has spent."""
    over: dict[str, list[float]] = {name: [] for name in checkouts}
    bare: list[float] = []
    for _ in range(pairs):
        for name, directory in checkouts.items():
            command = [sys.executable, __file__, "--child", directory, json.dumps(cache), str(calls)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
            over[name].append(found["hit"] - found["bare"])
            bare.append(found["bare"])
    print(f"\n{title}: bare get_many {median(bare):.1f} µs; over it:")
    for name, each in over.items():
        low, _, high = quantiles(each, n=4)
        print(f"  {name:12}{median(each):+8.2f} µs   quartiles {low:+.2f} to {high:+.2f}")


def main() -> None:
    """Compare this checkout with a commit, on locmem and on a memcached of our own."""
    from tests.support.servers import Memcached

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--calls", type=int, default=4000)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {options.pairs} processes of each commit")
    with tempfile.TemporaryDirectory() as directory, Memcached() as server:
        archive = subprocess.run(  # noqa: S603
            ["git", "-C", str(ROOT), "archive", options.commit, "cachedeco", "pyproject.toml"],  # noqa: S607
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)  # noqa: S603, S607
        checkouts = {options.commit: directory, "now": str(ROOT)}
        locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
        memcached = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": server.location}
        compare("locmem", checkouts, locmem, options.pairs, options.calls)
        compare("memcached", checkouts, memcached, options.pairs, options.calls // 4)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
