"""
What a run of a suite has shown: how each test ended, what the caches were asked, what the oracle has found.

A runner for Django's tests, and the hooks of a pytest plugin. Both write one JSON file at the end.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from django.test.runner import DiscoverRunner

MODE = os.environ["SUITE_MODE"]
OUT = Path(os.environ["SUITE_OUT"])
IS_ISOLATED = os.environ["SUITE_ISOLATED"] == "1"
MOST_EXAMPLES = 30


class Record:
    """The figures of one run."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.began = perf_counter()
        self.test = ""  #: the one that runs now
        self.outcomes: dict[str, str] = {}
        self.failures: dict[str, str] = {}  #: the last line of what it has raised
        self.events: Counter[str] = Counter()
        self.commands = 0  #: that carry invalidations
        self.helpers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.unstored: Counter[str] = Counter()
        self.told: Counter[str] = Counter()  #: events that should not come, or that ask for something
        self.examples: list[dict[str, str]] = []

    def end(self, test: str, outcome: str, failure: str = "") -> None:
        """Note how a test has ended: a failure stays, though the test reports more."""
        if self.outcomes.get(test, "passed") == "passed":
            self.outcomes[test] = outcome
        if failure:
            self.failures[test] = failure.strip().splitlines()[-1][:300]

    def note_example(self, **what: object) -> None:
        """Keep one example of what the oracle has found, of the first few."""
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append({"test": self.test} | {name: str(value)[:400] for name, value in what.items()})

    def on_event(self, event: Any) -> None:
        """Count an event of cachedeco."""
        self.events[event.kind] += 1
        helper = event.function.removeprefix("oracle.")
        if event.function.startswith("oracle.") and event.kind in {"hit", "stored", "unstored", "bypassed"}:
            self.helpers[helper][event.kind] += 1
        if event.kind == "unstored":
            self.unstored[f"{helper}: {event.reason}"] += 1
        if event.kind in {"unwatched", "advice", "error", "invalidation_delayed", "invalidation_lost"}:
            self.told[f"{event.kind}: {helper}: {event.reason} {event.error or ''}".strip()] += 1

    def listen(self) -> None:
        """Count the events and commands of cachedeco, if it is installed."""
        if MODE == "plain":
            return
        from cachedeco import add_hook
        from cachedeco.storage.store import Store

        add_hook(self.on_event)
        send = Store.set_tokens

        def counting(store: Store, items: Sequence[Any]) -> list[bool]:
            self.commands += 1
            return send(store, items)

        Store.set_tokens = counting  # type: ignore[method-assign] # what Django's caches are told is counted nowhere else

    def write(self) -> None:
        """Write what was seen."""
        used = os.times()
        figures = {
            **{name: value for name, value in vars(self).items() if name not in {"began", "test"}},
            "cpu": used.user + used.system,
            "seconds": perf_counter() - self.began,
        }
        OUT.write_text(json.dumps(figures, indent=1))


record = Record()


# --- Django's runner ---


class _Recording:
    """A mixin for test results."""

    def startTest(self, test: Any) -> None:  # noqa: N802 -- unittest's name
        record.test = test.id()
        super().startTest(test)  # type: ignore[misc] # of the class that this is mixed into

    def addSuccess(self, test: Any) -> None:  # noqa: N802 -- as above
        record.end(test.id(), "passed")
        super().addSuccess(test)  # type: ignore[misc] # as above

    def addFailure(self, test: Any, error: Any) -> None:  # noqa: N802 -- as above
        record.end(test.id(), "failed", repr(error[1]))
        super().addFailure(test, error)  # type: ignore[misc] # as above

    def addError(self, test: Any, error: Any) -> None:  # noqa: N802 -- as above
        record.end(test.id(), "failed", repr(error[1]))
        super().addError(test, error)  # type: ignore[misc] # as above

    def addSubTest(self, test: Any, subtest: Any, error: Any) -> None:  # noqa: N802 -- as above
        if error is not None:
            record.end(test.id(), "failed", repr(error[1]))
        super().addSubTest(test, subtest, error)  # type: ignore[misc] # as above

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802 -- as above
        record.end(test.id(), "skipped")
        super().addSkip(test, reason)  # type: ignore[misc] # as above


class Runner(DiscoverRunner):
    """Django's own runner, recording."""

    def get_resultclass(self) -> type[Any]:
        """Return a class that records."""
        base: Any = super().get_resultclass()
        return type("RecordingResult", (_Recording, base or self.test_runner.resultclass), {})

    def run_tests(self, test_labels: Sequence[str], **kwargs: Any) -> int:
        """Run the tests, and write what was seen."""
        record.listen()
        failures: int = super().run_tests(test_labels, **kwargs)
        record.write()
        return failures


if IS_ISOLATED:
    from cachedeco.testing.runner import IsolatedCacheMixin

    class IsolatedRunner(IsolatedCacheMixin, Runner):
        """Django's own runner with isolated caches, recording."""


# --- pytest ---


def pytest_sessionstart() -> None:
    """Begin to count."""
    record.listen()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember which test runs."""
    record.test = item.nodeid


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a part of a test has ended."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        record.end(report.nodeid, "failed", getattr(crash, "message", "") or str(report.longrepr))
    elif report.when == "call" or report.skipped:
        record.end(report.nodeid, report.outcome)


def pytest_sessionfinish() -> None:
    """Write what was seen."""
    record.write()
