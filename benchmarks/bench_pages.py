"""
What does a page with five cached helpers cost its worker, under gunicorn and under uvicorn?

    make bench                # or: python benchmarks/bench_pages.py [--rounds 20] [--requests 300] [--results FILE]

A site for each way to cache, all up at once, each with one worker. In each round each has its turn, in random order:
four clients send it so many requests. CPU time of the worker, user and system, threads and all, as it says itself; that
of the clients and of the servers is not counted. The helpers return values of 684 bytes, all of them hits; there is no
middleware and no template, so that the helpers are as much of the page as they can be. A mark is the median of the
quotients within the rounds.

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import results

CLIENTS: Final = 4
MEMOIZE: Final = "django-cache-memoize, PyMemcacheCache"


class Site(NamedTuple):
    """A server, what it serves, and how that is cached."""

    server: str
    way: str

    @property
    def name(self) -> str:
        """What its line is called."""
        return f"{self.server}: {self.way}"

    @property
    def path(self) -> str:
        """The page that is asked for."""
        return "/page" if self.server == "gunicorn" else "/apage"

    def command(self, port: int) -> list[str]:
        """Return what serves it."""
        bound = ["--bind", f"127.0.0.1:{port}", "--log-level", "error", "page_site:wsgi"]
        hosted = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "page_site:asgi"]
        return [sys.executable, "-m", self.server, *(bound if self.server == "gunicorn" else hosted)]


SITES: Final = [
    Site("gunicorn", MEMOIZE),
    Site("gunicorn", "our backend"),
    Site("gunicorn", "our backend, gather"),
    Site("uvicorn", "RedisCache"),
    Site("uvicorn", "our Redis backend"),
]
# What is asked: the CPU of one site is at most so many times that of another one.
MARKS: Final = (
    (SITES[1], SITES[0], 0.8),
    (SITES[2], SITES[0], 0.7),
    (SITES[4], SITES[3], 0.4),
)


def answer(port: int, path: str) -> str:
    """Return what a site answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    if response.status != 200:  # noqa: PLR2004 -- that of HTTP
        sys.exit(f"{path} was answered by {response.status}: {text[:200]}")
    return text


@contextmanager
def served(site: Site, memcached: str, redis: str) -> Iterator[int]:
    """Serve a site, and give its port."""
    from tests.support.servers import free_port

    port = free_port()
    places = {"PAGE_WAY": site.way, "PAGE_MEMCACHED": memcached, "PAGE_REDIS": redis}
    here = Path(__file__).parent
    paths = {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    process = subprocess.Popen(site.command(port), cwd=here, env={**os.environ, **places, **paths})  # noqa: S603
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Return when a site answers."""
    until = monotonic() + 30
    while True:
        try:
            answer(port, "/spent")
        except OSError:
            if monotonic() > until:
                raise
            sleep(0.1)
        else:
            return


def measure(site: Site, port: int, requests: int) -> float:
    """Return microseconds of CPU a request."""

    def several(_: int) -> None:
        for _ in range(requests // CLIENTS):
            answer(port, site.path)

    before = float(answer(port, "/spent"))
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(several, range(CLIENTS)))
    return (float(answer(port, "/spent")) - before) / (requests // CLIENTS * CLIENTS) * 1e6


def measured(ports: dict[Site, int], rounds: int, requests: int) -> dict[Site, list[float]]:
    """Return the microseconds for each round; the first one warms up and is thrown away."""
    found: dict[Site, list[float]] = {site: [] for site in ports}
    for _ in range(rounds + 1):
        for site in random.sample(list(ports), len(ports)):
            found[site].append(measure(site, ports[site], requests))
    return {site: each[1:] for site, each in found.items()}


def main() -> None:
    """Measure with servers of our own."""
    from tests.support.servers import Memcached, Redis

    parser = results.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    conditions = results.conditions()
    print(f"{options.rounds} rounds of {options.requests} requests each")
    with ExitStack() as running:
        memcached, redis = running.enter_context(Memcached()), running.enter_context(Redis())
        ports = {
            site: running.enter_context(served(site, memcached.location, redis.location))
            for site in SITES
            if find_spec(site.server) and (site.way != MEMOIZE or find_spec("cache_memoize"))
        }
        found = measured(ports, options.rounds, options.requests)
    print(f"\n{'microseconds of CPU a request':52}{'median':>9}{'quartiles':>20}")
    spreads = {site.name: results.spread(each) for site, each in found.items()}
    for name, (low, middle, high) in spreads.items():
        print(f"{name:52}{middle:9.0f}{f'{low:.0f} to {high:.0f}':>20}")
    results.show_heading()
    marks = []
    for ours, theirs, asked in MARKS:
        pairs = None
        if found.keys() >= {ours, theirs}:
            pairs = [one / other for one, other in zip(found[ours], found[theirs], strict=True)]
        marks.append(results.judge(f"{ours.name} / {theirs.way}", asked, pairs))
    record = {**conditions, "rounds": options.rounds, "requests": options.requests}
    results.record(options.results, "pages", {**record, "marks": marks, "microseconds": spreads})


if __name__ == "__main__":
    main()
