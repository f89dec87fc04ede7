"""The page about many ids, and its decorator, held to the code."""

import inspect

from cachedeco import cached_query, cached_query_many
from tests.docs.test_pages import ROOT, tables_under

BULK = ROOT / "docs" / "how-to" / "bulk.md"


def test_parameters_are_those_of_cached_query_and_over() -> None:
    """Both decorators take the same parameters, with the same defaults, so that one table is enough."""
    one = {each.name: each.default for each in inspect.signature(cached_query).parameters.values()}
    many = {each.name: each.default for each in inspect.signature(cached_query_many).parameters.values()}
    del one["first"]

    assert {"over": inspect.Parameter.empty, **one} == many


def test_costs_table_is_what_the_tests_have() -> None:
    """Each path of the table is one that a test of the commands counts."""
    [table] = tables_under(BULK, "What each path costs")
    counted = (ROOT / "tests" / "loading" / "bulk" / "test_commands.py").read_text()

    for path, commands in table:
        if path.startswith("`"):
            continue
        listed = ", ".join(f'"{name}"' for name in unquoted_each(commands))
        assert listed in counted, path


def unquoted_each(cell: str) -> list[str]:
    """Return what stands in a cell in backticks, each for itself."""
    return cell.replace("`", "").split(", ")
