"""What do callers under constant load notice of an expiry?"""

from statistics import median

from stampeding.callers import Load
from stampeding.contenders import SHORT_SECONDS, STALE_SECONDS, Backend, contenders
from stampeding.fleet import Fleet, Job, Report
from stampeding.source import Computation, Source
from stampeding.tables import Table, milliseconds, percentile

COMPUTATION_SECONDS = 0.2
PROCESSES, THREADS = 4, 5
PAUSE_SECONDS = 0.01  # between two calls of a caller: the load has to leave the machine some room
LOAD_SECONDS = 10.5
# A window around an expiry reaches from a little before its first computation to twice the time that it takes.
BEFORE_SECONDS, AFTER_SECONDS = 0.05, 2 * COMPUTATION_SECONDS
# Computations that begin within so long belong to one expiry: well under the timeout, well over a herd's spread.
TOGETHER_SECONDS = SHORT_SECONDS / 2
CONTENDERS = ("cachedeco, stale", "cachedeco, no stale", "dogpile.cache, short")


def run(backend: Backend) -> None:
    """Measure on one server, and print the table."""
    title = f"{backend.name}: {PROCESSES * THREADS} callers, each with a pause of {PAUSE_SECONDS * 1000:g} ms between"
    title += f" calls, of one key with a timeout of {SHORT_SECONDS:g} s (stale: {STALE_SECONDS:g} s) and"
    title += f" {COMPUTATION_SECONDS:g} s a computation"
    heads = "contender,expiries,computations,around it p50,p99,max,waiting,quiet p50,p99,max,errors"
    table = Table(title, heads.split(","))
    with Fleet(backend, Source(PROCESSES), PROCESSES, THREADS) as fleet:
        ours = contenders(backend, Computation(fleet.source, 0))
        for name in CONTENDERS:
            fleet.source.seconds = COMPUTATION_SECONDS
            fleet.round(Job(name, "connected", Load(0.0, PAUSE_SECONDS)))
            ours[name].call("load")  # or the beginning would look like an expiry
            table.add(name, *cells(fleet.round(Job(name, "load", Load(LOAD_SECONDS, PAUSE_SECONDS)))))
    table.show()
    print("Around it: calls that began while a window around an expiry was open.")
    print("Waiting: those of them, for each expiry, that took longer than half a computation.")


def cells(reports: list[Report]) -> list[str]:
    """Return what the table tells of one contender."""
    calls = [call for report in reports for caller in report.answers for call in caller]
    groups = expiries([began for report in reports for began in report.began])
    errors = str(sum(bool(call.error) for call in calls))
    if not groups:
        return ["0", *[""] * 8, errors]
    windows = [(group[0] - BEFORE_SECONDS, group[0] + AFTER_SECONDS) for group in groups]
    around = [call.seconds for call in calls if any(low <= call.began < high for low, high in windows)]
    quiet = [call.seconds for call in calls if not any(low <= call.began < high for low, high in windows)]
    counts = sorted(map(len, groups))
    sizes = f"{counts[0]} / {median(counts):g} / {counts[-1]}"
    waiting = sum(seconds > COMPUTATION_SECONDS / 2 for seconds in around) / len(groups)
    return [str(len(groups)), sizes, *spread(around), f"{waiting:.1f}", *spread(quiet), errors]


def expiries(began: list[float]) -> list[list[float]]:
    """Return the moments at which computations began, those of one expiry together."""
    groups: list[list[float]] = []
    for moment in sorted(began):
        if groups and moment < groups[-1][0] + TOGETHER_SECONDS:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    return groups


def spread(seconds: list[float]) -> list[str]:
    """Return the middle, the 99th percentile and the longest."""
    return [milliseconds(median(seconds)), milliseconds(percentile(seconds, 99)), milliseconds(max(seconds))]
