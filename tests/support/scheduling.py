"""In which process of pytest-xdist a test runs, and when. A pytest plugin."""

from functools import cached_property
from itertools import takewhile
from typing import Any

import pytest

# What their fixtures make takes many seconds: one process runs all of a file.
TOGETHER = {"tests/samples/test_sample.py", "tests/scenarios/test_storm.py"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand the tests out one by one, but for files that are to stay together: those first, as they take longest."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        # Not by xdist_group: pytest 9.2 does not look at the names that pytest-xdist 3.8 gives to tests of a group.
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if path in TOGETHER else nodeid

        # pytest-xdist looks for each test among all, and counts all that a process was given after each of its tests.
        def _assign_work_unit(self, node: Any) -> None:
            scope, unit = self.workqueue.popitem(last=False)
            self.assigned_work.setdefault(node, {})[scope] = unit
            node.send_runtest_some([self._places[nodeid] for nodeid in unit])

        @cached_property
        def _places(self) -> dict[str, int]:
            return {nodeid: place for place, nodeid in enumerate(self.collection)}

        def _pending_of(self, workload: dict[str, dict[str, bool]]) -> int:
            units = takewhile(lambda unit: not all(unit.values()), reversed(workload.values()))
            return sum(list(unit.values()).count(False) for unit in units)

    return Scheduling(config, log)
