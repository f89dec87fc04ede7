"""
Do the hits of the example site take the quick readers, on our memcached backend, while a second process writes?

    python benchmarks/bench_site.py [--seconds 20] [--pause 0.5] [--clients 2]

The site's pages are asked for in this process, each as often as the others, by sync and async clients in random order,
while `manage.py worker` moves a class of the first club in a process of its own. Every hit of these pages is counted,
and how it was found: by a quick reader or by the `get_many()` of the cache; by the first read of its look-up or by more
than one; on an event loop or in a thread, where the hits of the one async page are found, too, since the site counts
events by a hook, which may ask a database. Prints the counts by page and the shares, and ends with 1 where a share is
too small. Times are not measured, so that it does not matter how busy the machine is.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
SITE: Final = ROOT / "examples" / "clubsite"
sys.path[:0] = [str(ROOT), str(SITE)]

PAGES: Final = {
    "/": ["/"],
    "/cities/...": ["/cities/Ashford/", "/cities/Birkdale/"],
    "/clubs/...": [f"/clubs/{pk}/" for pk in range(1, 9)],
    "/timetable/...": ["/timetable/monday/", "/timetable/friday/?city=Ashford"],
    "/closures/": ["/closures/"],
    "/ranking/": ["/ranking/"],
    "/worker/": ["/worker/"],
}
QUICK, FIRST, ON_LOOP = "quick reader", "first read", "on the loop"
# The share of the hits that each kind of hit must have.
LEAST: Final = 0.95


class Request:
    """One request: its page, and what its present look-up has read."""

    def __init__(self, page: str) -> None:
        """Begin with nothing read."""
        self.page = page
        self._reads: list[bool] = []  # for each, whether its reader was a quick one
        self._is_over = False

    def read(self, *, is_quick: bool) -> None:
        """Note one read: the first of a look-up, if there was an event since the last one."""
        if self._is_over:
            self._reads.clear()
        self._is_over = False
        self._reads.append(is_quick)

    def tell(self, kind: str) -> None:
        """Count an event, and for a hit how it was found: those of one look-up share its reads."""
        self._is_over = True
        counts[self.page, kind] += 1
        if kind == "hit":
            counts[self.page, QUICK] += bool(self._reads) and all(self._reads)
            counts[self.page, FIRST] += len(self._reads) == 1
            counts[self.page, ON_LOOP] += is_on_loop()


request: Final[ContextVar[Request | None]] = ContextVar("request", default=None)
counts: Final[Counter[tuple[str, str]]] = Counter()


def observe(connection: Any) -> None:
    """Note each read of a connection, in the request that it is for."""
    is_quick = not connection.read.__qualname__.startswith("general_reader.")
    read, aread = connection.read, connection.aread

    def note() -> None:
        asking = request.get()
        if asking is not None:
            asking.read(is_quick=is_quick)

    def noting(keys: Sequence[str]) -> Any:
        note()
        return read(keys)

    async def anoting(keys: Sequence[str]) -> Any:
        note()
        return await aread(keys)

    connection.read = noting
    connection.aread = None if aread is None else anoting


def listen(event: Any) -> None:
    """Count an event in the request that has caused it."""
    asking = request.get()
    if asking is not None:
        asking.tell(event.kind)


def is_on_loop() -> bool:
    """Tell whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def prepared_site(memcached: str, pause: float) -> Iterator[None]:
    """Set the site up in this process, on a database of its own, and let the worker write in another one."""
    with TemporaryDirectory(prefix="clubsite-") as directory:
        os.environ |= {
            "CACHE_URL": f"memcached://{memcached}",
            "CLUBSITE_CACHE_MODE": "on",
            "CLUBSITE_DB": str(Path(directory, "db.sqlite3")),
            "CLUBSITE_DEBUG": "0",
            "DJANGO_SETTINGS_MODULE": "clubsite.settings",
            "PYTHONPATH": str(ROOT),
        }
        manage = [sys.executable, str(SITE / "manage.py")]
        subprocess.run([*manage, "prepare"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 -- the project's own
        worker = subprocess.Popen(  # noqa: S603 -- as above
            [*manage, "worker", "--pause", str(pause)], stdout=subprocess.DEVNULL
        )
        try:
            yield
            if worker.poll() is not None:
                sys.exit("The worker has ended, and nothing was written.")
        finally:
            worker.terminate()
            worker.wait()


def visit(number: int, until: float) -> None:
    """Ask for pages until a moment, by sync and by async clients in turn."""
    from asgiref.sync import async_to_sync
    from django.test import AsyncClient, Client

    chance, sync, awaited = random.Random(number), Client(), AsyncClient()
    while monotonic() < until:
        page = chance.choice(list(PAGES))
        path = chance.choice(PAGES[page])
        request.set(Request(page))
        response = chance.choice([sync.get, async_to_sync(awaited.get)])(path)
        if response.status_code != 200:  # noqa: PLR2004 -- that of HTTP
            sys.exit(f"{path} was answered by {response.status_code}.")


def total(kind: str) -> int:
    """Return what was counted of a kind on all pages."""
    return sum(counts[page, kind] for page in PAGES)


def show() -> bool:
    """Print the counts and the shares; return whether these are large enough."""
    heads = ("hit", "miss", QUICK, FIRST, ON_LOOP)
    print(f"\n{'page':20}{''.join(f'{head:>14}' for head in heads)}")
    for page in PAGES:
        print(f"{page:20}{''.join(f'{counts[page, head]:14}' for head in heads)}")
    print(f"{'all':20}{''.join(f'{total(head):14}' for head in heads)}")
    print(f"\n{'share of the hits':20}{'at least':>14}{'measured':>14}")
    shares = {kind: total(kind) / total("hit") for kind in (QUICK, FIRST)}
    for kind, share in shares.items():
        print(f"{kind:20}{LEAST:14.2f}{share:14.4f}{'' if share >= LEAST else '   not kept'}")
    return min(shares.values()) >= LEAST


def main() -> None:
    """Visit the site on a memcached of our own."""
    from tests.support.servers import Memcached

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--pause", type=float, default=0.5, help="of the worker, between two writes")
    parser.add_argument("--clients", type=int, default=2)
    options = parser.parse_args()
    with Memcached() as memcached, prepared_site(memcached.location, options.pause):
        import django
        from django.conf import settings

        django.setup()
        settings.ALLOWED_HOSTS = ["testserver"]
        from cachedeco.runtime.hooks import add_hook, runs_anywhere
        from cachedeco.storage import connections

        connections.observe_with(observe)
        add_hook(runs_anywhere(listen))
        print(f"{options.clients} clients for {options.seconds:g} seconds, a write each {options.pause:g} seconds")
        with ThreadPoolExecutor(options.clients) as clients:
            visits = [clients.submit(visit, n, monotonic() + options.seconds) for n in range(options.clients)]
        for each in visits:
            each.result()
        sys.exit(0 if show() else 1)


if __name__ == "__main__":
    main()
