"""A process that writes: a new version of a row, and its invalidation, in one transaction."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from random import Random
from time import sleep
from typing import Any

from django.db import connection, transaction
from django.db.utils import OperationalError

from benchmarks.storming import rows
from benchmarks.storming.board import Board, Phase
from benchmarks.storming.caching import Contender, contenders
from benchmarks.storming.plan import HIDING_ROWS, Plan, configure, die_with_parent

# Where writers are killed, one write in so many is a writer's last.
LAST_WRITE = 8
# Writes of a writer that changes its mode, in each of its modes.
WRITES_PER_MODE = 25


class Writer:
    """One writer, and its place on the board."""

    def __init__(self, plan: Plan, board: Board, number: int, crew: dict[str, Contender]) -> None:
        """Count the invalidations that are lost."""
        from cachedeco import Event, add_hook

        def count_lost(event: Event) -> None:
            board.lost[number] += event.kind == "invalidation_lost"

        add_hook(count_lost)
        self._plan, self._board, self._number, self._crew = plan, board, number, crew
        self._random = Random(f"{plan.seed} {number} {os.getpid()}")

    def write(self, row: int) -> None:
        """Write a new version and invalidate; return when both are done, and acknowledged on the board."""
        turn = self._board.writes[self._number]
        while True:
            try:
                version = self._transact(row, turn)
            except OperationalError:  # at REPEATABLE READ another writer was quicker: again
                continue
            break
        self._board.acknowledge(self._number, row, version)
        self._board.writes[self._number] = turn + 1

    def _transact(self, row: int, turn: int) -> int:
        with transaction.atomic():
            version = rows.next_version(row)
            for place, (name, contender) in enumerate(self._crew.items()):
                invalidate = partial(self._guarded, place, partial(contender.invalidate, row, turn))
                # Ours waits for the commit by itself.
                if name == "cachedeco":
                    invalidate()
                else:
                    transaction.on_commit(invalidate)
            if self._board.kills and self._random.randrange(LAST_WRITE) == 0:
                self._die_before_delivery(row, version)
        return version

    def _guarded(self, place: int, invalidate: Callable[[], None]) -> None:
        """Count an exception that reaches the writer."""
        try:
            invalidate()
        except Exception:  # noqa: BLE001 -- each is counted
            self._board.failed_writes[self._number * len(self._crew) + place] += 1

    def _die_before_delivery(self, row: int, version: int) -> None:
        """Make this the first thing that happens after the commit: the crash point."""

        def die() -> None:
            # The user was not told; yet a reader of the database from now on sees the version.
            self._board.acknowledge(self._number, row, version)
            os.kill(os.getpid(), signal.SIGKILL)

        # Not on_commit(), which would put it after what is delivered.
        hook: Any = (set(connection.savepoint_ids), die, False)
        connection.run_on_commit.insert(0, hook)

    def _hide(self) -> None:
        """Write a row, and tell only the board."""
        place = self._random.randrange(HIDING_ROWS)
        rows.next_version(self._plan.rows + place)
        self._board.hide(place)

    def storm(self) -> None:
        """Write until it is quiet; then read now and then, as a process does that has more to do than to write."""
        from cachedeco import bypass, mode

        while self._board.phase == Phase.STORM:
            turn = self._board.writes[self._number]
            past = self._plan.switches_mode and self._number == 0 and turn // WRITES_PER_MODE % 2
            hides = self._plan.hide and self._number == 0 and turn % self._plan.hide == 0
            if hides and self._board.has_begun():  # what was written before it was read is not old
                self._hide()
            with bypass() if past else mode("on"):
                self.write(self._random.randrange(self._plan.rows))
            sleep(self._plan.pause)
        while self._board.phase < Phase.OVER:
            self._crew["cachedeco"].read(self._random.randrange(self._plan.rows))
            sleep(0.05)


def main() -> None:
    """Write, as the plan and the number on the command line say."""
    plan, number = Plan.from_json(sys.argv[1]), int(sys.argv[2])
    configure(plan)
    board = Board(plan)
    if number == 0:
        rows.make(plan)
        connection.close()
    board.tell_ready(plan.readers + number)
    board.wait_for(Phase.STORM)
    while _ended_by_kill(plan, board, number):
        board.killed[number] += 1


def _ended_by_kill(plan: Plan, board: Board, number: int) -> bool:
    """Write in a process of its own, forked as that is quick; return whether it was killed."""
    child = os.fork()
    if not child:
        try:
            die_with_parent()
            Writer(plan, board, number, contenders(plan)).storm()
        except BaseException:  # noqa: BLE001 -- what is raised must not run on in the copy
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in {0, -signal.SIGKILL}:
        sys.exit(1)
    return code != 0


if __name__ == "__main__":
    main()
