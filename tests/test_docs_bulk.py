"""The page about many ids, and the reference of it, held to the code."""

import inspect

from cachedeco import CachedQueryMany, cached_query, cached_query_many
from tests.test_docs import REFERENCE, ROOT, tables_under, unquoted

BULK = ROOT / "docs" / "bulk.md"


def test_verbs_table_is_the_public_methods() -> None:
    """The table of verbs has every public method of `CachedQueryMany`, and beside each its twin."""
    public = {name for name in dir(CachedQueryMany) if not name.startswith("_")}
    [table] = tables_under(REFERENCE, "Functions over many ids")
    verbs = [unquoted(verb) for verb, _, _ in table]
    twins = [unquoted(twin) for _, twin, _ in table]

    assert public == {*verbs, *filter(None, twins)}
    assert [f"a{verb}" if f"a{verb}" in public else "" for verb in verbs] == twins


def test_parameters_are_those_of_cached_query_and_over() -> None:
    """Both decorators take the same parameters, with the same defaults, so that one table is enough."""
    one = {each.name: each.default for each in inspect.signature(cached_query).parameters.values()}
    many = {each.name: each.default for each in inspect.signature(cached_query_many).parameters.values()}
    del one["function"]

    assert {"over": inspect.Parameter.empty, **one} == many


def test_costs_table_is_what_the_tests_have() -> None:
    """Each path of the table is one that a test of the commands counts."""
    [table] = tables_under(BULK, "What each path costs")
    counted = (ROOT / "tests" / "bulk" / "test_commands.py").read_text()

    for path, commands in table:
        if path.startswith("`"):
            continue
        listed = ", ".join(f'"{name}"' for name in unquoted_each(commands))
        assert listed in counted, path


def unquoted_each(cell: str) -> list[str]:
    """Return what stands in a cell in backticks, each for itself."""
    return cell.replace("`", "").split(", ")
