"""CPU seconds by folder, printed at the end of a run: a pytest plugin, loaded by the conftest of the tests."""

import os
from collections import Counter
from pathlib import PurePath

import pytest
from _pytest.terminal import TerminalReporter

_used = sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> object:
    """Note what this process and its ended children have used since the last report; pytest-xdist passes it on."""
    global _used
    report = yield
    now = sum(os.times()[:4])
    report.cpu_seconds, _used = now - _used, now
    return report


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the seconds and the number of tests of each folder, the dearest first."""
    seconds, counts = Counter[str](), Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "cpu_seconds"):
                folder = str(PurePath(*PurePath(report.nodeid.partition("::")[0]).parts[1:-1][:2]))
                seconds[folder] += report.cpu_seconds
                counts[folder] += report.when == "call"
    if not counts:
        return
    terminalreporter.section("CPU seconds and tests by folder")
    for folder, spent in seconds.most_common():
        terminalreporter.write_line(f"{spent:6.1f} {counts[folder]:5} {folder}")
    terminalreporter.write_line(f"{seconds.total():6.1f} {counts.total():5} in all")
