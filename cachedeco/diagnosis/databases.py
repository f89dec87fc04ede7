"""Findings on databases: do they answer, are their writes seen."""

from collections.abc import Iterator

from django.db import connections

from cachedeco.diagnosis.findings import Finding
from cachedeco.runtime.databases import databases
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import shorten_error
from cachedeco.tracking.watcher import is_watched


def examine_databases() -> Iterator[Finding]:
    """Yield findings on all databases of the project; connects to each."""
    for alias in databases():
        yield from _examine(alias)


def _examine(alias: str) -> Iterator[Finding]:
    subject, question = f"database {alias}", "Are its writes seen?"
    connection = connections[alias]
    try:
        connection.ensure_connection()
    except Exception as error:  # noqa: BLE001 -- a driver may raise anything
        pass_interrupt(error)
        advice = "Start it, or correct DATABASES."
        yield Finding(subject, "Does it answer?", "wrong", f"no: {shorten_error(error)}", advice)
        return
    if is_watched(connection):
        yield Finding(subject, question, "well", "yes, each statement through Django is")
    else:
        advice = "Leave connection.execute_wrappers alone: use connection.execute_wrapper(), which takes back its own."
        yield Finding(subject, question, "wrong", "no, so that they invalidate nothing", advice)
