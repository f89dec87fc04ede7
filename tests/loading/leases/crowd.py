"""
Processes of several threads each that call one cached function at the same time: for the tests of leases.

As a program it takes commands line by line ("call 3", "invalidate 3", "go", "later") and tells line by line what
happens in it. A computation tells that it has begun, and ends after "go". After "later" most of the time is over for
which callers wait.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from queue import Queue
from threading import Event, Thread
from time import monotonic
from typing import Any, Self

import django
from django.conf import settings

from cachedeco import cached_query
from cachedeco.loading import leases, single_flight
from cachedeco.runtime.hooks import add_hook
from tests.support import ROOT
from tests.support.threads import PATIENCE_SECONDS

PROCESSES = 4
THREADS = 8


class Member:
    """One process of a crowd, as seen by the test."""

    def __init__(self, process: subprocess.Popen[str], told: "Queue[tuple[Member, str]]") -> None:
        """Listen to what the process tells."""
        self.process = process
        self._told = told
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._told.put((self, line.strip()))

    def order(self, command: str) -> None:
        """Send a command."""
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()


class Crowd:
    """The processes, and all that they tell."""

    def __init__(self, members: list[Member], told: "Queue[tuple[Member, str]]") -> None:
        """Wait until all are there."""
        self.members = members
        self._told = told
        self.expect(**dict.fromkeys(["ready"], len(members)))

    @classmethod
    @contextmanager
    def of(cls, caches: dict[str, Any]) -> Iterator[Self]:
        """Start processes that use these CACHES, and end them with the block."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "CROWD_CACHES": json.dumps(caches),
        }
        with ExitStack() as stack:
            told: Queue[tuple[Member, str]] = Queue()
            members = [Member(stack.enter_context(_started(environment)), told) for _ in range(PROCESSES)]
            yield cls(members, told)

    def order(self, command: str) -> None:
        """Send a command to all."""
        for member in self.members:
            member.order(command)

    def expect(self, **counts: int) -> dict[str, list[tuple[Member, str]]]:
        """Wait until so many lines of each kind have come, and return them; any other kind is a failure."""
        lines: dict[str, list[tuple[Member, str]]] = {kind: [] for kind in counts}
        while any(len(lines[kind]) < count for kind, count in counts.items()):
            member, line = self._told.get(timeout=PATIENCE_SECONDS)
            kind, _, rest = line.partition(" ")
            assert kind in lines, line
            lines[kind].append((member, rest))
        return lines


@contextmanager
def _started(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# --- the program ---


def main() -> None:
    """Do as told, until the test has gone."""
    settings.CACHES = json.loads(os.environ["CROWD_CACHES"])
    django.setup()
    go, passed = Event(), [0.0]
    leases.monotonic = single_flight.monotonic = lambda: monotonic() + sum(passed)
    leases.SHORTEST_LEASE = leases.USUAL_LEASE = leases.LONGEST_LEASE = PATIENCE_SECONDS

    def compute() -> str:
        tell(f"computing {os.getpid()}")
        assert go.wait(PATIENCE_SECONDS)
        return os.urandom(8).hex()

    cached = cached_query(name="crowd.function", wait=PATIENCE_SECONDS, ignore=("compute",))
    function = cached(lambda number: compute())  # noqa: ARG005 -- only the key tells it
    add_hook(lambda event: event.kind == "miss" and tell("missed"))
    tell("ready")
    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin:
            command, _, number = line.strip().partition(" ")
            match command:
                case "call":
                    go.clear()
                    for _ in range(THREADS):
                        pool.submit(call, function, int(number))
                case "invalidate":
                    function.invalidate(int(number))
                    tell("invalidated")
                case "later":
                    passed.append((leases.TAKEOVER_FRACTION + 0.1) * PATIENCE_SECONDS)
                case "go":
                    go.set()


def call(function: Callable[[int], str], number: int) -> None:
    """Call, and tell what came of it."""
    try:
        tell(f"returned {function(number)}")
    except Exception as error:  # noqa: BLE001 -- the test is told
        tell(f"raised {error!r}")


def tell(line: str) -> None:
    """Tell the test, in one write that no other thread comes between."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
