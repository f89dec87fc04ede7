"""
Is anything old ever served, when many processes read and write at once and everything fails that can?

    make storm                              # or: python benchmarks/storm.py: each storm, some twenty minutes
    python benchmarks/storm.py --short      # a few seconds each
    python benchmarks/storm.py --only plain --backend memcached --reads 1000000
    python benchmarks/storm.py --only plain --audit 0.01 --hide 50 --seconds 300

Processes write new versions of a few rows to a PostgreSQL, and invalidate in the same transaction; others read the rows
through the cache. A read is stale if its version is older than one that was acknowledged to its writer before the read
began. The controls cache the same rows in the same processes by other means, and delete after the commit.

In storms that can lose invalidations, "faults" are the stale reads from the beginning of a fault until all that it has
lost was replayed; without an outbox nothing is ever replayed. "stale" are those that nothing excuses; it must be 0 in
the lines of cachedeco, as must be "stuck" (rows that are old still in the end, for a fresh process) and "raised"
(exceptions that reach a reader or a writer). "slow" tells whether a reader that was slower than a write, step by step,
has left an old row. Ends with 1 where cachedeco has failed by these words, or where no control has: such a storm proves
nothing.

With --audit cachedeco audits a share of its hits. "accused" are those that it has reported though every write was
announced: 0 where no invalidation is lost, and with an outbox where AUDIT_SECONDS is longer than any delivery takes.
With --hide one write in so many is of a row of its own, and is not announced: each audit of such a row has to
report it, and each of these rows has to be reported.
"""

import argparse
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.storming.course import LONG, MODULES, SHORT, Audit, Result, machine, storm
from benchmarks.storming.plan import Backend
from benchmarks.storming.scenarios import SCENARIOS
from tests.support.postgres import PostgreSQL

BACKENDS: tuple[Backend, ...] = get_args(Backend)
NO_LIMIT_SECONDS = 24 * 3600.0
CONTROLS = ("get_or_set", *MODULES)
HEADS = ("reads", "writes", "hits", "computed", "faults", "longest", "stale", "slow", "stuck", "raised", "lost")
# Longer than the outbox takes to deliver what was lost in a fault.
LONGEST_DELIVERY_SECONDS = 30.0


def line(result: Result) -> str:
    """Return one line of the table."""
    count = result.count
    cells = {
        "reads": f"{count.reads:,}",
        "writes": f"{result.writes:,}",
        "hits": f"{count.hits / max(1, count.reads):.0%}",
        "computed": f"{count.computations:,}",
        "faults": f"{count.stale_before:,}" if SCENARIOS[result.scenario].loses else "",
        "longest": f"{count.longest:.2f} s" if count.longest else "",
        "stale": f"{count.stale_after:,}",
        "slow": "old" if result.slow else "fresh",
        "stuck": f"{result.stuck}",
        "raised": f"{result.failures:,}",
        "lost": f"{result.lost:,}" if result.contender == "cachedeco" else "",
    }
    return f"    {result.contender:21}" + "".join(f"{cells[head]:>10}" for head in HEADS)


def faults_of(results: Iterable[Result]) -> list[str]:
    """Return what is wrong with one storm's results, in words."""
    ours, *controls = results
    place = f"{ours.scenario} on {ours.backend}"
    faults = []
    if ours.stale or ours.failures or not ours.count.reads or not ours.writes:
        raised = f"raised {ours.failures} times {ours.count.failure}"
        faults.append(f"{place}: cachedeco served {ours.stale} stale reads in {ours.count.reads}, and {raised}")
    may_stick = SCENARIOS[ours.scenario].loses and not ours.outbox
    if ours.stuck and not may_stick:
        faults.append(f"{place}: cachedeco left {ours.stuck} old rows.")
    faults += faults_of_audits(ours, place)
    if not any(control.stale for control in controls):
        faults.append(f"{place}: no control has served anything old, so this storm proves nothing.")
    return faults


def faults_of_audits(ours: Result, place: str) -> list[str]:
    """Return what is wrong with what the auditor has said, in words."""
    said, faults = ours.verdicts, []
    # What was lost for longer than the auditor waits is rightly reported.
    is_delivered = not SCENARIOS[ours.scenario].loses or (
        ours.outbox and ours.audit_seconds >= LONGEST_DELIVERY_SECONDS
    )
    if said.accused and is_delivered:
        faults.append(f"{place}: the auditor has accused {said.accused} hits, such as {said.accusation}")
    if ours.hides and not ours.hidden:
        faults.append(f"{place}: no write was hidden for so long that both looks are over, so nothing is proven")
    if said.missed or len(said.rows) < ours.hidden:
        faults.append(
            f"{place}: the auditor has missed {said.missed} audits, and found {len(said.rows)} of {ours.hidden}"
        )
    return faults


def line_of_audits(ours: Result) -> str:
    """Return what the auditor has said, in one line."""
    said = ours.verdicts
    hidden = f"; of hidden writes {said.found:,} audits found, {said.missed:,} missed" if ours.hides else ""
    rows = f", {len(said.rows)} rows of {ours.hidden} at least" if ours.hides else ""
    return f"    auditor: {said.audited:,} audited, {said.accused:,} accused{hidden}{rows}"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="this scenario; may be given again")
    parser.add_argument("--backend", choices=(*BACKENDS, "all"), default="all")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument(
        "--seconds", type=float, help=f"of each storm at most; {LONG.seconds:.0f}, or {SHORT.seconds:.0f} with --short"
    )
    parser.add_argument("--reads", type=int, help="of cachedeco, after which a storm ends")
    parser.add_argument("--short", action="store_true", help="small storms, of a few seconds")
    parser.add_argument("--outbox", action="store_true", help="deliver invalidations by cachedeco.outbox")
    parser.add_argument("--audit", type=float, default=0.0, metavar="SHARE", help="audit this share of the hits")
    parser.add_argument("--audit-seconds", type=float, default=60.0, help="between the two looks of an audit; 60")
    parser.add_argument("--hide", type=int, default=0, metavar="N", help="hide one write in N, for the auditor to find")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.hide and (chosen.only != ["plain"] or not chosen.audit):
        parser.error("--hide goes with --only plain and --audit: elsewhere an entry may be computed anew by chance")
    return chosen


def main() -> None:
    """Let the storms come, and print what they have shown."""
    chosen = options()
    size = SHORT if chosen.short else LONG
    seconds = chosen.seconds or (NO_LIMIT_SECONDS if chosen.reads else size.seconds)
    size = replace(size, seconds=seconds, reads=chosen.reads)
    backends = BACKENDS if chosen.backend == "all" else (chosen.backend,)
    audit = Audit(share=chosen.audit, seconds=chosen.audit_seconds, hide=chosen.hide) if chosen.audit else None
    packages = ("Django", "psycopg", "pymemcache", "redis")
    print(f"{machine()}; {', '.join(f'{each} {version(each)}' for each in packages)}; seed {chosen.seed}")
    began, reads, faults = monotonic(), 0, []
    with nullcontext() if chosen.database == "sqlite" else PostgreSQL() as database:
        for name in chosen.only or SCENARIOS:
            for backend in backends:
                results = storm(
                    name,
                    backend,
                    database,
                    size,
                    controls=CONTROLS,
                    outbox=chosen.outbox,
                    audit=audit,
                    seed=chosen.seed,
                )
                killed = f", {results[0].killed} writers killed" if results[0].killed else ""
                print(f"\n{name} on {backend}, {results[0].seconds:.0f} s{killed}")
                print(" " * 25 + "".join(f"{head:>10}" for head in HEADS))
                print("\n".join(map(line, results)), flush=True)
                if audit:
                    print(line_of_audits(results[0]), flush=True)
                reads += results[0].count.reads
                faults += faults_of(results)
    print(f"\n{reads:,} reads of cachedeco in {monotonic() - began:.0f} seconds.")
    if faults:
        sys.exit("\n".join(faults))
    print("None was older than it may be; every storm has caught a control.")


if __name__ == "__main__":
    main()
