"""
A fresh process that looks at what a storm has left: rows that stay old, and what a slow reader can still do.

The slow reader is the one race that every delete loses, brought about step by step: it reads a row, a writer writes
the row and invalidates it, and then the reader stores what it has read.
"""

import json
import sys
from functools import partial
from threading import Event, Thread

from django.db import connection, connections

from benchmarks.storming import rows
from benchmarks.storming.board import Board
from benchmarks.storming.caching import Contender, contenders
from benchmarks.storming.plan import Plan, configure
from benchmarks.storming.writers import Writer

# Seconds after which a step of the race has failed: far more than it takes.
LONGEST_STEP_SECONDS = 20


def stuck(plan: Plan, contender: Contender) -> int:
    """Return how many rows are old still, though nothing has been written for a while."""
    return sum(contender.read(row) < rows.version(row) for row in range(plan.rows))


def slow_reader_leaves_old(board: Board, writer: Writer, contender: Contender, row: int) -> bool:
    """Tell whether the row is old, for a read that begins after all of the race."""
    began, written = Event(), Event()

    def read() -> None:
        contender.read(row)
        connections.close_all()

    def hold() -> None:
        began.set()
        written.wait(LONGEST_STEP_SECONDS)

    writer.write(row)  # all that is stored is old now: the next read computes
    contender.computation.hold = hold
    reader = Thread(target=read)
    reader.start()
    if not began.wait(LONGEST_STEP_SECONDS):
        msg = "The slow reader did not begin to compute."
        raise RuntimeError(msg)
    contender.computation.hold = partial(str)
    writer.write(row)
    written.set()
    reader.join()
    return contender.read(row) < board.acknowledged(row)


def main() -> None:
    """Look, as the plan on the command line says, and print what was found of each contender."""
    plan = Plan.from_json(sys.argv[1])
    configure(plan)
    board, crew = Board(plan), contenders(plan)
    writer = Writer(plan, board, 0, crew)
    # First, of all of them: the slow readers invalidate.
    found = {name: {"stuck": stuck(plan, contender)} for name, contender in crew.items()}
    for row, (name, contender) in enumerate(crew.items()):
        found[name]["slow"] = int(slow_reader_leaves_old(board, writer, contender, row))
    connection.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
