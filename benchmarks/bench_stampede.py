"""
How many computations does a herd cause, and how long do callers wait?

    make bench-stampede                         # or: python benchmarks/bench_stampede.py [--only herd] ...

The server runs on this machine. In each round of the section "herd" all callers of all processes call at the same
moment, and the computation sleeps. "cold": the key was never used before. "invalidated": the value was there, what it
stands for has changed, and `invalidate()` has returned, just before the callers are let go; who is served the old value
then is counted as stale. Computations are counted in shared memory, latencies from the call to its return. Contenders
take turns in random order, and each has a first round that is not counted. The peers have fewer rounds: 800 callers who
compute are dear, and those of dogpile.cache wait for seconds, as each takes the lock once. The other three sections are
told of in the modules of the package `stampeding`: "killed", "expiry", "early".

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from django.test.utils import override_settings
from stampeding import early, expiry, herd, killed
from stampeding.contenders import Backend, configure

from tests.support.servers import Memcached, Redis, Server

SECTIONS = ("herd", "killed", "expiry", "early")
# memcached refuses more than 1024, and here each caller has one for Django and one for dogpile.cache.
CONNECTIONS = 8192
PACKAGES = (
    "Django",
    "pymemcache",
    "redis",
    "dogpile.cache",
    "django-cache-memoize",
    "cache-results",
)


def main() -> None:
    """Measure what the command line asks for."""
    options = arguments()
    print(f"Python {platform.python_version()}, {', '.join(f'{each} {version_of(each)}' for each in PACKAGES)}")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores; load before: {load}")
    configure({})
    for name in options.backend if set(options.only) != {"early"} else ():
        with server(name) as running:
            backend = Backend(name, running.location)
            with override_settings(CACHES=backend.caches):
                measure(backend, options)
    if "early" in options.only:
        early.run(options.expiries)


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="of cachedeco, in each situation")
    parser.add_argument("--peer-rounds", type=int, default=5, help="of each of the others")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--threads", type=int, default=50, help="of each process")
    parser.add_argument("--backend", nargs="+", choices=("memcached", "redis"), default=["memcached", "redis"])
    parser.add_argument("--expiries", type=int, default=1000, help="that are simulated")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    return parser.parse_args()


def server(name: str) -> Server:
    """Return a server of our own, not started yet."""
    return Memcached("-c", str(CONNECTIONS)) if name == "memcached" else Redis()


def measure(backend: Backend, options: argparse.Namespace) -> None:
    """Measure what needs a server, on this one."""
    if "herd" in options.only:
        herd.run(backend, options.processes, options.threads, options.rounds, options.peer_rounds)
    if "killed" in options.only:
        killed.run(backend, options.threads)
    if "expiry" in options.only:
        expiry.run(backend)


def version_of(package: str) -> str:
    """Return its version, or that it is left out."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed, left out)"


if __name__ == "__main__":
    main()
