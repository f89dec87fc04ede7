"""Findings on the outbox: its table, what waits in it, and whether a deliverer runs."""

from collections.abc import Collection, Iterator
from time import time
from typing import Any, Final

from django.apps import apps
from django.db import DatabaseError, transaction
from django.db.models import Count, Min, Q, QuerySet

from cachedeco.diagnosis.findings import Finding
from cachedeco.runtime import conf
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import shorten_error
from cachedeco.runtime.units import counted, duration

# Seconds for which a row may wait, and a deliverer be away: cron starts one each minute.
LATE_SECONDS: Final = 120.0
RUN_ONE: Final = "Run manage.py cachedeco deliver --loop as a service, or cachedeco deliver from cron each minute."


def examine_outboxes(answering: Collection[str], *, tries_to_write: bool = True) -> Iterator[Finding]:
    """
    Yield findings on the outbox of each database; nothing where the app is not installed.

    Args:
        answering: The aliases of the caches that answer: they know when a deliverer last wrote to them.

        tries_to_write: Whether to insert a row into each, and roll it back.
    """
    if not apps.is_installed("cachedeco.outbox"):
        return
    # Another door: it may be left out, and is there if it is installed.
    from cachedeco.outbox.heartbeat import last_beats
    from cachedeco.outbox.models import Row, has_table, outbox_databases, rows

    aliases = outbox_databases()
    if not aliases:
        advice = "Let allow_migrate() of a router accept 'cachedeco_outbox' for the databases that write."
        yield Finding("outbox", "Has it a table?", "wrong", "no database has one, by the routers", advice)
        return
    for using in aliases:
        subject = f"outbox in database {using}"
        try:
            if has_table(using):
                yield from _judge(subject, rows(using))
                if tries_to_write:
                    yield _judge_writing(subject, using)
            else:
                advice = f"Run manage.py migrate --database {using}: its invalidations are not recorded."
                answer = f"no, {Row._meta.db_table} is not there"
                yield Finding(subject, "Has it a table?", "wrong", answer, advice)
        except Exception as error:  # noqa: BLE001 -- a driver may raise anything
            pass_interrupt(error)
            advice = "Start the database, or correct DATABASES."
            yield Finding(subject, "Can it be read?", "wrong", f"no: {shorten_error(error)}", advice)
    for alias, beat in last_beats(answering).items():
        yield _judge_beat(f"deliverer for cache {alias}", beat)


def _judge(subject: str, rows: QuerySet[Any]) -> Iterator[Finding]:
    """Tell what waits, and whether old rows are deleted."""
    now = time()
    question = "Is all delivered?"
    waiting = rows.filter(acknowledged=None)
    # A deliverer replaces what triggers have inserted by rows of the time 0, and sends them at once.
    ages = waiting.aggregate(count=Count("pk"), oldest=Min("created", filter=Q(created__gt=0)))
    age = 0.0 if ages["oldest"] is None else now - ages["oldest"]
    waits = f"{counted(ages['count'], 'row')}, the oldest waits for {duration(age)}"
    if not ages["count"]:
        yield Finding(subject, question, "well", "yes, no row waits")
    elif age <= LATE_SECONDS:
        yield Finding(subject, question, "well", f"not yet: {waits}")
    else:
        yield Finding(subject, question, "wrong", f"no: {waits}", RUN_ONE)
    window = conf.settings().OUTBOX_SECONDS
    old = rows.filter(acknowledged__lt=now - window - LATE_SECONDS).count()
    if old:
        answer = f"no, {old} rows are older than OUTBOX_SECONDS, {duration(window)}: the table grows"
        yield Finding(subject, "Are old rows deleted?", "wrong", answer, RUN_ONE)
    else:
        yield Finding(subject, "Are old rows deleted?", "well", "yes")


def _judge_writing(subject: str, using: str) -> Finding:
    """Tell whether a row can be inserted; it is rolled back."""
    from cachedeco.outbox.models import Row, rows

    question = "Can it be written?"
    try:
        with transaction.atomic(using=using):
            rows(using).bulk_create([Row(cache="", key="", created=0)])
            transaction.set_rollback(True, using=using)
    except DatabaseError as error:
        advice = (
            "Permit the role to insert, update and delete there; of a replica, let allow_migrate() of a router refuse "
            "'cachedeco_outbox'."
        )
        return Finding(subject, question, "wrong", f"no: {shorten_error(error)}", advice)
    return Finding(subject, question, "well", "yes")


def _judge_beat(subject: str, beat: float | None) -> Finding:
    question = "Does one run?"
    if beat is None:
        return Finding(subject, question, "wrong", "none has written to this cache within a day", RUN_ONE)
    age = max(0.0, time() - beat)
    answer = f"the last one wrote {duration(age)} ago"
    if age > LATE_SECONDS:
        return Finding(subject, question, "wrong", answer, RUN_ONE)
    return Finding(subject, question, "well", answer)
