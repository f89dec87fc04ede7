"""Histories of calls and writes: each begins anew, and leaves nothing behind."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, NoReturn

from django.db import connections, transaction
from django.test import TestCase

from cachedeco.functions.single import AnyCachedQuery
from cachedeco.runtime.events import Event
from cachedeco.runtime.modes import mode
from cachedeco.testing.assertions import call_from_sync, name_of, shown
from cachedeco.testing.isolation import fresh_scope
from cachedeco.testing.outcomes import (
    Arguments,
    Raised,
    difference_of,
    outcome_of,
    outcome_told,
    place_told,
    plain_twin,
    told,
)


class Step(NamedTuple):
    """One step of a history: a write, or a call where there is none."""

    write: Callable[[], object] | None
    call: Arguments


class Histories:
    """The histories of one function that are tried, each by itself."""

    def __init__(self, function: AnyCachedQuery[..., Any]) -> None:
        """Begin with none."""
        self.name = name_of(function)
        self.broken: Exception | None = None  # what a write has raised in the last one
        self._function = function
        self._plain = plain_twin(function)
        self._told: list[str] = []
        self._raised: Exception | None = None  # what a call raised, first
        self._returned = False

    def fault(self, history: Sequence[Step]) -> str:
        """Run one, and return where the function differs from the plain one, or a write raises, if so."""
        self._told = []
        self.broken = None
        fresh_scope()
        with mode("on"), _rolled_back() as databases:
            for write, each in history:
                if write is not None:
                    self._write(write, databases)
                    if self.broken is not None:
                        return f"The history of {self.name} so far:{self._steps()}"
                    continue
                found = self._differs(each)
                if found is not None:
                    return f"{self.name} differs from the plain function:{self._steps()}{place_told(found)}"
        return ""

    def raise_nothing_learned(self, events: Sequence[Event]) -> NoReturn:
        """Tell why no call was served."""
        __tracebackhide__ = True
        error = None if self._returned else self._raised
        reasons = [f"every call raised {type(error).__name__}: {error}"] if error else []
        reasons += sorted({f"{event.kind}: {event.reason}" for event in events if event.reason})
        why = "; ".join(reasons or ["all were misses"])
        msg = f"No call of {self.name} was ever served from the cache, so nothing was learned: {why}."
        raise AssertionError(msg) from error

    def _write(self, write: Callable[[], object], databases: Sequence[str]) -> None:
        from hypothesis.errors import HypothesisException

        self._told.append(_shown_write(write))
        try:
            _write(write, databases)
        except HypothesisException:
            raise  # such as that of assume()
        except Exception as error:  # noqa: BLE001 -- raised again when the shortest way to it is found
            self._told[-1] += " raises"
            self.broken = error

    def _steps(self) -> str:
        return "".join(f"\n{number}. {line}" for number, line in enumerate(self._told, 1))

    def _differs(self, each: Arguments) -> str | None:
        served, computed = outcome_of(self._function, each), outcome_of(self._plain, each)
        if isinstance(served, Raised):
            self._raised = self._raised or served.error
        else:
            self._returned = True
        found = difference_of(served, computed)
        line = told(self._function, each, served)
        self._told.append(line if found is None else f"{line}, and the plain function {outcome_told(computed)}")
        return found


@contextmanager
def _rolled_back() -> Generator[list[str]]:
    """Open a transaction on each database that may be used here, marked as TestCase's are; roll all back at the end."""
    with ExitStack() as stack:
        yield [alias for alias in connections if _begun(alias, stack)]


def _begun(alias: str, stack: ExitStack) -> bool:
    try:
        connections[alias].ensure_connection()
        atomic: Any = transaction.atomic(using=alias)
        atomic._from_testcase = True  # noqa: SLF001 -- as TestCase does it
        stack.enter_context(atomic)
    except (AssertionError, RuntimeError):
        return False  # Django's, and pytest-django's, way to say that the test may not use it: so nothing can change
    stack.callback(partial(transaction.set_rollback, rollback=True, using=alias))
    return True


def _write(write: Callable[[], object], databases: Sequence[str]) -> None:
    with ExitStack() as stack:
        for alias in databases:
            stack.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=True))
        call_from_sync(write, (), {})


def _shown_write(write: object) -> str:
    if isinstance(write, partial):
        return shown(write.func, write.args, write.keywords)
    return f"{getattr(write, '__name__', repr(write))}()"
