"""Processes full of callers, who live through all rounds and are let go at the same moment."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, NamedTuple, Self, cast

from stampeding.contenders import Backend, configure, contenders
from stampeding.source import SPAWN, Computation, Source

# A caller sleeps until the moment: time enough for the word to reach the last process.
NOTICE_SECONDS = 0.03
# Longer than any round here lasts; what has not answered by then is hanging.
PATIENCE_SECONDS = 120.0

Task = Callable[[Callable[[], int]], object]  #: takes the call to make, returns what is told of it; can be pickled


class Job(NamedTuple):
    """What every caller of a round does."""

    contender: str
    key: str
    task: Task


class Report(NamedTuple):
    """What one process tells of a round: what its callers did, and when each of its computations began."""

    answers: list[Any]
    began: list[float]


class Worker(NamedTuple):
    """A process, and the line to it."""

    process: BaseProcess
    line: Connection


class Fleet:
    """
    So many processes of so many threads each, connected to one server.

    A round is `park()`, `release()`, `collect()`. In between, all callers stand still: all that is done then comes
    before the calls.
    """

    def __init__(self, backend: Backend, source: Source, processes: int, threads: int) -> None:
        """Make a fleet whose processes are started by `with`."""
        self.threads = threads
        self.source = source
        self._start = partial(_started, backend, source, threads)
        self._workers: list[Worker] = []
        self._processes = processes

    def __enter__(self) -> Self:
        """Start the processes."""
        self._workers = [self._start(number) for number in range(1, self._processes + 1)]
        return self

    def __exit__(self, *exception: object) -> None:
        """End them."""
        for worker in self._workers:
            _end(worker)

    def park(self, job: Job) -> None:
        """Bring every caller to the line."""
        for worker in self._workers:
            worker.line.send(job)
        for worker in self._workers:
            worker.line.recv()

    def release(self) -> float:
        """Let all callers go, and return the moment at which they do."""
        moment = time.monotonic() + NOTICE_SECONDS
        for worker in self._workers:
            worker.line.send(moment)
        return moment

    def collect(self, patience: float = PATIENCE_SECONDS) -> list[Report]:
        """Return what the processes tell; the dead, and those that hang for *patience* seconds, tell nothing."""
        deadline = time.monotonic() + patience
        waiting = {worker.line: worker for worker in self._workers}
        reports: list[Report] = []
        while waiting and (ready := wait(list(waiting), max(0.0, deadline - time.monotonic()))):
            for worker in [waiting.pop(cast("Connection", line)) for line in ready]:
                with suppress(EOFError):  # it was killed
                    reports.append(worker.line.recv())
        return reports

    def round(self, job: Job, before: Callable[[], object] = bool) -> list[Report]:
        """Do all three; *before* is called while the callers stand still."""
        self.park(job)
        before()
        self.release()
        return self.collect()

    def kill(self, number: int) -> None:
        """End process number *number*, from 1, as a power failure would."""
        process = self._workers[number - 1].process
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()

    def renew(self) -> None:
        """Replace every process, also one that hangs."""
        self.__exit__()
        self.__enter__()


def _started(backend: Backend, source: Source, threads: int, number: int) -> Worker:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(backend, source, threads, number, theirs), daemon=True)
    process.start()
    theirs.close()  # or its end would not be seen here
    return Worker(process, ours)


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.line.close()


def _serve(backend: Backend, source: Source, threads: int, number: int, line: Connection) -> None:
    """Be one process of a fleet, until the parent is gone."""
    configure(backend.caches)
    compute = Computation(source, number)
    known = contenders(backend, compute)
    orders: list[SimpleQueue[Callable[[], object]]] = [SimpleQueue() for _ in range(threads)]
    answers: SimpleQueue[object] = SimpleQueue()
    for order in orders:
        threading.Thread(target=_work, args=(order, answers), daemon=True).start()
    while True:
        try:
            job: Job = line.recv()
        except EOFError:
            return
        compute.began.clear()
        start = _Start(threads)
        call = partial(known[job.contender].call, job.key)
        for order in orders:
            order.put(partial(start.then, partial(job.task, call)))
        start.parked.wait()
        line.send(None)
        start.open(line.recv())
        line.send(Report([answers.get() for _ in range(threads)], compute.began))


def _work(orders: SimpleQueue[Callable[[], object]], answers: SimpleQueue[object]) -> None:
    """Be one thread: the same through all rounds, as it has a connection of its own."""
    while True:
        answers.put(orders.get()())


class _Start:
    """The line at which the threads of one process wait for the moment."""

    def __init__(self, threads: int) -> None:
        self.parked = threading.Barrier(threads + 1)
        self._gate = threading.Event()
        self._moment = 0.0

    def open(self, moment: float) -> None:
        self._moment = moment
        self._gate.set()

    def then(self, task: Callable[[], object]) -> object:
        self.parked.wait()
        self._gate.wait()
        time.sleep(max(0.0, self._moment - time.monotonic()))
        return task()
