"""
What does a hit cost over the bare `get_many` of the same keys?

    make bench                                  # or: python benchmarks/bench_hit.py [--rounds 40] [--calls 500]

CPU time of this process (user and system), so that other work on the machine counts as little as can be. In each round
every contender makes the same number of calls, in random order; "over bare" is the median of the differences within
the rounds. On memcached the server runs on this machine, and its own CPU time is not counted. Prints what was measured,
on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import django
from django.conf import settings
from django.test.utils import override_settings
from rounds import Contenders, measured

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}}
VALUE = [{"id": n, "name": f"Class {n}", "level": "beginners"} for n in range(20)]


def contenders(region_settings: dict[str, Any]) -> Contenders:
    """Return what is compared, each a call that hits; the names in brackets say what each is set against."""
    from cache_memoize import cache_memoize  # type: ignore[import-untyped] # ships no types
    from django.core.cache import caches
    from dogpile.cache import make_region

    from cachedeco import cached_query

    def classes(club: int) -> list[dict[str, object]]:
        return [{**each, "club": club} for each in VALUE]

    plain = cached_query(timeout=600, name="plain")(classes)
    spaced = cached_query(timeout=600, name="spaced", namespace="club:{club}")(classes)
    memoized = cache_memoize(600)(classes)
    region = make_region().configure(expiration_time=600, **region_settings)
    dogpiled = region.cache_on_arguments()(classes)
    calls: Contenders = {}
    for label, function in (("3 keys", plain), ("5 keys", spaced)):
        function(7)
        keys = function._spec.resolve_call((7,), {})[1]  # noqa: SLF001 -- the very keys of a hit

        # The same keys with the value itself under the first, in another version: it is unpickled in both.
        stored = caches["default"].get_many(keys) | {keys[0]: function(7)}
        caches["default"].set_many(stored, 600, version=2)

        def bare(keys: list[str] = keys) -> object:
            return caches["default"].get_many(keys, version=2)

        calls[f"get_many, {label}"] = bare
        calls[f"cachedeco, {label}"] = lambda function=function: function(7)
    calls["cache.get, 1 key"] = lambda: caches["default"].get(keys[0])
    calls["django-cache-memoize"] = lambda: memoized(7)
    calls["dogpile.cache"] = lambda: dogpiled(7)
    return calls


def show(title: str, times: dict[str, list[float]]) -> None:
    """Print one table."""
    print(f"\n{title}\n{'':24}{'median':>9}{'quartiles':>18}{'over bare':>12}{'':>9}")
    for name, each in times.items():
        low, _, high = quantiles(each, n=4)
        line = f"{name:24}{median(each):8.1f}µ{f'{low:.1f} to {high:.1f}':>18}"
        base = times.get(name.replace("cachedeco", "get_many"))
        if base and base is not each:
            over = median(ours - theirs for ours, theirs in zip(each, base, strict=True))
            line += f"{over:+11.1f}µ{over / median(base):+8.0%}"
        print(line)


def main() -> None:
    """Measure on locmem, then on a memcached of our own."""
    from tests.support.servers import Memcached

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args()
    settings.configure(CACHES={"default": LOCMEM}, DATABASES={})
    django.setup()
    packages = ("Django", "pymemcache", "django-cache-memoize", "dogpile.cache")
    print(f"Python {platform.python_version()}, {', '.join(f'{each} {version(each)}' for each in packages)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.rounds} rounds of {options.calls} calls each")
    memory = measured(contenders({"backend": "dogpile.cache.memory_pickle"}), options.rounds, options.calls)
    show("locmem (dogpile.cache: its own memory backend, pickling)", memory)
    server = Memcached()
    server.start()
    try:
        address = f"127.0.0.1:{server.port}"
        backend = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": address}
        region = {"backend": "dogpile.cache.pymemcache", "arguments": {"url": [address]}}
        with override_settings(CACHES={"default": backend}):
            show("memcached", measured(contenders(region), options.rounds, options.calls))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
