"""The processes of one storm, started, looked after and ended."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, NamedTuple, Self

from benchmarks.storming.board import Board, Phase
from benchmarks.storming.plan import Plan

ROOT = Path(__file__).parent.parent.parent
# Seconds: a machine that does ten other things starts a process in less, and ends one in less.
LONGEST_START_SECONDS = 60.0
LONGEST_END_SECONDS = 30.0


class StormError(Exception):
    """The storm itself has failed, so that its figures would say nothing."""


class Process(NamedTuple):
    """One process, and where it writes."""

    popen: "subprocess.Popen[bytes]"
    output: IO[bytes]
    errors: IO[bytes]

    @classmethod
    def start(cls, module: str, *arguments: str) -> Self:
        """Run a module of this package."""
        # The measurement of coverage would be most of what they do, and those that are killed would leave pieces.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 -- closed in end()
        command = [sys.executable, "-m", f"benchmarks.storming.{module}", *arguments]
        popen = subprocess.Popen(  # noqa: S603 -- our own program
            command,
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        return cls(popen, output, errors)

    def end(self) -> None:
        """Kill it, if it still runs, and forget what it has written."""
        self.popen.kill()
        self.popen.wait()
        self.output.close()
        self.errors.close()

    def told(self) -> Any:
        """Return what the process has printed, once it has ended well."""
        try:
            self.popen.wait(LONGEST_END_SECONDS)
        except subprocess.TimeoutExpired:
            msg = f"{self.popen.args!r} did not end."
            raise StormError(msg) from None
        if self.popen.returncode:
            raise StormError(self.complaint())
        self.output.seek(0)
        text = self.output.read()
        return json.loads(text) if text else None

    def complaint(self) -> str:
        """Return why it has ended."""
        self.errors.seek(0)
        return f"A process ended with {self.popen.returncode}: {self.errors.read().decode()}"


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
