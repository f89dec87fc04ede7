"""
The oracle: call a helper of a project through a cache and without, compare, and hand on the value of the latter.

So the project's tests see what they always see, and each of their calls is a question to the cache: is this what you
would have given? After each call the last few of the same test are asked again, with rows fetched anew: a suite writes
before nearly every call of its own, and a hit proves more than a miss.

A helper gets rows as they are in memory. Where one is not as in the database, since a change of it was not saved,
or that was saved through another object, no cache can tell: such differences are counted apart, as "other rows".
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from threading import local
from typing import Any

from django.conf import settings
from django.db import connection, connections
from django.db.models import Model, QuerySet
from django.utils.translation import get_language

from benchmarks.suites.recording import record
from cachedeco import AUTO, cached_query

TIMEOUT_SECONDS = 3600
DEPENDS_ON = [AUTO] if os.environ["SUITE_DEPENDS"] == "1" else []
ASKED_AGAIN = 4
# What the helpers read beside the database, and what tests override.
WORLD = ("ROOT_URLCONF", "WAGTAIL_I18N_ENABLED", "WAGTAIL_APPEND_SLASH", "SITE_ID")
PLAIN_TYPES = (str, int, float, bool, bytes, type(None))

_here = local()
# The last calls: their test, what asks anew, and their arguments.
_last_calls: deque[tuple[str, Callable[..., None], tuple[Any, ...]]] = deque(maxlen=ASKED_AGAIN)


def world() -> tuple[object, ...]:
    """Return what values depend on that no statement shows: the language and settings."""
    return get_language(), *(getattr(settings, name, None) for name in WORLD)


def comparable(value: Any) -> Any:
    """Return a value in a form that can be compared: each row as its columns, each QuerySet as its rows."""
    if isinstance(value, Model):
        columns = {field.attname: vars(value).get(field.attname) for field in value._meta.concrete_fields}
        return value._meta.label, {name: comparable(column) for name, column in columns.items()}
    if isinstance(value, QuerySet | list | tuple | set | frozenset):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return value if isinstance(value, PLAIN_TYPES) else str(value)


@contextmanager
def rows_kept(values: Iterable[object]) -> Generator[None]:
    """Take back what a call leaves on the rows among its arguments: a test may look into such a memo."""
    rows = [value for value in values if isinstance(value, Model)]
    before = [(row, dict(vars(row)), dict(row._state.fields_cache)) for row in rows]
    try:
        yield
    finally:
        for row, attributes, related in before:
            vars(row).clear()
            vars(row).update(attributes)
            row._state.fields_cache.clear()
            row._state.fields_cache.update(related)


@contextmanager
def queries_hidden() -> Generator[None]:
    """Take the queries of a block from the logs in which tests count them."""
    before = [(each, list(each.queries_log)) for each in connections.all(initialized_only=True)]
    try:
        yield
    finally:
        for each, queries in before:
            each.queries_log.clear()
            each.queries_log.extend(queries)


def outcome_of(call: Callable[[], Any], values: Iterable[object]) -> tuple[Any, Exception | None]:
    """Return what a call gives, comparable, or what it raises."""
    with rows_kept(values):
        try:
            return comparable(call()), None
        except Exception as error:  # noqa: BLE001 -- a helper may raise anything, with the cache and without
            return None, error


def with_oracle(
    name: str, plain: Callable[..., Any], asks: Callable[..., bool] = lambda *_, **__: True, **options: Any
) -> Callable[..., Any]:
    """
    Return a helper that does as before, and asks the cache first.

    Args:
        name: In the report.

        plain: The helper.

        asks: Takes the arguments; False for calls that are not made through the cache.

        options: Parameters of the decorator.
    """
    counts = record.helpers[name]
    made_of_other_rows: dict[str, bool] = {}  # the last computation of each call

    @functools.wraps(plain)
    def compute(*args: Any, **kwargs: Any) -> Any:
        counts["computed"] += 1
        return plain(*args, **kwargs)

    cached = cached_query(TIMEOUT_SECONDS, name=f"oracle.{name}", depends_on=DEPENDS_ON, vary=world, **options)(compute)

    def ask(*args: Any, kind: str = "calls", **kwargs: Any) -> None:
        rows = [*args, *kwargs.values()]
        call = repr([(type(row), row.pk) if isinstance(row, Model) else row for row in rows])
        computed = counts["computed"]
        got, error = outcome_of(lambda: cached(*args, **kwargs), rows)
        truth, true_error = outcome_of(lambda: plain(*args, **kwargs), rows)
        counts[kind] += 1
        if counts["computed"] == computed:
            counts[f"{kind} served"] += 1
        else:
            made_of_other_rows[call] = any(map(_differs, rows))
        if error is not None and true_error is None:
            counts["refused"] += 1
            record.note_example(helper=name, refused=repr(error))
        elif type(error) is not type(true_error) or got != truth:
            is_other = made_of_other_rows.get(call) or any(map(_differs, rows))
            what = "other rows" if is_other else "STALE"
            counts[what] += 1
            record.note_example(
                helper=name, what=what, kind=kind, arguments=rows, got=error or got, truth=true_error or truth
            )

    @functools.wraps(plain)
    def helper(*args: Any, **kwargs: Any) -> Any:
        if not getattr(_here, "asking", False) and asks(*args, **kwargs):
            _here.asking = True
            try:
                with queries_hidden():
                    ask(*args, **kwargs)
                    _ask_again()
                    if not kwargs and all(isinstance(each, (Model, *PLAIN_TYPES)) for each in args):
                        _last_calls.append((record.test, ask, args))
            finally:
                _here.asking = False
        return plain(*args, **kwargs)

    return helper


def _ask_again() -> None:
    """Ask for the last calls of this test, with rows as they are now."""
    for test, ask, args in list(_last_calls):
        if test != record.test or connection.needs_rollback:
            continue
        now = [_as_it_is(each) for each in args]
        if not any(row is None and isinstance(before, Model) for row, before in zip(now, args, strict=True)):
            ask(*now, kind="again")


def _as_it_is(value: Any) -> Any:
    """Return a row fetched anew, None if it is gone; anything else as it is."""
    return type(value)._base_manager.filter(pk=value.pk).first() if isinstance(value, Model) else value


def _differs(value: Any) -> bool:
    """Tell whether a row in memory is not as in the database."""
    return isinstance(value, Model) and comparable(value) != comparable(_as_it_is(value))
