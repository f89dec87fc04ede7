"""
Is another tenant's value, or an old one, ever served when signals, cancellations and bulk calls come together?

    make storm                                            # or: python benchmarks/storm_of_tenants.py
    python benchmarks/storm_of_tenants.py --backend redis --reads 1000000
    python benchmarks/storm_of_tenants.py --weather down --signals 0

Three tenants share a cache, told apart by KEY_FUNCTION: the tenant is a thread's own, or a task's. Each process reads
by threads, by tasks that are cancelled, and in its main thread under a timer whose handler raises every few
milliseconds: single calls, calls inside calls, and bulk calls. In all lines of cachedeco "foreign" (another row's or
tenant's value), "stale" (older than acknowledged before the read began), "stuck" (old when all is over), "raised" (also
a signal's exception in another thread), "swallowed" (a signal's exception that never reached the caller), "waited" (for
a lease that is not held) and "failed" (a command that the log says has failed, where the server is up) must be 0, and
nothing may be left behind. Counted apart are signals whose exception a client or Python's library has swallowed in its
own code ("elsewhere"), and those that fell into a `__del__`, whose exceptions Python prints and drops ("unraisable").
Ends with 1 where a number is wrong, or where the control has served nothing wrong.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final, Literal, get_args

import redis

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.storming.processes import Process
from benchmarks.storming.tenants import BACKENDS, CONTROL, Backend, Board, Course, Tally
from tests.support.servers import HOST, Memcached, Redis, free_port

# A server that answers, none at all, and one that takes no more memory.
Weather = Literal["up", "down", "full"]
FAULTS: Final = ("foreign", "stale", "stuck", "raised", "swallowed", "waited", "failed")
HEADS: Final = ("reads", "writes", "computed", "signals", "elsewhere", "unraisable", "cancelled", *FAULTS)
# What a process takes to start and to end on a machine that does ten other things.
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything."""

    reads: int  #: of each reader
    seconds: float  #: after which processes that have not ended are taken for dead
    processes: int = 2
    threads: int = 3
    tasks: int = 4
    signals: float = 0.003  #: seconds between two; 0 for none
    computation: float = 0.0005  #: seconds


SHORT: Final = Size(reads=300, seconds=PATIENCE_SECONDS)
LONG: Final = Size(reads=30_000, seconds=1800)


def storm(
    backend: Backend, size: Size, *, weather: Weather = "up", contender: str = "cachedeco", seed: int = 0
) -> Tally:
    """Run one storm, and return what all its processes have met."""
    # The memory of a process is its own.
    processes = 1 if backend == "locmem" else size.processes
    with TemporaryDirectory(prefix="cachedeco-storm-") as directory, served(backend, weather) as location:
        board = str(Path(directory, "board"))
        Board.create(board, processes)
        course = Course(
            contender=contender,
            backend=backend,
            location=location,
            board=board,
            process=0,
            processes=processes,
            threads=size.threads,
            tasks=size.tasks,
            reads=size.reads,
            computation=size.computation,
            signals=size.signals,
            is_up=weather == "up",
            seed=seed,
        )
        with started(course) as running:
            return outcome_of(running, size.seconds)


@contextmanager
def served(backend: Backend, weather: Weather) -> Iterator[str]:
    """Give the location of a server in its state."""
    if backend == "locmem":
        yield "storm"
        return
    if weather == "down":
        address = f"{HOST}:{free_port()}"
        yield f"redis://{address}" if backend.endswith("redis") else address
        return
    with Redis() if backend.endswith("redis") else Memcached() as server:
        if weather == "full":
            with redis.Redis(HOST, server.port) as client:
                client.config_set("maxmemory", 1)
        yield server.location


@contextmanager
def started(course: Course) -> Iterator[list[Process]]:
    """Start all processes of a course, and end those that still run."""
    with ExitStack() as stack:
        running = []
        for number in range(course.processes):
            running.append(Process.start("tenants", json.dumps(asdict(replace(course, process=number)))))
            stack.callback(running[-1].end)
        yield running


def outcome_of(running: Iterable[Process], seconds: float) -> Tally:
    """Return what the processes have met, or, at once, how one of them has failed: the others would wait for it."""
    total, awaited, deadline = Tally(), [*running], monotonic() + seconds
    while awaited:
        for process in [each for each in awaited if each.popen.poll() is not None]:
            if process.popen.returncode:
                return Tally(left=process.complaint())
            tally = Tally(**process.told())
            tally.left += process.written_errors()
            total.add(tally)
            awaited.remove(process)
        if awaited and monotonic() > deadline:
            return Tally(left="\n".join(map(position_of, awaited)))
        sleep(0.01)
    return total


def position_of(process: Process) -> str:
    """Return where the threads of a process stand that does not end."""
    process.popen.send_signal(signal.SIGUSR1)
    with suppress(subprocess.TimeoutExpired):
        process.popen.wait(1.0)
    return process.complaint()


def faults_of(tally: Tally) -> str:
    """Return what is wrong with what cachedeco's readers have met; nothing if all is well."""
    found = [f"{getattr(tally, name):,} {name}" for name in FAULTS if getattr(tally, name)]
    found += [f"left behind: {tally.left}"] if tally.left else []
    found += [] if tally.reads and tally.writes else ["nothing was read, or nothing written"]
    return ", ".join(found) + (f", such as {tally.example}" if found and tally.example else "")


def line(name: str, tally: Tally) -> str:
    """Return one line of the table."""
    return f"    {name:12}" + "".join(f"{getattr(tally, head):>11,}" for head in HEADS)


def main() -> None:
    """Let the storms come, and print what they have shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=(*BACKENDS, "all"), default="all")
    parser.add_argument("--weather", choices=get_args(Weather), default="up")
    parser.add_argument("--reads", type=int, default=LONG.reads, help="of each reader")
    parser.add_argument("--signals", type=float, default=LONG.signals, help="seconds between two; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    size = Size(reads=chosen.reads, seconds=LONG.seconds, signals=chosen.signals)
    control = Size(reads=2000, seconds=PATIENCE_SECONDS, signals=0, computation=0.003)
    faults = []
    print(" " * 16 + "".join(f"{head:>11}" for head in HEADS))
    for backend in BACKENDS if chosen.backend == "all" else (chosen.backend,):
        ours = storm(backend, size, weather=chosen.weather, seed=chosen.seed)
        theirs = storm(backend, control, contender=CONTROL, seed=chosen.seed)
        print(f"{backend}\n{line('cachedeco', ours)}\n{line(CONTROL, theirs)}", flush=True)
        if found := faults_of(ours):
            faults.append(f"{backend}: {found}")
        if not theirs.stale + theirs.foreign:
            faults.append(f"{backend}: the control has served nothing wrong, so this storm proves nothing")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
