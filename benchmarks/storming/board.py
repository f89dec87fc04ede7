"""
The memory that the processes of a storm share: what was acknowledged, how much was done, what the weather is.

Each number has one process that writes it, so no lock is needed; eight aligned bytes are written at once.
"""

import mmap
from enum import IntEnum
from pathlib import Path
from time import monotonic, sleep

from benchmarks.storming.plan import HIDING_ROWS, READERS_PER_PROCESS, Plan

# Times kept of each row: as many versions as a long storm may write of one.
VERSIONS = 1 << 15
WORD_BYTES = 8


class Phase(IntEnum):
    """How far the storm has come."""

    STARTING = 0
    STORM = 1
    QUIET = 2  #: nothing is written any more, and what waits to be replayed is
    OVER = 3


class Board:
    """The shared memory of one storm."""

    def __init__(self, plan: Plan) -> None:
        """Open it, as every process does once `create` has made it."""
        self.plan = plan
        places = _places(plan)
        with Path(plan.board).open("r+b") as file:
            memory = memoryview(mmap.mmap(file.fileno(), 0))
        words, times = memory.cast("q"), memory.cast("d")
        self._header = words[slice(*places["header"])]
        self._versions = words[slice(*places["versions"])]
        self._reads = words[slice(*places["reads"])]
        self._ready = words[slice(*places["ready"])]
        self.writes = words[slice(*places["writes"])]  #: by each writer
        self.lost = words[slice(*places["lost"])]  #: invalidations that the cache has not acknowledged, by each writer
        self.killed = words[slice(*places["killed"])]  #: lives of each writer that have ended so
        self.failed_writes = words[slice(*places["failed_writes"])]  #: by each writer, of each contender
        self._times = times[slice(*places["times"])]
        self._hidden = times[slice(*places["hidden"])]

    @classmethod
    def create(cls, plan: Plan) -> "Board":
        """Make the memory, all zeros, and open it."""
        Path(plan.board).write_bytes(bytes(max(end for _, end in _places(plan).values()) * WORD_BYTES))
        return cls(plan)

    # --- what was acknowledged ---

    def acknowledge(self, writer: int, row: int, version: int) -> None:
        """Tell that a version is committed, and that its writer was told so. A writer's own versions grow."""
        self._times[row * VERSIONS + version % VERSIONS] = monotonic()
        self._versions[row * self.plan.writers + writer] = version  # after its time, which readers look up by it

    def acknowledged(self, row: int) -> int:
        """Return the newest version of a row that was acknowledged."""
        first = row * self.plan.writers
        return max(self._versions[first : first + self.plan.writers])

    def seconds_stale(self, row: int, version: int, newest: int) -> float:
        """Return how long ago the first version after this one was acknowledged."""
        now = monotonic()
        after = range(max(version + 1, newest - VERSIONS + 1), newest + 1)
        # Zero: that version is committed, and its writer was killed or has not been told.
        times = (self._times[row * VERSIONS + each % VERSIONS] for each in after)
        return max((now - each for each in times if each), default=0.0)

    def hide(self, place: int) -> None:
        """Tell that a write is committed, and hidden from everybody, of one of the rows for that."""
        self._hidden[place] = self._hidden[place] or monotonic()

    def hidden_since(self, place: int) -> float:
        """Return when the first write of such a row was hidden, by the clock of `time.monotonic()`; 0 for never."""
        return self._hidden[place]

    # --- how much was done ---

    def count_reads(self, process: int, place: int, reads: int) -> None:
        """Tell how many reads one thread of a reading process has made."""
        self._reads[process * READERS_PER_PROCESS + place] = reads

    def reads(self) -> int:
        """Return the reads of all."""
        return sum(self._reads)

    def has_begun(self) -> bool:
        """Whether every process has read, or written."""
        firsts = range(0, len(self._reads), READERS_PER_PROCESS)
        return all(self.writes) and all(any(self._reads[each : each + READERS_PER_PROCESS]) for each in firsts)

    def tell_ready(self, process: int) -> None:
        """Tell that a process is about to begin."""
        self._ready[process] = 1

    def is_ready(self) -> bool:
        """Whether all processes are about to begin."""
        return all(self._ready)

    # --- the weather ---

    @property
    def phase(self) -> int:
        """How far the storm has come."""
        return self._header[0]

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._header[0] = phase

    @property
    def is_calm(self) -> bool:
        """Whether no fault is under way, and all that the last one has lost was replayed."""
        return not self._header[1]

    @is_calm.setter
    def is_calm(self, is_calm: bool) -> None:
        self._header[1] = not is_calm

    @property
    def kills(self) -> bool:
        """Whether writers are to die between commit and invalidation."""
        return bool(self._header[2])

    @kills.setter
    def kills(self, kills: bool) -> None:
        self._header[2] = kills

    def wait_for(self, phase: Phase) -> None:
        """Return once the storm has come so far."""
        while self.phase < phase:
            sleep(0.002)


def _places(plan: Plan) -> dict[str, tuple[int, int]]:
    """Return where each part begins and ends, in words."""
    sizes = {
        "header": 8,
        "versions": plan.rows * plan.writers,
        "reads": plan.readers * READERS_PER_PROCESS,
        "ready": plan.readers + plan.writers,
        "writes": plan.writers,
        "lost": plan.writers,
        "killed": plan.writers,
        "failed_writes": plan.writers * len(plan.contenders),
        "times": plan.rows * VERSIONS,
        "hidden": HIDING_ROWS,
    }
    places, begin = {}, 0
    for name, size in sizes.items():
        places[name] = (begin, begin + size)
        begin += size
    return places
