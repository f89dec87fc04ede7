"""The readers and writers of one storm: started, looked after and ended."""

from time import monotonic, sleep
from typing import Any, Self

from benchmarks.storming.board import Board, Phase
from benchmarks.storming.plan import Plan
from benchmarks.storming.processes import Process, StormError

# A machine that does ten other things starts a process in less.
LONGEST_START_SECONDS = 60.0


class Crew:
    """The readers and writers of one storm, and its deliverer."""

    def __init__(self, plan: Plan, board: Board) -> None:
        """Start the readers and writers, and return when all of them wait for the storm to begin."""
        self._plan, self._text, self._board = plan, plan.to_json(), board
        self._deliverer: Process | None = None
        self._readers = [Process.start("readers", self._text, str(number)) for number in range(plan.readers)]
        self._writers = [Process.start("writers", self._text, str(number)) for number in range(plan.writers)]
        deadline = monotonic() + LONGEST_START_SECONDS
        while not board.is_ready():
            self.look_after()
            if monotonic() > deadline:
                msg = "The processes of the storm did not start."
                raise StormError(msg)
            sleep(0.005)
        if plan.outbox:
            self._deliverer = Process.start("deliverer", self._text, "deliver")

    def __enter__(self) -> Self:
        """Give the crew."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End every process that still runs."""
        for process in self._all():
            process.end()

    def _all(self) -> list[Process]:
        return [*self._readers, *self._writers, *([self._deliverer] if self._deliverer else [])]

    def look_after(self) -> None:
        """Fail if any process has ended: none is to before the storm is over."""
        for process in self._all():
            if process.popen.poll() is not None:
                raise StormError(process.complaint())

    def let_writers_finish(self) -> None:
        """Return when every writer has made a write that it began after now."""
        # The write after the one that is under way: two more.
        goals = [writes + 2 for writes in self._board.writes]
        while any(writes < goal for writes, goal in zip(self._board.writes, goals, strict=True)):
            self.look_after()
            sleep(0.005)

    def replay(self) -> None:
        """Return when all that the outbox holds now has been delivered."""
        self._once("deliverer", "wait")

    def ended(self) -> list[dict[str, Any]]:
        """End the storm, and return what the readers have counted."""
        self._board.phase = Phase.OVER
        for writer in self._writers:
            writer.told()
        counts: list[dict[str, Any]] = [reader.told() for reader in self._readers]
        return counts

    def aftermath(self) -> dict[str, dict[str, int]]:
        """Return what a fresh process finds, of each contender."""
        found: dict[str, dict[str, int]] = self._once("aftermath")
        return found

    def _once(self, module: str, *arguments: str) -> Any:
        process = Process.start(module, self._text, *arguments)
        try:
            return process.told()
        finally:
            process.end()
