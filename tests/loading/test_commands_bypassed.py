"""The number of cache commands where the cache is bypassed or off."""

from typing import Literal

import pytest

from cachedeco import Namespace, bypass, cached_query, mode
from tests.support.backends import Commands
from tests.support.sides import Side, both

MODES: list[Literal["bypass", "off"]] = ["bypass", "off"]


@both
@pytest.mark.parametrize("name", MODES)
def test_call_past_the_cache_is_no_command(side: Side, name: Literal["bypass", "off"], commands: Commands) -> None:
    """Bypassed or off, a call and what looks and stores leave the cache alone."""

    @side.cached(namespace="numbers")
    def double(number: int) -> int:
        return 2 * number

    with mode(name):
        side.call(double, 4)
        side.call(double.peek, 4)
        side.call(double.key_for, 4)
        double.stats()

    assert [] == commands


@both
@pytest.mark.parametrize(("name", "expected"), [("bypass", ["set_many", "set_many"]), ("off", [])])
def test_storing_past_the_cache_invalidates_unless_it_is_off(
    side: Side, name: Literal["bypass", "off"], expected: list[str], commands: Commands
) -> None:
    """What `set` and `refresh` do not store, they invalidate; what is off stays off."""

    @side.cached(namespace="numbers")
    def double(number: int) -> int:
        return 2 * number

    with mode(name):
        side.call(double.call(4).set, 8)
        side.call(double.refresh, 4)

    assert expected == commands.names


@both
@pytest.mark.parametrize(("name", "expected"), [("bypass", ["set_many"] * 3), ("off", [])])
def test_invalidation_goes_out_while_bypassed_and_not_while_off(
    side: Side, name: Literal["bypass", "off"], expected: list[str], commands: Commands
) -> None:
    """Who bypasses the cache writes rows that others cache; where it is off, no server may be reached."""

    @side.cached()
    def double(number: int) -> int:
        return 2 * number

    with mode(name):
        side.call(double.invalidate, 4)
        side.call(double.invalidate_all)
        side.call(Namespace("numbers").invalidate)

    assert expected == commands.names


def test_bypass_inside_off_reaches_no_server(commands: Commands) -> None:
    """Code that bypasses does not make a test suite without a server look for one."""

    @cached_query
    def answer() -> int:
        return 1

    with mode("off"), bypass():
        answer()
        answer.invalidate()

    assert [] == commands
