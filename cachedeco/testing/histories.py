"""Run histories of calls and writes, each with empty caches and in transactions that are rolled back."""

# ruff: noqa: SLF001 -- the mark of the blocks of a TestCase is in private_api

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, NoReturn

from django.db import connections, transaction
from django.db.models import Model
from django.test import TestCase

from cachedeco.functions.single import AnyCachedQuery
from cachedeco.runtime.events import Event
from cachedeco.runtime.log import logger
from cachedeco.runtime.modes import mode
from cachedeco.runtime.reprs import shorten_error
from cachedeco.testing.assertions import about_cache, call_from_sync, format_call, name_of
from cachedeco.testing.isolation import fresh_scope
from cachedeco.testing.outcomes import (
    Arguments,
    RaisedError,
    difference_of,
    format_outcome,
    format_place,
    format_result,
    outcome_of,
    plain_twin,
)


class HistoryStep(NamedTuple):
    """One step of a history: a write; if that is None, a call."""

    write: Callable[[], object] | None
    call: Arguments


class Histories:
    """Runs histories of one function."""

    def __init__(self, function: AnyCachedQuery[..., Any]) -> None:
        """Prepare the function and its plain twin."""
        self.name = name_of(function)
        self.broken: Exception | None = None  # raised by a write in the last history
        self._function = function
        self._plain = plain_twin(function)
        self._lines: list[str] = []
        self._raised: Exception | None = None  # raised by the first call that raised
        self._returned = False

    def fault(self, history: Sequence[HistoryStep]) -> str:
        """Run a history; return the steps to a difference from the plain function or to a failed write; else empty."""
        self._lines = []
        self.broken = None
        fresh_scope()
        with mode("on"), _rollback_at_end() as databases:
            for write, each in history:
                if write is not None:
                    self._write(write, databases)
                    if self.broken is not None:
                        return f"The history of {self.name} so far:{self._steps()}"
                    continue
                # A second time with rows loaded anew: what a row held when it was passed may be older than the entry.
                for arguments in filter(None, (each, _loaded_anew(each))):
                    found = self._compare(arguments)
                    if found is not None:
                        return f"{self.name} differs from the plain function:{self._steps()}{format_place(found)}"
        return ""

    def raise_nothing_learned(self, events: Sequence[Event]) -> NoReturn:
        """Raise an error that says why no call was served from the cache."""
        __tracebackhide__ = True
        error = None if self._returned else self._raised
        reasons = [f"every call raised {shorten_error(error)}"] if error else []
        reasons += sorted(
            {f"{event.kind}: {event.reason}" for event in events if event.reason and event.kind != "miss"}
        )
        why = "; ".join(reasons or ["all were misses"])
        with mode("on"):
            about = about_cache(self._function)
        msg = f"No call of {self.name} was ever served from the cache, so nothing was learned: {why}.{about}"
        raise AssertionError(msg) from error

    def _write(self, write: Callable[[], object], databases: Sequence[str]) -> None:
        from hypothesis.errors import HypothesisException

        self._lines.append(_format_write(write))
        try:
            _write(write, databases)
        except HypothesisException:
            raise  # such as that of assume()
        except Exception as error:  # noqa: BLE001 -- raised again when Hypothesis has found the shortest history
            self._lines[-1] += " raises"
            self.broken = error

    def _steps(self) -> str:
        return "".join(f"\n{number}. {line}" for number, line in enumerate(self._lines, 1))

    def _compare(self, each: Arguments) -> str | None:
        served, computed = outcome_of(self._function, each), outcome_of(self._plain, each)
        if isinstance(served, RaisedError):
            self._raised = self._raised or served.error
        else:
            self._returned = True
        found = difference_of(served, computed)
        line = format_result(self._function, each, served)
        self._lines.append(line if found is None else f"{line}, and the plain function {format_outcome(computed)}")
        return found


class _Once(logging.Filter):
    """Drops what is logged again: a function begins anew in each history, and is given the same advice."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self._logged: set[tuple[object, ...]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether nothing like it was logged."""
        what = tuple(getattr(record, f"cache_{name}", "") for name in ("event", "function", "reason"))
        is_new = what not in self._logged
        self._logged.add(what)
        return is_new or record.levelno < logging.WARNING


@contextmanager
def logged_once() -> Generator[None]:
    """Log each failure and each piece of advice of a function once, however many histories there are."""
    once = _Once()
    logger.addFilter(once)
    try:
        yield
    finally:
        logger.removeFilter(once)


def _loaded_anew(call: Arguments) -> Arguments | None:
    """Return a call with the rows among its arguments as they are in the database now; None if it has no such rows."""
    rows = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, Model)]
    fresh = {id(row): type(row)._base_manager.using(row._state.db).filter(pk=row.pk).first() for row in rows}
    if not rows or None in fresh.values():
        return None  # a row that is gone, or was never saved
    return Arguments(
        tuple(fresh.get(id(value), value) for value in call.args),
        {name: fresh.get(id(value), value) for name, value in call.kwargs.items()},
    )


@contextmanager
def _rollback_at_end() -> Generator[list[str]]:
    """Open a transaction, marked as TestCase's are, on each database that the test may use; roll all back."""
    with ExitStack() as stack:
        yield [alias for alias in connections if _begin_transaction(alias, stack)]


def _begin_transaction(alias: str, stack: ExitStack) -> bool:
    try:
        connections[alias].ensure_connection()
        atomic: Any = transaction.atomic(using=alias)
        atomic._from_testcase = True  # as TestCase does
        stack.enter_context(atomic)
    except (AssertionError, RuntimeError):
        return False  # Django or pytest-django forbids the test to use this database, so it can't change
    stack.callback(partial(transaction.set_rollback, rollback=True, using=alias))
    return True


def _write(write: Callable[[], object], databases: Sequence[str]) -> None:
    with ExitStack() as stack:
        for alias in databases:
            stack.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=True))
        call_from_sync(write, (), {})


def _format_write(write: object) -> str:
    if isinstance(write, partial):
        return format_call(write.func, write.args, write.keywords)
    return f"{getattr(write, '__name__', repr(write))}()"
