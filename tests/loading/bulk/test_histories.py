"""Any history of calls, writes, invalidations, evictions and time gives what a dict would give."""

from itertools import count
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cachedeco import Namespace, bypass, cached_query_many
from cachedeco.functions.admission import admit_many
from tests.loading.bulk.tables import Clock, Table
from tests.support.clocks import replace_time
from tests.support.machines import run_machine
from tests.support.selection import of_length
from tests.support.sides import ASYNC, SYNC
from tests.support.stored import stored

NUMBERS = range(4)
IDS = st.lists(st.sampled_from([*NUMBERS, "0", "1"]), max_size=5)
WAYS = st.sampled_from(["ids", "all", "namespace", "parent"])
_serials = count()
_clock = Clock()


class Histories(RuleBasedStateMachine):
    """What can happen. A call that gives anything but what the rows are fails; values may be due, never invalidated."""

    invalidates = True

    def __init__(self) -> None:
        """Begin with a table of which a part is absent."""
        super().__init__()
        self.table = Table({0: "a", "1": "b"})
        serial = next(_serials)

        def read(ids: list[Any]) -> dict[Any, Any]:
            return self.table.read(ids)

        more: dict[str, Any] = {
            "over": "ids",
            "namespace": "row:{each}",
            "timeout": 100,
            "stale_while_revalidate": 50,
            "early": 1,
        }
        self.functions = [
            (side, cached_query_many(name=f"history{serial}{side.is_async}", ignore=("self",), **more)(side.of(read)))
            for side in (SYNC, ASYNC)
        ]

    def _check(self, ids: list[Any], found: dict[Any, Any]) -> None:
        expected = {each: self.table.rows[each] for each in ids if each in self.table.rows}

        assert list(expected.items()) == list(found.items()), f"{ids} is {found!r}, not {expected!r}"

    @rule(ids=IDS, which=st.integers(0, 1))
    def call(self, ids: list[Any], which: int) -> None:
        """Call."""
        side, many = self.functions[which]
        self._check(ids, side.call(many, ids))

    @rule(ids=IDS, which=st.integers(0, 1))
    def refresh(self, ids: list[Any], which: int) -> None:
        """Compute and store."""
        side, many = self.functions[which]
        self._check(ids, side.call(many.refresh, ids))

    @rule(ids=IDS, which=st.integers(0, 1))
    def set_values(self, ids: list[Any], which: int) -> None:
        """Store what is right."""
        side, many = self.functions[which]
        side.call(many.call(ids).set, {each: row for each, row in self.table.rows.items() if each in ids})

    @rule(ids=IDS)
    def call_past_the_cache(self, ids: list[Any]) -> None:
        """Call with the cache bypassed."""
        with bypass():
            self._check(ids, self.functions[0][1](ids))

    @rule(changed=IDS, value=st.sampled_from([None, "a", "b", "c"]), way=WAYS)
    def write(self, changed: list[Any], value: str | None, way: str) -> None:
        """Change rows, or take them away, and invalidate."""
        for each in changed:
            if value is None:
                self.table.rows.pop(each, None)
            else:
                self.table.rows[each] = value
            if way == "namespace":
                Namespace("row", each).invalidate()
        if way == "parent":
            Namespace("row").invalidate()
        for side, many in self.functions if self.invalidates else ():
            if way == "ids":
                side.call(many.invalidate, changed)
            elif way == "all":
                side.call(many.invalidate_all)

    @rule(ids=IDS, which=st.integers(0, 1), chosen=st.sets(st.integers(0, 12)))
    def evict(self, ids: list[Any], which: int, chosen: set[int]) -> None:
        """Lose any of what is stored for some ids."""
        many = self.functions[which][1]
        admitted = admit_many(many._spec, many._bulk.find_ids((ids or [0],), {}))
        keys = [key for row in admitted.keys.values() for key in row]
        stored().delete_many([key for n, key in enumerate(keys) if n in chosen])

    @rule(seconds=st.sampled_from([40.0, 99.0, 120.0, 200.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        _clock.pass_(seconds)

    @invariant()
    def every_entry_is_right(self) -> None:
        """All that can be found is what the table has."""
        for _, many in self.functions:
            found = many.peek([*NUMBERS, "0", "1"])

            assert found.items() <= self.table.rows.items(), f"{found!r} is not of {self.table.rows!r}"


def run(machine: type[Histories], examples: int, **more: Any) -> None:
    """Run a machine on its own clock."""
    with pytest.MonkeyPatch.context() as patch:
        replace_time(patch, _clock)
        run_machine(machine, examples=examples, **more)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("backend", ["locmem", "memcached"], indirect=True)
def test_any_history_gives_what_the_table_has() -> None:
    """No call gives a value that the table does not have, nor leaves out one that it has."""
    run(Histories, of_length(8, soak=1000))


def test_control_without_invalidations_fails() -> None:
    """The control: the same machine finds the old value where writes do not invalidate ids."""
    with pytest.raises(AssertionError, match=r"is not of|, not "):
        run(type("Broken", (Histories,), {"invalidates": False}), 100, phases=[Phase.generate])
