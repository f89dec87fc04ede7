"""How long do the others wait when the process that computes for them is killed in the middle?"""

import time
from statistics import median

from stampeding.callers import Answer, ask
from stampeding.contenders import Backend
from stampeding.fleet import Fleet, Job
from stampeding.source import Source
from stampeding.tables import Table, milliseconds

# Longer than in a herd, so that its middle is hit on a busy machine too.
COMPUTATION_SECONDS = 0.5
PROCESSES = 4
KILLS = {"cachedeco": 3, "dogpile.cache": 1}
# Who still waits by then counts as waiting for ever: twenty computations.
PATIENCE_SECONDS = 10.0


def run(backend: Backend, threads: int) -> None:
    """Measure on one server, and print the table."""
    from cachedeco.runtime.conf import settings

    title = f"{backend.name}: of {PROCESSES} processes of {threads} callers, the one that computes is killed"
    heads = ("contender", "kills", "computations", "unanswered", "median", "max", "errors")
    wait = settings().WAIT
    table = Table(f"{title} after {COMPUTATION_SECONDS / 2:g} of {COMPUTATION_SECONDS:g} s", heads)
    with Fleet(backend, Source(PROCESSES), PROCESSES, threads) as fleet:
        fleet.source.seconds = COMPUTATION_SECONDS
        for name, kills in KILLS.items():
            rounds = [one_kill(fleet, name, number) for number in range(kills)]
            answers = [answer for _, each in rounds for answer in each]
            counts = sorted(count for count, _ in rounds)
            missing = kills * (PROCESSES - 1) * threads - len(answers)
            begun = f"{counts[0]} / {median(counts):g} / {counts[-1]}"
            table.add(name, str(kills), begun, str(missing), *waits(answers))
    table.show()
    print(f"One computation and cachedeco's wait of {wait:g} s: {milliseconds(COMPUTATION_SECONDS + wait)}.")
    print(f"Unanswered: callers of processes that told nothing for {PATIENCE_SECONDS:g} s.")


def one_kill(fleet: Fleet, contender: str, number: int) -> tuple[int, list[Answer]]:
    """Run one round in new processes; return how many computations began, and what the survivors' callers tell."""
    fleet.renew()
    fleet.round(Job(contender, f"connected:{number}", ask))
    earlier = fleet.source.counts
    fleet.park(Job(contender, f"killed:{number}", ask))
    moment = fleet.release()
    while (now := fleet.source.counts) == earlier and time.monotonic() < moment + PATIENCE_SECONDS:
        time.sleep(0.002)
    time.sleep(COMPUTATION_SECONDS / 2)
    fleet.kill(next(process for process, count in enumerate(now) if count > earlier[process]))
    reports = fleet.collect(PATIENCE_SECONDS)
    return sum(fleet.source.counts) - sum(earlier), [answer for report in reports for answer in report.answers]


def waits(answers: list[Answer]) -> list[str]:
    """Return the cells that tell of the answers, as far as there are any."""
    seconds = [each.seconds for each in answers]
    errors = str(sum(bool(each.error) for each in answers))
    return [milliseconds(median(seconds)), milliseconds(max(seconds)), errors] if seconds else ["", "", errors]
