"""What is cached here: a computation that sleeps, counted across processes."""

import threading
import time
from multiprocessing import get_context

# The parent has a memcached, threads and connections: nothing of it may be forked.
SPAWN = get_context("spawn")


class Source:
    """
    The data behind the caches, and the counts of those who have read it: one of each, in shared memory.

    Each process writes only its own count, so that none can be killed while it holds a lock of all.
    """

    def __init__(self, processes: int) -> None:
        """Make a source that the parent, which counts as 0, and so many processes compute from."""
        self._version = SPAWN.RawValue("q", 0)
        self._seconds = SPAWN.RawValue("d", 0.0)
        self._counts = SPAWN.RawArray("q", processes + 1)

    @property
    def version(self) -> int:
        """What a computation that began now would return."""
        return int(self._version.value)

    def change(self) -> None:
        """Make every value that was computed until now a stale one."""
        self._version.value += 1

    @property
    def seconds(self) -> float:
        """How long a computation takes."""
        return float(self._seconds.value)

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds.value = seconds

    @property
    def counts(self) -> list[int]:
        """How many computations each process has begun since the start."""
        return list(self._counts)

    def count(self, process: int) -> None:
        """Count one computation more; of the threads of a process, one at a time."""
        self._counts[process] += 1


class Computation:
    """The computation, as one process runs it."""

    def __init__(self, source: Source, process: int) -> None:
        """Compute from the source, counted as process number *process*."""
        self.source = source
        self.began: list[float] = []  #: when each of them began, by the clock that all processes share
        self._process = process
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Read first, and take long over it: what changes meanwhile is not seen."""
        with self._lock:
            self.source.count(self._process)
            self.began.append(time.monotonic())
        version = self.source.version
        time.sleep(self.source.seconds)
        return version
