"""
What does a hit cost, in each of the ways that a project uses it, and does it keep to the marks that are set for it?

    make bench           # or: python benchmarks/bench_hit.py [--rounds 60] [--calls 60] [--results FILE]

CPU time of this thread (user and system), so that other work on the machine counts as little as can be. In each round
every contender makes the same number of calls, in random order, and a mark is the median of the quotients within the
rounds, with their quartiles. Servers run on this machine, on the processor of this process where the system can keep
them there (see `stay_on_one_processor()`), and their own CPU time is not counted. An entry has a value of 684 bytes,
and one namespace with a parent, so a hit reads five keys. The raw socket blocks, asks for one key, looks
for the end of the answer, and unpickles. Other libraries are used as their documentation shows it, and have no
namespaces: they read one key. lru_cache and TTLCache hand out the same object to all callers, all others a copy.

Then what a miss and an invalidation cost: how often they write to the server, each a trip, and the time of this thread.

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import thread_time
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import django
import results
import rivals
from django.conf import settings
from rivals import Blocks
from rounds import Contenders, measured, stay_on_one_processor
from servers import our_memcached, our_redis

BYTES: Final = 684  # of a pickled value
MANY_BYTES: Final = 10_000
IDS: Final = list(range(100))
OURS: Final = "our backend"
OUR_REDIS: Final = "our Redis backend"


class Mark(NamedTuple):
    """What is asked: one contender costs at most so much of another one."""

    measured: str
    over: str
    asked: float


LIKE_PLAIN: Final = (
    "a row, a date, a keyword",
    "five namespaces",
    "a name of 60 characters",
    "inside another computation",
    "a transaction waits elsewhere",
)
# The caches in which five calls are gathered, and what is asked of each.
GATHERED: Final = {"default": 0.65, "RedisCache": 0.65, "LocMemCache": 0.9}
MARKS: Final = (
    Mark(OURS, "PyMemcacheCache.get", 0.75),
    Mark(OURS, "raw socket", 2.0),
    Mark("PyMemcacheCache", "django-cache-memoize, PyMemcacheCache", 0.85),
    Mark("LocMemCache", "django-cache-memoize, LocMemCache", 0.85),
    Mark("RedisCache", "django-cache-memoize, RedisCache", 0.5),
    Mark(OUR_REDIS, "django-cache-memoize, RedisCache", 0.4),
    Mark(OUR_REDIS, "cacheops cached", 1.0),
    Mark(OUR_REDIS, "RedisCache", 1.1),
    Mark(f"{OUR_REDIS}.get", "RedisCache.get", 0.5),
    *(Mark(name, OURS, 1.5) for name in LIKE_PLAIN),
    Mark("10 kB", "raw socket, 10 kB", 1.4),
    Mark("100 ids", "PyMemcacheCache.get_many, 100", 0.75),
    Mark("method", OURS, 1.1),
    Mark("request memory", "pickle.loads", 2.5),
    *(Mark(f"gather of five, {alias}", f"five hits, {alias}", mark) for alias, mark in GATHERED.items()),
)
# Calls that do as much as a hundred others.
HEAVY: Final = {"100 ids": 30, "PyMemcacheCache.get_many, 100": 30} | {
    f"{name}, {alias}": 5 for name in ("five hits", "gather of five") for alias in GATHERED
}


def value_of(size: int) -> list[dict[str, object]]:
    """Return rows of a table that are pickled in so many bytes."""
    rows: list[dict[str, object]] = []
    while len(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)) < size - 80:
        rows.append({"id": len(rows), "name": f"Class {len(rows)}", "level": "beginners", "club": 7})
    rows.append({"note": ""})
    rows[-1]["note"] = "." * (size - len(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)))
    while len(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)) > size:
        rows[-1]["note"] = str(rows[-1]["note"])[1:]
    return rows


VALUE: Final = value_of(BYTES)
LARGE: Final = value_of(MANY_BYTES)


def raw_socket(location: str, key: str) -> Callable[[], object]:
    """Return a read of one key that sends, receives and unpickles."""
    host, _, port = location.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    command = f"get {key}\r\n".encode()

    def read() -> object:
        connection.sendall(command)
        data = connection.recv(65536)
        while not data.endswith(b"END\r\n"):
            data += connection.recv(65536)
        return pickle.loads(data[data.index(b"\r\n") + 2 :])  # noqa: S301 -- our own

    return read


def plain_get(cache: Any) -> Callable[[], object]:
    """Return a cache's own read of one key."""
    cache.set("name7", VALUE)
    return partial(cache.get, "name7")


@contextmanager
def transaction_elsewhere(invalidate: Callable[[], object]) -> Iterator[None]:
    """Keep a transaction of another thread open that has invalidated something."""
    from django.db import connection, transaction

    begun, over = Event(), Event()

    def wait() -> None:
        with transaction.atomic():
            invalidate()
            begun.set()
            over.wait()
        connection.close()

    thread = Thread(target=wait)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def fives(cached: Callable[..., Any]) -> Contenders:
    """Return five hits one after another, and gathered, on several caches."""
    from cachedeco import gather

    calls: Contenders = {}
    for alias in GATHERED:
        five = [cached(lambda club: VALUE, namespace="club:{club}", cache=alias) for _ in range(5)]  # noqa: ARG005 -- key
        calls[f"five hits, {alias}"] = lambda five=five: [each(7) for each in five]
        calls[f"gather of five, {alias}"] = lambda five=five: gather(*[each.call(7) for each in five])
        calls[f"gather of five, {alias}"]()  # what is gathered is stored from now on
    return calls


def hits(memcached: str, redis: str) -> tuple[Contenders, Blocks]:
    """Return what is measured, each a call that hits; and what some of them run in."""
    from django.contrib.auth.models import Group
    from django.core.cache import caches

    from cachedeco import cached_query, cached_query_many, remembered
    from cachedeco.tracking.collector import collect_dependencies

    calls: Contenders = {}

    def hit(name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function(*args, **kwargs) != function(*args, **kwargs):
            sys.exit(f"{name} gives another value when it hits.")
        calls[name] = lambda: function(*args, **kwargs)
        return function

    serial = count()

    def cached(function: Any, **options: Any) -> Any:
        return cached_query(**{"timeout": 600, "name": f"shop.views.page{next(serial)}", **options})(function)

    plain = hit(OURS, cached(lambda club: VALUE, namespace="club:{club}"), 7)  # noqa: ARG005 -- the key has it
    for alias in ("PyMemcacheCache", "LocMemCache", "RedisCache"):
        hit(alias, cached(lambda club: VALUE, namespace="club:{club}", cache=alias), 7)  # noqa: ARG005 -- as above
    hit(OUR_REDIS, cached(lambda club: VALUE, namespace="club:{club}", cache=OUR_REDIS), 7)  # noqa: ARG005 -- as above
    calls |= {f"{alias}.get": plain_get(caches[alias]) for alias in ("RedisCache", OUR_REDIS)}
    group = Group(pk=7, name="judo")
    group._state.adding = False
    several = cached(lambda club, day, *, page: VALUE, namespace="club:{club.pk}")  # noqa: ARG005 -- as above
    hit("a row, a date, a keyword", several, group, date(2026, 11, 28), page=3)
    spaces = [f"{name}:{{club}}" for name in ("club", "league", "town", "sport", "season")]
    hit("five namespaces", cached(lambda club: VALUE, namespace=spaces), 7)  # noqa: ARG005 -- as above
    named = cached(lambda club: VALUE, namespace="club:{club}", name="shop." + 55 * "n")  # noqa: ARG005 -- as above
    hit("a name of 60 characters", named, 7)
    hit("10 kB", cached(lambda club: LARGE, namespace="club:{club}"), 7)  # noqa: ARG005 -- as above

    class Club:
        @cached_query(timeout=600, name="shop.views.Club.page", namespace="club:{n}", ignore=("self",))
        def page(self, n: int) -> Any:  # noqa: ARG002 -- as above
            return VALUE

    club = Club()
    club.page(7)
    calls["method"] = lambda: club.page(7)

    blocks: Blocks = {
        "request memory": remembered,
        "inside another computation": partial(collect_dependencies, "default", collects=True, leads=False),
        "a transaction waits elsewhere": partial(transaction_elsewhere, partial(plain.invalidate, 8)),
    }
    for name in blocks:
        hit(name, plain, 7)

    @cached_query_many(over="ids", timeout=600, name="shop.views.pages", namespace="club:{each}")
    def pages(ids: list[int]) -> dict[int, Any]:
        return dict.fromkeys(ids, VALUE)

    hit("100 ids", pages, IDS)
    calls.update(fives(cached))
    calls["pickle.loads"] = partial(pickle.loads, pickle.dumps(VALUE, pickle.HIGHEST_PROTOCOL))

    stock = caches["PyMemcacheCache"]
    names = [f"name{each}" for each in IDS]
    stock.set_many({**dict.fromkeys(names, VALUE), "large": LARGE})
    calls["PyMemcacheCache.get"] = lambda: stock.get("name7")
    calls["PyMemcacheCache.get_many, 100"] = lambda: stock.get_many(names)
    calls["raw socket"] = raw_socket(memcached, stock.make_key("name7"))
    calls["raw socket, 10 kB"] = raw_socket(memcached, stock.make_key("large"))
    others, blocks_of_others = rivals.of_sync_code(VALUE, memcached, redis)
    for name, function in others.items():
        with blocks_of_others.get(name, nullcontext)():
            hit(name, function, 7)
    return calls, blocks | blocks_of_others


def writes(rounds: int) -> dict[str, tuple[list[int], list[float]]]:
    """Return the trips and the microseconds of misses and invalidations on our backend, by name, for each round."""
    from cachedeco import cached_query

    @cached_query(timeout=600, name="shop.views.written", namespace="club:{club}", cache="counted")
    def page(club: int) -> Any:  # noqa: ARG001 -- the key has it
        return VALUE

    @cached_query(timeout=600, name="shop.views.unshared", namespace="club:{club}", cache="counted", wait=0)
    def unshared(club: int) -> Any:  # noqa: ARG001 -- as above
        return VALUE

    steps: dict[str, Callable[[int], object]] = {
        "miss, a new call": page,
        "invalidate()": page.invalidate,
        "miss, after an invalidation": page,
        "invalidate_all()": lambda _: page.invalidate_all(),
        "miss, a new call, wait=0": unshared,
    }
    found: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in steps}
    for each in range(rounds + 1):
        for name, step in steps.items():
            sent, began = CountedSocket.sent, thread_time()
            step(each)
            found[name][1].append((thread_time() - began) * 1e6)
            found[name][0].append(CountedSocket.sent - sent)
    return {name: (trips[1:], times[1:]) for name, (trips, times) in found.items()}


class CountedSocket(socket.socket):
    """A socket that counts how often it was written to."""

    sent = 0

    def sendall(self, *args: Any) -> None:
        """Count, and send."""
        CountedSocket.sent += 1
        super().sendall(*args)


def show(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Print the two tables of hits, and return the marks."""
    print(f"\n{'microseconds of CPU a call':40}{'min':>9}{'median':>10}{'quartiles':>20}")
    for name, each in times.items():
        low, middle, high = results.spread(each)
        print(f"{name:40}{min(each):9.2f}{middle:10.2f}{f'{low:.2f} to {high:.2f}':>20}")
    results.show_heading()
    marks = []
    for mark in MARKS:
        pairs = None
        if times.keys() >= {mark.measured, mark.over}:
            pairs = [ours / theirs for ours, theirs in zip(times[mark.measured], times[mark.over], strict=True)]
        marks.append(results.judge(f"{mark.measured} / {mark.over}", mark.asked, pairs))
    return marks


def show_writes(found: dict[str, tuple[list[int], list[float]]]) -> None:
    """Print the table of misses and invalidations."""
    print(f"\n{'':40}{'trips':>9}{'median':>10}{'quartiles':>20}")
    for name, (trips, times) in found.items():
        low, middle, high = results.spread(times)
        print(f"{name:40}{median(trips):9.0f}{middle:10.2f}{f'{low:.2f} to {high:.2f}':>20}")


def main() -> None:
    """Measure on a memcached and a Redis of our own, and in this process."""
    from tests.support.servers import Memcached, Redis

    parser = results.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=60)
    options = parser.parse_args()
    found = results.conditions()
    print(f"{options.rounds} rounds of {options.calls} calls each")
    stay_on_one_processor()
    with Memcached() as memcached, Redis() as redis:
        django_backend = "django.core.cache.backends"
        counted = SimpleNamespace(**{**vars(socket), "socket": CountedSocket})
        backends = {
            "default": our_memcached(memcached.location),
            "counted": our_memcached(memcached.location, socket_module=counted),
            "PyMemcacheCache": {
                "BACKEND": f"{django_backend}.memcached.PyMemcacheCache",
                "LOCATION": memcached.location,
            },
            "LocMemCache": {"BACKEND": f"{django_backend}.locmem.LocMemCache"},
            "RedisCache": {"BACKEND": f"{django_backend}.redis.RedisCache", "LOCATION": redis.location},
            OUR_REDIS: our_redis(redis.location),
        }
        settings.configure(
            CACHES=backends,
            CACHEDECO={"ALIASES": [*backends], "DEPENDS_ON": []},
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cachedeco", *rivals.apps()],
            **rivals.settings_for(redis.location),
        )
        django.setup()
        calls, blocks = hits(memcached.location, redis.location)
        times = measured(calls, options.rounds, options.calls, HEAVY, blocks)
        marks = show(times)
        show_writes(writes(options.rounds))
        found |= {"rounds": options.rounds, "calls": options.calls, "marks": marks}
        found["microseconds"] = {name: results.spread(each) for name, each in times.items()}
        results.record(options.results, "hit", found)


if __name__ == "__main__":
    main()
