"""How many computations does a herd cause, and how long do callers wait?"""

import random
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from stampeding.callers import Answer, ask
from stampeding.contenders import Backend, Contender, contenders
from stampeding.fleet import Fleet, Job
from stampeding.source import Computation, Source
from stampeding.tables import Table, milliseconds, percentile

COMPUTATION_SECONDS = 0.2
SITUATIONS = ("cold", "invalidated")
HEADS = ("contender", "situation", "rounds", "computations", "exactly one", "median", "p99", "max", "errors", "stale")


@dataclass
class Tally:
    """What came out of one contender in one situation."""

    computations: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    stale: int = 0

    def add(self, computations: int, answers: list[Answer], expected: int) -> None:
        """Add one round."""
        self.computations.append(computations)
        self.seconds += [each.seconds for each in answers]
        began = [each.began for each in answers]
        self.spreads.append(max(began) - min(began))
        self.errors.update(each.error for each in answers if each.error)
        self.stale += sum(each.value not in {None, expected} for each in answers)


Tallies = dict[tuple[str, str], Tally]


class Herd:
    """Rounds of one fleet against one server, each with a key of its own."""

    def __init__(self, backend: Backend, fleet: Fleet) -> None:
        """Take Django as configured for the server."""
        self._fleet = fleet
        self._source = fleet.source
        self._contenders = contenders(backend, Computation(fleet.source, 0))
        self._keys = 0

    def names(self) -> list[str]:
        """Return the contenders of this section."""
        return [name for name in self._contenders if "," not in name]

    def measured(self, rounds: dict[str, int]) -> Tallies:
        """Run so many rounds of each contender and situation, in random order; one more of each warms up."""
        keys = [(name, situation) for name in rounds for situation in SITUATIONS]
        for name, situation in keys:
            self._round(self._contenders[name], situation, Tally())
        tallies: Tallies = {key: Tally() for key in keys}
        schedule = [(name, situation) for name, situation in keys for _ in range(rounds[name])]
        for name, situation in random.sample(schedule, len(schedule)):
            self._round(self._contenders[name], situation, tallies[name, situation])
        return tallies

    def _round(self, contender: Contender, situation: str, tally: Tally) -> None:
        self._keys += 1
        key = f"{situation}:{self._keys}"
        if situation == "invalidated":
            self._source.seconds = 0.0
            contender.call(key)
        self._source.seconds = COMPUTATION_SECONDS

        def before() -> None:
            if situation == "invalidated":
                self._source.change()
                contender.invalidate(key)

        earlier = sum(self._source.counts)
        reports = self._fleet.round(Job(contender.name, key, ask), before)
        answers = [answer for report in reports for answer in report.answers]
        tally.add(sum(self._source.counts) - earlier, answers, self._source.version)


def run(backend: Backend, processes: int, threads: int, rounds: int, peer_rounds: int) -> None:
    """Measure on one server, and print the table."""
    with Fleet(backend, Source(processes), processes, threads) as fleet:
        herd = Herd(backend, fleet)
        wanted = {name: rounds if name == "cachedeco" else peer_rounds for name in herd.names()}
        tallies = herd.measured(wanted)
    title = f"{backend.name}: {processes} processes of {threads} callers, {COMPUTATION_SECONDS:g} s a computation"
    table = Table(title, HEADS)
    for (name, situation), tally in tallies.items():
        table.add(name, situation, *cells(tally))
    table.show()
    spreads = [spread for tally in tallies.values() for spread in tally.spreads]
    print(
        f"From the first caller of a round to the last: median {milliseconds(median(spreads))}, "
        f"at most {milliseconds(max(spreads))}."
    )
    for (name, situation), tally in tallies.items():
        for error, count in tally.errors.most_common(3):
            print(f"{name}, {situation}: {count} times {error}")


def cells(tally: Tally) -> list[str]:
    """Return what the table tells of one tally."""
    counts = tally.computations
    return [
        str(len(counts)),
        f"{min(counts)} / {median(counts):g} / {max(counts)}",
        str(counts.count(1)),
        milliseconds(median(tally.seconds)),
        milliseconds(percentile(tally.seconds, 99)),
        milliseconds(max(tally.seconds)),
        str(tally.errors.total()),
        str(tally.stale),
    ]
