"""The storm, in small: many processes on real servers, and none of what they are served is old."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.storming.board import Board
from benchmarks.storming.course import SHORT, Audit, storm
from benchmarks.storming.plan import Backend, Plan
from tests.support import ROOT
from tests.support.postgres import PostgreSQL

pytestmark = pytest.mark.usefixtures("_unmeasured_processes")

# Tells the server's process id and where its data are, and waits to be killed.
PARENT = """
from tests.support.postgres import PostgreSQL
server = PostgreSQL()
server.start()
print(server._running().pid, server._data(), flush=True)
input()
"""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """Give the PostgreSQL that the tests of this file share."""
    with PostgreSQL() as server:
        yield server


@pytest.mark.parametrize(
    ("scenario", "backend"),
    [
        ("eviction", "two-memcached"),  # whose async readers are served on the event loop
        pytest.param("eviction", "memcached", marks=pytest.mark.soak),
        pytest.param("plain", "memcached", marks=pytest.mark.soak),
        pytest.param("eviction", "redis", marks=pytest.mark.soak),
        pytest.param("restart", "memcached", marks=pytest.mark.soak),
        pytest.param("restart", "redis", marks=pytest.mark.soak),
        pytest.param("restart", "our-redis", marks=pytest.mark.soak),
        pytest.param("restart", "two-memcached", marks=pytest.mark.soak),
    ],
)
def test_nothing_old_is_served_and_the_control_is_caught(
    scenario: str, backend: Backend, postgresql: PostgreSQL
) -> None:
    """Not one read is stale, no row stays old and nothing is raised, where `get_or_set` with `delete` is caught."""
    ours, control = storm(scenario, backend, postgresql, SHORT)

    assert (0, 0, 0) == (ours.stale, ours.stuck, ours.failures), ours
    assert control.stale > 0, control


@pytest.mark.soak
def test_auditor_finds_each_hidden_write_and_accuses_no_other(postgresql: PostgreSQL) -> None:
    """Where one write in three is not announced, every audit of such a row reports it, and none of another row."""
    audit = Audit(share=0.2, seconds=1.0, hide=3)

    [ours] = storm("plain", "memcached", postgresql, replace(SHORT, seconds=10.0), controls=(), audit=audit)

    assert (0, 0) == (ours.verdicts.missed, ours.verdicts.accused), ours.verdicts
    assert ours.verdicts.found >= len(ours.verdicts.rows) > 0
    assert ours.verdicts.audited > 0


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Give the memory that two writers share, on a clock that is an hour further at each look."""
    hours = count(start=0, step=3600)
    monkeypatch.setattr("benchmarks.storming.board.monotonic", lambda: next(hours))
    options: dict[str, Any] = {field.name: 1 for field in fields(Plan)}
    return Board.create(
        Plan(**{**options, "board": str(tmp_path / "board"), "contenders": (), "rows": 2, "writers": 2})
    )


def test_newest_version_of_any_writer_is_what_was_acknowledged(board: Board) -> None:
    """A writer that is told late of an older version takes nothing back, and rows are apart."""
    board.acknowledge(writer=0, row=1, version=3)
    board.acknowledge(writer=1, row=1, version=2)

    assert [0, 3] == [board.acknowledged(row) for row in range(2)]


def test_value_is_stale_since_the_first_newer_version(board: Board) -> None:
    """What counts is when it began to be old, not when the newest version came."""
    for version in (1, 2, 3):
        board.acknowledge(0, 1, version)

    seconds = board.seconds_stale(1, 1, 3)

    assert 2 * 3600 == seconds


def test_version_that_was_not_announced_makes_nothing_stale(board: Board) -> None:
    """A version whose writer was killed has no time, and the next one counts."""
    for version in (1, 3):
        board.acknowledge(0, 1, version)

    seconds = board.seconds_stale(1, 1, 3)

    assert 3600 == seconds


def test_postgresql_killed_keeps_what_was_committed(postgresql: PostgreSQL) -> None:
    """A server that is killed and started again has its port and its data."""
    port = postgresql.port
    with psycopg.connect(postgresql.location) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")

    postgresql.kill()
    postgresql.start()

    assert port == postgresql.port
    with psycopg.connect(postgresql.location) as connection:
        assert (7,) == connection.execute("SELECT number FROM kept").fetchone()


def test_postgresql_paused_hangs_and_resumes(postgresql: PostgreSQL) -> None:
    """A paused server lets a connection that was open already hang, and answers it after resume()."""
    with closing(psycopg.connect(postgresql.location)) as connection:
        postgresql.pause()
        connection.pgconn.send_query(b"SELECT 7")
        answered, _, _ = select.select([connection], [], [], 0.2)

        postgresql.resume()

        result = connection.pgconn.get_result()
    assert ([], b"7") == (answered, result and result.get_value(0, 0))


def test_postgresql_of_a_killed_process_ends() -> None:
    """A server ends with the process that has started it, however that ends."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, data = parent.stdout.readline().split()
        server = os.pidfd_open(int(pid))

        parent.kill()

        ended, _, _ = select.select([server], [], [], 20)
    os.close(server)
    shutil.rmtree(Path(data).parent)
    assert ended
