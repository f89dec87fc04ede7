"""The course of one storm, from its first process to what it has left, and the figures of it."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from benchmarks.storming.audits import LONGEST_EVENT_SECONDS, Verdicts
from benchmarks.storming.board import Board, Phase
from benchmarks.storming.crew import Crew
from benchmarks.storming.field import Field
from benchmarks.storming.plan import HIDING_ROWS, Backend, Plan
from benchmarks.storming.proxy import Proxy
from benchmarks.storming.readers import Count
from benchmarks.storming.scenarios import SCENARIOS, Scenario
from tests.support.postgres import DATABASE, USER, PostgreSQL
from tests.support.servers import HOST, Memcached, Redis

# What clients wait for the cache. Loopback answers in well under a millisecond, so that a client can give up soon on a
# server that does not answer. Where every server answers, nothing may be lost because the machine is busy.
IMPATIENT_SECONDS = 0.2
PATIENT_SECONDS = 10.0
# Seconds of calm after each fault; no read may be stale in it, once all that was lost has been replayed.
CALM_SECONDS = 1.0
# The controls that have to be installed, and what is imported of them.
MODULES = {"django-cache-memoize": "cache_memoize", "dogpile.cache": "dogpile"}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything, in the units of `Plan`."""

    seconds: float
    reads: int | None = None  #: end when there are so many
    rows: int = 20
    writers: int = 2
    threaded_readers: int = 2
    threads: int = 4
    async_readers: int = 1
    tasks: int = 8
    computation: float = 0.002  #: seconds
    pause: float = 0.01  #: seconds
    control_share: int = 16


LONG = Size(seconds=40)
SHORT = Size(seconds=1.0, threaded_readers=1, tasks=4, control_share=4)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """How cachedeco's hits are audited."""

    share: float
    seconds: float  #: between the two looks
    hide: int = 0  #: one write in so many is hidden, for the auditor to find; 0 for none


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one storm has shown of one contender."""

    scenario: str
    backend: str
    contender: str
    outbox: bool
    seconds: float
    count: Count
    writes: int
    lost: int  #: invalidations that the cache has not acknowledged; cachedeco's alone, as no other notices
    killed: int  #: writers
    failed_writes: int  #: exceptions that reached a writer
    stuck: int  #: rows that were old still in the end
    slow: int  #: 1 where the slow reader has left an old row
    audit_seconds: float
    hides: bool  #: writes were hidden
    verdicts: Verdicts  #: of the auditor; cachedeco's alone
    hidden: int  #: rows of which a write was hidden, long enough ago to be found

    @property
    def stale(self) -> int:
        """Stale reads that nothing excuses, the slow reader's among them."""
        return self.count.stale_after + self.slow

    @property
    def failures(self) -> int:
        """Exceptions that the cache has thrown at a caller."""
        return self.count.failures + self.failed_writes


def storm(  # noqa: PLR0913 -- what a storm is made of
    name: str,
    backend: Backend,
    database: PostgreSQL | None,
    size: Size,
    *,
    controls: tuple[str, ...] = ("get_or_set",),
    outbox: bool = False,
    audit: Audit | None = None,
    seed: int = 0,
) -> list[Result]:
    """
    Run one storm.

    Args:
        name: The scenario's.

        backend: The kind of cache server; one is started, or two.

        database: A running PostgreSQL, or None for a file of SQLite's.

        size: How much of everything.

        controls: What is cached by other means beside cachedeco.

        outbox: Deliver invalidations by `cachedeco.outbox`.

        audit: How cachedeco's hits are audited; None for not at all.

        seed: Of what is random, as far as the machine lets it be repeated.

    Raises:
        StormError: A process has failed.
    """
    scenario = SCENARIOS[name]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="cachedeco-storm-")))
        servers = [stack.enter_context(each) for each in _servers(backend)]
        server = servers[-1]
        proxy = stack.enter_context(Proxy(server.port, seed=seed)) if scenario.through_proxy else None
        ports = [each.port for each in servers[:-1]] + [proxy.port if proxy else server.port]
        plan = Plan(
            scenario=name,
            backend=backend,
            cache_location=";".join([_location(backend, port) for port in ports]),
            patience=IMPATIENT_SECONDS if scenario.hangs else PATIENT_SECONDS,
            database=_database_settings(database, directory, scenario),
            board=str(directory / "board"),
            contenders=("cachedeco", *(each for each in controls if _takes_part(each, backend, scenario))),
            **_sizes(size),
            atomic_reads=scenario.atomic_reads,
            switches_mode=scenario.switches_mode,
            outbox=outbox,
            audit=audit.share if audit else 0.0,
            audit_seconds=audit.seconds if audit else 60.0,
            hide=audit.hide if audit else 0,
            seed=seed,
        )
        board = Board.create(plan)
        crew = stack.enter_context(Crew(plan, board))
        field = Field(plan, board, server, proxy, crew, Random(seed), monotonic() + size.seconds, size.reads)
        return _results(field, scenario)


def _sizes(size: Size) -> dict[str, Any]:
    names = ("rows", "writers", "threaded_readers", "threads", "async_readers", "tasks", "computation", "pause")
    return {name: getattr(size, name) for name in (*names, "control_share")}


def _servers(backend: Backend) -> list[Memcached] | list[Redis]:
    """Return the servers of a kind; what befalls one befalls the last."""
    if backend.endswith("redis"):
        return [Redis()]
    return [Memcached() for _ in range(2 if backend == "two-memcached" else 1)]


def _location(backend: Backend, port: int) -> str:
    return f"redis://{HOST}:{port}/0" if backend.endswith("redis") else f"{HOST}:{port}"


def _database_settings(database: PostgreSQL | None, directory: Path, scenario: Scenario) -> dict[str, Any]:
    if database is None:
        options: dict[str, Any] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
        }
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "database"), "OPTIONS": options}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": HOST,
        "PORT": database.port,
        "USER": USER,
        "NAME": DATABASE,
        "OPTIONS": {"isolation_level": scenario.isolation},
    }


def _takes_part(control: str, backend: Backend, scenario: Scenario) -> bool:
    """Leave out what is not installed, and what has no several servers, or would wait for ever for one that hangs."""
    if control in MODULES and find_spec(MODULES[control]) is None:
        return False
    waits = backend == "two-memcached" or (scenario.hangs and backend == "memcached")
    return not (waits and control == "dogpile.cache")


def _results(field: Field, scenario: Scenario) -> list[Result]:
    began = monotonic()
    field.board.phase = Phase.STORM
    while not field.is_over():
        _befall(field, scenario)
    field.board.phase = Phase.QUIET
    if scenario.loses:
        _calm_down(field)
    seconds = monotonic() - began
    counts = field.crew.ended()
    left = field.crew.aftermath()
    return [_result(field, place, seconds, counts, left) for place in range(len(field.plan.contenders))]


def _befall(field: Field, scenario: Scenario) -> None:
    """Go through one episode, and through the calm after it."""
    if not scenario.loses:
        scenario.episode(field)
        return
    field.board.is_calm = False
    scenario.episode(field)
    # A write that began in it may still be losing its invalidation.
    field.crew.let_writers_finish()
    _calm_down(field)


def _calm_down(field: Field) -> None:
    """Replay what was lost, where that can be done; leave time to all to get over it by themselves."""
    if field.plan.outbox:
        field.crew.replay()
        field.board.is_calm = True
    field.wait(CALM_SECONDS)


def _result(
    field: Field, place: int, seconds: float, counts: list[dict[str, Any]], left: dict[str, dict[str, int]]
) -> Result:
    plan, board = field.plan, field.board
    name = plan.contenders[place]
    total, verdicts = Count(), Verdicts()
    for each in counts:
        total.add(Count(**each[name]))
        if place == 0:
            verdicts.add(Verdicts(**each["verdicts"]))
    return Result(
        scenario=plan.scenario,
        backend=plan.backend,
        contender=name,
        outbox=plan.outbox,
        seconds=seconds,
        count=total,
        writes=sum(board.writes),
        lost=sum(board.lost) if place == 0 else 0,
        killed=sum(board.killed),
        failed_writes=sum(board.failed_writes[place :: len(plan.contenders)]),
        stuck=left[name]["stuck"],
        slow=left[name]["slow"],
        audit_seconds=plan.audit_seconds,
        hides=bool(plan.hide),
        verdicts=verdicts,
        hidden=_hidden_long_ago(plan, board) if plan.hide else 0,
    )


def _hidden_long_ago(plan: Plan, board: Board) -> int:
    """Return of how many rows a write was hidden so long ago that both looks can be over."""
    latest = monotonic() - 2 * plan.audit_seconds - LONGEST_EVENT_SECONDS
    return sum(0 < board.hidden_since(place) < latest for place in range(HIDING_ROWS))


def machine() -> str:
    """Return what the figures were measured on."""
    import platform

    return f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
