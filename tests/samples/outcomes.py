"""
How do the sample project's tests come out: runner x server x mode?

    python -m tests.samples.outcomes

Each run is a process of its own, two at a time. Those that isolate share one server of each kind, on which a developer
has clicked around and other people have their keys; Django's own runner, which empties it, gets another one each time.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple
from urllib.parse import unquote

import pymemcache
import redis

from tests.support import ROOT
from tests.support.servers import Memcached, Redis, Server
from tests.support.threads import PROGRAM_SECONDS

SAMPLE = Path(__file__).parent / "project"
PYTHONPATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
# Under keys that the site uses too, as a site without its prefix does; and under keys of quite another kind.
OTHERS = {":1:club_page_classes": b"theirs", "site:1:club_page_classes": b"theirs", "somebody:else": b"theirs"}

MANAGE = (str(SAMPLE / "manage.py"), "test", "clubs")
# Where the project is on the path and not installed, pytest doesn't know its plugin.
PLUGIN = () if "cachedeco" in entry_points(group="pytest11").names else ("-p", "cachedeco.pytest_plugin")
PYTEST = (
    "-m",
    "pytest",
    *PLUGIN,
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",  # takes longer to import than all the rest to run
    "--color=no",
    "-rfE",
    f"-c{SAMPLE / 'pytest.ini'}",
    str(SAMPLE),
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "Django": MANAGE,
    "pytest-django": (*PYTEST, "-p", "no:randomly"),
    "cachedeco": MANAGE,
    "cachedeco, again": MANAGE,
    "cachedeco, --shuffle 1": (*MANAGE, "--shuffle", "1"),
    "cachedeco, --shuffle 2": (*MANAGE, "--shuffle", "2"),
    "cachedeco, --parallel 2, fork": (*MANAGE, "--parallel", "2"),
    "cachedeco, --parallel 2, spawn": (*MANAGE, "--parallel", "2"),
    "cachedeco, pytest-django": PYTEST,
    "cachedeco, pytest-django, -n 2": (*PYTEST, "-n", "2"),
    "cachedeco, pytest alone": (*PYTEST, "-p", "no:django", "-p", "no:randomly"),
}


class Run(NamedTuple):
    """One run of the sample project's tests."""

    runner: str  #: one of COMMANDS
    server: str = "memcached"
    mode: str = "on"

    @property
    def isolates(self) -> bool:
        """Whether the runner is ours."""
        return self.runner.startswith("cachedeco")

    def command(self) -> tuple[str, ...]:
        """Return the arguments for Python."""
        command = COMMANDS[self.runner]
        if not self.isolates:
            return command
        if "pytest" in self.runner:
            return (*command, "-o", f"cachedeco_tests={'isolated' if self.mode == 'on' else self.mode}")
        return (*command, "--cache-mode", self.mode)


RUNS = (
    *(Run("Django", server) for server in ("memcached", "redis", "locmem")),
    Run("pytest-django"),
    *(Run(runner) for runner in COMMANDS if runner.startswith("cachedeco")),
    *(Run(runner, mode=mode) for runner in ("cachedeco", "cachedeco, pytest-django") for mode in ("bypass", "off")),
    *(Run(runner, server) for runner in ("cachedeco", "cachedeco, pytest-django") for server in ("redis", "locmem")),
    Run("cachedeco, --parallel 2, fork", "redis"),
)
# One of each kind.
FEW_RUNS = (
    Run("Django"),
    Run("Django", "locmem"),
    Run("cachedeco"),
    Run("cachedeco, pytest-django", "redis"),
    Run("cachedeco, --parallel 2, fork", "redis"),
)


class Outcome(NamedTuple):
    """What a run came to."""

    run: Run
    passed: int
    failed: dict[str, str]  #: test -> what its failure was, as printed
    output: str


class Outcomes(NamedTuple):
    """What all runs came to, and what became of other people's values."""

    outcomes: dict[Run, Outcome]
    servers: dict[str, Server]  #: those that the isolating runs shared
    before: dict[str, dict[str, bytes | None]]  #: server -> all that lay there, as raw bytes
    after: dict[str, dict[str, bytes | None]]  #: the same keys


# In what Django's runner prints, and pytest.
FAILURES = (
    re.compile(r"^(?:FAIL|ERROR): (\w+) \(clubs\.tests\.(\w+)\..*?^(\w+: .*?)$", re.DOTALL | re.MULTILINE),
    re.compile(r"^(?:FAILED|ERROR) \S*?::(\w+)::(\w+) - (.*)$", re.MULTILINE),
)
RAN = re.compile(r"^Ran (\d+) tests", re.MULTILINE)
PASSED = re.compile(r"\b(\d+) passed")


@contextmanager
def measured(runs: Iterable[Run] = RUNS) -> Iterator[Outcomes]:
    """Make the runs, and leave the servers running for a look."""
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        servers: dict[str, Server] = {"memcached": Memcached(), "redis": Redis()}
        for server in servers.values():
            pollute(stack.enter_context(server))
        # But for leases, which are gone a few seconds after they were taken.
        before = {
            name: {key: value for key, value in contents(server).items() if "@" not in key}
            for name, server in servers.items()
        }
        with ThreadPoolExecutor(2) as executor:
            outcomes = list(executor.map(lambda run: outcome_of(run, servers, directory), runs))
        after = {name: contents(server, before[name]) for name, server in servers.items()}
        yield Outcomes({each.run: each for each in outcomes}, servers, before, after)


def outcome_of(run: Run, servers: Mapping[str, Server], directory: str) -> Outcome:
    """Run the tests, on a server of their own where they would empty the shared one."""
    with ExitStack() as stack:
        server = servers.get(run.server)
        if server and not run.isolates:
            server = stack.enter_context(type(server)())
            pollute(server)
        runner = "cachedeco.testing.IsolatedCacheRunner" if run.isolates else "django.test.runner.DiscoverRunner"
        method = "spawn" if "spawn" in run.runner else "fork"
        environment = {"CACHE": server.location if server else "", "RUNNER": runner, "START_METHOD": method}
        return understood(run, printed(run.command(), environment, directory))


def understood(run: Run, output: str) -> Outcome:
    """Read what a runner has printed."""
    of_django, of_pytest = FAILURES
    failed = {f"{case}.{test}": reason for test, case, reason in of_django.findall(output)}
    failed |= {f"{case}.{test}": reason for case, test, reason in of_pytest.findall(output)}
    ran, passed = RAN.search(output), PASSED.search(output)
    return Outcome(run, int(ran[1]) - len(failed) if ran else int(passed[1]) if passed else 0, failed, output)


def printed(arguments: tuple[str, ...], environment: Mapping[str, str], directory: str) -> str:
    """Run Python with these arguments, and return all that it prints."""
    settled = {
        "PYTHONPATH": PYTHONPATH,
        "PYTHONDONTWRITEBYTECODE": "1",
        "DJANGO_SETTINGS_MODULE": "settings",
        "COLUMNS": "300",  # pytest cuts its summary off at the margin
        "PYTEST_DEBUG_TEMPROOT": directory,  # each run of pytest cleans up after older ones there
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,  # Django leaves the databases of spawned workers there
        env={**os.environ, **settled, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    return done.stdout


def pollute(server: Server) -> None:
    """Put other people's values on a server, and those of the developer, who clicks around."""
    with asking(server) as client:
        for key, value in OTHERS.items():
            client.set(key, value)
    printed((str(SAMPLE / "click_around.py"),), {"CACHE": server.location}, gettempdir())


def contents(server: Server, keys: Iterable[str] | None = None) -> dict[str, bytes | None]:
    """Return what lies on a server, or what lies there under these keys: raw bytes, without Django's help."""
    with asking(server) as client:
        return {key: client.get(key) for key in (keys_of(client) if keys is None else keys)}


@contextmanager
def asking(server: Server) -> Iterator[Any]:
    """Give a client of a server; closed afterwards."""
    with ExitStack() as stack:
        if isinstance(server, Memcached):
            yield stack.enter_context(closing(pymemcache.Client(server.location)))
        else:
            yield stack.enter_context(closing(redis.Redis.from_url(server.location)))


def keys_of(client: Any) -> list[str]:
    """Return all keys of a server."""
    if isinstance(client, redis.Redis):
        return [key.decode() for key in client.scan_iter()]
    listed = client.raw_command("lru_crawler metadump all", "END\r\n").decode()
    return [unquote(line.split()[0].removeprefix("key=")) for line in listed.splitlines()]


def main() -> None:
    """Print the table."""
    with measured() as found:
        print(f"{'runner':34}{'server':11}{'mode':8}{'passed':>6}{'failed':>8}")  # noqa: T201 -- what it is for
        for (runner, server, mode), outcome in found.outcomes.items():
            print(f"{runner:34}{server:11}{mode:8}{outcome.passed:6}{len(outcome.failed):8}")  # noqa: T201 -- as above
        for name, before in found.before.items():
            kept = sum(found.after[name][key] == value for key, value in before.items())
            print(f"{name}: {kept} of {len(before)} values of other people are still there")  # noqa: T201 -- as above


if __name__ == "__main__":
    main()
