"""
Covering arrays: of the product of a test's parameters, as few combinations as hold each pair of values.

A test whose parameters make a large product is marked `covering(2)`: for any two parameters each pair of their values
is run, which finds what depends on one of them or on two. `covering(1)` runs each value once, where the parameters have
nothing to do with each other. `--every-combination` runs the whole product.
"""

from collections import defaultdict
from itertools import combinations

import pytest

Combination = dict[str, int]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs what is left out otherwise."""
    parser.addoption("--every-combination", action="store_true", help="run whole products of parameters")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "covering(strength): run combinations that hold each tuple of so many values")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the combinations that the others cover."""
    if config.getoption("every_combination"):
        return
    groups = defaultdict[tuple[str, int], list[pytest.Item]](list)
    for item in items:
        if marker := item.get_closest_marker("covering"):
            groups[item.nodeid.partition("[")[0], *marker.args].append(item)
    left_out = set[pytest.Item]()
    for (_, strength), group in groups.items():
        group.sort(key=lambda item: item.nodeid)  # each process of pytest-xdist chooses the same
        chosen = covering(_places_of_values([item.callspec.params for item in group]), strength)  # type: ignore[attr-defined]
        left_out.update(item for number, item in enumerate(group) if number not in chosen)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _places_of_values(given: list[dict[str, object]]) -> list[Combination]:
    """Name each value by its place among those of its parameter. Values of one `parametrize` are the same objects."""
    places = defaultdict[str, dict[int, int]](dict)
    return [
        {name: places[name].setdefault(id(value), len(places[name])) for name, value in each.items()} for each in given
    ]


def covering(combinations_given: list[Combination], strength: int) -> set[int]:
    """Return the places of combinations that hold each tuple of so many values: greedily, the same ones each time."""
    held = [set(combinations(sorted(each.items()), min(strength, len(each)))) for each in combinations_given]
    order = sorted(range(len(held)), key=lambda number: sorted(combinations_given[number].items()))
    missing, chosen = set().union(*held), set[int]()
    while missing:
        best = max(order, key=lambda number: len(held[number] & missing))
        chosen.add(best)
        missing -= held[best]
    return chosen
