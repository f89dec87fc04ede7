"""
Does a hit cost more than it did at another commit?

    make bench-commits COMMIT=main      # or: python benchmarks/bench_commits.py COMMIT [--pairs 20] [--calls 4000]

Pairs of processes: one with this checkout, one with the other commit, in random order, so that what else the machine
does meets both alike. CPU time, user and system, of a hit with one namespace, on each kind of cache that both have; a
quotient for each pair, and the median and the quartiles of all. All processes, servers too, share one processor, where
the system can keep them there. Prints what was measured; it judges nothing, and is no part of the tests.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any

from rounds import stay_on_one_processor

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
VALUE = [{"id": n, "name": f"Class {n}", "level": "beginners"} for n in range(20)]


def measure(directory: str, cache: dict[str, Any], calls: int) -> float:
    """Return the microseconds of a hit, with the package of a directory."""
    sys.path.insert(0, directory)
    import django
    from django.conf import settings

    settings.configure(CACHES={"default": cache}, DATABASES={}, CACHEDECO={"DEPENDS_ON": []})
    django.setup()
    import cachedeco
    from cachedeco import cached_query

    if Path(directory) not in Path(cachedeco.__file__).parents:
        sys.exit(f"{cachedeco.__file__} is not in {directory}")

    @cached_query(timeout=600, name=f"bench.{os.getpid()}", namespace="club:{club}")
    def classes(club: int) -> list[dict[str, object]]:
        return [{**each, "club": club} for each in VALUE]

    for _ in range(calls // 10 + 2):
        classes(7)
    began = process_time()
    for _ in range(calls):
        classes(7)
    return (process_time() - began) / calls * 1e6


def compare(title: str, checkouts: dict[str, str], cache: dict[str, Any], pairs: int, calls: int) -> None:
    """Let the checkouts take turns, and print what each has spent."""
    spent: dict[str, list[float]] = {name: [] for name in checkouts}
    for _ in range(pairs):
        for name in random.sample(list(checkouts), len(checkouts)):
            command = [sys.executable, __file__, "--child", checkouts[name], json.dumps(cache), str(calls)]
            child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            spent[name].append(json.loads(child.stdout))
    before, now = spent.values()
    each = [one / other for one, other in zip(now, before, strict=True)]
    low, _, high = quantiles(each, n=4)
    costs = ", ".join(f"{name} {median(several):.1f} µs" for name, several in spent.items())
    print(f"{title:24}{costs}; now / then {median(each):.2f}, quartiles {low:.2f} to {high:.2f}")


def main() -> None:
    """Compare this checkout with a commit, in this process and on servers of our own."""
    from tests.support.servers import Memcached, Redis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--calls", type=int, default=4000)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {options.pairs} pairs of processes")
    stay_on_one_processor()
    with tempfile.TemporaryDirectory() as directory, Memcached() as memcached, Redis() as redis:
        archive = subprocess.run(  # noqa: S603
            ["git", "-C", str(ROOT), "archive", options.commit, "cachedeco", "pyproject.toml"],  # noqa: S607
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)  # noqa: S603, S607
        checkouts = {options.commit: directory, "now": str(ROOT)}
        django, ours = "django.core.cache.backends", "cachedeco.backends"
        caches = {
            "LocMemCache": (f"{django}.locmem.LocMemCache", ""),
            "PyMemcacheCache": (f"{django}.memcached.PyMemcacheCache", memcached.location),
            "RedisCache": (f"{django}.redis.RedisCache", redis.location),
            "our backend": (f"{ours}.memcached.MemcachedCache", memcached.location),
            "our Redis backend": (f"{ours}.redis.RedisCache", redis.location),
        }
        for title, (backend, location) in caches.items():
            module = Path(directory, *backend.split(".")[:-1]).with_suffix(".py")
            if backend.startswith(ours) and not module.exists():
                print(f"{title:24}{options.commit} has none")
                continue
            cache = {"BACKEND": backend, "LOCATION": location}
            compare(title, checkouts, cache, options.pairs, options.calls)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
