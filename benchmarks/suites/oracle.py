"""
The oracle: call a helper of a project through a cache and without, compare, and hand on the value that it gives without.

So the project's tests see what they always see, and each of their calls is a question to the cache: is this what you
would have given?
"""

import functools
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from threading import local
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import Model, QuerySet
from django.utils.translation import get_language

from benchmarks.suites.recording import record
from cachedeco import AUTO, cached_query

TIMEOUT = 3600
# What the helpers read beside the database, and what tests override.
WORLD = ("ROOT_URLCONF", "WAGTAIL_I18N_ENABLED", "WAGTAIL_APPEND_SLASH", "SITE_ID")
PLAIN_TYPES = (str, int, float, bool, bytes, type(None))

_here = local()


def world() -> tuple[object, ...]:
    """Return what values depend on that no statement shows: the language and settings."""
    return get_language(), *(getattr(settings, name, None) for name in WORLD)


def comparable(value: Any) -> Any:
    """Return a value in a form that can be compared: each row as its columns, each QuerySet as its rows."""
    if isinstance(value, Model):
        columns = {field.attname: vars(value).get(field.attname) for field in value._meta.concrete_fields}  # noqa: SLF001 -- Django documents _meta
        return value._meta.label, {name: comparable(column) for name, column in columns.items()}  # noqa: SLF001
    if isinstance(value, QuerySet | list | tuple | set | frozenset):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return value if isinstance(value, PLAIN_TYPES) else str(value)


@contextmanager
def rows_kept(values: Iterable[object]) -> Generator[None]:
    """Take back what a call leaves on the rows among its arguments: a test may look into such a memo."""
    rows = [value for value in values if isinstance(value, Model)]
    before = [(row, dict(vars(row)), dict(row._state.fields_cache)) for row in rows]  # noqa: SLF001
    try:
        yield
    finally:
        for row, attributes, related in before:
            vars(row).clear()
            vars(row).update(attributes)
            row._state.fields_cache.clear()  # noqa: SLF001
            row._state.fields_cache.update(related)  # noqa: SLF001


@contextmanager
def queries_hidden() -> Generator[None]:
    """Take the queries of a block from the logs in which tests count them."""
    before = [(each, list(each.queries_log)) for each in connections.all(initialized_only=True)]
    try:
        yield
    finally:
        for connection, queries in before:
            connection.queries_log.clear()
            connection.queries_log.extend(queries)


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

    @functools.wraps(plain)
    def compute(*args: Any, **kwargs: Any) -> Any:
        counts["computed"] += 1
        return plain(*args, **kwargs)

    cached = cached_query(TIMEOUT, name=f"oracle.{name}", depends_on=[AUTO], vary=world, **options)(compute)

    def ask(*args: Any, **kwargs: Any) -> None:
        rows = [*args, *kwargs.values()]
        computed = counts["computed"]
        got, error = outcome_of(lambda: cached(*args, **kwargs), rows)
        truth, true_error = outcome_of(lambda: plain(*args, **kwargs), rows)
        counts["calls"] += 1
        if type(error) is not type(true_error):
            counts["refused" if true_error is None else "STALE"] += 1
            record.note_example(helper=name, refused=repr(error), instead_of=repr(true_error))
        elif error is None and got != truth:
            counts["STALE"] += 1
            how = "computed" if counts["computed"] > computed else "served"
            record.note_example(helper=name, stale=how, arguments=rows, got=got, truth=truth)

    @functools.wraps(plain)
    def helper(*args: Any, **kwargs: Any) -> Any:
        if not getattr(_here, "asking", False) and asks(*args, **kwargs):
            _here.asking = True
            try:
                with queries_hidden():
                    ask(*args, **kwargs)
            finally:
                _here.asking = False
        return plain(*args, **kwargs)

    return helper
