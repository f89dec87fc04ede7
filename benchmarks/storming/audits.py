"""What the auditor has said in one process, beside what is known: of which rows a write was hidden from everybody."""

import re
from dataclasses import dataclass, field
from time import monotonic

from benchmarks.storming.board import Board
from benchmarks.storming.plan import Plan

# The functions of which one write in so many is hidden.
HIDING = frozenset({"storm.hiding", "storm.ahiding"})
# Seconds between a computation and the event of its audit, on a machine that does ten other things.
LONGEST_EVENT_SECONDS = 5.0


@dataclass
class Verdicts:
    """What was said."""

    audited: int = 0  #: hits that are what they should be, or of which it is known why not
    found: int = 0  #: hits of rows with a hidden write that were reported
    missed: int = 0  #: ... and that were not
    accused: int = 0  #: hits that were reported, though every write was announced
    rows: list[int] = field(default_factory=list)  #: the rows with a hidden write that were reported, each once
    accusation: str = ""  #: one of them

    def add(self, other: "Verdicts") -> None:
        """Add what another process was told."""
        for name in ("audited", "found", "missed", "accused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rows = sorted({*self.rows, *other.rows})
        self.accusation = self.accusation or other.accusation


def listened(plan: Plan, board: Board) -> Verdicts:
    """Return what is said in this process from now on."""
    from threading import Lock

    from cachedeco import Event, add_hook
    from cachedeco.runtime.hooks import runs_anywhere

    verdicts, lock = Verdicts(), Lock()

    @runs_anywhere
    def hear(event: Event) -> None:
        if event.kind not in {"audited", "inconsistent"}:
            return
        with lock:
            _judge(verdicts, event.kind == "inconsistent", *_hidden(plan, board, event.function, event.key))
            if verdicts.accused and not verdicts.accusation:
                verdicts.accusation = f"{event.function}: {event.reason}"

    add_hook(hear)
    return verdicts


def _hidden(plan: Plan, board: Board, function: str, key: str) -> tuple[int, float]:
    """Return a row, and for how many seconds a write of it has been hidden; 0 where none was."""
    told = re.search(r"row=(\d+)", key)
    if function not in HIDING or told is None:
        return -1, 0.0
    row = int(told[1])
    since = board.hidden_since(row - plan.rows)
    return row, monotonic() - since if since else 0.0


def _judge(verdicts: Verdicts, is_reported: bool, row: int, seconds: float) -> None:  # noqa: FBT001 -- of two
    if is_reported and seconds:
        verdicts.found += 1
        if row not in verdicts.rows:
            verdicts.rows.append(row)
    elif is_reported:
        verdicts.accused += 1
    elif seconds > LONGEST_EVENT_SECONDS:
        verdicts.missed += 1
    else:
        verdicts.audited += 1
