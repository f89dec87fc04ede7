"""What each path costs: the commands that reach the cache."""

import pytest

from cachedeco import Namespace, bypass
from tests.loading.bulk.tables import Clock, Table
from tests.support.backends import Commands
from tests.support.sides import Side, both


@both
def test_hit_of_many_ids_is_one_command(side: Side, commands: Commands) -> None:
    """Five hundred ids with a namespace each cost one command when all are stored."""
    many = Table(dict.fromkeys(range(500), "row")).cached(side, namespace="row:{each}")
    side.call(many, range(500))
    commands.clear()

    side.call(many, range(500))

    assert ["get_many"] == commands.names
    [command] = commands
    assert 3 * 500 + 2 == len(command.keys)  # entry, own token and namespace of each; function and parent namespace


def test_hit_of_more_than_one_command_takes_is_sent_in_chunks(commands: Commands) -> None:
    """2001 ids have 4003 keys: three commands to read them."""
    many = Table(dict.fromkeys(range(2001), "row")).cached()
    many(range(2001))
    commands.clear()

    many(range(2001))

    assert ["get_many"] * 3 == commands.names
    assert [2000, 2000, 3] == [len(command.keys) for command in commands]


@both
def test_miss_of_a_new_function(side: Side, table: Table, commands: Commands) -> None:
    """For any number: read, what tells the ids apart, what they share, lease, entries, lease."""
    many = table.cached(side, timeout=300, namespace="row:{each}")

    side.call(many, [1, 2, 3])

    assert [
        *["get_many", "set_many", "set_many", "add", "add", "add"],
        *["set_many", "set_many"],
    ] == commands.names


def test_miss_of_new_ids(table: Table, commands: Commands) -> None:
    """Tokens of ids are minted together; that of one id with add, so that callers who race agree on it."""
    many = table.cached()
    many([1])
    commands.clear()

    many([2, 3, 4])
    many([1, 5])

    assert [
        *["get_many", "set_many", "add", "set_many", "set_many"],
        *["get_many", "add", "add", "set_many", "set_many"],
    ] == commands.names


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(10, ["get_many", "add", "set_many", "set_many"]), (0, ["get_many", "set_many"])],
    ids=["lease", "no lease"],
)
def test_miss_with_all_tokens_there(table: Table, commands: Commands, wait: int, expected: list[str]) -> None:
    """After an invalidation: read, lease, entries, lease."""
    many = table.cached(wait=wait)
    many([1, 2])
    many.invalidate_all()
    commands.clear()

    many([1, 2])

    assert expected == commands.names


@both
def test_verbs(side: Side, table: Table, commands: Commands) -> None:
    """Each verb costs as much for many ids as for one."""
    many = table.cached(side)
    side.call(many, [1, 2, 3])
    costs = {}
    for name, args in (
        ("peek", ([1, 2, 3],)),
        ("refresh", ([1, 2, 3],)),
        ("invalidate", ([1, 2, 3],)),
        ("invalidate_all", ()),
        ("keys_for", ([1, 2, 3],)),
    ):
        commands.clear()
        side.call(getattr(many, name), *args)
        costs[name] = commands.names
    commands.clear()
    side.call(many.call([1, 2, 3]).set, {1: "a", 2: "b"})
    costs["set"] = commands.names

    assert {
        "peek": ["get_many"],
        "refresh": ["get_many", "set_many"],
        "set": ["get_many", "set_many"],
        "invalidate": ["set_many"],
        "invalidate_all": ["set_many"],
        "keys_for": [],
    } == costs


@both
def test_invalidation_in_bypass_is_sent(side: Side, table: Table, commands: Commands) -> None:
    """Bypassed, a refresh computes, and invalidates by one command."""
    many = table.cached(side)

    with bypass():
        side.call(many.refresh, [1, 2])

    assert ["set_many"] == commands.names


def test_due_ids_are_refreshed_by_one_command_each_way(table: Table, commands: Commands, clock: Clock) -> None:
    """Past the timeout: read, lease, entries, lease."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1, 2, 3])
    clock.pass_(150)
    commands.clear()

    many([1, 2, 3])

    assert ["get_many", "add", "set_many", "set_many"] == commands.names


def test_longest_timeout_is_that_of_the_command(table: Table, commands: Commands) -> None:
    """Entries of several timeouts are held for as long as the longest; each knows when it is due."""
    many = table.cached(timeout={"row 1": 50, "row 2": 100, "row 3": 70}.get, wait=0)
    many([1, 2])
    many([1, 3, 4])
    stored = [command for command in commands if command.name == "set_many" and ":e:" in command.keys[0]]

    assert [106, 30 * 24 * 3600] == [command.timeout for command in stored]


@pytest.mark.parametrize("backend", ["database"], indirect=True)
@pytest.mark.usefixtures("backend")
def test_database_takes_fewer_keys_in_one_query(commands: Commands) -> None:
    """On the database cache no query has a thousand parameters, which some databases do not take."""
    many = Table(dict.fromkeys(range(600), "row")).cached()
    many(range(600))
    commands.clear()

    many(range(600))

    assert [999, 202] == [len(command.keys) for command in commands]


def test_invalidated_namespace_of_one_id_costs_one_computation(table: Table, commands: Commands) -> None:
    """A namespace of one id reaches that id alone."""
    many = table.cached(namespace="row:{each}")
    many([1, 2, 3])
    Namespace("row", 2).invalidate()
    commands.clear()

    many([1, 2, 3])

    assert [[1, 2, 3], [2]] == table.asked
    assert ["get_many", "add", "set_many", "set_many"] == commands.names
