"""A process that reads, by threads or by tasks, and counts what is older than what was acknowledged before."""

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from random import Random
from threading import Thread
from typing import Any

from django.db import connections, transaction

from benchmarks.storming import rows
from benchmarks.storming.audits import listened
from benchmarks.storming.board import Board, Phase
from benchmarks.storming.caching import Contender, contenders
from benchmarks.storming.plan import Plan, configure
from benchmarks.storming.tenants import left_behind

# Passes over all rows that a reader makes in one mode before it goes on to the next.
PASSES_PER_MODE = 5


@dataclass
class Count:
    """What one contender's readers have met."""

    reads: int = 0
    stale_before: int = 0  #: in a fault, or before all that it had lost was replayed
    stale_after: int = 0  #: at any other time
    longest: float = 0.0  #: seconds
    failures: int = 0  #: exceptions that reached the caller
    hits: int = 0
    computations: int = 0
    failure: str = ""  #: one of them

    def add(self, other: "Count") -> None:
        """Add what another thread, or process, has counted."""
        for name in ("reads", "stale_before", "stale_after", "failures", "hits", "computations"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest = max(self.longest, other.longest)
        self.failure = self.failure or other.failure


class Reader:
    """One thread, or one task."""

    def __init__(self, plan: Plan, board: Board, process: int, place: int, crew: dict[str, Contender]) -> None:
        """Read in an order of its own."""
        self._plan, self._board, self._process, self._place, self._crew = plan, board, process, place, crew
        self._random = Random(f"{plan.seed} {process} {place}")
        self._atomic = plan.atomic_reads and place % 2 == 1
        self.counts = {name: Count() for name in crew}

    def storm(self) -> None:
        """Read until the storm is over."""
        ours, *controls = self._crew
        # Controls take turns, each in one pass of so many.
        share = max(1, self._plan.control_share // max(1, len(controls)))
        for turn in self._passes():
            with self._mode(turn):
                self._pass(ours)
                for row in self._hiding():
                    self._crew[ours].hiding(row)  # type: ignore[attr-defined] # ours has it
            if controls and turn % share == 0:
                self._pass(controls[turn // share % len(controls)])

    def _passes(self) -> Iterator[int]:
        """Give the number of each pass over all rows, until the storm is over."""
        turn = 0
        while self._board.phase < Phase.OVER:
            yield turn
            turn += 1
            self._board.count_reads(self._process, self._place, turn * self._plan.rows)

    def _mode(self, turn: int) -> AbstractContextManager[None]:
        from cachedeco import mode

        if not self._plan.switches_mode or self._place:
            return nullcontext()
        return mode(("on", "off", "bypass")[turn // PASSES_PER_MODE % 3])

    def _pass(self, name: str) -> None:
        contender: Any = self._crew[name]
        on_loops = name == "cachedeco" and self._place == self._plan.threads - 1
        read, count = contender.in_loop_of_its_own if on_loops else contender.read, self.counts[name]
        if self._atomic:
            read = _in_transaction(read)
        for row in self._order():
            with self._judging(count, row) as tell:
                tell(read(row))
        count.reads += self._plan.rows

    async def astorm(self, read: Callable[[int], Any], hiding: Callable[[int], Any]) -> None:
        """Read until the storm is over, from async code, ours only."""
        count = next(iter(self.counts.values()))
        for turn in self._passes():
            with self._mode(turn):
                for row in self._order():
                    with self._judging(count, row) as tell:
                        tell(await read(row))
                for row in self._hiding():
                    await hiding(row)
            count.reads += self._plan.rows

    def _hiding(self) -> range:
        """Return the rows of which writes are hidden, to be read and not to be counted."""
        return range(self._plan.rows, self._plan.all_rows)

    def _order(self) -> list[int]:
        return self._random.sample(range(self._plan.rows), self._plan.rows)

    @contextmanager
    def _judging(self, count: Count, row: int) -> Iterator[Callable[[int], None]]:
        """Give what is told the version found; count it if it is older than what was acknowledged before."""
        expected = self._board.acknowledged(row)
        # After the other: what was acknowledged in calm weather has been delivered, or was replayed.
        calm = self._board.is_calm
        told: list[int] = []
        try:
            yield told.append
        except Exception as error:  # noqa: BLE001 -- each is counted
            count.failures += 1
            count.failure = repr(error)
            return
        [found] = told
        if found < expected:
            count.stale_after += calm
            count.stale_before += not calm
            count.longest = max(count.longest, self._board.seconds_stale(row, found, expected))


def _in_transaction(read: Callable[[int], int]) -> Callable[[int], int]:
    """Read inside a transaction whose snapshot, if it keeps one, is older than the call."""

    def inside(row: int) -> int:
        with transaction.atomic():
            rows.version(row)
            return read(row)

    return inside


def with_threads(plan: Plan, board: Board, process: int, crew: dict[str, Contender]) -> list[Reader]:
    """Read by several threads."""
    readers = [Reader(plan, board, process, place, crew) for place in range(plan.threads)]

    def work(reader: Reader) -> None:
        reader.storm()
        connections.close_all()

    threads = [Thread(target=work, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return readers


def with_tasks(plan: Plan, board: Board, process: int, crew: dict[str, Contender]) -> list[Reader]:
    """Read by several tasks, each in one of several ways."""
    readers = [Reader(plan, board, process, place, crew) for place in range(plan.tasks)]
    ours: Any = crew["cachedeco"]

    ways = (ours.aread, ours.gathered, ours.cancelled)

    async def work() -> None:
        each = [reader.astorm(ways[place % len(ways)], ours.ahiding) for place, reader in enumerate(readers)]
        await asyncio.gather(*each)

    asyncio.run(work())
    return readers


def _open_on_loops() -> str:
    """Return how many connections of event loops are open, though all loops have ended."""
    from cachedeco.backends.loop_connection import LoopConnection

    gc.collect()
    number = sum(type(each) is LoopConnection and not each.is_closed for each in gc.get_objects())
    return f"{number} connections of loops" if number else ""


def main() -> None:
    """Read, as the plan and the number on the command line say, and print the counts."""
    plan, process = Plan.from_json(sys.argv[1]), int(sys.argv[2])
    configure(plan)
    board = Board(plan)
    crew = contenders(plan)
    verdicts = listened(plan, board)
    board.tell_ready(process)
    board.wait_for(Phase.STORM)
    by_threads = process < plan.threaded_readers
    readers = (with_threads if by_threads else with_tasks)(plan, board, process, crew)
    totals = {name: Count() for name in crew}
    for reader in readers:
        for name, count in reader.counts.items():
            totals[name].add(count)
    for name, total in totals.items():
        total.computations = crew[name].computation.made()
        total.hits = total.reads - total.failures - total.computations
    ours: Any = crew["cachedeco"]
    totals["cachedeco"].hits = ours.hits()
    if left := " ".join(filter(None, (left_behind(is_up=False), _open_on_loops()))):
        totals["cachedeco"].failures += 1
        totals["cachedeco"].failure = f"left behind: {left}"
    print(json.dumps({**{name: asdict(total) for name, total in totals.items()}, "verdicts": asdict(verdicts)}))


if __name__ == "__main__":
    main()
